"""What users see: alerts, points and objects of their programmes, and nothing that tells of others."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import requests
from api_harness import Api, start_api
from bson import json_util
from packets import real_packets

from kowalski.alerts.document import Alert, arrival, read_batch
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.survey import get_survey
from kowalski.api.services.rights import User
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database
from kowalski.simulation.night import simulate

ZTF = get_survey("ZTF")
USERS: dict[str, dict[str, Any]] = {
    "public": {},
    "partner": {"ZTF": [1, 2]},
    "caltech": {"ZTF": [1, 2, 3]},
    "infrared": {"PGIR": True, "ZTF": False},
}
SEEN = {"public": {1}, "partner": {1, 2}, "caltech": {1, 2, 3}, "infrared": set(), "admin": {0, 1, 2, 3}}


class Archive:
    """An API over alerts of all programmes, and its users' tokens."""

    def __init__(self, api: Api, database: MongoDatabase, alerts: list[Alert]):
        self.api, self.database, self.alerts = api, database, alerts
        self.tokens = {"admin": api.token}

    def ask(self, who: str, query_type: str, query: dict[str, Any], **kwargs: Any) -> requests.Response:
        return self.api.ask(query_type, query, token=self.tokens[who], **kwargs)

    def data(self, who: str, query_type: str, query: dict[str, Any], **kwargs: Any) -> Any:
        """The data of a query that works."""
        answer = self.ask(who, query_type, query, **kwargs)
        assert answer.status_code == 200, answer.text
        return json_util.loads(answer.text).get("data")

    def visible(self, who: str) -> set[int]:
        """Candids that a user may see."""
        return {alert.candid for alert in self.alerts if alert.candidate["programid"] in SEEN[who]}

    def hidden(self, who: str) -> list[Alert]:
        return [alert for alert in self.alerts if alert.candidate["programid"] not in SEEN[who]]


def _programmed(alerts: list[Alert]) -> list[Alert]:
    """Real alerts, of which every second object and some of its points belong to other programmes."""
    changed = []
    for number, alert in enumerate(deepcopy(alerts)):
        alert.candidate["programid"] = 1 + number % 3
        for points in alert.histories.values():
            for place, point in enumerate(points):
                point["programid"] = 1 + (number + place) % 3
        changed.append(alert)
    return changed


@pytest.fixture(scope="module")
def archive(
    test_data: Path, fresh_database: Callable[[], Database], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Archive]:
    """36 real packets spread over the programmes and 60 simulated ones, with their objects and the real indexes."""
    settings = fresh_database()
    database = connect(settings)
    real, refused = read_batch(real_packets(test_data), ZTF)
    made, _ = read_batch([_packet(each.data, number) for number, each in enumerate(simulate(60, seed=5))], ZTF)
    alerts = _programmed(real) + made
    assert (len(real), len(made), refused) == (36, 60, [])
    room = Alerts(database, ZTF)
    room.ensure_indexes()
    room.insert([dict(alert.document) for alert in alerts])
    by_object: dict[str, list[Alert]] = {}
    for alert in alerts:
        by_object.setdefault(alert.object_id, []).append(alert)
    database["ZTF_alerts_aux"].insert_many(
        {
            "_id": object_id,
            **merged({}, [arrival(each, ZTF) for each in own], ZTF),
            "cross_matches": {"CLU_20190625": []},
            "matched": {"candid": own[0].candid},
        }
        for object_id, own in by_object.items()
    )
    database["ZTF_alerts_classifications"].insert_many(
        {"_id": alert.candid, "human_labels": {"SN": 1.0}} for alert in alerts
    )
    database["PGIR_alerts"].insert_one({"candid": 5, "objectId": "PGIR1", "candidate": {"jd": 1.0}})
    database["LSST_alerts"].insert_one({"candid": 6, "objectId": "1", "candidate": {"jd": 1.0}})
    database["Stars"].insert_many({"_id": alert.candid, "objectId": alert.object_id} for alert in alerts)
    api = start_api(tmp_path_factory.mktemp("rights"), settings)
    try:
        api.wait_ready()
        api.token = api.log_in().json()["token"]
        archive = Archive(api, database, alerts)
        for name, permissions in USERS.items():
            api.post("/api/users", {"username": name, "password": "x", "permissions": permissions})
            archive.tokens[name] = api.log_in(name, "x").json()["token"]
        yield archive
    finally:
        api.stop()
        database.client.close()


def _packet(data: bytes, number: int) -> Any:
    from kowalski.alerts.decode import Packet

    return Packet(data, "rights", 0, number)


@pytest.fixture(params=list(SEEN))
def who(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_there_is_something_to_hide(archive: Archive) -> None:
    assert [len(archive.visible(who)) for who in ("infrared", "public", "partner", "caltech", "admin")] == sorted(
        {len(archive.visible(who)) for who in SEEN} | {0}
    ) or len(archive.visible("public")) < len(archive.visible("partner")) < len(archive.visible("caltech"))


CANDID = {"_id": 0, "candid": 1}


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


def test_objects_show_the_points_of_their_readers_programmes(archive: Archive, who: str) -> None:
    rows = {row["_id"]: row for row in archive.data(who, "find", {"catalog": "ZTF_alerts_aux"})}
    joined = archive.data(who, "aggregate", {"catalog": "Stars", "pipeline": [
        {"$lookup": {"from": "ZTF_alerts_aux", "localField": "objectId", "foreignField": "_id", "as": "aux"}},
        {"$unwind": "$aux"}, {"$replaceRoot": {"newRoot": "$aux"}}, {"$group": {"_id": "$_id", "doc": {"$first": "$$ROOT"}}},
    ]})  # fmt: skip
    assert {row["_id"]: row["doc"] for row in joined} == rows
    stored = {document["_id"]: document for document in archive.database["ZTF_alerts_aux"].find()}
    for object_id, document in stored.items():
        lists = ("prv_candidates", "fp_hists", "fp_hists_replaced")
        points = {name: [p for p in document[name] if p["programid"] in SEEN[who]] for name in lists}
        shown = bool(set(document["programids"]) & SEEN[who]) or any(points[name] for name in lists[:2])
        assert (object_id in rows) is shown
        if shown and who != "admin":
            assert (
                not {"first_alert", "last_packet", "matched", "programids", "fp_hists_replaced"}
                & rows[object_id].keys()
            )
            for name in lists[:2]:
                own = [
                    {k: v for k, v in p.items() if k not in ("alert_candid", "alert_jd", "alert_mag", "first_jd")}
                    for p in points[name]
                ]
                assert rows[object_id][name] == own
    assert archive.data(who, "count_documents", {"catalog": "ZTF_alerts_aux", "filter": {}}) == len(rows)
    hidden = archive.data(
        who,
        "count_documents",
        {
            "catalog": "ZTF_alerts_aux",
            "filter": {"prv_candidates.programid": {"$nin": [*SEEN[who], None]}, "fp_hists.0": {"$exists": True}},
        },
    )
    assert hidden == 0 or who in ("admin", "partner", "caltech", "public")
    for programme in {0, 1, 2, 3} - SEEN[who]:
        for name in ("prv_candidates", "fp_hists"):
            condition = {"catalog": "ZTF_alerts_aux", "filter": {f"{name}.programid": programme}}
            assert archive.data(who, "count_documents", condition) == 0


ERRORS = [
    lambda mag: {"$expr": {"$gt": [{"$divide": [1, {"$subtract": ["$candidate.magpsf", mag]}]}, -1e300]}},
    lambda mag: {"$and": [{"$expr": {"$gt": [{"$divide": [1, {"$subtract": ["$candidate.magpsf", mag]}]}, -1e300]}}, {"candid": {"$gt": 0}}]},
]  # fmt: skip


@pytest.mark.parametrize("condition", ERRORS)
def test_no_error_tells_of_hidden_rows(archive: Archive, condition: Callable[[float], dict[str, Any]]) -> None:
    for alert in archive.hidden("public")[:12]:
        bad = condition(alert.candidate["magpsf"])
        shared = [a for a in archive.alerts if a.candidate["magpsf"] == alert.candidate["magpsf"]]
        if any(a.candid in archive.visible("public") for a in shared):
            continue
        assert archive.ask("admin", "find", {"catalog": "ZTF_alerts", "filter": bad}).status_code == 400
        for query_type in ("find", "find_one", "count_documents"):
            answer = archive.ask("public", query_type, {"catalog": "ZTF_alerts", "filter": bad, "projection": CANDID})
            assert answer.status_code == 200, (query_type, answer.text)
        for hint in ("objectId_-1", "radec_objectId", "candid"):
            answer = archive.ask(
                "public", "find", {"catalog": "ZTF_alerts", "filter": bad, "projection": CANDID}, hint=hint
            )
            assert answer.status_code == 200 or "hint" in answer.json()["message"]
        divided = {"$project": {"x": bad["$expr"] if "$expr" in bad else bad["$and"][0]["$expr"]}}
        for pipeline in ([{"$match": bad}], [divided], [{"$sort": {"candid": 1}}, divided]):
            assert (
                archive.ask("public", "aggregate", {"catalog": "ZTF_alerts", "pipeline": pipeline}).status_code == 200
            )


def test_surveys_without_programmes_are_all_or_nothing(archive: Archive, who: str) -> None:
    seen = {"PGIR_alerts": who in ("admin", "infrared"), "LSST_alerts": True}
    for catalog, shown in seen.items():
        assert len(archive.data(who, "find", {"catalog": catalog, "filter": {}})) == shown
        assert archive.data(who, "count_documents", {"catalog": catalog, "filter": {}}) == shown
        assert archive.data(who, "estimated_document_count", {"catalog": catalog}) == shown
        assert catalog in archive.data(who, "info", {"command": "catalog_names"})


def test_the_oldest_query_uses_its_indexes(archive: Archive, who: str) -> None:
    """The aggregate of the oldest README, within its 10 ms or told so; and MongoDB's plan of what the user's becomes."""
    candid = next(iter(archive.visible(who)), archive.alerts[0].candid)
    pipeline = [
        {"$match": {"candid": candid}},
        {"$lookup": {"from": "ZTF_alerts_aux", "localField": "objectId", "foreignField": "_id", "as": "aux"}},
        {"$replaceRoot": {"newRoot": {"$arrayElemAt": ["$aux", 0]}}},
        {"$match": {"cross_matches.CLU_20190625.0": {"$exists": False}}},
    ]
    for _ in range(20):
        answer = archive.ask(who, "aggregate", {"catalog": "ZTF_alerts", "pipeline": pipeline}, max_time_ms=10)
        if "operation exceeded time limit" not in answer.text:
            break
    assert len(answer.json()["data"]) == (1 if archive.visible(who) else 0)
    user = User.of({"_id": who, "permissions": USERS.get(who, {})}, "admin", {"ZTF": [1]})
    from kowalski.api.services.guard import narrow

    examined = archive.database.command("explain", {"aggregate": "ZTF_alerts", "pipeline": narrow("ZTF_alerts", pipeline, user), "cursor": {}}, verbosity="executionStats")  # fmt: skip
    assert "COLLSCAN" not in json_util.dumps(examined["stages"][0]) or who == "infrared"
    aux = user.window("ZTF_alerts_aux").stages
    plan = archive.database.command("explain", {"aggregate": "ZTF_alerts_aux", "pipeline": [*aux, {"$match": {"_id": "x"}}], "cursor": {}}, verbosity="queryPlanner")  # fmt: skip
    assert "COLLSCAN" not in json_util.dumps(plan) or who == "infrared"
