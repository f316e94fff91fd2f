"""Where replays of folders and tarballs stand that have not come to their end: ``archive_replays``."""

from kowalski.alerts.survey import Survey
from kowalski.database.client import MongoDatabase, translated


class ArchiveReplays:
    """Keeps how far one archive's packets are done, for one survey and purpose."""

    def __init__(self, database: MongoDatabase, survey: Survey, archive: str, purpose: str):
        self._collection = database["archive_replays"]
        self._key = f"{survey.name}:{purpose}:{archive}"

    @translated("read where a replay stands")
    def interrupted_at(self) -> int | None:
        """How many packets an earlier replay had done when it was cut off; None: there was none, or it came to its end."""
        found = self._collection.find_one({"_id": self._key})
        return found["done"] if found else None

    @translated("write where a replay stands")
    def keep(self, done: int) -> None:
        """So many packets are done."""
        self._collection.update_one(
            {"_id": self._key}, {"$set": {"done": done}, "$currentDate": {"at": True}}, upsert=True
        )

    @translated("end a replay")
    def end(self) -> None:
        """All are done."""
        self._collection.delete_one({"_id": self._key})
