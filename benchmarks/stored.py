"""What is stored before the clock starts, by the same code that stores a night: earlier alerts without cutouts, and their objects."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
from bson.int64 import Int64

from benchmarks.catalogs import anywhere
from kowalski.alerts.coordinates import coordinates
from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Alert, arrival, read_batch
from kowalski.alerts.lightcurve import Arrival, Point, merged
from kowalski.alerts.schemas import store_of
from kowalski.alerts.survey import History, Survey
from kowalski.crossmatch.matcher import Matcher, Target
from kowalski.database.alerts import Alerts
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase
from kowalski.database.objects import Objects
from kowalski.errors import LocalError
from kowalski.settings import Config

Row = dict[str, Any]

EARLIER, POINTS = 50, 500
#: objects whose past is stored at a time, and rows of one insert
OBJECTS, ROWS = 64, 2000
#: packets that are looked through for points of every history
SAMPLE = 200
#: candids of what is stored before: smaller than those of any packet
PAST_CANDID, ROW_CANDID = 1_000_000_000_000, 1_000_000_000
#: days between the last earlier alert and the packet, from that packet to the others, and from one of these to the next
LAST, BEFORE, STEP = 0.01, 31.0, 7.0
#: days between points of one night
APART = 0.01
#: alerts of an object, and days over which they are spread
PER_OBJECT, DAYS = 10, 365.0


def store_rows(
    database: MongoDatabase,
    survey: Survey,
    number: int,
    done: Callable[[int], None] = lambda rows: None,
    first: int = 0,
) -> None:
    """So many more alerts are stored, without cutouts, in every index, and their objects; ``first`` were stored so before.

    They are copies of alerts that are there, elsewhere on the sky and earlier. ``done`` is told how many, batch after batch.

    Raises
    ------
    LocalError : no alert is there
    """
    alerts, objects = Alerts(database, survey), Objects(database, survey)
    models = list(alerts.collection.find({}, {"_id": 0, **dict.fromkeys(survey.cutouts.values(), 0)}).limit(SAMPLE))
    if not models:
        raise LocalError(f"{survey.alerts} is empty: there is no alert to copy")
    rng = np.random.default_rng(first + 1)
    for start in range(first, first + number, ROWS):
        rows = list(_rows(models, survey, range(start, min(start + ROWS, first + number)), rng))
        alerts.insert(rows)
        objects.create([_object_of(row, survey) for row in rows if (row["candid"] - ROW_CANDID) % PER_OBJECT == 0])
        done(len(rows))


def _rows(models: list[Row], survey: Survey, numbers: range, rng: np.random.Generator) -> Iterator[Row]:
    ra, dec = anywhere(len(numbers), rng)
    places, days = coordinates(np.array(ra), np.array(dec)), rng.uniform(1, DAYS, len(numbers)).tolist()
    for place, number in enumerate(numbers):
        model, candid = models[number % len(models)], Int64(ROW_CANDID + number)
        jd = model["candidate"]["jd"] - days[place]
        changed = {"candid": candid, "jd": jd, "ra": ra[place], "dec": dec[place]}
        name = f"{survey.name}98{number // PER_OBJECT:07d}"
        yield {**model, survey.object_id: name, "objectId": name, "candid": candid, "candidate": {**model["candidate"], **changed}, "coordinates": places[place]}  # fmt: skip


def _object_of(row: Row, survey: Survey) -> Row:
    candidate, candid = row["candidate"], row["candid"]
    first = {"jd": candidate["jd"], "candid": candid, "ra": candidate["ra"], "dec": candidate["dec"], "forced_complete": True}  # fmt: skip
    return {"_id": row["objectId"], **merged({}, [Arrival((candidate["jd"], candid), first, {})], survey)}


def with_past(packets: Iterable[bytes], database: MongoDatabase, survey: Survey, config: Config) -> Iterator[bytes]:
    """The packets, each when its object has `EARLIER` alerts and `POINTS` points of history stored, matched with the catalogues.

    What a packet itself tells of the past is among the points, as it is after the packet before.

    Raises
    ------
    LocalError : the survey's histories can't be made up
    """
    alerts, objects = Alerts(database, survey), Objects(database, survey)
    matcher = Matcher(Catalogs(database), config.database.xmatch.get(survey.name, {}))
    schemas = store_of(survey, config)

    def read(data: list[bytes]) -> list[Alert]:
        return read_batch([Packet(each) for each in data], survey, schemas)[0]

    packets = iter(packets)
    sample = list(islice(packets, SAMPLE))
    past, packets, serial = Past(survey, read(sample)), chain(sample, packets), 0
    while batch := list(islice(packets, OBJECTS)):
        documents: dict[str, Row] = {}
        earlier: list[Row] = []
        for alert in read(batch):
            documents[alert.object_id] = past.object_before(alert, serial)
            earlier += past.alerts_before(alert, serial)
            serial += 1
        firsts = {key: document["first_alert"] for key, document in documents.items()}
        targets = [Target(key, first["candid"], first["ra"], first["dec"]) for key, first in firsts.items()]
        matches = matcher.match(targets)
        objects.create([{"_id": key, **document, **matches[key]} for key, document in documents.items()])
        for start in range(0, len(earlier), ROWS):
            alerts.insert(earlier[start : start + ROWS])
        yield from batch


class Past:
    """Makes up what was known of objects before their packets."""

    def __init__(self, survey: Survey, sample: list[Alert]):
        self.survey = survey
        self.share = dict.fromkeys((history.field for history in survey.histories), POINTS // len(survey.histories))
        points: dict[str, list[Point]] = {field: [] for field in self.share}
        for alert in sample:
            for field, more in arrival(alert, survey).histories.items():
                points[field] += more
        for field, found in points.items():
            if not found:
                raise LocalError(f"{survey.name}: no packet has {field}, of which a past could be made")
        self.seen = {field: [each for each in found if each.get("candid") is not None] for field, found in points.items()}  # fmt: skip
        self.missed = {field: [each for each in found if each.get("candid") is None] for field, found in points.items()}

    def alerts_before(self, alert: Alert, serial: int) -> Iterator[Row]:
        """The earlier alerts of an alert's object, the last one first."""
        cutouts = set(self.survey.cutouts.values())
        common = {key: value for key, value in alert.document.items() if key not in cutouts}
        for number in range(EARLIER):
            candid, jd = self._candid(serial, number), self._jd(alert, number)
            yield {**common, "candid": candid, "candidate": {**alert.candidate, "candid": candid, "jd": jd}}

    def object_before(self, alert: Alert, serial: int) -> Row:
        """The document of an alert's object before it, without matches."""
        came = arrival(alert, self.survey)
        brought: list[dict[str, list[Point]]] = [{} for _ in range(EARLIER)]
        for history in self.survey.histories:
            own = list(came.histories[history.field])[: self.share[history.field]]
            brought[0][history.field] = own
            for place in range(self.share[history.field] - len(own)):
                night, number = divmod(place, EARLIER - 1)
                point = self._point(history, alert, serial, number + 1, night)
                brought[number + 1].setdefault(history.field, []).append(point)
        arrivals = [
            Arrival(
                (self._jd(alert, number), self._candid(serial, number)),
                {**came.first_alert, "jd": self._jd(alert, number), "candid": self._candid(serial, number)},
                histories,
                came.programme,
            )
            for number, histories in enumerate(brought)
        ]
        document = merged({}, arrivals, self.survey)
        if any(len(document[field]) != size for field, size in self.share.items()):
            raise LocalError(f"the past of {self.survey.name}'s objects can't be made up: its points are not told apart by time")  # fmt: skip
        return document

    def _point(self, history: History, alert: Alert, serial: int, number: int, night: int) -> Point:
        """A point of an earlier alert: its own detection, or what was there shortly before it."""
        seen, missed = self.seen[history.field], self.missed[history.field]
        jd = self._jd(alert, number) - night * APART
        if night == 0 and seen:
            return {**seen[(serial + number) % len(seen)], "jd": jd, "candid": self._candid(serial, number)}
        model = (missed or seen)[(serial + number + night) % len(missed or seen)]
        return {**{key: value for key, value in model.items() if key != "candid"}, "jd": jd}

    @staticmethod
    def _candid(serial: int, number: int) -> Int64:
        return Int64(PAST_CANDID + serial * EARLIER + number)

    @staticmethod
    def _jd(alert: Alert, number: int) -> float:
        return alert.jd - (BEFORE + STEP * number if number else LAST)
