"""The archive kept: files closed, uploaded and told of, each step repeated as often as it takes."""

import base64
import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastavro
import fsspec
import pytest
from archived import files_in, keep, kept_in
from confluent_kafka import Consumer
from packets import encode, packet, ztf_record

from kowalski.archive.packets.keeper import Keeper
from kowalski.archive.packets.reading import ArchiveFile
from kowalski.archive.packets.remote import Remote, md5_of
from kowalski.config import build, isolated_tree, merge, settings_tree
from kowalski.errors import ArchiveUnavailable, ConfigError
from kowalski.local import status

PACKETS = [packet(encode(ztf_record(number)), number) for number in range(3)]

MakeKeeper = Callable[..., Keeper]


@pytest.fixture
def make_keeper(tmp_path: Path) -> MakeKeeper:
    """A function that makes a keeper of the archive in the test's folder."""

    def make(output: str | None = None, **settings: Any) -> Keeper:
        archive = {"folder": str(tmp_path / "archive"), "close_after": 0.001, **settings}
        tree = merge(settings_tree([], {}), {"archive": archive})
        return Keeper(build(merge(tree, {"kafka": {"output": {"bootstrap.servers": output}}})))

    return make


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive with one open file, of three packets, of yesterday."""
    keep(tmp_path / "archive", PACKETS)
    for path in files_in(tmp_path / "archive", ".index"):
        os.utime(path, (path.stat().st_mtime - 86_400,) * 2)
    return tmp_path / "archive"


@pytest.fixture
def memory() -> Iterator[Any]:
    store = fsspec.filesystem("memory")
    yield store
    if store.exists("/night"):
        store.rm("/night", recursive=True)


def test_what_nothing_is_added_to_is_closed(archive: Path, make_keeper: MakeKeeper) -> None:
    patient = make_keeper(close_after=100_000)
    patient.step()
    assert files_in(archive, ".json") == []
    assert patient.figures()["open"] == 1
    keeper = make_keeper()
    keeper.step()
    (file,) = (ArchiveFile(path) for path in files_in(archive))
    assert file.seal is not None
    assert {name: file.seal[name] for name in ("survey", "night", "path", "packets", "candid", "broken")} == {
        "survey": "ZTF", "night": "20230101", "path": file.name, "packets": 3, "candid": [0, 2], "broken": 0,
    }  # fmt: skip
    assert file.seal["sha256"] == hashlib.sha256(file.path.read_bytes()).hexdigest()
    assert file.name == str(file.path.relative_to(archive))
    for each in (keeper, patient):
        figures = each.figures()
        assert (figures["packets"], figures["files"], figures["open"], figures["to_upload"]) == (3, 1, 0, 0)
        assert figures["gigabytes"] == round(file.path.stat().st_size / 1e9, 3)
        assert figures["gigabytes_free"] > 0


def test_what_is_full_is_closed(archive: Path, make_keeper: MakeKeeper) -> None:
    (path,) = files_in(archive)
    path.write_bytes(path.read_bytes() + bytes(1 << 20))  # a tail that its writer left
    make_keeper(close_after=100_000, segment_bytes=1 << 20).step()
    assert len(files_in(archive, ".json")) == 1


def test_a_night_closed_at_its_end(archive: Path, make_keeper: MakeKeeper) -> None:
    keeper = make_keeper(close_after=100_000)
    assert keeper.close("ZTF", "20230102") == keeper.close("PGIR", "20230101") == 0
    assert keeper.close("ZTF", "20230101") == 1
    assert keeper.close("ZTF", "20230101") == 0


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_uploads(kind: str, archive: Path, make_keeper: MakeKeeper, tmp_path: Path, memory: Any) -> None:
    """All three files are there; nothing is put twice; what was cut off there is put again."""
    url = "memory://night" if kind == "memory" else f"file://{tmp_path}/store/night"
    keeper = make_keeper(remote=url)
    assert keeper.figures()["to_upload"] == 1
    keeper.step()
    (path,) = files_in(archive)
    store, root = fsspec.core.url_to_fs(url)
    there = {place.rpartition("/")[2]: store.cat_file(place) for place in store.find(root)}
    assert there.keys() == {path.with_suffix(suffix).name for suffix in (".avro", ".index", ".json")}
    assert there[path.name] == path.read_bytes()
    assert there[path.with_suffix(".index").name] == path.with_suffix(".index").read_bytes()
    sealed = json.loads(path.with_suffix(".json").read_bytes())
    assert sealed["uploaded"] == f"{url}/ZTF/20230101/{path.name}"
    assert json.loads(there[path.with_suffix(".json").name]) == {
        name: value for name, value in sealed.items() if name not in ("uploaded", "noticed")
    }
    assert keeper.figures()["to_upload"] == 0
    assert len(kept_in(tmp_path / "store" / "night" if kind == "file" else archive)) == 3
    before = path.with_suffix(".json").stat().st_mtime_ns
    make_keeper(remote=url).step()
    assert path.with_suffix(".json").stat().st_mtime_ns == before


def test_an_upload_that_was_broken_off(archive: Path, make_keeper: MakeKeeper, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """What is whole is not put again; half a file is."""
    (path,) = files_in(archive)
    make_keeper().step()
    place = f"/night/ZTF/20230101/{path.name}"
    put: list[str] = []
    original = memory.put_file
    monkeypatch.setattr(type(memory), "put_file", lambda self, here, there, **how: put.append(there) or original(here, there, **how))  # fmt: skip
    memory.pipe_file(place, path.read_bytes()[:-100])
    memory.pipe_file(place.replace(".avro", ".index"), path.with_suffix(".index").read_bytes())
    make_keeper(remote="memory://night").step()
    assert put == [place]
    assert memory.cat_file(place) == path.read_bytes()


def test_another_store_gets_all_again(archive: Path, make_keeper: MakeKeeper, memory: Any) -> None:
    make_keeper(remote="memory://night/one").step()
    keeper = make_keeper(remote="memory://night/two/")
    assert keeper.figures()["to_upload"] == 1
    keeper.step()
    assert len(memory.find("/night/two")) == len(memory.find("/night/one")) == 3


def test_a_store_that_takes_nothing(archive: Path, make_keeper: MakeKeeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """It can be tried again; the files are closed meanwhile, and wait."""
    (tmp_path / "store").write_text("no folder")
    keeper = make_keeper(remote=f"file://{tmp_path}/store")
    keeper.close_due()
    with pytest.raises(ArchiveUnavailable, match=r"ZTF/20230101/.*\.avro can't be put into file://"):
        keeper.deliver()
    keeper.step()
    assert len(files_in(archive, ".json")) == keeper.figures()["to_upload"] == 1
    assert "can't be put into file://" in keeper.figures()["undelivered_because"]
    (tmp_path / "store").unlink()
    keeper.step()
    assert keeper.figures()["to_upload"] == 1  # not before a while is over
    monkeypatch.setattr("kowalski.archive.packets.keeper.delay", lambda error, failures: 0.0)
    (tmp_path / "store").write_text("no folder")
    other = make_keeper(remote=f"file://{tmp_path}/store")
    other.step()
    (tmp_path / "store").unlink()
    other.step()
    figures = other.figures()
    assert (figures["to_upload"], figures["undelivered_because"]) == (0, None)


def test_a_store_that_keeps_other_bytes(archive: Path, make_keeper: MakeKeeper, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Of the right size, as its checksum tells, or the bytes themselves."""
    original = memory.put_file
    make_keeper().step()
    (path,) = files_in(archive)

    def spoiled(self: Any, here: str, there: str, **how: Any) -> None:
        original(here, there, **how)
        self.pipe_file(there, bytes(self.info(there)["size"]))

    monkeypatch.setattr(type(memory), "put_file", spoiled)
    with pytest.raises(ArchiveUnavailable, match="is not what was put there"):
        make_keeper(remote="memory://night").deliver()
    told = {"size": path.stat().st_size, "ETag": f'"{hashlib.md5(path.read_bytes()).hexdigest()}"'}
    monkeypatch.setattr(type(memory), "info", lambda self, place, **how: told)
    assert Remote("memory://night", {})._is_there(path, f"/night/ZTF/20230101/{path.name}")
    told["ETag"] = "0" * 32
    assert not Remote("memory://night", {})._is_there(path, f"/night/ZTF/20230101/{path.name}")


@pytest.mark.parametrize(
    ("told", "md5"),
    [
        ({"ETag": '"900150983cd24fb0d6963f7d28e17f72"'}, "900150983cd24fb0d6963f7d28e17f72"),
        ({"ETag": '"900150983cd24fb0d6963f7d28e17f72-3"'}, None),  # of several pieces
        ({"md5Hash": base64.b64encode(hashlib.md5(b"abc").digest()).decode()}, "900150983cd24fb0d6963f7d28e17f72"),
        ({"size": 3}, None),
    ],
    ids=["s3", "s3_pieces", "gcs", "none"],
)
def test_checksums_that_stores_tell(told: dict[str, Any], md5: str | None) -> None:
    assert md5_of(told) == md5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"remote": "s3://bucket/packets"}, r"archive.remote is s3://bucket/packets: .*pip install s3fs"),
        ({"remote": "nowhere://bucket"}, "archive.remote is nowhere://bucket"),
        ({"remote": "bucket"}, "archive.remote"),
        ({"remote": "memory://x", "remote_options": {"no_such_option": 1, "auto_mkdir": 3}, "notices_topic": "x"}, "kafka.output.bootstrap.servers"),
        ({"notices_topic": "no good!"}, "archive.notices_topic"),
        ({"segment_bytes": 10}, "archive.segment_bytes"),
        ({"folders": "x"}, "archive.folders is not a setting"),
    ],
    ids=["s3", "nowhere", "no_url", "no_kafka", "topic", "size", "name"],
)  # fmt: skip
def test_settings_that_are_wrong(settings: dict[str, Any], said: str, make_keeper: MakeKeeper) -> None:
    with pytest.raises(ConfigError, match=said):
        make_keeper(**settings)


def test_notices(archive: Path, make_keeper: MakeKeeper, memory: Any, kafka: str) -> None:
    """One for each file, once it is closed and uploaded."""
    name = secrets.token_hex(4)
    keeper = make_keeper(kafka, remote="memory://night", notices_topic=f"{name}.{{survey}}.packets")
    keeper.step()
    keeper.step()
    (path,) = files_in(archive)
    sealed = json.loads(path.with_suffix(".json").read_bytes())
    assert sealed["noticed"] == f"{name}.ztf.packets"
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": name, "auto.offset.reset": "earliest"})
    consumer.subscribe([f"{name}.ztf.packets"])
    found = consumer.consume(1, timeout=30) + consumer.consume(1, timeout=0.5)
    consumer.close()
    (notice,) = (list(fastavro.reader(io.BytesIO(message.value() or b"")))[0] for message in found)
    assert notice == {
        "survey": "ZTF", "night": "20230101", "path": f"ZTF/20230101/{path.name}",
        "url": f"memory://night/ZTF/20230101/{path.name}", "packets": 3, "records": 3,
        "bytes": path.stat().st_size, "sha256": sealed["sha256"], "closed_at": sealed["closed_at"],
    }  # fmt: skip


def test_notices_that_nobody_takes(archive: Path, make_keeper: MakeKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kowalski.archive.packets.notices.DELIVERY", 0.2)
    keeper = make_keeper("127.0.0.1:9", notices_topic="packets")
    keeper.close_due()
    with pytest.raises(ArchiveUnavailable, match=r"was not taken by topic packets at 127\.0\.0\.1:9"):
        keeper.deliver()
    (path,) = files_in(archive)
    assert json.loads(path.with_suffix(".json").read_bytes())["noticed"] is None


def test_what_status_warns_of(make_keeper: MakeKeeper, archive: Path) -> None:
    """A disk that fills, and a store that takes nothing, by the figures of the keepers of all machines."""
    config = build(isolated_tree({"archive": {"enabled": True}, "local": {"min_free_gb": 2}}))
    figures = make_keeper().figures() | {"program": "archive-keeper", "host": "one", "gigabytes_free": 1.5}
    other = figures | {"host": "two", "gigabytes_free": 99.0, "undelivered_because": "the store is away"}
    starting = {"program": "archive-keeper", "host": "three"}
    told = status._archive(SimpleNamespace(config=config), [figures, other, starting, {"program": "poster"}])  # type: ignore[arg-type]
    assert (told["packets"], told["files"], told["open"], told["enabled"]) == (6, 2, 2, True)
    assert told["alarm"] == (
        "the packet archive of one has 1.5 GB of disk left: where it is full no packet is acknowledged; the store is away"
    )
    shown = status._table({"programs": [], "processes": [], "posting": True, "archive": told, "unfinished": [], "fits": None, "model_problems": {}, "quarantine": {"packets": 0, "alarm": ""}})  # fmt: skip
    assert shown.splitlines()[1:] == ["packet archive: 6 packets, 0.00 GB in 2 files, 2 of them open", told["alarm"]]
