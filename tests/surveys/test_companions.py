"""A filter that asks for another survey sees the object there: as it was known then, and as far as it may."""

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import json_util
from packets import packet
from surveys_harness import MakeWorker

from kowalski.alerts.survey import Survey, get_survey
from kowalski.database.client import MongoDatabase
from kowalski.database.filters import Filters
from kowalski.errors import FilterError
from kowalski.filters.companions import Companion
from kowalski.filters.compile import EVERYTHING, fields_read
from kowalski.filters.enrich import enriched
from kowalski.filters.sight import Sight
from kowalski.simulation.night import simulate
from kowalski.simulation.reshape import reshaped

ZTF, PGIR = get_survey("ZTF"), get_survey("PGIR")
SEES_ZTF = [
    {"$match": {"surveys.ZTF.candidates.0": {"$exists": True}}},
    {"$project": {"annotations": {"ztf": "$surveys.ZTF.objectId", "n": {"$size": "$surveys.ZTF.candidates"}, "points": {"$size": "$surveys.ZTF.prv_candidates"}}}},
]  # fmt: skip


def put(database: MongoDatabase, survey: Survey, **fields: Any) -> None:
    version = {"fid": "abc123", "pipeline": json_util.dumps(SEES_ZTF), "created_at": datetime.now(UTC)}
    document = {
        "filter_id": 1, "group_id": 1, "catalog": survey.alerts, "permissions": [], "active": True, "active_fid": "abc123",
        "fv": [version], "autosave": False, "last_modified": datetime.now(UTC),
    }  # fmt: skip
    Filters(database, database).put(document | fields)


@pytest.mark.parametrize("programmes", [[1, 2, 3], [1]])
def test_a_filter_of_one_survey_sees_the_object_of_another(
    make_worker: MakeWorker, mongo: MongoDatabase, programmes: list[int]
) -> None:
    """Each alert sees those of the other survey up to its own time, of the programmes that the filter names."""
    night = list(simulate(60, objects=15, seed=8))
    make_worker(ZTF).process([packet(each.data, number) for number, each in enumerate(night)])
    put(mongo, PGIR, surveys={"ZTF": programmes})
    worker = make_worker(PGIR)
    worker.linker.links.ensure_indexes()
    worker.process([packet(each.data, number) for number, each in enumerate(reshaped(night, PGIR))])
    found = {entry["candid"]: entry["annotations"] for entry in mongo.outbox.find({"kind": "candidate"})}
    expected = {}
    for each in night:
        until = [one for one in night if one.object_id == each.object_id and one.jd <= each.jd]
        if number := sum(one.programid in programmes for one in until):
            expected[each.candid] = (each.object_id, number)
    assert {candid: (said["ztf"], said["n"]) for candid, said in found.items()} == expected
    assert len(expected) < len(night) or len(programmes) == 3
    assert max(said["points"] for said in found.values()) > 5


def test_the_nearest_of_which_anything_may_be_seen() -> None:
    detection = {"jd": 9.0, "programid": 1, "candid": 1}
    companions = [
        Companion(ZTF, "hidden", 0.1, {"prv_candidates": [{"jd": 8.0, "programid": 3}]}, [{"jd": 9.0, "programid": 3}]),
        Companion(ZTF, "later", 0.2, {}, [{"jd": 11.0, "programid": 1}]),
        Companion(ZTF, "near", 0.3, {"cross_matches": {"NED": []}}, [detection]),
        Companion(ZTF, "far", 0.4, {}, [detection]),
    ]
    sight = Sight(PGIR, (), (Sight(ZTF, (1,)),))
    alert = {"candid": 5, "candidate": {"jd": 10.0}}
    seen = enriched(alert, {}, sight, EVERYTHING, companions)["surveys"]
    assert seen == {
        "ZTF": {"objectId": "near", "distance_arcsec": 0.3, "candidates": [detection], "prv_candidates": [], "fp_hists": [], "cross_matches": {"NED": []}}
    }  # fmt: skip
    assert enriched(alert, {}, sight, EVERYTHING)["surveys"] == {}
    assert "surveys" not in enriched(alert, {}, sight, fields_read([{"$match": {"candidate.jd": 1}}]), companions)
    assert "surveys" not in enriched(alert, {}, Sight(PGIR, ()), EVERYTHING, companions)


@pytest.mark.parametrize(
    ("surveys", "complaint"),
    [
        ({"HST": True}, "there is no survey HST"),
        ({"ZTF": True}, "surveys: ZTF must be a list of programids, not True"),
        ({"ZTF": ["1"]}, "ZTF must be a list of programids"),
        ({"PGIR": [1]}, "surveys: PGIR must be true, not"),
        ({"PGIR": False}, "surveys: PGIR must be true, not False"),
    ],
)
def test_what_has_no_meaning_is_named(surveys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(FilterError, match=complaint):
        Sight.of("ZTF_alerts", [1], surveys)


def test_what_may_be_seen_does_not_depend_on_how_it_is_written() -> None:
    assert Sight.of("PGIR_alerts", [], {"ztf": [2], "winter": [1]}).key == ((), (("WNTR", (1,)), ("ZTF", (2,))), ())
    assert Sight.of("ZTF_alerts", [1], {"PGIR": True}).others == (Sight(PGIR, ()),)
