"""What is new in MongoDB as further files of the tables, as the night goes.

Alerts are looked for again for a while after they appeared, as workers store at the same time and by their own clocks, and wait as long until
their objects are merged, too; rows that a table has already are left out. What comes later is brought when the night is made whole.
"""

import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from bson.objectid import ObjectId

from kowalski.archive.tables.columns import Table
from kowalski.archive.tables.fitting import Row, fitted
from kowalski.archive.tables.known import Known
from kowalski.archive.tables.objects import of_objects
from kowalski.archive.tables.rows import Rows
from kowalski.archive.tables.store import Partition, Store
from kowalski.archive.tables.turn import Turn
from kowalski.database.tabled import Tabled, topic_of

#: s for which what may be late is looked for again
LATE = 180.0
#: s before the first start from which alerts are taken: those of earlier nights are for `compact`
BACK = 86400.0
#: alerts whose rows are in memory at the same time
CHUNK = 2000

Document = dict[str, Any]
Found = dict[tuple[str, date], list[Row]]


class Appending:
    """Appends what is new of one survey.

    Parameters
    ----------
    settled : s that an alert must be old
    """

    def __init__(
        self, tables: dict[str, Table], rows: Rows, tabled: Tabled, store: Store, known: Known, settled: float
    ):
        self.tables, self.rows, self.tabled, self.store, self.known = tables, rows, tabled, store, known
        self.settled = settled
        self._done: set[ObjectId] = set()

    def step(self, turn: Turn) -> dict[str, int]:
        """Bring the tables up to date; how many rows were added to each."""
        until = datetime.now(UTC) - timedelta(seconds=self.settled)
        mark = self.tabled.mark() or until - timedelta(seconds=BACK)
        since, added = mark - timedelta(seconds=LATE), dict.fromkeys(self.tables, 0)
        ids = self.tabled.new_alerts(since, until)
        fresh, waiting = [each for each in ids if each not in self._done], set[ObjectId]()
        for first in range(0, len(fresh), CHUNK):
            alerts = self.tabled.alerts(fresh[first : first + CHUNK])
            objects = self.tabled.objects({alert["objectId"] for alert in alerts})
            late = {each["_id"] for each in alerts if not _is_merged(each, objects) and _age(each, until) < LATE}
            waiting |= late
            self._write(self._of_alerts([each for each in alerts if each["_id"] not in late], objects), turn, added)
        self._write(self._of_passes(since), turn, added)
        self._write(self._of_fits(since), turn, added)
        self.tabled.keep_mark(until)
        self._done = {each for each in ids if each.generation_time >= until - timedelta(seconds=LATE)} - waiting
        return added

    def _of_alerts(self, alerts: list[Document], objects: Mapping[str, Document]) -> Found:
        by_night: dict[date, list[Document]] = defaultdict(list)
        for alert in alerts:
            by_night[self.tabled.night_of(topic_of(alert), alert["candidate"]["jd"])].append(alert)
        found: Found = {}
        for night, own in by_night.items():
            jds: dict[str, set[float]] = defaultdict(set)
            for alert in own:
                jds[alert["objectId"]].add(alert["candidate"]["jd"])
            known = {object_id: objects[object_id] for object_id in jds if object_id in objects}
            points, matches = of_objects(self.rows, self.tabled, known, jds, {alert["candid"] for alert in own})
            found["alerts", night] = [self.rows.alert(alert) for alert in own]
            found["scores", night] = [row for alert in own for row in self.rows.scores(alert)]
            found["points", night] = [*(self.rows.detection(alert) for alert in own), *points]
            found["matches", night] = matches
        return found

    def _of_passes(self, since: datetime) -> Found:
        found: Found = defaultdict(list)
        for topic, each in self.tabled.new_passes(since):
            found["passes", self.tabled.night_of(topic, each["jd"])].append(self.rows.passed(each))
        return found

    def _of_fits(self, since: datetime) -> Found:
        fits = self.tabled.new_fits(since)
        topics = self.tabled.topics(each["candid"] for each in fits if each.get("candid") is not None)
        found: Found = defaultdict(list)
        for each in fits:
            if each.get("candid") in topics:
                night = self.tabled.night_of(topics[each["candid"]], each["jd"])
                found["salt2", night].append(self.rows.fit(each))
        return found

    def _write(self, found: Found, turn: Turn, added: dict[str, int]) -> None:
        for (name, night), made in found.items():
            added[name] += self._append(name, night, made, turn) if made else 0

    def _append(self, name: str, night: date, made: Iterable[Row], turn: Turn) -> int:
        table, partition = self.tables[name], Partition(name, self.tabled.survey.name, f"{night:%Y%m%d}")
        rows = self.known.new(partition, table, fitted(table.kind, made))
        if rows.num_rows:
            turn.require()
            file = f"part-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}.parquet"
            self.store.add(partition, file, rows)
            self.known.add(partition, table, file, rows)
        return rows.num_rows


def _is_merged(alert: Document, objects: Mapping[str, Document]) -> bool:
    """Whether an alert's packet is among those that its object was merged of: this is done beside the storing of the alert."""
    last = objects.get(alert["objectId"], {}).get("last_packet")
    return last is not None and (last["jd"], last["candid"]) >= (alert["candidate"]["jd"], alert["candid"])


def _age(alert: Document, now: datetime) -> float:
    """Age of an alert's document, s."""
    return (now - alert["_id"].generation_time).total_seconds()
