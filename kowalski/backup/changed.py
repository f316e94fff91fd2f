"""Documents that changed while a backup was made: kept beside it, and put in their places at the end."""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kowalski.backup import chunks
from kowalski.backup.chunks import Chunk, file_name
from kowalski.backup.documents import Key, key_of, rank
from kowalski.backup.journal import Copied, Piece

NAME = "changed.bson"


class Changed:
    """The newest version of each document that changed, on disk; None for those that are gone."""

    def __init__(self, folder: Path):
        self._path = folder / NAME
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "r+b")
        self._places: dict[str, dict[Key, tuple[int, int] | None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def add(self, name: str, keys: Iterable[Key], documents: Iterable[bytes]) -> int:
        """Of the documents with these keys these are all that there are now; their bytes."""
        places = self._places.setdefault(name, {})
        places.update(dict.fromkeys(keys))
        with chunks.disk_errors(self._path):
            begin = at = self._file.seek(0, os.SEEK_END)
            for document in documents:
                places[key_of(document)] = (at, len(document))
                at += self._file.write(document)
        return at - begin

    def keys(self, name: str) -> set[Key]:
        """Of a collection, those that changed."""
        return set(self._places.get(name, ()))

    def get(self, name: str, key: Key) -> bytes | None:
        """The newest version of one that changed."""
        place = self._places[name][key]
        if place is None:
            return None
        self._file.seek(place[0])
        return self._file.read(place[1])


def merge(folder: Path, name: str, copied: Copied, changed: Changed, ordered: bool) -> Iterator[Chunk]:
    """The files of a collection, in which each document has its newest version: those without any that changed as they are.

    What is written has new names, so that until the manifest says otherwise all stays as it was. ``ordered``: the
    collection's _ids have the plain order, not that of a language.
    """
    left = changed.keys(name)
    if not left:
        yield from (piece.chunk for piece in copied.pieces)
        return
    within = _Finder(left, ordered)
    for number, piece in enumerate(copied.pieces, 1):
        if not within(piece):
            yield piece.chunk
            continue
        documents = []
        for document in chunks.read(folder, piece.chunk):
            key = key_of(document)
            if key in left:
                left.discard(key)
                newest = changed.get(name, key)
                documents += [newest] if newest is not None else []
            else:
                documents.append(document)
        if documents:
            yield chunks.write(folder, file_name(copied.number, number, 1), documents)
    yield from _additional(folder, copied, (changed.get(name, key) for key in sorted(left)))


def _additional(folder: Path, copied: Copied, documents: Iterator[bytes | None]) -> Iterator[Chunk]:
    """Files of documents that came after the others of a collection were read."""
    some: list[bytes] = []
    number, size = len(copied.pieces), 0
    for document in documents:
        if document is not None:
            some.append(document)
            size += len(document)
        if size >= chunks.FULL:
            number += 1
            yield chunks.write(folder, file_name(copied.number, number, 1), some)
            some, size = [], 0
    if some:
        yield chunks.write(folder, file_name(copied.number, number + 1, 1), some)


class _Finder:
    """Whether a file may hold one of some documents, by its first and last _id."""

    def __init__(self, keys: Iterable[Key], ordered: bool):
        ranks = [rank(key) for key in keys]
        self._ranks: list[tuple[int, Any]] = sorted(each for each in ranks if each is not None)
        self._knows = ordered and len(self._ranks) == len(ranks)

    def __call__(self, piece: Piece) -> bool:
        first, last = rank(piece.first), rank(piece.last)
        if not self._knows or first is None or last is None:
            return True
        return bisect_left(self._ranks, first) < bisect_right(self._ranks, last)
