"""Files of tables: whole or not there, here and at URLs, and replaced so that no reader finds a row twice."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kowalski.archive.tables import store as module
from kowalski.archive.tables.store import WHOLE, Partition, Store, exchange
from kowalski.errors import ConfigError, TableError

NIGHT = Partition("alerts", "ZTF", "20231012")


def rows(store: Store) -> list[int]:
    """What a reader finds in the night."""
    return sorted(n for path in store.files(NIGHT) for table in store.batches(path) for n in table["n"].to_pylist())


def table(*numbers: int) -> pa.Table:
    return pa.table({"n": numbers})


def whole(folder: Path, *numbers: int) -> Path:
    """A file that is to take the night's place."""
    path = folder / "made.parquet"
    pq.write_table(table(*numbers), path)
    return path


@pytest.fixture(params=["path", "file://", "memory://", "path without exchange"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    folder = {"file://": f"file://{tmp_path}/tables", "memory://": f"memory://{tmp_path.name}"}
    if request.param == "path without exchange":
        monkeypatch.setattr(module, "exchange", lambda one, other: False)
    yield Store(folder.get(request.param, str(tmp_path / "tables")))
    fsspec.filesystem("memory").store.clear()


def test_added_replaced_and_counted(store: Store, tmp_path: Path) -> None:
    assert (store.partitions(), store.files(NIGHT)) == ([], [])
    store.add(NIGHT, "part-1.parquet", table(1, 2))
    store.add(NIGHT, "part-2.parquet", table(3))
    assert store.partitions() == [NIGHT]
    assert (store.size(NIGHT).files, store.size(NIGHT).rows) == (2, 3)
    for _ in range(2):
        store.replace(NIGHT, whole(tmp_path, 1, 2, 3, 4))
        assert [path.rpartition("/")[2] for path in store.files(NIGHT)] == [WHOLE]
        assert rows(store) == [1, 2, 3, 4]
    assert store.partitions() == [NIGHT]
    store.recover(NIGHT)
    assert rows(store) == [1, 2, 3, 4]


def test_a_night_without_files_gets_one(store: Store, tmp_path: Path) -> None:
    store.replace(NIGHT, whole(tmp_path, 1))
    assert rows(store) == [1]


def test_broken_off_anywhere_and_done_again(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replacement that ends before any of its steps, by whatever it dies of, is finished by the next one."""
    steps = 0
    while True:
        store.recover(NIGHT)
        for path in store.files(NIGHT):
            store.fs.rm_file(path)
        store.add(NIGHT, "part-1.parquet", table(1, 2))
        store.add(NIGHT, "part-2.parquet", table(3))
        left, complete = steps, True

        def dying(call: Any) -> Any:
            def run(*arguments: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
                return call(*arguments, **named)

            return run

        with monkeypatch.context() as patch:
            for holder, names in ((store.fs, ("put_file", "mv", "rm_file", "makedirs")), (module.shutil, ("move", "rmtree")), (module, ("exchange",)), (os, ("rename",))):  # fmt: skip
                for name in names:
                    patch.setattr(holder, name, dying(getattr(holder, name)))
            try:
                store.replace(NIGHT, whole(tmp_path, 1, 2, 3, 4))
            except KeyboardInterrupt:
                complete = False
            patch.undo()
        seen = rows(store)
        assert len(seen) == len(set(seen))
        assert set(seen) <= {1, 2, 3, 4}
        store.recover(NIGHT)
        assert rows(store) in ([1, 2, 3], [1, 2, 3, 4])
        store.replace(NIGHT, whole(tmp_path, 1, 2, 3, 4))
        assert rows(store) == [1, 2, 3, 4]
        if complete:
            break
        steps += 1
    assert steps >= 2


def test_who_reads_meanwhile_sees_the_old_or_the_new(tmp_path: Path) -> None:
    store, ended = Store(str(tmp_path / "tables")), threading.Event()
    store.add(NIGHT, "part-1.parquet", table(1, 2))
    store.add(NIGHT, "part-2.parquet", table(3))
    if not exchange(tmp_path / "tables", tmp_path / "tables"):
        pytest.skip("this file system can't exchange two folders")

    def swap() -> None:
        for number in range(150):
            store.replace(NIGHT, whole(tmp_path, 1, 2, 3, 4 + number % 2))
        ended.set()

    thread, seen, said = threading.Thread(target=swap), set(), set()
    thread.start()
    reader = Store(str(tmp_path / "tables"))
    while not ended.is_set():
        try:
            seen.add(tuple(rows(reader)))
        except TableError as error:  # replaced between the listing and the opening: said, and asked again
            said.add(type(error.__cause__))
    thread.join()
    assert said <= {FileNotFoundError}
    assert seen <= {(1, 2, 3), (1, 2, 3, 4), (1, 2, 3, 5)}
    assert seen & {(1, 2, 3, 4), (1, 2, 3, 5)}


def test_replaced_files_are_swept_when_nobody_lists_them_any_more(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "tables"))
    store.add(NIGHT, "part-1.parquet", table(1))
    store.replace(NIGHT, whole(tmp_path, 1, 2))
    (aside,) = (tmp_path / "tables" / module.MAKING / "replaced").iterdir()
    store.sweep()
    assert aside.exists()
    os.utime(aside, (1, 1))
    store.sweep()
    assert not aside.exists()
    assert rows(store) == [1, 2]


def test_what_cant_be_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(module, "url_to_fs", absent)
    with pytest.raises(ConfigError, match=r"tables.folder: s3://b/t needs s3fs: .*pip install s3fs"):
        Store("s3://b/t")
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"tables.folder: parsec://x: "):
        Store("parsec://x")
    (tmp_path / "tables").write_text("a file")
    with pytest.raises(TableError, match=r"tables/alerts/survey=ZTF/night=20231012"):
        Store(str(tmp_path / "tables")).add(NIGHT, "part-1.parquet", table(1))
    other = Store(str(tmp_path / "other"))
    other.add(NIGHT, "part-1.parquet", table(1))
    Path(other.files(NIGHT)[0]).write_bytes(b"junk")
    with pytest.raises(TableError, match=r"part-1.parquet: .*Parquet") as error:
        rows(other)
    assert not error.value.retriable
