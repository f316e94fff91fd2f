"""The files of SALT2, and a light curve or two."""

from pathlib import Path

import pytest
from supernovae import Supernova, fitter, supernovae

from kowalski.transients.salt2 import Salt2Fitter


@pytest.fixture(scope="session")
def salt2_files(test_data: Path) -> Path:
    """Where model and bandpasses lie."""
    folder = test_data / "sncosmo"
    if not folder.is_dir():
        pytest.skip("the real data have no folder sncosmo")
    return folder


@pytest.fixture(scope="session")
def salt2(salt2_files: Path) -> Salt2Fitter:
    """SALT2 as it is read from there."""
    return fitter(salt2_files)


@pytest.fixture(scope="session")
def supernova(salt2: Salt2Fitter) -> Supernova:
    """A type Ia supernova as ZTF sees it."""
    return next(supernovae(salt2, 1, seed=3))
