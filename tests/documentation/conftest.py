"""The site, built once."""

from pathlib import Path

import pytest

from kowalski.documentation.pages import DOCS
from kowalski.documentation.site import build_site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as `./kowalski.py docs` builds it, without a warning, in a folder of the tests' own."""
    if not (DOCS / "conf.py").exists():
        pytest.skip("the pages are not here")
    folder = tmp_path_factory.mktemp("documentation") / "site"
    done: list[int] = []
    build_site(folder, done.append)
    assert done == sorted(done)
    assert done[-1] == 100
    assert len(set(done)) > 20
    return folder
