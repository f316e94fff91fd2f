"""The `models` command: from a server and from a folder, whole and verified or not at all."""

import argparse
import hashlib
import io
import socketserver
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kowalski.downloads import transfer
from kowalski.ml import fetch
from kowalski.ml.fetch import Outcome, fetch_models
from kowalski.ml.weights import digest
from kowalski.settings import Config

Settings = Callable[..., Config]
CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SPEC = {"version": "v1", "triplet": True, "sha256": SHA256}


class Shelf(BaseHTTPRequestHandler):
    """Serves `files`; the first `breaks` answers stop halfway, and `ranges` keeps what was asked for."""

    files: dict[str, bytes]
    breaks: int
    ranges: list[str | None]

    def do_GET(self) -> None:
        if self.path not in self.files:
            return self.send_error(404)
        content = self.files[self.path]
        asked = self.headers["Range"]
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        broken = self.breaks > 0
        type(self).breaks -= broken
        self.wfile.write(content[start : start + (len(content) - start) // 2] if broken else content[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Tests need no access log."""


@pytest.fixture
def shelf() -> Iterator[tuple[str, type[Shelf]]]:
    handler = type("Handler", (Shelf,), {"files": {}, "breaks": 0, "ranges": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE", 0.0)


def weights(tmp_path: Path, name: str = "braai.v1.h5") -> Path:
    return tmp_path / "models" / "ztf" / name


def leftovers(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "models").rglob("*") if path.name.startswith(".fetch-")]


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_weights_come_from_their_url_once(settings: Settings, tmp_path: Path, shelf: tuple[str, type[Shelf]]) -> None:
    url, handler = shelf
    handler.files["/braai_d6.h5"] = CONTENT
    ml = settings({"braai": SPEC | {"url": f"{url}/braai_d6.h5"}}).ml
    seen: list[tuple[int, int]] = []
    assert list(fetch_models(ml, progress=lambda *amounts: seen.append(amounts))) == [
        Outcome("ZTF", "braai", "fetched", "")
    ]
    assert weights(tmp_path).read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert list(fetch_models(ml)) == [Outcome("ZTF", "braai", "present", "")]
    assert len(handler.ranges) == 1


def test_wrong_checksum_leaves_nothing(settings: Settings, tmp_path: Path, shelf: tuple[str, type[Shelf]]) -> None:
    url, handler = shelf
    handler.files = {"/bad.h5": CONTENT[:-1] + b"!", "/good.h5": CONTENT}
    ml = settings({"bad": SPEC | {"url": f"{url}/bad.h5"}, "good": SPEC | {"url": f"{url}/good.h5"}}).ml
    bad, good = fetch_models(ml)
    assert (bad.state, good.state) == ("failed", "fetched")
    assert SHA256 in bad.detail
    assert not weights(tmp_path, "bad.v1.h5").exists()
    assert leftovers(tmp_path) == []


def test_wrong_weights_that_are_present_are_replaced(
    settings: Settings, tmp_path: Path, shelf: tuple[str, type[Shelf]]
) -> None:
    url, handler = shelf
    handler.files["/braai.h5"] = CONTENT
    weights(tmp_path).parent.mkdir(parents=True)
    weights(tmp_path).write_bytes(b"old")
    (outcome,) = fetch_models(settings({"braai": SPEC | {"url": f"{url}/braai.h5"}}).ml)
    assert outcome.state == "fetched"
    assert weights(tmp_path).read_bytes() == CONTENT


def test_broken_connection_goes_on_where_it_was(
    settings: Settings, tmp_path: Path, shelf: tuple[str, type[Shelf]]
) -> None:
    url, handler = shelf
    handler.files["/braai.h5"], handler.breaks = CONTENT, 1
    (outcome,) = fetch_models(settings({"braai": SPEC | {"url": f"{url}/braai.h5"}}).ml)
    assert outcome.state == "fetched"
    assert handler.ranges[0] is None
    assert handler.ranges[1] not in (None, "bytes=0-")
    assert weights(tmp_path).read_bytes() == CONTENT


def test_connection_that_keeps_breaking_fails(
    settings: Settings, tmp_path: Path, shelf: tuple[str, type[Shelf]]
) -> None:
    url, handler = shelf
    handler.files["/braai.h5"], handler.breaks = CONTENT, 99
    (outcome,) = fetch_models(settings({"braai": SPEC | {"url": f"{url}/braai.h5"}}).ml)
    assert outcome.state == "failed"
    assert len(handler.ranges) == transfer.ATTEMPTS
    assert not weights(tmp_path).exists()
    assert leftovers(tmp_path) == []


def test_missing_file_and_missing_server(settings: Settings, shelf: tuple[str, type[Shelf]]) -> None:
    url, _ = shelf
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as closed:
        nobody = f"http://127.0.0.1:{closed.server_address[1]}/x.h5"
    specs = {"gone": SPEC | {"url": f"{url}/gone.h5"}, "nobody": SPEC | {"url": nobody}, "nowhere": SPEC}
    gone, nobody_home, nowhere = fetch_models(settings(specs).ml)
    assert {gone.state, nobody_home.state, nowhere.state} == {"failed"}
    assert "404" in gone.detail
    assert nobody in nobody_home.detail
    assert "--from" in nowhere.detail


def test_copies_from_a_folder_take_the_right_one(settings: Settings, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    for folder, content in (("a", b"older"), ("b/deep", CONTENT), ("c", b"newer")):
        (shelf / folder).mkdir(parents=True)
        (shelf / folder / "braai_d6.h5").write_bytes(content)
    specs = {"braai": SPEC | {"url": "https://example.org/braai_d6.h5"}, "other": SPEC}
    found, missing = fetch_models(settings(specs).ml, shelf)
    assert found.state == "fetched"
    assert weights(tmp_path).read_bytes() == CONTENT
    assert missing.state == "failed"
    assert "other.v1.h5" in missing.detail


def test_unverified_weights_say_their_sha256(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "braai.v1.h5").write_bytes(CONTENT)
    (outcome,) = fetch_models(settings({"braai": SPEC | {"sha256": None}}).ml, tmp_path)
    assert outcome.state == "fetched"
    assert SHA256 in outcome.detail


def test_saved_model_is_unpacked_and_verified(
    settings: Settings, tmp_path: Path, shelf: tuple[str, type[Shelf]]
) -> None:
    url, handler = shelf
    content = {"saved_model.pb": b"graph", "variables/variables.index": b"index"}
    handler.files["/bts.tar.gz"] = archive({f"bts-1.0/{name}": data for name, data in content.items()})
    for name, data in content.items():
        path = tmp_path / "expected" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    spec = SPEC | {"format": "pb", "url": f"{url}/bts.tar.gz", "sha256": digest(tmp_path / "expected")}

    assert [outcome.state for outcome in fetch_models(settings({"bts": spec}).ml)] == ["fetched"]
    target = weights(tmp_path, "bts.v1")
    assert {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} == set(content)
    assert [outcome.state for outcome in fetch_models(settings({"bts": spec}).ml)] == ["present"]

    (target / "saved_model.pb").write_bytes(b"tampered")
    copy = tmp_path / "copies" / "bts.v1"
    copy.parent.mkdir()
    (tmp_path / "expected").rename(copy)
    assert [outcome.state for outcome in fetch_models(settings({"bts": spec}).ml, tmp_path / "copies")] == ["fetched"]
    assert (target / "saved_model.pb").read_bytes() == b"graph"


@pytest.mark.parametrize("name", ["bts/../../evil", "/etc/evil", "bts/a/../../../evil"])
def test_archive_that_leads_outside_is_refused(settings: Settings, tmp_path: Path, name: str) -> None:
    (tmp_path / "bts.v1.tar.gz").write_bytes(archive({"bts/saved_model.pb": b"graph", name: b"evil"}))
    (outcome,) = fetch_models(settings({"bts": SPEC | {"format": "pb", "sha256": None}}).ml, tmp_path)
    assert outcome.state == "failed"
    assert "outside" in outcome.detail
    assert not list(tmp_path.rglob("evil*"))


def test_damaged_archive_fails(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "bts.v1.tar.gz").write_bytes(archive({"bts/saved_model.pb": CONTENT})[:500])
    (outcome,) = fetch_models(settings({"bts": SPEC | {"format": "pb"}}).ml, tmp_path)
    assert outcome.state == "failed"


def test_command_prints_a_summary_and_fails_when_one_does(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings({"braai": SPEC, "other": SPEC})
    monkeypatch.setattr(fetch, "load_config", lambda: config)
    parser = argparse.ArgumentParser()
    fetch.add_arguments(parser)
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "braai.v1.h5").write_bytes(CONTENT)
    assert fetch.run(parser.parse_args(["--from", str(shelf)])) == 1
    assert "ZTF models: 1 fetched, 0 present, 1 failed" in capsys.readouterr().out

    (shelf / "other.v1.h5").write_bytes(CONTENT)
    assert fetch.run(parser.parse_args(["--from", str(shelf)])) == 0
    assert "ZTF models: 1 fetched, 1 present, 0 failed" in capsys.readouterr().out
    assert fetch.run(parser.parse_args(["--from", str(tmp_path / "nowhere")])) == 1
