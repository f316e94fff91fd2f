"""Closed files on their way to a store elsewhere: a folder, S3, GCS or whatever else fsspec knows; there only once they are compared."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

from kowalski.archive.packets.reading import ArchiveFile
from kowalski.archive.packets.sealing import sha256_of
from kowalski.archive.packets.segment import INDEX, PACKETS, SEAL
from kowalski.errors import ArchiveUnavailable, ConfigError

#: bytes that are read at once
PIECE = 1 << 20
#: what only this machine's seal says
LOCAL = ("uploaded", "noticed")


class Remote:
    """The store of ``archive.remote``.

    Raises
    ------
    ConfigError : fsspec knows no such store, or needs a package for it
    """

    def __init__(self, url: str, options: Mapping[str, Any]):
        self.url = url.rstrip("/")
        try:
            self._store, self._root = fsspec.core.url_to_fs(self.url, **options)
        except (ImportError, ValueError, TypeError) as error:
            raise ConfigError(
                f"archive.remote is {url}: {error}; s3:// needs .venv/bin/pip install s3fs, gs:// gcsfs, and their options go into "
                "archive.remote_options"
            ) from None

    def put(self, file: ArchiveFile) -> str:
        """A closed file is there with its index, and then its seal; what an upload that broke off has brought is not brought again.

        Returns the URL of the packets.

        Raises
        ------
        ArchiveUnavailable : not now
        """
        assert file.seal is not None  # it is closed
        try:
            for suffix in (PACKETS, INDEX):
                self._put(file.path.with_suffix(suffix), self._place(file, suffix))
            said = {name: value for name, value in file.seal.items() if name not in LOCAL}
            self._store.pipe_file(self._place(file, SEAL), json.dumps(said, indent=1).encode())
        except ArchiveUnavailable:
            raise
        except Exception as error:  # each store has its own errors, of packages that need not be installed here
            raise ArchiveUnavailable(
                f"{file.name} can't be put into {self.url}: {type(error).__name__}: {error}"
            ) from error
        return f"{self.url}/{file.name}"

    def _place(self, file: ArchiveFile, suffix: str) -> str:
        return f"{self._root}/{Path(file.name).with_suffix(suffix)}"

    def _put(self, path: Path, place: str) -> None:
        if self._is_there(path, place):
            return
        self._store.makedirs(place.rpartition("/")[0], exist_ok=True)
        self._store.put_file(str(path), place)
        if not self._is_there(path, place):
            raise ArchiveUnavailable(f"{place} is not what was put there; it is put there again")

    def _is_there(self, path: Path, place: str) -> bool:
        """Whether a store has the bytes of a file: by size, and by the store's own MD5 where it tells one, else by reading them."""
        self._store.invalidate_cache()
        if not self._store.exists(place):
            return False
        told = self._store.info(place)
        if told["size"] != path.stat().st_size:
            return False
        if (md5 := md5_of(told)) is not None:
            with path.open("rb") as file:
                return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == md5
        digest = hashlib.sha256()
        with self._store.open(place, "rb") as there:
            while piece := there.read(PIECE):
                digest.update(piece)
        return digest.hexdigest() == sha256_of(path)


def md5_of(told: Mapping[str, Any]) -> str | None:
    """The MD5 that GCS (``md5Hash``) or S3 (``ETag`` of what went in one piece) tells of an object; None: neither does."""
    if isinstance(known := told.get("md5Hash"), str):
        return base64.b64decode(known).hex()
    tag = str(told.get("ETag", "")).strip('"')
    return tag if len(tag) == 32 and all(letter in "0123456789abcdef" for letter in tag) else None
