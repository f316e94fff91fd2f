"""A database of Kowalski 3, and what of it has to change. Nothing is dropped, and what isn't known stays as it is."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from bson.int64 import Int64
from pymongo import UpdateOne

from kowalski.alerts.lightcurve import merged
from kowalski.alerts.survey import Survey
from kowalski.crossmatch.matcher import radius_of
from kowalski.crossmatch.pixels import Grid, grid_for, with_pixels
from kowalski.database.alerts import alert_indexes
from kowalski.database.catalogs import place_of
from kowalski.database.client import MongoDatabase, translated
from kowalski.database.fits import COLLECTION as FITS
from kowalski.database.fits import Fits
from kowalski.database.indexes import Index, create_indexes, missing_indexes
from kowalski.database.objects import INDEXES as OBJECT_INDEXES
from kowalski.database.objects import Objects
from kowalski.database.outbox import Outbox
from kowalski.database.quarantine import INDEXES as QUARANTINE_INDEXES
from kowalski.database.watching import Exposures
from kowalski.settings import Recipe

#: objects, and rows of a catalogue, that are changed at once
BATCH, ROWS = 500, 5000
#: objects that Kowalski 3 wrote, and that no alert came for since
OLD = {"version": {"$exists": False}}
#: sky maps whose trigger has the name that queries asked for
MISNAMED = {"trigger_id": {"$exists": True}, "triggerid": {"$exists": False}}

Document = dict[str, Any]


class Migration:
    """Looks at a database and changes it, a bounded number of documents at a time; what is done stays done."""

    def __init__(self, database: MongoDatabase):
        self.database = database

    # objects -----------------------------------------------------------------------------------------------------

    def old_objects(self, survey: Survey) -> int:
        """How many objects of a survey have the shape of version 3."""
        with translated("count old objects"):
            return self.database[survey.aux].count_documents(OLD)

    def renew_objects(self, survey: Survey, done: Callable[[int], None]) -> int:
        """Objects of version 3 get what new packets need of them; how many have no alert to take it from.

        Safe beside a running broker: who changes an object first wins, and the other looks again. ``done`` is told
        of each batch.
        """
        objects, orphans = Objects(self.database, survey), 0
        for batch in self._batches(survey):
            alerts = self._alerts_of(survey, list(batch))
            fields = {key: renewed(aux, alerts[key], survey) for key, aux in batch.items() if key in alerts}
            objects.put(fields, {key: batch[key] for key in fields})  # a broker's change makes one new, too
            alone = batch.keys() - alerts.keys()
            objects.update({key: (None, {}) for key in alone})
            orphans += len(alone)
            done(len(batch))
        return orphans

    def _batches(self, survey: Survey) -> Iterator[dict[str, Document]]:
        """Old objects by their ids, in the order of these."""
        last: Document = {}
        while True:
            with translated("read old objects"):
                found = list(self.database[survey.aux].find({**OLD, **last}).sort("_id", 1).limit(BATCH))
            if not found:
                return
            yield {document["_id"]: document for document in found}
            last = {"_id": {"$gt": found[-1]["_id"]}}

    def _alerts_of(self, survey: Survey, object_ids: list[str]) -> dict[str, list[Document]]:
        """Candid and candidate of the alerts of some objects, oldest first."""
        oid = survey.object_id
        found: dict[str, list[Document]] = {}
        with translated("read alerts of old objects"):
            condition, fields = {oid: {"$in": object_ids}}, {oid: 1, "candid": 1, "candidate": 1}
            for alert in self.database[survey.alerts].find(condition, fields):
                found.setdefault(alert[oid], []).append(alert)
        for alerts in found.values():
            alerts.sort(key=lambda alert: (alert["candidate"]["jd"], alert["candid"]))
        return found

    # what else there is ------------------------------------------------------------------------------------------

    def filters(self) -> list[Document]:
        """All filters."""
        with translated("read filters"):
            return list(self.database["filters"].find())

    def old_passwords(self) -> list[str]:
        """Users whose passwords are hashed as in version 3."""
        with translated("read users"):
            return [
                user["_id"]
                for user in self.database["users"].find({"password": {"$not": {"$regex": r"^\$2"}}}, {"_id": 1})
            ]

    def misnamed_triggers(self) -> int:
        """How many sky maps have ``trigger_id`` in place of ``triggerid``."""
        with translated("count sky maps"):
            return self.database["skymaps"].count_documents(MISNAMED)

    def rename_triggers(self) -> int:
        """These sky maps have ``triggerid``; how many were changed."""
        with translated("change sky maps"):
            return (
                self.database["skymaps"].update_many(MISNAMED, {"$rename": {"trigger_id": "triggerid"}}).modified_count
            )

    def missing_indexes(self, surveys: Iterable[Survey]) -> dict[str, list[Index]]:
        """Indexes that the collections lack which grow without end, by collection; of those that exist."""
        wanted = {"outbox": Outbox.INDEXES, "quarantine": QUARANTINE_INDEXES, "ZTF_ops": Exposures.INDEXES}
        wanted[FITS] = Fits.INDEXES
        for survey in surveys:
            wanted |= {survey.alerts: alert_indexes(survey), survey.aux: OBJECT_INDEXES}
        with translated("look up indexes"):
            present = set(self.database.list_collection_names())
            lacking = {
                name: missing_indexes(self.database[name], indexes)
                for name, indexes in wanted.items()
                if name in present
            }
        return {name: indexes for name, indexes in lacking.items() if indexes}

    def without_pixels(self, xmatch: Mapping[str, Mapping[str, Recipe]]) -> list[tuple[str, Grid]]:
        """The catalogues that cross-matches look into and whose rows' pixels are not indexed, with the grid that each asks for."""
        wanted = {
            (name, grid)
            for recipes in xmatch.values()
            for name, recipe in recipes.items()
            if not recipe.latest_by and (grid := grid_for(radius_of(recipe))) is not None
        }
        with translated("look up indexes of catalogues"):
            present = set(self.database.list_collection_names())
            return sorted(
                (name, grid)
                for name, grid in wanted
                if name in present and grid.name not in self.database[name].index_information()
            )

    def rows(self, catalog: str) -> int:
        """How many rows a catalogue has, from its metadata."""
        with translated(f"count {catalog}"):
            return self.database[catalog].estimated_document_count()

    def add_pixels(self, catalog: str, grid: Grid, done: Callable[[int], None]) -> int:
        """A catalogue's rows have their pixels, indexed; how many rows are no points and have none. ``done`` is told of each batch."""
        collection, nowhere = self.database[catalog], 0
        with translated(f"add pixels to {catalog}"):
            lacking = collection.find(
                {grid.field: {"$exists": False}}, {"coordinates.radec_geojson": 1}, batch_size=ROWS
            )
            while rows := list(islice(lacking, ROWS)):
                points = [row for row in rows if is_point(row)]
                changes = [
                    UpdateOne({"_id": row["_id"]}, {"$set": {grid.field: row["coordinates"][grid.name]}})
                    for row in with_pixels(points, [grid])
                ]
                if changes:
                    collection.bulk_write(changes, ordered=False)
                nowhere += len(rows) - len(points)
                done(len(rows))
            create_indexes(collection, [Index(grid.name, [(grid.field, 1)])])
        return nowhere

    def build_index(self, collection: str, index: Index) -> None:
        """One index of a collection is built, however long that takes."""
        with translated(f"build index {index.name} of {collection}"):
            create_indexes(self.database[collection], [index])


def renewed(aux: Mapping[str, Any], alerts: list[Document], survey: Survey) -> Document:
    """What changes of an object of version 3, given its alerts, oldest first: doubles among its points go.

    A point counts as known since the first stored alert after it: version 3 did not note which packet brought it.
    """
    jds = [alert["candidate"]["jd"] for alert in alerts]
    first, last = alerts[0], alerts[-1]
    candidate = first["candidate"]
    known = {
        **aux,
        "first_alert": {
            "jd": candidate["jd"],
            "candid": Int64(first["candid"]),
            "ra": candidate["ra"],
            "dec": candidate["dec"],
            "forced_complete": survey.forced_complete(candidate),
        },
        "last_packet": {"jd": last["candidate"]["jd"], "candid": Int64(last["candid"])},
    }
    if survey.program_field:
        programmes = {alert["candidate"].get(survey.program_field) for alert in alerts}
        known["programids"] = sorted(each for each in programmes if isinstance(each, int))
    for history in survey.histories:
        known[history.field] = [_as_known(point, alerts, jds, survey) for point in aux.get(history.field) or ()]
    return merged(known, [], survey)


def _as_known(point: Document, alerts: list[Document], jds: list[float], survey: Survey) -> Document:
    """A point with the jd since which it is known, and the programme of that alert where it names none itself."""
    alert = min(bisect_left(jds, point["jd"]), len(jds) - 1)
    program = survey.program_field
    programme = {program: alerts[alert]["candidate"].get(program)} if program else {}
    return {"first_jd": jds[alert], **programme, **point}


def is_point(row: Document) -> bool:
    """Whether a catalogue's row has a position."""
    return place_of(((row.get("coordinates") or {}).get("radec_geojson") or {}).get("coordinates")) is not None
