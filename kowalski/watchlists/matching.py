"""Which rows of watchlists some alerts match: one round trip for all lists, once these are known.

MongoDB is asked by a generator, that yields questions and is sent the answers, so that it serves callers that wait and callers
with an event loop. The last thing that each question asks for is the versions of the lists: where one has changed, it is asked again.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from bson.objectid import ObjectId

from kowalski.alerts.coordinates import separation
from kowalski.crossmatch.pixels import pixels_around
from kowalski.database.watchlists import LISTS, ROWS, Question, Row, rows_of
from kowalski.watchlists.grids import ARCSEC, BY_ORDER, first_of
from kowalski.watchlists.regions import region_of

#: of the rows of one list, the nearest that an alert is given
MOST = 20
#: rows that are read for a batch; where there are more it is halved
MOST_AT_ONCE = 50_000
#: what an alert in a region matches
INSIDE = {"inside": True}
ABOUT = ("group_id", "name", "version", "kind", "radius", "radii", "order")


class ListKey(NamedTuple):
    """A list, as a filter names it."""

    group_id: int
    name: str


class Place(NamedTuple):
    """An alert's object, and where the alert is (deg)."""

    object_id: str
    ra: float
    dec: float


class Known(NamedTuple):
    """A list at one version.

    Attributes
    ----------
    radius : arcsec, of rows that have none of their own
    radii : order of the pixels of rows -> the largest radius of these, arcsec
    order : of the finest cells of a region
    region : the MOC, once it is read
    """

    version: ObjectId
    kind: str
    radius: float
    radii: Mapping[int, float]
    order: int | None = None
    region: Any = None


Lists = MutableMapping[ListKey, Known]
Matches = Mapping[ListKey, Sequence[list[Row]]]
"""List -> for each place the rows that it matches; lists that don't exist are left out."""
Asking = Generator[Question, list[Row], Matches]


def matches(keys: Iterable[ListKey], places: Sequence[Place], known: Lists) -> Asking:
    """What some places match in some lists; ``known`` is what was known of them, and is brought up to date."""
    keys = sorted(set(keys))
    for key in known.keys() - set(keys):
        del known[key]
    if known.keys() != set(keys):
        _renew(known, (yield _versions(keys)))
    while True:
        for key, each in known.items():
            if each.kind == "region" and each.region is None:
                parts = yield Question(ROWS, [{"$match": rows_of(each.version)}, {"$sort": {"_id": 1}}])
                known[key] = each._replace(region=region_of((part["ranges"] for part in parts), each.order or 0))
        around = _around(known, places)
        answer = yield _search(known, places, around, keys)
        rows = [row for row in answer if "kind" not in row]
        if len(rows) > MOST_AT_ONCE and len(places) > 1:
            half = len(places) // 2
            first, second = (
                (yield from matches(keys, places[:half], known)),
                (yield from matches(keys, places[half:], known)),
            )
            return {key: [*first[key], *second[key]] for key in first.keys() & second.keys()}
        if not _renew(known, (row for row in answer if "kind" in row)):  # else its rows may be gone in part
            return _assembled(known, places, around, rows)


def answered(asking: Asking, answer: Callable[[Question], list[Row]]) -> Matches:
    """The matches, given who answers questions."""
    try:
        question = next(asking)
        while True:
            question = asking.send(answer(question))
    except StopIteration as done:
        found: Matches = done.value
        return found


def _versions(keys: Sequence[ListKey]) -> Question:
    groups: dict[int, list[str]] = {}
    for key in keys:
        groups.setdefault(key.group_id, []).append(key.name)
    own = [{"group_id": group, "name": {"$in": names}} for group, names in groups.items()]
    condition = {"$or": own, "version": {"$ne": None}}
    return Question(LISTS, [{"$match": condition}, {"$project": {"_id": 0, **dict.fromkeys(ABOUT, 1)}}])


def _renew(known: Lists, stated: Iterable[Row]) -> bool:
    """Bring what is known up to date; whether that changed anything."""
    now = {ListKey(row["group_id"], row["name"]): row for row in stated}
    gone = known.keys() - now.keys()
    changed = {key: row for key, row in now.items() if key not in known or known[key].version != row["version"]}
    for key in gone:
        del known[key]
    for key, row in changed.items():
        radii = {each["order"]: each["radius"] for each in row.get("radii") or ()}
        known[key] = Known(row["version"], row["kind"], row["radius"], radii, row.get("order"))
    return bool(gone or changed)


Around = Mapping[int, Sequence[int]]
"""Pixel, as rows have it -> indices of the places that may be near rows in it."""


def _around(known: Lists, places: Sequence[Place]) -> Around:
    largest: dict[int, float] = {}
    for each in known.values():
        for order, radius in each.radii.items():
            largest[order] = max(radius, largest.get(order, 0.0))
    positions = tuple((place.ra, place.dec) for place in places)
    return {
        pixel + first_of(BY_ORDER[order]): indices
        for order, radius in largest.items()
        for pixel, indices in pixels_around(positions, radius * ARCSEC, BY_ORDER[order]).items()
    }


def _search(known: Lists, places: Sequence[Place], around: Around, keys: Sequence[ListKey]) -> Question:
    """What asks for the rows that may match, and then for the versions of the lists."""
    of_kind: dict[str, list[ObjectId]] = {}
    for each in known.values():
        of_kind.setdefault(each.kind, []).append(each.version)
    parts: list[Question] = []
    if versions := of_kind.get("objects"):
        ids = sorted({place.object_id for place in places})
        parts.append(Question(ROWS, [{"$match": {"id": {"$in": ids}, "version": {"$in": versions}}}]))
    if versions := of_kind.get("positions"):
        condition = {"coordinates.pixel": {"$in": sorted(around)}, "version": {"$in": versions}}
        bound = [{"$limit": MOST_AT_ONCE + 1}] if len(places) > 1 else []
        parts.append(Question(ROWS, [{"$match": condition}, *bound]))
    parts.append(_versions(keys))
    first, *others = parts
    union = [{"$unionWith": {"coll": other.collection, "pipeline": other.pipeline}} for other in others]
    return Question(first.collection, first.pipeline + union)


def _assembled(known: Lists, places: Sequence[Place], around: Around, rows: Iterable[Row]) -> Matches:
    of_version: dict[ObjectId, list[Row]] = {}
    for row in rows:
        of_version.setdefault(row["version"], []).append(row)
    return {key: _of_list(each, places, around, of_version.get(each.version, [])) for key, each in known.items()}


def _of_list(known: Known, places: Sequence[Place], around: Around, rows: list[Row]) -> list[list[Row]]:
    if known.kind == "region":
        return [[dict(INSIDE)] if inside else [] for inside in _inside(known, places)]
    if known.kind == "objects":
        by_id = {row["id"]: {"objectId": row["id"], **row["columns"]} for row in rows}
        return [[by_id[place.object_id]] if place.object_id in by_id else [] for place in places]
    found: list[list[Row]] = [[] for _ in places]
    for index, row in _near(known, places, around, rows):
        found[index].append(row)
    return [sorted(each, key=lambda row: row["distance_arcsec"])[:MOST] for each in found]


def _near(known: Known, places: Sequence[Place], around: Around, rows: list[Row]) -> Iterator[tuple[int, Row]]:
    """Pairs of a place and a row within the row's radius of it."""
    pairs = [(index, number) for number, row in enumerate(rows) for index in around[row["coordinates"]["pixel"]]]
    if not pairs:
        return
    at, of = np.array(pairs).T
    ra, dec = np.array([(place.ra, place.dec) for place in places])[at].T
    longitude, latitude = np.array([row["coordinates"]["radec_geojson"]["coordinates"] for row in rows])[of].T
    radii = np.array([row.get("radius", known.radius) for row in rows])[of]
    distances = 3600 * separation(ra, dec, longitude + 180.0, latitude)
    for pair in np.flatnonzero(distances <= radii).tolist():
        index, number = pairs[pair]
        row = rows[number]
        right, up = row["coordinates"]["radec_geojson"]["coordinates"]
        own = {"id": row["id"]} if "id" in row else {}
        yield (
            index,
            {**own, "ra": right + 180.0, "dec": up, **row["columns"], "distance_arcsec": float(distances[pair])},
        )


def _inside(known: Known, places: Sequence[Place]) -> list[bool]:
    from astropy.coordinates import Latitude, Longitude

    ra, dec = np.array([(place.ra, place.dec) for place in places]).reshape(-1, 2).T
    inside: list[bool] = known.region.contains_lonlat(Longitude(ra, "deg"), Latitude(dec, "deg")).tolist()
    return inside
