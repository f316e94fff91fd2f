"""What a recipe is: the files that it takes, the collections that it writes, and how rows of the one become documents of the others."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from kowalski.database.indexes import Index
from kowalski.database.neighbours import Neighbours

Document = dict[str, Any]

#: rows that become documents, and are written, together
PIECE = 2000
#: rows that one process takes from a file from which any row can be read at once
STRETCH = 100_000


class Rejected(NamedTuple):
    """A row that can't be stored, counted from 0, and why."""

    row: int
    reason: str


@dataclass
class Piece:
    """What some rows of a file came to.

    Attributes
    ----------
    last : the rows before this one are done, with those of earlier pieces
    read : rows of the file in it
    documents : by the part of the recipe that they belong to
    cut : rows that the recipe leaves out: of bad quality, or empty
    """

    last: int
    read: int
    documents: dict[str, list[Document]]
    cut: int = 0
    rejected: list[Rejected] = field(default_factory=list)


class Recipe(ABC):
    """How files of one kind are put into the database.

    Attributes
    ----------
    name : what it is called on the command line
    about : what it is, and its source
    files : patterns of the names of its files
    parts : what it writes -> the collection, in which ``{tag}`` stands for a release
    tag : that of a release, unless another is given; None: there are no releases
    merges : its documents add fields to those of the same ``_id``, and replace nothing else
    stretch : rows that one process takes; None: all of a file
    """

    name: str
    about: str
    files: tuple[str, ...]
    parts: Mapping[str, str]
    tag: str | None = None
    merges = False

    @property
    def options(self) -> dict[str, Any]:
        """What it was told of the files beside its name; nothing, where it knows all of them itself."""
        return {}

    @abstractmethod
    def pieces(self, path: Path, first: int, last: int | None) -> Iterator[Piece]:
        """Documents of the rows of a file from ``first`` to before ``last``, piece by piece.

        Raises
        ------
        IngestError : the file is broken, or lacks a column
        """

    def stretches(self, path: Path) -> list[tuple[int, int | None]]:
        """Ranges of rows of a file that processes may take at the same time."""
        return [(0, None)]

    def rows(self, path: Path) -> int | None:
        """Rows in a file, where that is known without reading it."""
        return None

    def indexes(self, part: str) -> list[Index]:
        """Indexes of a part's collection."""
        return []

    def enrich(self, part: str, documents: list[Document], neighbours: Neighbours) -> Mapping[int, str]:
        """Add to documents what the database knows of them; why some, by their place among them, can't be stored without it."""
        return {}

    def collections(self, tag: str | None) -> dict[str, str]:
        """The collections by parts, for a release."""
        return {part: name.format(tag=tag or self.tag) for part, name in self.parts.items()}

    def takes(self, path: Path) -> bool:
        """Whether a file is one of its own, by its name."""
        return any(fnmatchcase(path.name.lower(), pattern.lower()) for pattern in self.files)


def ranges(rows: int, size: int = STRETCH) -> Sequence[tuple[int, int]]:
    """Ranges of at most ``size`` rows; one empty range where there are none."""
    return [(start, min(start + size, rows)) for start in range(0, rows, size)] or [(0, 0)]
