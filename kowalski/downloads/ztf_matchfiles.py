"""ZTF's matchfiles, one per field, filter and quadrant, from IPAC's depot.

The depot has a folder per readout channel (``rc00`` to ``rc63``), in it one per 50 fields, in it the files:
``rc00/fr000201-000250/ztf_000245_zg_c01_q1_match.pytable``.
"""

import argparse
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from kowalski.config import load_config
from kowalski.downloads.command import parser_of, run
from kowalski.downloads.files import File
from kowalski.downloads.listing import checksums, entries, text_of
from kowalski.errors import ConfigError, KowalskiError, SourceError
from kowalski.http_source import require_private
from kowalski.settings import Login

URL = "https://ztfweb.ipac.caltech.edu/ztf/ops/srcmatch/"
NAME = re.compile(r"ztf_(?P<field>\d{6})_z(?P<filter>[gri])_c\d{2}_q[1-4]_match\.pytable")
FIELDS = re.compile(r"fr(\d{6})-(\d{6})/?")


def main(words: Sequence[str] | None = None) -> int:
    """Fetch matchfiles; the exit status."""
    parser = parser_of("Fetch ZTF's matchfiles from IPAC's depot (ztf_depot in the settings).", "data/ztf_matchfiles")
    parser.add_argument("--rc", type=_numbers, default=range(64), metavar="A-B,C", help="readout channels (0-63)")
    parser.add_argument("--fields", type=_numbers, metavar="A-B,C", help="fields (all)")
    parser.add_argument("--filters", default="gri", metavar="LETTERS", help="filters (gri)")
    parser.add_argument("--checksums", metavar="FILE|URL", help="list of checksums, as md5sum makes it")
    parser.add_argument("--url", default=URL, help=f"the depot ({URL})")
    arguments = parser.parse_args(words)
    try:
        login = load_config().ztf_depot
        if not (login.username and login.password):
            raise ConfigError("ztf_depot.username and ztf_depot.password are not set: the depot is not public")
        require_private(arguments.url, "--url")
    except KowalskiError as error:
        parser.error(str(error))
    return run(arguments, lambda: matchfiles(arguments, login), lambda: session_of(login))


def session_of(login: Login) -> requests.Session:
    """What asks with the depot's credentials; they go to no other host."""
    session = requests.Session()
    session.trust_env = False
    session.auth = (login.username or "", login.password or "")
    return session


def matchfiles(arguments: argparse.Namespace, login: Login) -> list[File]:
    """The files that the depot lists and the options name, each with its folders below ``--out``; raises `SourceError`."""
    base = arguments.url.rstrip("/") + "/"
    sums = _sums(arguments.checksums, login)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        found = pool.map(lambda rc: _of_channel(base, f"rc{rc:02d}/", arguments, login), arguments.rc)
        paths = [path for each in found for path in each]
    return [
        File(
            base + path,
            arguments.out / path,
            sums.get(Path(path).name),
            None if Path(path).name in sums else require_whole,
        )
        for path in paths
    ]


def _of_channel(base: str, channel: str, arguments: argparse.Namespace, login: Login) -> list[str]:
    session, paths = session_of(login), []
    for folder in entries(session, base + channel):
        limits = FIELDS.fullmatch(folder)
        if limits is None or not _has_any(arguments.fields, int(limits[1]), int(limits[2])):
            continue
        inside = f"{channel}{folder.rstrip('/')}/"
        for name in entries(session, base + inside):
            match = NAME.fullmatch(name)
            if (
                match
                and match["filter"] in arguments.filters
                and _has_any(arguments.fields, *[int(match["field"])] * 2)
            ):
                paths.append(inside + name)
    return paths


def _has_any(wanted: Sequence[int] | None, first: int, last: int) -> bool:
    return wanted is None or any(first <= number <= last for number in wanted)


def _sums(place: str | None, login: Login) -> dict[str, str]:
    if place is None:
        return {}
    if "://" not in place:
        try:
            return checksums(Path(place).read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"--checksums {place} can't be read: {error}") from None
    require_private(place, "--checksums")
    text = text_of(session_of(login), place)
    if text is None:
        raise SourceError(f"--checksums {place} is not there")
    return checksums(text)


def require_whole(path: Path) -> None:
    """Raise `SourceError` where a file is no HDF5 file, or ends before it says that it does."""
    import h5py  # takes 0.3 s

    try:
        with h5py.File(path) as file:
            if "matches" not in file:
                raise SourceError(f"{path.name} has no group `matches`: it is no matchfile")
    except OSError as error:
        raise SourceError(f"{path.name} is no whole HDF5 file: {error}") from None


def _numbers(text: str) -> list[int]:
    """``0-3,7`` as numbers."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise argparse.ArgumentTypeError(f"{part!r} is no number or range such as 3 or 0-7")
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return numbers
