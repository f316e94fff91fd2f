"""Bodies of ``POST /api/queries``: a query that is let through can be sent to MongoDB, and can't do what is forbidden."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import bson
from bson.errors import BSONError
from pydantic import ValidationError

from kowalski.api.models.queries import QUERY, Aggregate, AnyQuery
from kowalski.api.services import guard, projections
from kowalski.api.services.rights import User
from kowalski.errors import KowalskiError
from kowalski.filters.language import OPERATORS, STAGES

from . import structure

USERS = (
    User("admin", is_admin=True),
    User("public", is_admin=False, permissions={"ZTF": frozenset({1}), "LSST": True}),
    User("nobody", is_admin=False),
)
#: what no query may hold, in a place where it would be read as an operator
FORBIDDEN = ("$where", "$function", "$accumulator", "$out", "$merge", "$currentOp", "$collStats")
WORDS = (
    "ZTF_alerts", "ZTF_alerts_aux", "users", "outbox", "Gaia_EDR3", "find", "find_one", "count_documents", "aggregate", "cone_search", "near",
    "info", "skymap", "drop", "estimated_document_count", "query_type", "query", "kwargs", "catalog", "filter", "projection", "pipeline", "radec",
    "cone_search_radius", "cone_search_unit", "object_coordinates", "catalogs", "sort", "hint", "limit", "skip", "max_time_ms", "from", "coll",
    "localField", "foreignField", "as", "let", "startWith", "connectFromField", "connectToField", "restrictSearchWithMatch", "$where",
    "$function", "$out", "$merge", "$oid", "$date", "candidate.programid", "prv_candidates", "10:00:00 -00:30:00", "[[1, 2]]", "{'a': {'$gt': 1}}",
    *sorted(OPERATORS | STAGES),
)  # fmt: skip

SEEDS: dict[str, Any] = {
    "find": {"query_type": "find", "query": {"catalog": "ZTF_alerts", "filter": {"candidate.drb": {"$gt": 0.9}}, "projection": {"_id": 0}}},
    "text": {"query_type": "find_one", "query": {"catalog": "ZTF_alerts", "filter": "{'candid': {'$in': [1, 2]}}"}, "kwargs": {"limit": 3, "hint": "_id_", "max_time_ms": "1000"}},
    "count": {"query_type": "count_documents", "query": {"catalog": "Gaia_EDR3", "filter": {"_id": {"$oid": "65a0c0ffee65a0c0ffee1234"}, "at": {"$date": "2024-01-01T00:00:00Z"}}}},
    "estimated": {"query_type": "estimated_document_count", "query": {"catalog": "TNS"}},
    "aggregate": {"query_type": "aggregate", "query": {"catalog": "ZTF_alerts", "pipeline": [{"$match": {"candidate.jd": {"$gt": 0}, "$expr": {"$gt": [{"$size": "$a"}, 1]}}}, {"$lookup": {"from": "ZTF_alerts_aux", "let": {"o": "$objectId"}, "pipeline": [{"$match": {"$expr": {"$eq": ["$_id", "$$o"]}}}], "as": "aux"}}, {"$facet": {"a": [{"$count": "n"}], "b": [{"$limit": 1}]}}]}},
    "facets": {"query_type": "aggregate", "query": {"catalog": "TNS", "pipeline": [{"$facet": {"$merge": [{"$limit": 1}]}}]}},
    "joined": {"query_type": "aggregate", "query": {"catalog": "Gaia_EDR3", "pipeline": [{"$geoNear": {"near": {"type": "Point", "coordinates": [0, 0]}, "distanceField": "d", "query": {"x": 1}}}, {"$unionWith": "ZTF_alerts"}, {"$graphLookup": {"from": "ZTF_alerts", "startWith": "$a", "connectFromField": "a", "connectToField": "b", "as": "c"}}, {"$match": {"$expr": {"$divide": ["$x", "$y"]}}}]}},
    "cone": {"query_type": "cone_search", "query": {"object_coordinates": {"cone_search_radius": 2, "cone_search_unit": "arcsec", "radec": {"a": [10.5, -3.25], "b": ["10:00:00", "-00:30:00.5"]}}, "catalogs": {"ZTF_alerts": {"filter": {}, "projection": {"_id": 1}}, "Gaia_EDR3": None}}, "kwargs": {"sort": [["_id", -1]]}},
    "near": {"query_type": "near", "query": {"radec": "[(1, 2), (3, 4)]", "max_distance": 5, "distance_units": "arcmin", "catalogs": {"ZTF_alerts": {}}}},
    "info": {"query_type": "info", "query": {"command": "index_info", "catalog": "ZTF_alerts"}},
    "skymap": {"query_type": "skymap", "query": {"catalog": "ZTF_alerts", "filter": {}, "skymap": {"localization_name": "bayestar.fits", "dateobs": "2020-01-01T00:00:00", "contour": 90, "trigger_id": 5, "aliases": ["a"]}}},
    "drop": {"query_type": "drop", "query": {"catalog": "TNS", "confirm": "TNS"}},
}  # fmt: skip


def seeds() -> Iterator[tuple[str, bytes]]:
    """One query of each type."""
    for name, body in SEEDS.items():
        yield name, json.dumps(body).encode()


def mutated(data: bytes, chance: Random) -> bytes | None:
    """The query with its tree changed."""
    return structure.mutated_json(data, chance, WORDS)


def run(data: bytes) -> None:
    """Read a body as the API does, and narrow it for users who see all, some and nothing."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(body, dict):
        return
    try:
        query = QUERY.validate_python(body)
    except ValidationError as error:
        str(error), error.errors(include_url=False, include_context=False)
        return
    for user in USERS:
        try:
            sent = _narrowed(query, user)
        except KowalskiError:
            continue
        _require_harmless(sent)
        try:
            bson.encode({"sent": sent})
        except (BSONError, OverflowError, UnicodeError):
            continue  # what MongoDB can't be sent is refused when it is sent


def _narrowed(query: AnyQuery, user: User) -> Any:
    """What MongoDB would be asked."""
    asked = query.query
    if isinstance(query, Aggregate):
        guard.check(asked.projection)
        return guard.narrow(asked.catalog, asked.pipeline, user)
    parts = [asked, *getattr(asked, "catalogs", {}).values()]
    sent = []
    for part in parts:
        condition = getattr(part, "filter", {})
        guard.check(condition, getattr(part, "projection", {}), query.kwargs.sort, query.kwargs.hint)
        catalog = getattr(part, "catalog", None) or "ZTF_alerts"
        user.require_open(catalog)
        window = user.window(catalog)
        shown = projections.as_stages(getattr(part, "projection", {}))
        sent.append(guard.behind(window, [{"$match": condition}, *shown]))
    return sent


def _require_harmless(sent: Any) -> None:
    """No operator that was left out of the language stands where MongoDB would read it as one."""
    todo = [sent]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            for key, value in part.items():
                assert key not in FORBIDDEN, f"{key} is let through"
                if key != "$literal":
                    todo.append(value)
        elif isinstance(part, list | tuple):
            todo += part
