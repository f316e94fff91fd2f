"""Signs of life: every long-running program says every few seconds that it is there, and how it is doing."""

import os
import socket
from typing import Any

from kowalski.database.client import MongoDatabase, translated
from kowalski.database.indexes import Index, ensure_indexes
from kowalski.exporter import address

#: documents of processes that are gone disappear after this many seconds
FORGOTTEN_AFTER = 86400


class Processes:
    """The collection ``processes``, one document per running process."""

    INDEXES = [Index("at", [("at", 1)], {"expireAfterSeconds": FORGOTTEN_AFTER})]

    def __init__(self, db: MongoDatabase):
        self._processes = db["processes"]

    @translated("processes: indexes")
    def ensure_indexes(self) -> None:
        """Make the indexes that are missing."""
        ensure_indexes(self._processes, self.INDEXES)

    @translated("processes: beat")
    def beat(self, program: str, survey: str | None = None, **figures: Any) -> None:
        """Say that this process is alive now, by the server's clock, with whatever figures describe its work."""
        # $literal: figures are data, whatever characters stand in their names
        document = {
            "program": program,
            "survey": survey,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "metrics": address(),
            **figures,
        }
        self._processes.update_one(
            {"_id": process_id(program, survey)},
            [{"$replaceWith": {"$mergeObjects": [{"_id": "$_id"}, {"$literal": document}, {"at": "$$NOW"}]}}],
            upsert=True,
        )

    @translated("processes: leave")
    def leave(self, program: str, survey: str | None = None) -> None:
        """Remove this process, which ends in good order."""
        self._processes.delete_one({"_id": process_id(program, survey)})

    @translated("processes: alive")
    def alive(self, max_age_s: float = 10.0) -> list[dict[str, Any]]:
        """The processes heard of in the last ``max_age_s`` seconds, by the server's clock."""
        recent = {"$gte": ["$at", {"$subtract": ["$$NOW", round(max_age_s * 1000)]}]}
        return list(self._processes.find({"$expr": recent}, sort=[("program", 1), ("survey", 1), ("_id", 1)]))


def process_id(program: str, survey: str | None = None) -> str:
    """The name of this process among all on all hosts, e.g. ``poster:host:4711``."""
    return ":".join(part for part in (program, survey, socket.gethostname(), str(os.getpid())) if part)
