"""The files of SALT2 and of the bandpasses: where they lie, whether they are what they should be, and whence they come.

They are laid out as sncosmo's own folder of data, from which they come (https://sncosmo.github.io/data).
"""

from pathlib import Path
from typing import NamedTuple

from kowalski.config import ROOT
from kowalski.errors import FitError
from kowalski.ml.weights import digest


class File(NamedTuple):
    """A file, or a folder that is published as a tar archive, and its digest (`kowalski.ml.weights.digest`).

    ``angstrom``: the unit of a bandpass's wavelengths.
    """

    path: str
    sha256: str
    is_folder: bool = False
    angstrom: float = 1.0


MODEL, VERSION = "salt2", "2.4"
NM = 10.0
#: Betoule et al. 2014, A&A 568, A22
SALT2 = File("models/salt2/salt2-4", "221c0980c60f2448796d52ce54e4cfc75277c83af531e3a3d42e822b19da5f95", is_folder=True)
#: SkyPortal's name of a band -> the transmission of telescope, filter and detector
BANDPASSES = {
    "ztfg": File("bandpasses/ztf/P48_g.dat", "cb233f2aa195709dfd91cdb89b9744b247aaeeba412ec56efa15a7256259213a"),
    "ztfr": File("bandpasses/ztf/P48_R.dat", "838d332ce90372753a13fbe4975f4ea93de2e1b6f48c0198797fb80283ff02a7"),
    "ztfi": File("bandpasses/ztf/P48_I.dat", "fd2478c019837518a93ff0b9d2b11dcbc6ff540749763fdf861eea0f10b66e2a"),
    "lsstu": File(
        "bandpasses/lsst/total_u.dat", "e5037cd3787c1df490f6b4fd46fc98f2d7b454f73d7826bc857f130bf9136fa9", angstrom=NM
    ),
    "lsstg": File(
        "bandpasses/lsst/total_g.dat", "78535bd67e9f001576a30bdc678b7f7a3bc1bdfb1f3a39cb58fd00128980b1d7", angstrom=NM
    ),
    "lsstr": File(
        "bandpasses/lsst/total_r.dat", "be5b9f0a0eecf9cd6032ae7f8a382ab2e97b9b136ee462a8115c0dd64560d78d", angstrom=NM
    ),
    "lssti": File(
        "bandpasses/lsst/total_i.dat", "f4a79d0e781d3c0e2e43e647b2229be58aa4485362c3d0023e5d408afb8de12c", angstrom=NM
    ),
    "lsstz": File(
        "bandpasses/lsst/total_z.dat", "38b29ce42f5ac4838da3da150a04db6319c6eb03727bb9d34aaa36ce12b28235", angstrom=NM
    ),
    "lssty": File(
        "bandpasses/lsst/total_y.dat", "fe86b618bc4cb329873bc0d6ba5ee829169885d470d8f0fc2839b1b9a7a9b517", angstrom=NM
    ),
    "sdssu": File("bandpasses/sdss/sdss_u.dat", "f90864aee587f78db55022acccde3f39ad7d97b2fc0e0e9d3b0bc92f7ad8b7e4"),
    "sdssg": File("bandpasses/sdss/sdss_g.dat", "10bbd59b1b747c7e6b265a33bed24756b431bf3edd60fcfe41e4398aab3983eb"),
    "sdssr": File("bandpasses/sdss/sdss_r.dat", "11c78b2cbc316ed121cfb99671ec26c14bbf83dacedf0e3a4a8a8b35e578e1c2"),
    "sdssi": File("bandpasses/sdss/sdss_i.dat", "d82051349de854853f72a9fe3bc0205c6bdd2858bb753d06fb7e95ead842f523"),
    "sdssz": File("bandpasses/sdss/sdss_z.dat", "2baf3b5ca9c0dda5187230c7b5ca7a98c8f44f504e9a10dd74b197f32d445633"),
}
FILES = (SALT2, *BANDPASSES.values())


def absent(folder: Path) -> list[str]:
    """Those of the files that are not there."""
    return [file.path for file in FILES if not (folder / file.path).exists()]


def require(folder: Path) -> None:
    """Raise `FitError` where one of the files is absent, or not what it should be."""
    if lacking := absent(folder):
        raise FitError(f"{folder} lacks {lacking[0]}: fetch it with ./kowalski.py models")
    for file in FILES:
        if digest(folder / file.path) != file.sha256:
            raise FitError(f"{folder / file.path} is not what it should be: remove it, and fetch it with ./kowalski.py models")  # fmt: skip


def folder_of(setting: str) -> Path:
    """Where the files lie."""
    return ROOT / setting
