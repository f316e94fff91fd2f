"""A night's tables made whole: one sorted file for each, with all that MongoDB has of the night, and nothing twice.

MongoDB is the truth. Of the files that are there before, rows are kept of what MongoDB has no more: of alerts and objects that were removed
from it, of passes that it has forgotten, and of fits that were followed by others. Everything is read before anything is replaced.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import pyarrow as pa

from kowalski.archive.tables.columns import Table
from kowalski.archive.tables.fitting import Row, fitted
from kowalski.archive.tables.objects import of_objects
from kowalski.archive.tables.rows import Rows
from kowalski.archive.tables.sorting import Sorter
from kowalski.archive.tables.store import Partition, Store
from kowalski.archive.tables.turn import Turn
from kowalski.database.tabled import Tabled, topic_of
from kowalski.errors import TableError

#: alerts, and objects with their light curves, that are made into rows together
ALERTS, OBJECTS = 2000, 500

Tell = Callable[[str], None]
Mask = Callable[[pa.Table], Iterable[bool]]


class Compaction:
    """Makes one night of one survey whole.

    Parameters
    ----------
    tell : is told how far it is
    """

    def __init__(self, tables: dict[str, Table], rows: Rows, tabled: Tabled, store: Store, night: date, tell: Tell):
        self.tables, self.rows, self.tabled, self.store, self.tell = tables, rows, tabled, store, tell
        self.survey, self.name = tabled.survey.name, f"{night:%Y%m%d}"
        self.night = night
        self._jds: dict[str, set[float]] = {}
        self._candids, self._kept, self._topics = set[int](), set[int](), set[str]()
        self._there, self._gone = set[str](), set[str]()
        self._sorters: dict[str, Sorter] = {}

    def run(self, turn: Turn) -> dict[str, int]:
        """Replace the night's files; how many rows each table has then. Where there is nothing, nothing is made."""
        for name in self.tables:
            self.store.recover(self._partition(name))
        with self.store.workshop(f"{self.survey}-{self.name}") as folder:
            self._sorters = {name: self._sorter(table, folder) for name, table in self.tables.items()}
            self._read()
            if not any(sorter.rows for sorter in self._sorters.values()):
                return {}
            for name, sorter in self._sorters.items():
                made = folder / f"{name}.parquet"
                sorter.write(made)
                turn.require()
                self.store.replace(self._partition(name), made)
            return {name: sorter.rows for name, sorter in self._sorters.items()}

    def _partition(self, name: str) -> Partition:
        return Partition(name, self.survey, self.name)

    def _sorter(self, table: Table, folder: Path) -> Sorter:
        """What takes the rows of a table: its columns, and further ones that earlier files have."""
        partition = self._partition(table.name)
        schemas = [self.store.schema(path) for path in self.store.files(partition)]
        try:
            schema = pa.unify_schemas([table.schema, *schemas], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise TableError(
                f"{self.store.place(partition)} has columns of other types than now ({error}): "
                "move its files elsewhere, and compact the night again"
            ) from None
        return Sorter(schema.remove_metadata(), table.order, folder / table.name)

    # from MongoDB

    def _read(self) -> None:
        alerts = iter(self.tabled.alerts_of(self.night))
        while batch := list(islice(alerts, ALERTS)):
            self._take_alerts(batch)
        self._keep_alerts()
        self._take_objects()
        self._keep("points", lambda table: self._of_the_gone(table, ("detection",)))
        self._keep("matches", lambda table: self._of_the_gone(table))
        self._keep("scores", lambda table: [candid in self._kept for candid in table["candid"].to_pylist()])
        passes = [self.rows.passed(each) for each in self._passes()]
        fits = [self.rows.fit(each) for each in self.tabled.fits_of(self._jds) if each.get("candid") in self._candids]
        for name, made in (("passes", passes), ("salt2", fits)):
            self._add(name, made)
            self._keep_others(name, made)

    def _take_alerts(self, batch: list[dict[str, Any]]) -> None:
        self._add("alerts", (self.rows.alert(each) for each in batch))
        self._add("scores", (row for each in batch for row in self.rows.scores(each)))
        self._add("points", (self.rows.detection(each) for each in batch))
        for each in batch:
            self._candids.add(each["candid"])
            self._jds.setdefault(each["objectId"], set()).add(each["candidate"]["jd"])
            self._topics.add(topic_of(each) or "")
        self.tell(f"{self.survey} {self.name}: {len(self._candids)} alerts read")

    def _take_objects(self) -> None:
        objects, done, candids = iter(list(self._jds)), 0, self._candids | self._kept
        while chunk := list(islice(objects, OBJECTS)):
            jds = {object_id: self._jds[object_id] for object_id in chunk}
            points, matches = of_objects(self.rows, self.tabled, self.tabled.objects(jds), jds, candids)
            self._add("points", (row for row in points if row.get("candid") not in self._kept))
            self._add("matches", matches)
            done += len(chunk)
            self.tell(f"{self.survey} {self.name}: {done} of {len(self._jds)} objects read")

    def _passes(self) -> Iterator[dict[str, Any]]:
        jds = [jd for each in self._jds.values() for jd in each]
        span = (min(jds), max(jds)) if jds else (inf, -inf)
        return self.tabled.passes_of(self._candids, self._topics, span)

    def _add(self, name: str, rows: Iterable[Row]) -> None:
        self._sorters[name].add(fitted(self.tables[name].kind, rows))

    # from the files that are there

    def _keep_alerts(self) -> None:
        """Keep alerts that MongoDB has no more; their objects are looked at as those of the others."""

        def mask(table: pa.Table) -> list[bool]:
            candids = table["candid"].to_pylist()
            unknown = set(candids) - self._candids - self._kept
            gone = unknown - self.tabled.stored(unknown)
            self._kept |= gone
            found = [candid in gone for candid in candids]
            for object_id, jd, kept in zip(
                *(table[name].to_pylist() for name in ("objectId", "jd")), found, strict=True
            ):
                if kept:
                    self._jds.setdefault(object_id, set()).add(jd)
            return found

        self._keep("alerts", mask)

    def _of_the_gone(self, table: pa.Table, own: tuple[str, ...] = ()) -> list[bool]:
        """Which rows are of objects that MongoDB has no more, or the alerts' ``own`` among points."""
        names = table["objectId"].to_pylist()
        unknown = set(names) - self._there - self._gone
        self._there |= (there := self.tabled.stored_objects(unknown))
        self._gone |= unknown - there
        found = [name in self._gone for name in names]
        if own:
            kinds, candids = table["kind"].to_pylist(), table["candid"].to_pylist()
            owned = [kind in own and candid in self._kept for kind, candid in zip(kinds, candids, strict=True)]
            fresh = [kind in own and candid in self._candids for kind, candid in zip(kinds, candids, strict=True)]
            found = [(old or mine) and not new for old, mine, new in zip(found, owned, fresh, strict=True)]
        return found

    def _keep_others(self, name: str, made: list[Row]) -> None:
        """Keep rows of a table other than those just made."""
        key = self.tables[name].key
        known = {tuple(row.get(column) for column in key) for row in made}
        self._keep(name, lambda table: [each not in known for each in _keys(table, key)])

    def _keep(self, name: str, mask: Mask) -> None:
        """Keep some of the rows of a table's files, each once."""
        key, files = self.tables[name].key, self.store.files(self._partition(name))
        seen = set[tuple[Any, ...]]()
        for path in files:
            for table in self.store.batches(path):
                chosen = list(mask(table))
                if any(chosen) and len(files) > 1:
                    for place, each in enumerate(_keys(table, key)):
                        chosen[place] = chosen[place] and each not in seen
                        if chosen[place]:
                            seen.add(each)
                self._sorters[name].add(table.filter(pa.array(chosen, pa.bool_())))


def _keys(table: pa.Table, key: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """What tells rows apart."""
    return zip(*(table[name].to_pylist() for name in key), strict=True)
