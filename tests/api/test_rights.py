"""What users see: alerts, points and objects of their programmes, and nothing that tells of others."""

from typing import Any

import pytest
from bson import json_util
from rights_harness import SEEN, USERS, Archive

from kowalski.api.services.guard import behind, narrow, through
from kowalski.api.services.rights import User


def test_there_is_something_to_hide(archive: Archive) -> None:
    numbers = [len(archive.visible(who)) for who in ("public", "partner", "caltech")]
    assert numbers == sorted(set(numbers))
    assert 0 < numbers[0] < numbers[2] <= len(archive.alerts)


CANDID = {"_id": 0, "candid": 1}


def oldest(candid: int) -> list[dict[str, Any]]:
    """The aggregate of the oldest README."""
    return [
        {"$match": {"candid": candid}},
        {"$lookup": {"from": "ZTF_alerts_aux", "localField": "objectId", "foreignField": "_id", "as": "aux"}},
        {"$replaceRoot": {"newRoot": {"$arrayElemAt": ["$aux", 0]}}},
        {"$match": {"cross_matches.CLU_20190625.0": {"$exists": False}}},
    ]


@pytest.mark.parametrize(
    ("query_type", "query"),
    [
        ("find", {"filter": {}, "projection": CANDID}),
        ("find", {"filter": {"$or": [{"candidate.programid": 3}, {}]}, "projection": CANDID}),
        ("find", {"filter": {"candidate.programid": {"$in": [0, 1, 2, 3]}}, "projection": {"candid": 1}}),
        ("aggregate", {"pipeline": [{"$match": {"candidate.programid": {"$gte": 0}}}, {"$project": CANDID}]}),
        ("aggregate", {"pipeline": [{"$project": CANDID}]}),
        ("aggregate", {"pipeline": [{"$set": {"candidate.programid": 1}}, {"$project": CANDID}]}),
        ("aggregate", {"pipeline": [{"$facet": {"a": [{"$match": {}}]}}, {"$unwind": "$a"}, {"$project": {"candid": "$a.candid"}}]}),
        ("aggregate", {"pipeline": [{"$limit": 1}, {"$unionWith": "ZTF_alerts"}, {"$project": CANDID}]}),
        ("aggregate", {"pipeline": [{"$limit": 1}, {"$unionWith": {"coll": "ZTF_alerts", "pipeline": [{"$match": {}}]}}, {"$project": CANDID}]}),
        ("aggregate", {"catalog": "Stars", "pipeline": [{"$lookup": {"from": "ZTF_alerts", "localField": "_id", "foreignField": "candid", "as": "a"}}, {"$unwind": "$a"}, {"$project": {"candid": "$a.candid"}}]}),
        ("aggregate", {"catalog": "Stars", "pipeline": [{"$limit": 1}, {"$lookup": {"from": "ZTF_alerts", "pipeline": [], "as": "a"}}, {"$unwind": "$a"}, {"$project": {"candid": "$a.candid"}}]}),
        ("aggregate", {"catalog": "Stars", "pipeline": [{"$limit": 1}, {"$lookup": {"from": "Stars", "pipeline": [{"$limit": 1}, {"$lookup": {"from": "ZTF_alerts", "let": {"x": "$_id"}, "pipeline": [{"$match": {"$expr": {"$ne": ["$$x", 0]}}}], "as": "b"}}, {"$unwind": "$b"}], "as": "a"}}, {"$unwind": "$a"}, {"$project": {"candid": "$a.b.candid"}}]}),
        ("aggregate", {"catalog": "Stars", "pipeline": [{"$graphLookup": {"from": "ZTF_alerts", "startWith": "$objectId", "connectFromField": "objectId", "connectToField": "objectId", "as": "a"}}, {"$unwind": "$a"}, {"$project": {"candid": "$a.candid"}}]}),
        ("aggregate", {"pipeline": [{"$geoNear": {"near": {"type": "Point", "coordinates": [0, 0]}, "distanceField": "d", "key": "coordinates.radec_geojson"}}, {"$project": CANDID}]}),
        ("aggregate", {"catalog": "Stars", "pipeline": [{"$lookup": {"from": "ZTF_alerts_classifications", "localField": "_id", "foreignField": "_id", "as": "a"}}, {"$unwind": "$a"}, {"$project": {"candid": "$a._id"}}]}),
    ],
)  # fmt: skip
def test_alerts_of_other_programmes_are_never_among_the_rows(
    archive: Archive, who: str, query_type: str, query: dict[str, Any]
) -> None:
    rows = archive.data(who, query_type, {"catalog": "ZTF_alerts"} | query)
    assert {row["candid"] for row in rows} == archive.visible(who)


def test_counts_are_of_what_is_visible(archive: Archive, who: str) -> None:
    number = len(archive.visible(who))
    assert archive.data(who, "count_documents", {"catalog": "ZTF_alerts", "filter": {}}) == number
    assert archive.data(who, "estimated_document_count", {"catalog": "ZTF_alerts"}) == number
    assert archive.data(who, "count_documents", {"catalog": "ZTF_alerts"}, skip=1, limit=5) == max(
        0, min(5, number - 1)
    )
    assert archive.data(who, "count_documents", {"catalog": "ZTF_alerts_classifications"}) == number
    info = archive.data(who, "info", {"command": "catalog_info", "catalog": "ZTF_alerts"})
    assert info["count"] == number
    assert ("size" in info) is (who == "admin")
    assert set(archive.data(who, "info", {"command": "db_info"})) == {"db", "collections"} or who == "admin"
    grouped = archive.data(who, "aggregate", {"catalog": "ZTF_alerts", "pipeline": [{"$count": "n"}]})
    assert grouped == ([{"n": number}] if number else [])


def test_one_alert(archive: Archive, who: str) -> None:
    for alert in archive.alerts[::7]:
        found = archive.data(who, "find_one", {"catalog": "ZTF_alerts", "filter": {"candid": alert.candid}})
        assert (found is not None) is (alert.candid in archive.visible(who))


def test_positions(archive: Archive, who: str) -> None:
    radec = {str(alert.candid): [alert.ra, alert.dec] for alert in archive.alerts}
    for projection in ({"candid": 1, "coordinates": 1}, {"candid": 1}):
        part = {"ZTF_alerts": {"filter": {}, "projection": projection}}
        cone = {"cone_search_radius": 1, "cone_search_unit": "arcsec", "radec": radec}
        inside = archive.data(who, "cone_search", {"object_coordinates": cone, "catalogs": part})["ZTF_alerts"]
        near = archive.data(
            who, "near", {"radec": radec, "max_distance": 1, "distance_units": "arcsec", "catalogs": part}
        )
        for found in (inside, near["ZTF_alerts"]):
            assert {row["candid"] for rows in found.values() for row in rows} == archive.visible(who)


LISTS = ("prv_candidates", "fp_hists")
#: what a point says of the alert that brought it, which may be hidden
OF_ITS_ALERT = {"alert_candid", "alert_jd", "alert_mag", "alert_ra", "alert_dec", "first_jd"}
TAKEN_OUT = {"first_alert", "last_packet", "matched", "programids", "fp_hists_replaced"}


def _shown(document: dict[str, Any], who: str) -> dict[str, Any] | None:
    """What a user should see of a stored object."""
    if who == "admin":
        return document
    seen = SEEN[who]
    lists = {name: [point for point in document[name] if point["programid"] in seen] for name in LISTS}
    if not (seen & set(document["programids"]) or any(lists.values())):
        return None
    own = {
        name: [{key: value for key, value in point.items() if key not in OF_ITS_ALERT} for point in points]
        for name, points in lists.items()
    }
    return {key: value for key, value in document.items() if key not in TAKEN_OUT} | own


def test_objects_show_the_points_of_their_readers_programmes(archive: Archive, who: str) -> None:
    stored = {document["_id"]: document for document in archive.database["ZTF_alerts_aux"].find()}
    expected = {name: shown for name, document in stored.items() if (shown := _shown(document, who))}
    points = [point for document in stored.values() for point in document["fp_hists"]]
    assert {key for point in points for key in point} >= OF_ITS_ALERT
    rows = {row["_id"]: row for row in archive.data(who, "find", {"catalog": "ZTF_alerts_aux"})}
    assert json_util.dumps(rows, sort_keys=True) == json_util.dumps(expected, sort_keys=True)
    joined = archive.rows(
        who,
        "Stars",
        {"$lookup": {"from": "ZTF_alerts_aux", "localField": "objectId", "foreignField": "_id", "as": "aux"}},
        {"$unwind": "$aux"},
        {"$group": {"_id": "$aux._id", "aux": {"$first": "$aux"}}},
    )
    assert {row["_id"]: row["aux"] for row in joined} == rows
    assert archive.data(who, "count_documents", {"catalog": "ZTF_alerts_aux", "filter": {}}) == len(rows)
    for path in ("prv_candidates.programid", "fp_hists.programid"):
        for programme in {0, 1, 2, 3} - SEEN[who]:
            condition = {"catalog": "ZTF_alerts_aux", "filter": {path: programme}}
            assert archive.data(who, "count_documents", condition) == 0
    for path in TAKEN_OUT:
        condition = {"catalog": "ZTF_alerts_aux", "filter": {path: {"$exists": True}}}
        assert (archive.data(who, "count_documents", condition) > 0) is (who == "admin")


def test_objects_without_their_programmes_are_shown_by_their_points(archive: Archive, who: str) -> None:
    """As older versions stored them."""
    old = archive.database["ZTF_alerts_aux"]
    old.insert_one({"_id": "old1", "prv_candidates": [{"candid": 1, "programid": 1}, {"candid": 2, "programid": 2}]})
    old.insert_one({"_id": "old2", "prv_candidates": [{"candid": 3, "programid": 2}], "cross_matches": {}})
    old.insert_one({"_id": "old3", "cross_matches": {}})
    try:
        rows = archive.data(who, "find", {"catalog": "ZTF_alerts_aux", "filter": {"_id": {"$regex": "^old"}}})
    finally:
        old.delete_many({"_id": {"$regex": "^old"}})
    found = {row["_id"]: [point["candid"] for point in row.get("prv_candidates", ())] for row in rows}
    expected = {"old1": [candid for candid in (1, 2) if candid in SEEN[who]]}
    expected |= {"old2": [3]} if 2 in SEEN[who] else {}
    assert found == expected | ({"old3": []} if who == "admin" else {})


@pytest.mark.parametrize(
    "projection",
    [
        {"prv_candidates": {"$slice": -2}},
        {"prv_candidates": {"$slice": 0}, "fp_hists": {"$slice": [1, 2]}},
        {"_id": 0, "prv_candidates": {"$slice": 1}},
        {"_id": 1, "cross_matches": 1, "prv_candidates": {"$slice": 1}},
        {"cross_matches": 0, "prv_candidates": {"$slice": [-2, 1]}, "nothing": {"$slice": 1}},
        {"prv_candidates.jd": 1, "n": {"$size": "$prv_candidates"}},
        {"first": {"$arrayElemAt": ["$prv_candidates.jd", 0]}, "_id": 0},
    ],
)
def test_projections_of_objects_are_those_of_a_find(archive: Archive, projection: dict[str, Any]) -> None:
    """Of what is visible, MongoDB's own find gives the same."""
    visible = archive.data("partner", "find", {"catalog": "ZTF_alerts_aux"}, sort="_id")
    copy = archive.database["Visible"]
    copy.insert_many(visible)
    try:
        expected = list(copy.find({}, projection).sort("_id", 1))
    finally:
        copy.drop()
    query = {"catalog": "ZTF_alerts_aux", "projection": projection}
    assert archive.data("partner", "find", query, sort="_id") == expected
    assert archive.data("partner", "find_one", query, sort="_id", skip=3) == expected[3]


@pytest.mark.parametrize("projection", [{"prv_candidates": {"$elemMatch": {"fid": 1}}}, {"prv_candidates.$": 1}])
def test_projections_that_search_in_lists_are_refused_clearly(archive: Archive, projection: dict[str, Any]) -> None:
    query = {"catalog": "ZTF_alerts_aux", "filter": {"prv_candidates.fid": 1}, "projection": projection}
    assert "use aggregate with $filter" in archive.refusal("partner", "find", query)
    assert archive.data("admin", "find", query)


def test_other_surveys(archive: Archive, who: str) -> None:
    """Those without programmes are all or nothing; copies under other names are for those who see all of the survey."""
    numbers = {
        "PGIR_alerts": 1 if who in ("admin", "infrared") else 0,
        "LSST_alerts": 1,
        "WNTR_alerts": {"admin": 2, "infrared": 1}.get(who, 0),
        "ZTF_alerts_of_old": len(archive.alerts) if who == "admin" else 0,
        "PGIR_alerts_aux": 0,
    }
    for catalog, number in numbers.items():
        assert len(archive.data(who, "find", {"catalog": catalog, "filter": {}})) == number
        assert archive.data(who, "count_documents", {"catalog": catalog, "filter": {}}) == number
        assert archive.data(who, "estimated_document_count", {"catalog": catalog}) == number
        assert len(archive.rows(who, "LSST_alerts", {"$unionWith": catalog})) == 1 + number
    assert set(numbers) - {"PGIR_alerts_aux"} <= set(archive.data(who, "info", {"command": "catalog_names"}))


def test_options_count_visible_rows(archive: Archive, who: str) -> None:
    """With each hint: sorted, skipped and limited rows are those of a list without the hidden ones."""
    candids = sorted(archive.visible(who), reverse=True)
    query = {"catalog": "ZTF_alerts", "projection": CANDID}
    for hint in ("candid", {"candid": -1}, [["candid", -1]], {"$natural": 1}):
        rows = archive.data(who, "find", query, sort={"candid": -1}, skip=3, limit=5, hint=hint)
        assert [row["candid"] for row in rows] == candids[3:8]
        query_one = archive.data(who, "find_one", query, sort=[["candid", -1]], skip=4, hint=hint)
        assert query_one == {"candid": candids[4]}
        assert archive.data(who, "count_documents", query, skip=3, limit=500, hint=hint) == len(candids) - 3
        pipeline = {"pipeline": [{"$match": {}}], **query}
        rows = archive.data(who, "aggregate", pipeline, sort={"candid": -1}, skip=3, limit=5, hint=hint)
        assert rows == [{"candid": candid} for candid in candids[3:8]]


def _examined(archive: Archive, command: dict[str, Any]) -> tuple[int, str]:
    """How many documents MongoDB looks at, and its plan as text."""
    plan = archive.database.command("explain", command, verbosity="executionStats")
    stats = plan["stages"][0]["$cursor"]["executionStats"] if "stages" in plan else plan["executionStats"]
    return stats["totalDocsExamined"], json_util.dumps(plan)


def test_indexes_are_used(archive: Archive, who: str) -> None:
    """MongoDB's plans of what users' queries become: an alert by its candid, an object by its id, both joined."""
    user = User.of({"_id": who, "permissions": USERS.get(who, {})}, "admin", {"ZTF": [1]})
    candid = max(archive.visible(who))
    condition = through(user.window("ZTF_alerts"), {"candid": candid})
    examined, plan = _examined(archive, {"find": "ZTF_alerts", "filter": condition, "limit": 1})
    assert (examined, "COLLSCAN" in plan) == (1, False)
    name = archive.data(who, "find_one", {"catalog": "ZTF_alerts", "filter": {"candid": candid}})["objectId"]
    by_id = behind(user.window("ZTF_alerts_aux"), [{"$match": {"_id": name}}])
    examined, plan = _examined(archive, {"aggregate": "ZTF_alerts_aux", "pipeline": by_id, "cursor": {}})
    assert (examined, "COLLSCAN" in plan) == (1, False)
    fragile = {"$expr": {"$gt": [{"$divide": [1, {"$size": {"$ifNull": ["$prv_candidates", [1]]}}]}, 0]}}
    for condition in ({"_id": name, **fragile}, {"$and": [fragile, {"$and": [{"_id": name}, {"x": None}]}]}):
        by_both = behind(user.window("ZTF_alerts_aux"), [{"$match": condition}])
        examined, plan = _examined(archive, {"aggregate": "ZTF_alerts_aux", "pipeline": by_both, "cursor": {}})
        assert (examined, "COLLSCAN" in plan) == (1, False)
    joined = narrow("ZTF_alerts", oldest(candid), user)
    examined, plan = _examined(archive, {"aggregate": "ZTF_alerts", "pipeline": joined, "cursor": {}})
    lookups = [stage for stage in json_util.loads(plan).get("stages", ()) if "$lookup" in stage]
    looked_up = sum(lookup["totalDocsExamined"] for lookup in lookups)  # elsewhere it is among those examined
    assert (examined + looked_up, "COLLSCAN" in plan) == (2, False)
    assert [lookup["indexesUsed"] for lookup in lookups] == [["_id_"]] * len(lookups)


def test_the_oldest_query(archive: Archive, who: str) -> None:
    candid = max(archive.visible(who))
    (row,) = archive.rows(who, "ZTF_alerts", *oldest(candid))
    assert row == archive.data(who, "find_one", {"catalog": "ZTF_alerts_aux", "filter": {"_id": row["_id"]}})
    for alert in archive.hidden(who)[:3]:
        assert archive.rows(who, "ZTF_alerts", *oldest(alert.candid)) == []


@pytest.mark.parametrize(
    ("permissions", "seen"),
    [
        ({}, {"ZTF": {1}, "LSST": True, "PGIR": False}),
        ({"ZTF": [2, 3]}, {"ZTF": {1, 2, 3}}),
        ({"ZTF": []}, {"ZTF": {1}}),
        ({"ZTF": False, "LSST": False}, {"ZTF": {1}, "LSST": True}),
        ({"ZTF": True, "PGIR": True}, {"ZTF": True, "PGIR": True, "WNTR": False}),
        ({"WNTR": [2]}, {"WNTR": {2}, "ZTF": {1}}),
        ({"ZTF": "all", "PGIR": 1, "LSST": None, "WNTR": {"a": 1}}, {"ZTF": {1}, "PGIR": False, "LSST": True, "WNTR": False}),
        ({"ZTF": [True, "2", 3.0, None, [2]]}, {"ZTF": {1}}),
        (None, {"ZTF": {1}, "PGIR": False}),
        ("anything", {"ZTF": {1}, "PGIR": False}),
        ([1, 2], {"ZTF": {1}, "PGIR": False}),
    ],
)  # fmt: skip
def test_permissions_add_to_the_public_data(permissions: Any, seen: dict[str, Any]) -> None:
    """Whatever older versions let be stored."""
    user = User.of({"_id": "x", "permissions": permissions}, "admin", {"ZTF": [1], "LSST": True})
    assert {survey: user.sees(survey) for survey in seen} == seen
    assert User.of({"_id": "admin", "permissions": permissions}, "admin", {}).sees("ZTF") is True
    assert User.of({"_id": "x"}, "admin", {}).sees("ZTF") is False


@pytest.mark.parametrize(
    "stages",
    [
        [{"$match": {"objectId": {"$regex": "^ztf", "$options": "i"}, "candidate.jd": {"$type": "double", "$mod": [1, 0]}}}],
        [{"$match": {"coordinates.radec_geojson": {"$geoWithin": {"$centerSphere": [[0, 0], 1]}}}}],
        [{"$match": {"$nor": [{"coordinates.radec_geojson": {"$geoIntersects": {"$geometry": {"type": "Point", "coordinates": [0, 0]}}}}]}}],
        [{"$match": {"$sampleRate": 0.5, "$comment": "half"}}],
        [{"$match": {"$jsonSchema": {"required": ["candid"]}, "candidate.fid": {"$bitsAnySet": 3}}}],
        [{"$geoNear": {"near": {"type": "Point", "coordinates": [0, 0]}, "distanceField": "d", "key": "coordinates.radec_geojson",
            "query": {"candidate.rb": {"$gte": 0}}, "spherical": True, "minDistance": 1, "maxDistance": 1e9, "distanceMultiplier": 2, "includeLocs": "where"}}],
        [{"$setWindowFields": {"partitionBy": "$objectId", "sortBy": {"candidate.jd": 1}, "output": {
            "n": {"$documentNumber": {}}, "slope": {"$derivative": {"input": "$candidate.magpsf"}, "window": {"documents": [-1, 0]}},
            "before": {"$shift": {"output": "$candid", "by": -1}}, "mean": {"$expMovingAvg": {"input": "$candidate.magpsf", "N": 2}}}}}],
        [{"$fill": {"sortBy": {"candidate.jd": 1}, "output": {"a": {"method": "locf"}, "b": {"value": 1}}}}],
        [{"$project": {"at": {"$toDate": {"$multiply": [{"$subtract": ["$candidate.jd", 2440587.5]}, 86400000]}}}},
            {"$project": {"night": {"$dateToString": {"date": "$at", "format": "%Y%m%d"}}, "next": {"$dateAdd": {"startDate": "$at", "unit": "day", "amount": 1}}}},
            {"$densify": {"field": "next", "range": {"step": 100000, "unit": "day", "bounds": "full"}}}],
        [{"$group": {"_id": "$objectId", "last": {"$top": {"sortBy": {"candidate.jd": -1}, "output": "$candid"}}, "all": {"$push": "$candid"}, "n": {"$count": {}}}}],
        [{"$bucketAuto": {"groupBy": "$candidate.magpsf", "buckets": 3}}],
        [{"$sample": {"size": 3}}, {"$unset": "cutoutScience"}, {"$replaceWith": "$candidate"}],
        [{"$project": {"g": {"$getField": "candid"}, "z": {"$zip": {"inputs": [["$candid"], [1]]}}, "s": {"$switch": {"branches": [{"case": {"$lt": ["$candidate.fid", 2]}, "then": "g"}], "default": "$$REMOVE"}}}}],
    ],
)  # fmt: skip
def test_what_astronomers_use_is_allowed(archive: Archive, stages: list[dict[str, Any]]) -> None:
    """Stages and operators of all kinds of MongoDB's manual, over a window."""
    assert archive.rows("public", "ZTF_alerts", *stages) or "$sampleRate" in str(stages)
