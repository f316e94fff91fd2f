"""Where the tables lie: a folder here or at a URL, one Parquet file or more for each table, survey and night.

``<table>/survey=<SURVEY>/night=<YYYYMMDD>/part-*.parquet``: readers know survey and night from the path. A file is there whole or not at all.
"""

import ctypes
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from kowalski.config import ROOT
from kowalski.errors import ConfigError, TableError

#: name of the only file of a night that is complete
WHOLE = "part-whole.parquet"
#: where files are made; no table has that name
MAKING = "_making"
#: s for which files that were replaced stay aside
LISTED = 60.0
#: what a URL's protocol needs beside fsspec
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
#: of the kernel's headers: a path is relative to where the process is; two paths change places
AT_FDCWD, RENAME_EXCHANGE = -100, 2
ENDING = ".parquet"


@dataclass(frozen=True)
class Partition:
    """One night of one survey in one table."""

    table: str
    survey: str
    night: str

    @property
    def path(self) -> str:
        """Its folder, from the store's."""
        return f"{self.table}/survey={self.survey}/night={self.night}"


@dataclass(frozen=True)
class Size:
    """What a partition takes."""

    files: int
    rows: int
    bytes: int


class Store:
    """The files of all tables in one folder; what it can't do is raised as `TableError`.

    Parameters
    ----------
    folder : a path, from the project's folder if it is relative, or a URL that fsspec knows (file, s3, gs, memory, ...)
    """

    def __init__(self, folder: str):
        self.folder = folder
        url = folder if "://" in folder else str(ROOT / folder)
        try:
            filesystem, root = url_to_fs(url)
        except ImportError:
            package = PACKAGES.get(url.partition("://")[0], "a package that fsspec names")
            raise ConfigError(
                f"tables.folder: {folder} needs {package}: .venv/bin/python -m pip install {package}"
            ) from None
        except ValueError as error:
            raise ConfigError(f"tables.folder: {folder}: {error}") from None
        self.fs: Any = filesystem
        self.root = str(root).rstrip("/")
        self.local = isinstance(filesystem, LocalFileSystem)

    def place(self, partition: Partition, name: str = "") -> str:
        """A partition's folder, or a file in it."""
        return f"{self.root}/{partition.path}" + (f"/{name}" if name else "")

    def files(self, partition: Partition) -> list[str]:
        """The files of a partition, in the order of their names."""
        return self._parquet(self.place(partition))

    def partitions(self) -> list[Partition]:
        """All that there are."""
        with self._translated(self.root):
            self.fs.invalidate_cache()
            found = self.fs.glob(f"{self.root}/*/survey=*/night=*/*{ENDING}")
        parts = {tuple(path.split("/")[-4:-1]) for path in found}
        return [
            Partition(table, survey.partition("=")[2], night.partition("=")[2])
            for table, survey, night in sorted(parts)
            if table != MAKING
        ]

    def size(self, partition: Partition) -> Size:
        """Files, rows and bytes of a partition."""
        files = self.files(partition)
        rows = [self.footer(path).num_rows for path in files]
        with self._translated(self.place(partition)):
            return Size(len(files), sum(rows), sum(int(self.fs.size(path)) for path in files))

    def footer(self, path: str) -> pq.FileMetaData:
        """What a file says of itself."""
        with self._translated(path), self.fs.open(path, "rb") as file:
            return pq.read_metadata(file)

    def schema(self, path: str) -> pa.Schema:
        """The columns of a file."""
        return self.footer(path).schema.to_arrow_schema()

    def batches(self, path: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of a file, some at a time."""
        with self._translated(path), self.fs.open(path, "rb") as file, pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(columns=columns):
                yield pa.Table.from_batches([batch])

    @contextmanager
    def reading(self, path: str) -> Iterator[Any]:
        """A file, open for reading."""
        with self._translated(path), self.fs.open(path, "rb") as file:
            yield file

    def add(self, partition: Partition, name: str, table: pa.Table) -> None:
        """A partition has one more file."""
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        data = buffer.getvalue().to_pybytes()
        path = self.place(partition, name)
        with self._translated(path):
            if self.local:
                made = self._making(f"{partition.path}/{name}")
                made.write_bytes(data)
                _settle(made)
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                os.replace(made, path)
            else:
                self.fs.pipe_file(path, data)

    def replace(self, partition: Partition, made: Path) -> None:
        """A partition has this file, `WHOLE`, in place of all that it had; the file moves there.

        In a local folder both change places at once: a reader sees the old files or the new one. Elsewhere the old ones are
        removed first, so that a reader may find rows missing for a moment, and never finds one twice.
        """
        with self._translated(self.place(partition)):
            if not (self.local and self._exchanged(partition, made)):
                self._put(partition, made)
                self._move(partition)

    def recover(self, partition: Partition) -> None:
        """What a `replace` that was broken off left behind is finished, or removed."""
        self.sweep()
        with self._translated(self.place(partition)):
            if self._parquet(self._waiting(partition)):
                self._move(partition)

    def sweep(self) -> None:
        """Files that were replaced, and that no reader can be about to list any more, are gone."""
        with self._translated(self.root):
            for folder in Path(self.root, MAKING, "replaced").glob("*") if self.local else ():
                if time.time() - folder.stat().st_mtime > LISTED:
                    shutil.rmtree(folder)

    @contextmanager
    def workshop(self, name: str) -> Iterator[Path]:
        """An empty folder of this machine for what a file is made of; beside the tables where these are on it."""
        with self._translated(name):
            folder = self._making(f"runs/{name}") if self.local else Path(tempfile.mkdtemp(prefix="kowalski-tables-"))
            shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # both ways of replacing

    def _exchanged(self, partition: Partition, made: Path) -> bool:
        """Whether the file took the place of the old ones in one step, as Linux can in most file systems.

        The old ones stay aside for a while: who has begun to list their folder would find it half empty.
        """
        aside, place = self._making(f"replaced/{secrets.token_hex(8)}/{WHOLE}").parent, Path(self.place(partition))
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, aside / WHOLE)
        _settle(aside / WHOLE)
        if not place.exists():
            os.rename(aside, place)
            return True
        if done := exchange(aside, place):
            os.utime(aside)
        else:
            shutil.move(aside / WHOLE, made)
        return done

    def _waiting(self, partition: Partition) -> str:
        return f"{self.root}/{MAKING}/whole/{partition.path}"

    def _put(self, partition: Partition, made: Path) -> None:
        """The file is in the store, whole, beside the partition."""
        waiting = self._waiting(partition)
        self.fs.makedirs(waiting, exist_ok=True)
        self.fs.put_file(str(made), f"{waiting}/{WHOLE}.part")
        self.fs.mv(f"{waiting}/{WHOLE}.part", f"{waiting}/{WHOLE}")
        made.unlink()

    def _move(self, partition: Partition) -> None:
        """The file that waits beside a partition is its only one."""
        for path in self.files(partition):
            self.fs.rm_file(path)
        self.fs.makedirs(self.place(partition), exist_ok=True)
        self.fs.mv(f"{self._waiting(partition)}/{WHOLE}", self.place(partition, WHOLE))
        self.fs.invalidate_cache()

    def _making(self, name: str) -> Path:
        path = Path(self.root, MAKING, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _parquet(self, folder: str) -> list[str]:
        with self._translated(folder):
            self.fs.invalidate_cache()
            try:
                found = self.fs.ls(folder, detail=False)
            except FileNotFoundError:
                return []
        return sorted(path for path in found if path.endswith(ENDING))

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowInvalid) as error:
            raise TableError(f"{path}: {error}", retriable=isinstance(error, OSError)) from error


def exchange(one: Path, other: Path) -> bool:
    """Whether two paths have changed places, which no reader can see half done; False: not here."""
    with suppress(AttributeError, OSError):
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        return rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0
    return False


def _settle(path: Path) -> None:
    """A file is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
