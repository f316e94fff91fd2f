"""The command `models` brings SALT2 and the bandpasses: from a server as sncosmo's, or a folder, whole and verified or not at all."""

import io
import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from supernovae import salt2_settings

from kowalski.downloads import transfer
from kowalski.ml.weights import digest
from kowalski.transients import fetch
from kowalski.transients.fetch import REDIRECTS, fetch_files
from kowalski.transients.files import BANDPASSES, FILES, SALT2, absent, require

G = BANDPASSES["ztfg"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Tests need no access log."""


@pytest.fixture(scope="module")
def archive(salt2_files: Path) -> bytes:
    """The model as it is published."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        tar.add(salt2_files / SALT2.path, "salt2-4")
    return buffer.getvalue()


@pytest.fixture
def shelf(
    salt2_files: Path, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Path]]:
    """A server laid out as sncosmo's, and its folder; the model lies elsewhere there, as `REDIRECTS` says."""
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    monkeypatch.setattr(fetch, "folder_of", lambda setting: tmp_path / setting)
    folder = tmp_path / "server"
    shutil.copytree(salt2_files / "bandpasses", folder / "bandpasses")
    (folder / "moved.tar.gz").write_bytes(archive)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        (folder / REDIRECTS).write_text(json.dumps({f"{SALT2.path}.tar.gz": f"{url}/moved.tar.gz"}))
        yield url, folder
        server.shutdown()


def states(url: str, source: Path | None = None) -> dict[str, str]:
    settings = salt2_settings(folder="here", source=url)
    return {outcome.name: outcome.state for outcome in fetch_files(settings, source)}


def test_all_come_once(shelf: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = shelf
    assert states(url) == {file.path: "fetched" for file in FILES}
    require(tmp_path / "here")
    assert states(url) == {file.path: "present" for file in FILES}


def test_what_is_wrong_or_missing_there_is_named_and_left_out(shelf: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = shelf
    for path in (folder / G.path, folder / BANDPASSES["ztfr"].path):
        path.chmod(0o644)
    (folder / G.path).write_text("4000 0.5\n")
    (folder / BANDPASSES["ztfr"].path).unlink()
    (folder / REDIRECTS).unlink()  # so that the model is looked for where it is not
    found = list(fetch_files(salt2_settings(folder="here", source=url)))
    failed = {outcome.name: outcome.detail for outcome in found if outcome.state == "failed"}
    assert failed.keys() == {SALT2.path, G.path, BANDPASSES["ztfr"].path}
    assert "sha256" in failed[G.path]
    assert "404" in failed[SALT2.path]
    assert absent(tmp_path / "here") == [SALT2.path, G.path, BANDPASSES["ztfr"].path]


def test_from_a_folder(salt2_files: Path, shelf: tuple[str, Path], tmp_path: Path) -> None:
    assert set(states("http://127.0.0.1:1", salt2_files).values()) == {"fetched"}
    assert digest(tmp_path / "here" / SALT2.path) == SALT2.sha256


def test_a_server_that_is_away_is_named(shelf: tuple[str, Path]) -> None:
    outcome = next(fetch_files(salt2_settings(folder="here", source="http://127.0.0.1:1")))
    assert (outcome.state, "http://127.0.0.1:1" in outcome.detail) == ("failed", True)
