"""Ways to learn of hidden rows, or to reach what is closed, that clever queries might try."""

from typing import Any

import pytest
import requests
from rights_harness import Archive

from kowalski.api.errors import BadRequest
from kowalski.api.services.guard import check, narrow
from kowalski.api.services.rights import CLOSED, User

SOMEBODY = User.of({"_id": "somebody"}, "admin", {"ZTF": [1], "LSST": True})
N = {"$count": "n"}
COUNTERFEIT = {"candidate": {"programid": 1}, "prv_candidates": [{"programid": 1, "forged": True}]}


def _secret(archive: Archive) -> float:
    """The magnitude of an alert that the public doesn't see, and of no other."""
    visible = {alert.candidate["magpsf"] for alert in archive.alerts if alert.candid in archive.visible("public")}
    return float(next(a.candidate["magpsf"] for a in archive.hidden("public") if a.candidate["magpsf"] not in visible))


def _divided(path: str, magnitude: float) -> dict[str, Any]:
    """An expression that is true, and an error over a document with that magnitude."""
    return {"$gt": [{"$divide": [1, {"$subtract": [path, magnitude]}]}, -1e300]}


def _conditions(path: str, magnitude: float) -> list[dict[str, Any]]:
    """Conditions that all visible documents meet; MongoDB tries the parts of a condition in an order of its own."""
    bad = {"$expr": _divided(path, magnitude)}
    return [
        bad,
        {"$or": [bad, {"nothing": 1}]},
        {"$nor": [{"$nor": [bad]}]},
        {"$and": [{"$or": [{"nothing": 1}, bad]}, {"nothing": None}]},
        {"$or": [{"$expr": {"$and": [True, _divided(path, magnitude)]}}, {"nothing": 1}]},
        {"$or": [{"$expr": {"$let": {"vars": {"CURRENT": COUNTERFEIT}, "in": _divided(f"$$ROOT.{path[1:]}", magnitude)}}}, {"nothing": 1}]},
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("hint", [None, {"$natural": 1}, "candid", "jd_programid_programpi"])
def test_no_error_tells_of_hidden_alerts(archive: Archive, number: int, hint: Any) -> None:
    bad = _conditions("$candidate.magpsf", _secret(archive))[number]
    query = {"catalog": "ZTF_alerts", "filter": bad, "projection": {"candid": 1}}
    assert "zero" in archive.refusal("admin", "find", query), "the condition is one that fails"
    options = {"hint": hint} if hint else {}
    visible = archive.visible("public")
    assert {row["candid"] for row in archive.data("public", "find", query, **options)} == visible
    assert archive.data("public", "find_one", query, **options)["candid"] in visible
    assert archive.data("public", "count_documents", query, **options) == len(visible)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize(
    "before",
    [
        [],
        [{"$match": {}}],
        [{"$match": {"candid": {"$gt": 0}}}],
        [{"$sort": {"candid": 1}}],
        [{"$redact": "$$DESCEND"}],
        [{"$set": {"copy": "$candidate"}}],
        [{"$unwind": "$objectId"}],
        [{"$lookup": {"from": "Stars", "localField": "candid", "foreignField": "_id", "as": "star"}}],
        [{"$setWindowFields": {"partitionBy": "$objectId", "output": {"number": {"$sum": 1}}}}],
        [{"$geoNear": {"near": {"type": "Point", "coordinates": [0, 0]}, "distanceField": "d", "key": "coordinates.radec_geojson"}}],
    ],
)  # fmt: skip
def test_no_error_tells_of_hidden_alerts_in_aggregates(
    archive: Archive, number: int, before: list[dict[str, Any]]
) -> None:
    bad = {"$match": _conditions("$candidate.magpsf", _secret(archive))[number]}
    expected = [{"n": len(archive.visible("public"))}]
    assert archive.rows("public", "ZTF_alerts", *before, bad, N) == expected
    assert archive.rows("public", "ZTF_alerts", *before, {"$facet": {"a": [bad, N]}}) == [{"a": expected}]
    twice = [*before, bad, {"$set": {"copy": "$candidate"}}, bad, N]
    assert archive.rows("public", "ZTF_alerts", *twice) == expected


@pytest.mark.parametrize("stage", ["$project", "$set", "$group", "$redact", "$bucket", "$sortByCount", "$geoNear"])
def test_no_stage_computes_with_hidden_alerts(archive: Archive, stage: str) -> None:
    value = _divided("$candidate.magpsf", _secret(archive))
    bodies: dict[str, Any] = {
        "$project": {"x": value},
        "$set": {"x": value},
        "$group": {"_id": None, "x": {"$sum": {"$toInt": value}}},
        "$redact": {"$cond": [value, "$$KEEP", "$$PRUNE"]},
        "$bucket": {"groupBy": {"$toInt": value}, "boundaries": [0, 5]},
        "$sortByCount": value,
        "$geoNear": {
            "near": {"type": "Point", "coordinates": [0, 0]},
            "distanceField": "d",
            "key": "coordinates.radec_geojson",
            "query": {"$or": [{"$expr": value}, {"nothing": 1}]},
        },
    }
    assert archive.rows("public", "ZTF_alerts", {stage: bodies[stage]}, {"$limit": 1}, N) == [{"n": 1}]
    query = {"catalog": "ZTF_alerts", "pipeline": [{stage: bodies[stage]}, N]}
    assert "zero" in archive.refusal("admin", "aggregate", query), "the stage is one that fails"


@pytest.mark.parametrize("number", range(6))
def test_no_error_tells_of_hidden_alerts_that_are_joined(archive: Archive, number: int) -> None:
    """MongoDB moves conditions into the pipelines of ``$unionWith`` and ``$lookup``."""
    bad = _conditions("$candidate.magpsf", _secret(archive))[number]
    inside = _conditions("$alert.candidate.magpsf", _secret(archive))[number]
    rooted = {"$or": [{"$expr": _divided("$$ROOT.candidate.magpsf", _secret(archive))}, {"nothing": 1}]}
    total, visible = len(archive.alerts), len(archive.visible("public"))
    one = {"$limit": 1}
    lookup = {"from": "ZTF_alerts", "as": "alert"}
    keys = {"localField": "_id", "foreignField": "candid"}
    union = [{"$unionWith": "ZTF_alerts"}, {"$match": bad}, N]
    cases: list[tuple[list[dict[str, Any]], int]] = [
        (union, visible),
        ([{"$match": {}}, {"$unionWith": {"coll": "ZTF_alerts", "pipeline": [{"$match": bad}]}}, N], total + visible),
        ([one, {"$unionWith": {"coll": "Stars", "pipeline": union[:1]}}, {"$match": bad}, N], visible),
        ([one, {"$lookup": lookup | {"pipeline": [{"$match": bad}]}}, {"$unwind": "$alert"}, N], visible),
        ([one, {"$lookup": lookup | {"let": COUNTERFEIT_AS_CURRENT, "pipeline": [{"$match": rooted}]}}, {"$unwind": "$alert"}, N], visible),
        ([one, {"$lookup": lookup | {"pipeline": []}}, {"$unwind": "$alert"}, {"$match": inside}, N], visible),
        ([{"$lookup": lookup | keys}, {"$unwind": "$alert"}, {"$match": inside}, N], visible),
        ([{"$lookup": lookup | keys | {"pipeline": [{"$match": bad}]}}, {"$unwind": "$alert"}, N], visible),
        ([one, {"$lookup": {"from": "Stars", "as": "a", "pipeline": union}}, {"$unwind": "$a"}, {"$replaceRoot": {"newRoot": "$a"}}], visible),
        ([{"$graphLookup": lookup | {"startWith": "$_id", "connectFromField": "nothing", "connectToField": "candid", "restrictSearchWithMatch": bad}}, {"$unwind": "$alert"}, N], visible),
    ]  # fmt: skip
    for pipeline, expected in cases:
        assert archive.rows("public", "Stars", *pipeline)[0]["n"] == expected, pipeline


COUNTERFEIT_AS_CURRENT = {"CURRENT": COUNTERFEIT}


@pytest.mark.parametrize("variables", [{}, COUNTERFEIT_AS_CURRENT, {"point": COUNTERFEIT, "this": {"programid": 1}}])
def test_variables_change_no_window(archive: Archive, variables: dict[str, Any]) -> None:
    """``let`` may say anew what a path begins at."""
    for catalog in ("ZTF_alerts", "ZTF_alerts_aux", "ZTF_alerts_classifications"):
        lookup = {"$lookup": {"from": catalog, "let": variables, "pipeline": [{"$sort": {"_id": 1}}], "as": "rows"}}
        (row,) = archive.rows("public", "Stars", {"$limit": 1}, lookup, {"$project": {"_id": 0, "rows": 1}})
        assert row["rows"] == archive.data("public", "find", {"catalog": catalog}, sort="_id")
        assert row["rows"]


def test_no_error_tells_of_hidden_objects(archive: Archive) -> None:
    """Nor of hidden points, nor of the alerts that brought them."""
    aux = archive.database["ZTF_alerts_aux"]
    aux.insert_one({"_id": "secret", "programids": [3], "prv_candidates": [{"programid": 3, "magpsf": 12.5}]})
    conditions: list[dict[str, Any]] = [
        {"$divide": [1, {"$subtract": [{"$strLenCP": "$_id"}, len("secret")]}]},
        {"$divide": [1, {"$subtract": [{"$ifNull": [{"$max": "$prv_candidates.magpsf"}, 0]}, 12.5]}]},
        {"$divide": [1, {"$subtract": [{"$ifNull": [{"$first": "$programids"}, 0]}, 3]}]},
    ]
    number = archive.data("public", "count_documents", {"catalog": "ZTF_alerts_aux"})
    try:
        for value in conditions:
            bad = {"$or": [{"$expr": {"$gt": [value, -1e300]}}, {"nothing": 1}]}
            query = {"catalog": "ZTF_alerts_aux", "filter": bad, "projection": {"_id": 1, "x": value}}
            assert "zero" in archive.refusal("admin", "find", query), "the condition is one that fails"
            assert len(archive.data("public", "find", query)) == number
            assert archive.data("public", "count_documents", query) == number
            assert archive.data("public", "find_one", query)
            union = archive.rows("public", "Stars", {"$unionWith": "ZTF_alerts_aux"}, {"$match": {"objectId": None}}, {"$match": bad}, N)  # fmt: skip
            assert union == [{"n": number}]
    finally:
        aux.delete_one({"_id": "secret"})


@pytest.mark.parametrize("path", ["prv_candidates.candid", "fp_hists.alert_candid", "programids", "last_packet.candid", "matched.candid", "fp_hists_replaced.jd"])  # fmt: skip
def test_hidden_parts_can_not_be_joined_by(archive: Archive, path: str) -> None:
    """MongoDB compares a ``foreignField`` with what is stored, whatever the pipeline makes of it."""
    lookup: dict[str, Any] = {"from": "ZTF_alerts_aux", "localField": "_id", "foreignField": path, "as": "aux"}
    for body in (lookup, lookup | {"pipeline": []}):
        for pipeline in ([{"$lookup": body}], [{"$facet": {"a": [{"$lookup": body}]}}]):
            said = archive.refusal("public", "aggregate", {"catalog": "Stars", "pipeline": pipeline})
            assert said == f"$lookup: {path} of ZTF_alerts_aux has parts that you may not see, use let and pipeline"
    archive.rows("admin", "Stars", {"$lookup": lookup}, {"$limit": 1})
    walk = {"startWith": "$_id", "connectFromField": "_id", "connectToField": path, "from": "ZTF_alerts_aux", "as": "x"}
    said = archive.refusal("public", "aggregate", {"catalog": "Stars", "pipeline": [{"$graphLookup": walk}]})
    assert "use $lookup" in said


@pytest.mark.parametrize(
    "pipeline",
    [
        [{"$unionWith": {"coll": {"db": "admin", "coll": "system.users"}}}],
        [{"$lookup": {"from": {"db": "config", "coll": "cache"}, "as": "a"}}],
        [{"$lookup": {"from": "Stars", "as": "a", "pipeline": ({"$out": "x"},)}}],
        [{"$lookup": {"from": "Stars", "as": "a", "pipeline": None}}],
        [{"$facet": {"a": {"$out": "x"}}}],
        [{"$facet": {"$literal": [{"$out": "x"}]}}],
        [{"$lookup": {"from": "Stars", "as": "a", "$literal": 1, "pipeline": [{"$merge": "x"}]}}],
        [{"$match": {"$literal": 1, "$where": "1"}}],
        [{"$set": {"a": {"$literal": 1, "$function": {}}}}],
        [{"$unionWith": {"pipeline": [{"$documents": [{"a": 1}]}, {"$unionWith": "users"}]}}],
        [{"$lookup": {"as": "a", "pipeline": [{"$documents": []}, {"$lookup": {"from": "users", "as": "b", "pipeline": []}}]}}],
        [{"$graphLookup": {"from": "users", "startWith": 1, "connectFromField": "_id", "connectToField": "_id", "as": "a"}}],
        [{"$lookup": {"from": "quarantine_files.files", "as": "a", "pipeline": []}}],
        [{"$lookup": {"from": "system.views", "as": "a", "pipeline": []}}],
        [{"$indexStats": {}}],
        [{"$planCacheStats": {}}],
        [{"$collStats": {"count": {}}}],
        [{"$search": {}}],
        [{"\uff04out": "x"}],
        [{"$out\u200b": "x"}],
        [{"$OUT": "x"}],
        [{"$match": [{"$where": "1"}]}],
    ],
)  # fmt: skip
def test_nothing_that_is_closed_is_reached(pipeline: list[Any]) -> None:
    with pytest.raises(BadRequest):
        narrow("Stars", pipeline, SOMEBODY)


def test_names_are_what_mongodb_takes_them_for(archive: Archive) -> None:
    """A name that is written otherwise is another collection, which isn't there; spaces around it are the client's."""
    for name in ("ztf_alerts", "ZTF_alerts\u200b", "\uff3aTF_alerts", "ZTF_alerts.x", "Users", "users\u00a0\u200b"):
        assert archive.data("public", "find", {"catalog": name}) == []
        assert archive.rows("public", "Stars", {"$limit": 1}, {"$unionWith": name}, N) == [{"n": 1}]
    assert len(archive.data("public", "find", {"catalog": " ZTF_alerts "})) == len(archive.visible("public"))
    for name in (" users ", "users\u00a0", "\tusers\n"):
        assert archive.refusal("public", "find", {"catalog": name}) == "Protected collection: users"
    for name in ("test.users", "$users", "admin\0"):
        archive.ask("public", "find", {"catalog": name})
    body = '{"query_type": "find", "query": {"catalog": "Stars", "catalog": "users"}}'
    headers = {"Authorization": archive.tokens["public"]}
    answer = requests.post(f"{archive.api.url}/api/queries", data=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.json()["message"]) == (400, "Protected collection: users")


def test_information_is_of_what_is_open(archive: Archive) -> None:
    names = archive.data("public", "info", {"command": "catalog_names"})
    everything = archive.data("admin", "info", {"command": "catalog_names"})
    hidden = set(everything) - set(names)
    assert {"users"} <= hidden <= CLOSED
    assert archive.data("public", "info", {"command": "db_info"})["collections"] == len(names)
    for command in ("catalog_info", "index_info"):
        said = archive.refusal("public", "info", {"command": command, "catalog": "users"})
        assert said == "Protected collection: users"
        archive.data("admin", "info", {"command": command, "catalog": "users"})
    for query_type in ("find", "find_one", "count_documents", "estimated_document_count"):
        assert archive.refusal("public", query_type, {"catalog": "users"}) == "Protected collection: users"


@pytest.mark.parametrize(
    "value",
    [
        [("a", {"$where": "1"})],
        {"a": {"$meta": "textScore", "$function": {}}},
        [["a", [{"b": {"$accumulator": {}}}]]],
        {"$where": "1"},
        {"a": {"$elemMatch": {"$where": "1"}}},
        {"$jsonSchema": {"properties": {"a": {"$where": "1"}}}},
        {"a": {"$literal": 1, "$_internalJsEmit": {}}},
        {"a": {"$not": {"$_internalExprEq": 1}}},
    ],
)
def test_no_operator_slips_in(value: Any) -> None:
    with pytest.raises(BadRequest, match="forbidden operators"):
        check(value)


def test_options_reach_nothing_else(archive: Archive) -> None:
    """Rows that were hidden stay so with every option; other options of MongoDB don't pass."""
    query = {"catalog": "ZTF_alerts", "projection": {"candid": 1}}
    more = {
        "showRecordId": True,
        "returnKey": True,
        "min": {"candid": 0},
        "let": {"a": 1},
        "collation": {"locale": "en"},
    }
    rows = archive.data("public", "find", query, sort={"$natural": -1}, **more)
    assert {row["candid"] for row in rows} == archive.visible("public")
    assert all(row.keys() == {"_id", "candid"} for row in rows)
    keys = {"candid": 1, "key": {"$meta": "indexKey"}, "sort": {"$meta": "sortKey"}}
    rows = archive.data("public", "find", query | {"projection": keys}, sort="candid")
    assert {row["key"]["candid"] for row in rows} == archive.visible("public")
    said = archive.refusal("public", "find", query | {"projection": {"n": {"$meta": "recordId"}}})
    assert said == "Query uses forbidden operators: $meta: recordId", "its gaps would tell of hidden rows"


@pytest.mark.parametrize(
    "condition",
    [
        [{"$expr": {"$abs": "$a"}}],
        {"$and": [{"$expr": {"$abs": "$a"}}, 3]},
        {"$and": 3, "$expr": {"$abs": "$a"}},
        {"$and": [], "$expr": {"$abs": "$a"}},
        {"$expr": {"$abs": ["$a", 1, 2]}},
        {"$expr": {"$cond": [{"$abs": 1}]}},
    ],
)
def test_conditions_that_are_none_are_refused(archive: Archive, condition: Any) -> None:
    for pipeline in ([{"$match": condition}], [{"$limit": 1}, {"$unionWith": "ZTF_alerts"}, {"$match": condition}]):
        for catalog in ("ZTF_alerts", "ZTF_alerts_aux", "Stars"):
            archive.refusal("public", "aggregate", {"catalog": catalog, "pipeline": pipeline})


SIZES = {
    "alerts": {"$size": "$alerts"},
    "magnitudes": {"$sortArray": {"input": "$alerts.candidate.magpsf", "sortBy": 1}},
}
POINTS = {"_id": 1, "n": {"$size": {"$ifNull": ["$prv_candidates", []]}}, "jds": "$fp_hists.jd"}


def _questions(alerts: str, objects: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Aggregates over collections of these names."""
    by_object = {"from": alerts, "localField": "_id", "foreignField": "objectId", "as": "alerts"}
    walk = {"startWith": "$_id", "connectFromField": "objectId", "connectToField": "objectId", "as": "alerts"}
    correlated = {"from": alerts, "let": {"name": "$_id"}, "as": "alerts"}
    own = {"$match": {"$expr": {"$eq": ["$objectId", "$$name"]}}}
    old = {"$match": {"$expr": {"$gt": [{"$divide": ["$candidate.jd", {"$add": ["$candidate.fid", 1]}]}, 100]}}}
    return [
        (alerts, [{"$group": {"_id": "$candidate.programid", "n": {"$sum": 1}, "jd": {"$avg": "$candidate.jd"}}}]),
        (alerts, [{"$sort": {"candid": -1}}, {"$skip": 3}, {"$limit": 4}, old, {"$project": {"candid": 1}}]),
        (alerts, [{"$sortByCount": "$objectId"}, {"$sort": {"count": -1, "_id": 1}}]),
        (alerts, [{"$facet": {"a": [old, {"$count": "n"}], "b": [{"$match": {"candidate.fid": 1}}, {"$count": "n"}]}}]),
        (alerts, [{"$setWindowFields": {"sortBy": {"candid": 1}, "output": {"rank": {"$documentNumber": {}}}}}, {"$project": {"rank": 1}}]),
        (alerts, [{"$unionWith": objects}, {"$match": {"programids": None}}, {"$count": "n"}]),
        (alerts, [{"$lookup": {"from": objects, "localField": "objectId", "foreignField": "_id", "as": "o"}}, {"$unwind": "$o"}, {"$match": {"o.fp_hists.0": {"$exists": True}}}, {"$project": {"x": "$o.fp_hists"}}]),
        (objects, [{"$match": {"prv_candidates.magpsf": {"$lt": 19}}}, {"$project": POINTS}]),
        (objects, [{"$match": {"$expr": {"$gt": [{"$size": {"$ifNull": ["$prv_candidates", []]}}, 3]}}}, {"$project": POINTS}]),
        (objects, [{"$unwind": "$prv_candidates"}, {"$group": {"_id": "$prv_candidates.programid", "n": {"$sum": 1}}}]),
        (objects, [{"$lookup": by_object}, {"$project": SIZES}]),
        (objects, [{"$lookup": by_object | {"pipeline": [old, {"$limit": 1}]}}, {"$project": SIZES}]),
        (objects, [{"$lookup": correlated | {"pipeline": [own, old]}}, {"$project": SIZES}]),
        (objects, [{"$graphLookup": {"from": alerts} | walk}, {"$project": SIZES}]),
        (objects, [{"$lookup": correlated | {"pipeline": [own, {"$lookup": {"from": objects, "localField": "objectId", "foreignField": "_id", "as": "o"}}, {"$unwind": "$o"}]}}, {"$project": {"x": "$alerts.o.prv_candidates.jd"}}]),
        (objects, [{"$group": {"_id": None, "keys": {"$addToSet": {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.k"}}}}}, {"$project": {"n": {"$size": "$keys"}}}]),
    ]  # fmt: skip


def test_answers_are_those_of_an_archive_without_the_hidden_rows(archive: Archive, who: str) -> None:
    rows = {name: archive.data(who, "find", {"catalog": name}) for name in ("ZTF_alerts", "ZTF_alerts_aux")}
    assert len(rows["ZTF_alerts"]) == len(archive.visible(who))
    copies = [archive.database[name] for name in ("Open_alerts", "Open_objects")]
    try:
        for copy, found in zip(copies, rows.values(), strict=True):
            copy.insert_many(found)
        expected = [
            list(archive.database[at].aggregate(pipeline))
            for at, pipeline in _questions(*[copy.name for copy in copies])
        ]
    finally:
        for copy in copies:
            copy.drop()
    for (catalog, pipeline), answer in zip(_questions(*rows), expected, strict=True):
        found = archive.rows(who, catalog, *pipeline)
        assert sorted(map(repr, found)) == sorted(map(repr, answer)), pipeline
