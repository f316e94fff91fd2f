"""manifest.json: all that a finished backup holds. A folder that has one is whole; it is written last."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bson import json_util
from bson.errors import BSONError

from kowalski.backup import chunks
from kowalski.backup.chunks import Chunk
from kowalski.backup.journal import NAME as JOURNAL
from kowalski.errors import BackupError

NAME = "manifest.json"
#: of folders; a later one may not be read by an older Kowalski
FORMAT = 1
#: fields with MongoDB's own types in them: extended JSON, in its canonical form
SPECIAL = ("options", "indexes")


@dataclass
class Collection:
    """A collection or view, as it shall be again."""

    name: str
    #: "collection" or "view"
    type: str
    #: of MongoDB's ``create``
    options: dict[str, Any]
    #: as ``listIndexes`` says, less that of _id
    indexes: list[dict[str, Any]]
    chunks: list[Chunk] = field(default_factory=list)
    #: by which versions of catalogues are known; empty in views, and in backups from before these were noted
    uuid: str = ""
    count: int = 0
    bytes: int = 0
    #: of all documents, whatever their order
    hash: str = ""

    def __post_init__(self) -> None:
        self.chunks = [Chunk(*each) for each in self.chunks]
        if not self.hash:
            self.count, self.bytes, self.hash = chunks.sums(self.chunks)


@dataclass
class Manifest:
    """A finished backup."""

    id: str
    database: str
    #: versions of Kowalski and MongoDB
    kowalski: str
    mongodb: str
    begun: str
    finished: str
    #: whether it is one point in time although others wrote meanwhile
    consistent: bool
    #: that point: MongoDB's cluster time [s since 1970, number within it] up to which every write is in it
    as_of: list[int] | None
    collections: list[Collection]
    format: int = FORMAT

    @property
    def count(self) -> int:
        """Documents in all."""
        return sum(each.count for each in self.collections)

    @property
    def bytes(self) -> int:
        """Bytes of all documents."""
        return sum(each.bytes for each in self.collections)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(chunk.size for each in self.collections for chunk in each.chunks)

    def save(self, folder: Path) -> None:
        """The folder is a finished backup."""
        plain = asdict(self)
        for each in plain["collections"]:
            each |= {name: _plain(each[name]) for name in SPECIAL}
        chunks.write_durably(folder / NAME, json.dumps(plain, indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What a folder holds.

        Raises
        ------
        BackupError : it is no finished backup, or one that only a later Kowalski can read
        """
        path = folder / NAME
        if not path.exists():
            hint = "the same `backup` again finishes it" if (folder / JOURNAL).exists() else "name its folder"
            raise BackupError(f"{folder} holds no finished backup ({NAME} is missing): {hint}")
        try:
            found = json.loads(path.read_text())
            if int(found["format"]) > FORMAT:
                raise BackupError(f"{path} has format {found['format']}: a later Kowalski made it; use that one")
            collections = [
                Collection(**each | {name: _as_it_was(each[name]) for name in SPECIAL}) for each in found["collections"]
            ]
            loaded = cls(**found | {"collections": collections})
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, BSONError) as error:
            raise BackupError(f"{path} is damaged: {error}") from None
        loaded._require_sums(path)
        return loaded

    def _require_sums(self, path: Path) -> None:
        for each in self.collections:
            if chunks.sums(each.chunks) != (each.count, each.bytes, each.hash):
                raise BackupError(f"{path} is damaged: the files of {each.name} don't add up to what it says of them")


def _plain(value: Any) -> Any:
    return json.loads(json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS))


def _as_it_was(value: Any) -> Any:
    return json_util.loads(json.dumps(value), json_options=json_util.CANONICAL_JSON_OPTIONS)
