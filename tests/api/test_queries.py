"""Every query type against the real server and database."""

from typing import Any

import pytest
from api_harness import Api
from bson import json_util
from pymongo.errors import OperationFailure

from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database

CANDID = 2_475_433_850_315_015_008
PLAIN = {"_id": 0, "candid": 1}


def _cone(radec: Any = ((150, 2),), radius: float = 60, unit: str = "arcsec", **part: Any) -> dict[str, Any]:
    coordinates = {"cone_search_radius": radius, "cone_search_unit": unit, "radec": radec}
    return {"object_coordinates": coordinates, "catalogs": {"Stars": part}}


def _near(radec: Any = ((150, 2),), **more: Any) -> dict[str, Any]:
    return {"radec": radec, "catalogs": {"Stars": {"projection": {"_id": 1}}}} | more


def _ids(data: dict[str, Any], key: str = "[150, 2]") -> list[int]:
    return [row["_id"] for row in data["Stars"][key]]


def test_find(api: Api) -> None:
    data = api.data("find", {"catalog": "ZTF_alerts", "filter": {"candidate.jd": {"$gt": 2460002}}})
    assert sorted(row["candid"] for row in data) == [CANDID + 2, CANDID + 3, CANDID + 4]
    assert data[0]["_id"].keys() == {"$oid"}
    assert data[0]["candidate"].keys() == {"candid", "jd", "magpsf", "programid"}


@pytest.mark.parametrize("sort", [[["candidate.jd", -1]], {"candidate.jd": -1}])
def test_find_with_options(api: Api, sort: Any) -> None:
    query = {"catalog": " ZTF_alerts ", "filter": {}, "projection": PLAIN}
    options = {"sort": sort, "skip": 1, "limit": 2, "hint": {"candid": -1}, "max_time_ms": 1000, "comment": "x"}
    data = api.data("find", query, **options, save=True, _id="a" * 32, filter_first=True, batchSize=5)
    assert data == [{"candid": CANDID + 3}, {"candid": CANDID + 2}]


def test_find_without_a_match_or_a_collection(api: Api) -> None:
    assert api.data("find", {"catalog": "ZTF_alerts", "filter": {"candid": 1}}) == []
    assert api.data("find", {"catalog": "nothing"}) == []


def test_filters_as_python_literals(api: Api) -> None:
    query = {
        "catalog": "ZTF_alerts",
        "filter": f"{{'candid': {{'$in': [{CANDID}]}}}}",
        "projection": "{'_id': 0, 'candid': 1}",
    }
    assert api.data("find", query) == [{"candid": CANDID}]
    pipeline = "[{'$match': {'candid': 1}}, {'$count': 'n'}]"
    assert api.data("aggregate", {"catalog": "ZTF_alerts", "pipeline": pipeline}) == []


def test_find_one(api: Api) -> None:
    query = {"catalog": "ZTF_alerts", "filter": {}, "projection": PLAIN}
    assert api.data("find_one", query, sort=[["candid", -1]], skip=1) == {"candid": CANDID + 3}
    answer = api.ask("find_one", {"catalog": "ZTF_alerts", "filter": {"candid": 1}}).json()
    assert answer == {"status": "success", "message": "Successfully executed query"}


def test_counts(api: Api) -> None:
    query = {"catalog": "ZTF_alerts", "filter": {"candidate.jd": {"$gt": 2460001}}}
    assert api.data("count_documents", query) == 4
    assert api.data("count_documents", query, skip=1, limit=2, hint="candid") == 2
    assert api.data("estimated_document_count", {"catalog": "ZTF_alerts"}) == 5


def test_aggregate(api: Api) -> None:
    pipeline = [
        {"$match": {"candid": CANDID}},
        {"$lookup": {"from": "Stars", "pipeline": [{"$count": "n"}], "as": "stars"}},
        {"$project": {"_id": 0, "candid": 1, "stars": 1}},
    ]
    options = {"allowDiskUse": False, "batchSize": 1, "max_time_ms": 5000, "hint": "candid"}
    assert api.data("aggregate", {"catalog": "ZTF_alerts", "pipeline": pipeline}, **options) == [
        {"candid": CANDID, "stars": [{"n": 5}]}
    ]


def test_info(api: Api) -> None:
    names = api.data("info", {"command": "catalog_names"})
    assert names == sorted(names, reverse=True)
    assert {"Stars", "Pole", "ZTF_alerts", "users", "outbox"} <= set(names)
    assert not any(name.startswith("system.") for name in names)
    size = api.data("info", {"command": "catalog_info", "catalog": "Stars"})
    assert size["count"] == 5
    assert "$clusterTime" not in size
    assert api.data("info", {"command": "index_info", "catalog": "ZTF_alerts"})["candid"]["key"] == [["candid", -1]]
    assert api.data("info", {"command": "db_info"})["collections"] >= 4


def test_cone_search_gives_the_nearest_first(api: Api) -> None:
    rows = api.data("cone_search", _cone())["Stars"]["[150, 2]"]
    assert [row["_id"] for row in rows] == [3, 1, 2, 0]
    distances = [row["coordinates"]["distance_arcsec"] for row in rows]
    assert distances == pytest.approx([1, 10, 30, 50], abs=1e-4)


@pytest.mark.parametrize(("radius", "unit"), [(0.5, "arcmin"), (0.0084, "deg"), (0.000146, "rad"), (31, "arcsec")])
def test_units_of_a_cone(api: Api, radius: float, unit: str) -> None:
    assert _ids(api.data("cone_search", _cone(radius=radius, unit=unit))) == [3, 1, 2]


@pytest.mark.parametrize("projection", [{"_id": 1}, {"mag": 1}, {"coordinates": 0}, {"coordinates.radec_geojson": 0}])
def test_a_cone_has_its_order_without_positions(api: Api, projection: dict[str, Any]) -> None:
    rows = api.data("cone_search", _cone(projection=projection))["Stars"]["[150, 2]"]
    assert [row["_id"] for row in rows] == [3, 1, 2, 0]
    assert "distance_arcsec" not in rows[0].get("coordinates", {})


@pytest.mark.parametrize("projection", [{"coordinates": 1}, {"coordinates.radec_geojson": 1}, {"mag": 0}, {"coordinates.radec_str": 0}])  # fmt: skip
def test_a_cone_has_distances_where_it_has_positions(api: Api, projection: dict[str, Any]) -> None:
    rows = api.data("cone_search", _cone(projection=projection))["Stars"]["[150, 2]"]
    assert rows[0]["coordinates"]["distance_arcsec"] == pytest.approx(1, abs=1e-4)


def test_options_of_a_cone(api: Api) -> None:
    assert _ids(api.data("cone_search", _cone(), limit=2)) == [3, 1]
    assert _ids(api.data("cone_search", _cone(), limit=2, skip=1)) == [1, 2]
    assert _ids(api.data("cone_search", _cone(), sort=[["_id", 1]])) == [0, 1, 2, 3]
    assert _ids(api.data("cone_search", _cone(), sort={"_id": -1}, limit=1)) == [3]
    assert _ids(api.data("cone_search", _cone(), hint="radec")) == [3, 1, 2, 0]
    assert _ids(api.data("cone_search", _cone(filter={"mag": {"$lt": 19}}))) == [3, 2]
    assert _ids(api.data("cone_search", _cone(filter="{'mag': {'$lt': 19}}"))) == [3, 2]


def test_a_filter_can_not_replace_the_cone(api: Api) -> None:
    whole = {"coordinates.radec_geojson": {"$exists": True}}
    assert _ids(api.data("cone_search", _cone(filter=whole))) == [3, 1, 2, 0]
    assert _ids(api.data("cone_search", _cone(filter=whole), limit=9)) == [3, 1, 2, 0]


def test_many_positions_and_catalogues(api: Api) -> None:
    radec = {f"p.{number}": [150, 2 + number / 3600] for number in range(100)}
    query = _cone(radec, radius=5)
    query["catalogs"]["Pole"] = None
    data = api.data("cone_search", query)
    assert list(data) == ["Stars", "Pole"]
    assert list(data["Stars"]) == [f"p_{number}" for number in range(100)]
    assert _ids(data, "p_1") == [3]
    assert _ids(data, "p_20") == []
    assert not any(data["Pole"].values())


def test_around_the_pole_and_across_ra_0(api: Api) -> None:
    query = _cone({"east": [180, 89.9999], "west": [359.9, 89.9999]}, radius=1)
    query["catalogs"] = {"Pole": {}}
    found = api.data("cone_search", query)["Pole"]
    assert found["east"][0]["coordinates"]["distance_arcsec"] == pytest.approx(0.72, abs=1e-3)
    assert found["west"][0]["coordinates"]["distance_arcsec"] == pytest.approx(0.00063, abs=1e-4)


def test_near(api: Api) -> None:
    assert _ids(api.data("near", _near())) == [3, 1, 2, 0]  # 1 arcmin
    assert _ids(api.data("near", _near(distance_units="arcsec"))) == [3, 1, 2, 0]  # still 1 arcmin
    assert _ids(api.data("near", _near(distance_units="arcsec", min_distance=5, max_distance=1000), limit=3)) == [
        1,
        2,
        0,
    ]
    assert _ids(api.data("near", _near(max_distance=0.00015))) == [3, 1, 2]
    assert _ids(api.data("near", _near(), sort=[["_id", 1]])) == [0, 1, 2, 3]
    assert _ids(api.data("near", _near("[[150, 2]]"))) == [3, 1, 2, 0]


def test_values_that_json_does_not_know(api: Api, stored: MongoDatabase) -> None:
    document = json_util.loads(
        '{"_id": 1, "nan": {"$numberDouble": "NaN"}, "big": {"$numberLong": "9223372036854775807"}, "raw": {"$binary": '
        '{"base64": "AAEC", "subType": "00"}}, "when": {"$date": "2023-01-02T03:04:05Z"}, "id": {"$oid": "0123456789ab0123456789ab"}}'
    )
    stored["Oddities"].insert_many([document, {"_id": 2, "pattern": {"x": [None, True, 1.5]}}])
    text = api.ask("find", {"catalog": "Oddities"}, sort=[["_id", 1]]).text
    assert '{"$numberDouble": "NaN"}' in text
    assert '"big": 9223372036854775807' in text
    first, second = json_util.loads(text)["data"]
    assert first.pop("nan") != first.get("nan")
    assert first == {key: value for key, value in document.items() if key != "nan"}
    assert second == {"_id": 2, "pattern": {"x": [None, True, 1.5]}}


@pytest.mark.parametrize(
    ("query_type", "query", "message"),
    [
        ("find", {"catalog": "Stars", "filter": 7}, "Unsupported filter specification"),
        ("find", {"catalog": "Stars", "filter": "[]"}, "Unsupported filter specification"),
        ("find", {"catalog": "Stars", "filter": "open('x')"}, "Unsupported filter specification"),
        ("find", {"catalog": "Stars", "projection": ["a"]}, "Unsupported projection specification"),
        ("aggregate", {"catalog": "Stars", "pipeline": {}}, "Unsupported pipeline specification"),
        ("aggregate", {"catalog": "Stars", "pipeline": [1]}, "Unsupported pipeline specification"),
        ("aggregate", {"catalog": "Stars", "pipeline": []}, "Pipeline must contain at least one stage"),
        ("aggregate", {"catalog": "Stars", "pipeline": [{"$out": "x"}]}, "Pipeline uses forbidden stages: $out"),
        ("find", {"catalog": "Stars", "filter": {"$where": "1"}}, "Query uses forbidden operators: $where"),
        ("find", {"catalog": "Stars", "projection": {"x": {"$function": {}}}}, "Query uses forbidden operators: $function"),
        ("count_documents", {"catalog": "Stars", "filter": {"$or": [{"$where": "1"}]}}, "Query uses forbidden operators: $where"),
        ("cone_search", _cone(filter={"$where": "1"}), "Query uses forbidden operators: $where"),
        ("near", _near(catalogs={"Stars": {"filter": {"$where": "1"}}}), "Query uses forbidden operators: $where"),
        ("cone_search", _cone(unit="parsec"), "Angular units not in ('arcsec', 'arcmin', 'deg', 'rad')"),
        ("near", _near(distance_units="mas"), "Angular units not in ('arcsec', 'arcmin', 'deg', 'rad')"),
        ("cone_search", _cone([[1, 2], [1, 2]]), "radec: two positions have the key '[1, 2]': name them apart"),
        ("cone_search", _cone(radius=-1), "cone_search.query.object_coordinates.cone_search_radius: Input should be greater than 0"),
        ("find", {"filter": {}}, "find.query.catalog: Field required"),
        ("info", {"command": "index_info"}, "index_info: catalog is missing"),
        ("find", {"catalog": "Stars", "filter": {"x": 2**64}}, "MongoDB can't take or give this: MongoDB can only handle up to 8-byte ints"),
        ("find", {"catalog": "Stars", "filter": {"\ud800": 1}}, None),
        ("find", {"catalog": "Stars", "filter": {"a\0b": 1}}, None),
        ("find", {"catalog": "Stars", "filter": "{1: 2}"}, None),
        ("find", {"catalog": "Stars", "filter": "{'x': {1, 2}}"}, None),
        ("find", {"catalog": "a\0b"}, None),
        ("find", {"catalog": "$cmd"}, None),
        ("find", {"catalog": "a..b"}, None),
        ("find", {"catalog": "Stars", "filter": {"$nix": 1}}, None),
        ("find", {"catalog": "system.users"}, None),
        ("aggregate", {"catalog": "Stars", "pipeline": [{"$nix": 1}]}, None),
        ("info", {"command": "drop_all"}, None),
    ],
)  # fmt: skip
def test_wrong_queries_say_what_is_wrong(api: Api, query_type: str, query: dict[str, Any], message: str | None) -> None:
    said = api.refusal(query_type, query)
    assert said == message or message is None
    assert not any(word in said for word in ("Traceback", "clusterTime", "signature", "full error"))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"max_time_ms": 0}, "ValueError: max_time_ms must be int >= 1"),
        ({"max_time_ms": -5}, "ValueError: max_time_ms must be int >= 1"),
        ({"max_time_ms": "soon"}, "ValueError: max_time_ms must be int >= 1"),
        ({"max_time_ms": 300_001}, "ValueError: max_time_ms must be int <= 300000"),
        ({"limit": -1}, "find.kwargs.limit: Input should be greater than or equal to 0"),
        ({"hint": "no_such_index"}, None),
        ({"sort": [["a", 7]]}, None),
        ({"sort": 3}, None),
        ({"sort": [["a", {"$where": "1"}]]}, "Query uses forbidden operators: $where"),
    ],
)
def test_wrong_options_say_what_is_wrong(api: Api, kwargs: dict[str, Any], message: str | None) -> None:
    said = api.refusal("find", {"catalog": "Stars"}, **kwargs)
    assert said == message or message is None


def test_a_query_ends_in_time(api: Api, stored: MongoDatabase) -> None:
    stored["Crowd"].insert_many({"_id": number} for number in range(2000))
    pairs = [{"$lookup": {"from": "Crowd", "pipeline": [{"$match": {"$expr": {"$gt": ["$_id", -1]}}}], "as": "others"}}]
    whole = [
        *pairs * 3,
        {"$group": {"_id": None, "n": {"$sum": {"$size": "$others"}}}},
    ]  # nothing to answer before the end
    assert "time limit" in api.refusal("aggregate", {"catalog": "Crowd", "pipeline": whole}, max_time_ms=50)
    many = {str(number): [150, 2] for number in range(3000)}
    assert "time limit" in api.refusal("cone_search", _cone(many), max_time_ms=1)


def test_the_user_can_only_read(stored: MongoDatabase, api_settings: Database) -> None:
    """Should a write ever get past the guard, the MongoDB user may not do it."""
    reader = connect(api_settings, "reader")
    with pytest.raises(OperationFailure, match="not authorized"):
        reader["Stars"].insert_one({})
    with pytest.raises(OperationFailure, match="not authorized"):
        list(reader["Stars"].aggregate([{"$out": "copy"}]))
