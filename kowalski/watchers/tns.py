"""Copy TNS: ``python -m kowalski.watchers.tns [--graball] [--once]``.

What changed since the last search is noted first and then asked for, object by object, so that nothing is lost or asked for twice
when the program is stopped.
"""

import argparse
import time
from datetime import UTC, datetime, timedelta

from kowalski.config import load_config
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.watching import Progress, TnsObjects
from kowalski.errors import SourceError
from kowalski.log import get_logger
from kowalski.program import once_available, run_program
from kowalski.settings import TNS
from kowalski.watchers.programs import WATCHERS
from kowalski.watchers.tns_client import TnsClient, document_of
from kowalski.watchers.watch import Watch, stop_on_signals

log = get_logger(__name__)

PROGRAM = WATCHERS["tns"]
#: how far back the first search goes, and how far a search goes back before the last one
FIRST, OVERLAP = timedelta(hours=3), timedelta(minutes=1)
#: where everything begins
EVERYTHING = datetime(1, 1, 1, tzinfo=UTC)


class Mirror:
    """Keeps ``TNS`` as TNS is."""

    def __init__(self, settings: TNS, database: MongoDatabase):
        self.objects = TnsObjects(database)
        self.progress = Progress(database, PROGRAM)
        self._client = TnsClient(settings)
        self._interval = settings.interval

    def step(self) -> None:
        """All that changed is stored; where that takes long, what changes meanwhile too."""
        self.search()
        searched = time.monotonic()
        while found := self.objects.wanted():
            if time.monotonic() > searched + self._interval:
                self.search()
                searched = time.monotonic()
            self._store(*found)

    def search(self) -> None:
        """Note what is to be asked for; page after page, each once, and the time from which the next search goes on."""
        known = self.progress.read()
        since = known.get("since") or datetime.now(UTC) - FIRST
        page, began = known.get("page", 0), known.get("began")
        while True:
            found = self._client.search(since, page)
            began = began or found.at
            self.objects.want(found.names)
            if not found.more:
                break
            page += 1
            self.progress.note(since=since, page=page, began=began)
            log.info("%d pages of what changed since %s", page, since.isoformat(" ", "seconds"))
        self.progress.note(since=began - OVERLAP, page=0, began=None)
        if found.names:
            log.info("%d objects are to be asked for", self.objects.waiting())

    def from_the_beginning(self) -> None:
        """The next search goes back to where everything begins; one of this kind that was broken off goes on."""
        if self.progress.read().get("since") != EVERYTHING:
            self.progress.note(since=EVERYTHING, page=0, began=None)

    def _store(self, number: int, name: str) -> None:
        reply = self._client.object(name)
        if reply is None:
            log.warning("TNS has no %s (any more)", name)
            return self.objects.forget(number)
        try:
            document = document_of(reply)
        except SourceError as error:
            log.warning("not stored: %s", error)
            return self.objects.refuse(number, str(error))
        self.objects.put(document)
        if document["_id"] != number:  # its name is another's now
            self.objects.forget(number)


def main() -> None:
    """Watch until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Copy TNS into the collection TNS")
    parser.add_argument("--graball", action="store_true", help="begin with year 1: all that TNS has")
    parser.add_argument("--once", action="store_true", help="end when all that changed is stored")
    arguments = parser.parse_args()
    stop_on_signals()
    config = load_config()
    database = connect(config.database)
    mirror = Mirror(config.tns, database)
    once_available(mirror.objects.ensure_indexes)
    if arguments.graball:
        once_available(mirror.from_the_beginning)
    Watch(PROGRAM, database).run(mirror.step, config.tns.interval, arguments.once)


if __name__ == "__main__":
    run_program(PROGRAM, main)
