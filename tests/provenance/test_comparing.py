"""Comparisons of what is stored with what is made again, without a server."""

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from bson.int64 import Int64
from histories import ZTF
from packets import JD, forced_point, prv_point, ztf_alerts, ztf_record

from kowalski.alerts.document import Alert, arrival
from kowalski.alerts.lightcurve import merged
from kowalski.database.catalog_versions import described
from kowalski.ml.backends import Backend
from kowalski.ml.scorer import Scorer
from kowalski.ml.weights import Model
from kowalski.provenance.comparing import MISSING, Row, as_read, counted, differences, row, shown
from kowalski.provenance.documents import document_rows, point_rows
from kowalski.provenance.matches import likely_matches, match_rows
from kowalski.provenance.records import catalogs_record, named, recipe_digest, references_of, scores_record, versions_of
from kowalski.provenance.scores import most_likely, score_rows
from kowalski.settings import Recipe


def verdicts(rows: Any) -> dict[str, str]:
    return {each.thing: each.verdict for each in rows}


# values


@pytest.mark.parametrize(
    ("stored", "made"),
    [(1, Int64(1)), (math.nan, math.nan), ([1, [2]], [1, [2]]), ({"a": None}, {"a": None}), (b"x", b"x"), (-0.0, 0.0)],
)
def test_the_same(stored: Any, made: Any) -> None:
    assert list(differences(stored, made)) == []


@pytest.mark.parametrize(
    ("stored", "made", "paths"),
    [
        (1, 1.0, [""]),
        (True, 1, [""]),
        (math.nan, 0.0, [""]),
        ({"a": 1}, {}, ["a"]),
        ({}, {"a": None}, ["a"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["a.b[1]"]),
        ([1], [1, 2], [""]),
        ({"a": 1, "b": 2, "c": 3}, {"a": 2, "b": 2, "c": 4}, ["a", "c"]),
        ("1", 1, [""]),
    ],
)
def test_what_differs_is_named(stored: Any, made: Any, paths: list[str]) -> None:
    assert [each.path for each in differences(stored, made)] == paths


def test_tolerances() -> None:
    assert row("s", "t", 1.0, 1.0 + 1e-6, tolerance=1e-5).verdict == "same"
    assert row("s", "t", 1.0, 1.0 + 1e-4, tolerance=1e-5).verdict == "differs"
    assert row("s", "t", 1.0, 1.0 + 1e-15).verdict == "differs"
    assert list(differences({"d": 1e6}, {"d": 1e6 + 1e-4}, relative=1e-9)) == []
    assert list(differences({"d": 1e6}, {"d": 1e6 + 1e-2}, relative=1e-9)) != []


def test_words() -> None:
    assert shown(MISSING) == "missing"
    assert shown(b"abc") == "3 bytes, sha256 ba7816bf8f01"
    assert shown([1, 2, 3, 4]) == "[1, 2, 3, ... 4 in all]"
    assert shown("x" * 100) == "x" * 64 + "..."
    assert Row("s", "t", math.nan, b"abc", "same").as_dict()["stored"] == "nan"
    assert counted([row("s", "t", 1, 1), row("s", "t", 1, 2)])["differs"] == 1


# documents and light curves


def an_alert(**fields: Any) -> Alert:
    history = {"prv": [prv_point(JD - 3), prv_point(JD - 2, candid=8, magpsf=18.0)], "forced": [forced_point(JD - 1)]}
    (alert,) = ztf_alerts([ztf_record(**{"candid": 9, **history, **fields})])
    return alert


def test_an_alert_is_its_packet() -> None:
    alert = an_alert(magpsf=math.nan)
    stored = {**as_read(alert.document), "_id": 1, "kafka": {}, "provenance": "x", "classifications": {"braai": 1.0}}
    assert set(verdicts(document_rows(stored, alert.document)).values()) == {"same"}
    stored["candidate"] |= {"withdrawn_jd": JD + 1}
    assert set(verdicts(document_rows(stored, alert.document)).values()) == {"same"}
    stored["candidate"] |= {"fid": 2, "new": 1}
    del stored["schemavsn"]
    found = verdicts(each for each in document_rows(stored, alert.document) if each.verdict != "same")
    assert found == {"candidate.fid": "differs", "candidate.new": "differs", "schemavsn": "differs"}
    del stored["kafka"]  # Kowalski 3
    assert verdicts(document_rows(stored, alert.document))["schemavsn"] == "not recorded"


def test_points_are_there_whatever_came_later() -> None:
    first, later = an_alert(), an_alert(candid=10, jd=JD + 1, prv=[prv_point(JD - 3, diffmaglim=19.0)])
    alone = merged({}, [arrival(first, ZTF)], ZTF)
    assert verdicts(point_rows(first, as_read(alone), ZTF)) == dict.fromkeys(("first alert", "prv_candidates", "fp_hists"), "same")  # fmt: skip
    both = as_read(merged({}, [arrival(each, ZTF) for each in (first, later)], ZTF))
    for each in (first, later):
        assert set(verdicts(point_rows(each, both, ZTF)).values()) == {"same"}
    kept = [each for each in both["prv_candidates"] if each["jd"] == JD - 2]
    kept[0]["magpsf"] = 17.0
    assert verdicts(point_rows(first, both, ZTF))["prv_candidates candid 8 magpsf"] == "differs"
    assert set(verdicts(point_rows(later, both, ZTF)).values()) == {"same"}
    both["fp_hists"] = []
    assert verdicts(point_rows(first, both, ZTF))[f"fp_hists jd {JD - 1!r}"] == "differs"
    kept[0] |= {"magpsf": 18.0, "first_jd": JD + 1}
    assert verdicts(point_rows(first, both, ZTF))["prv_candidates candid 8 first_jd"] == "differs"
    both["first_alert"] = {"jd": JD + 5, "candid": 99}
    assert verdicts(point_rows(first, both, ZTF))["first alert"] == "differs"


# scores


class Half:
    def predict(self, inputs: Any) -> Any:
        return np.full(len(next(iter(inputs.values()))), 0.5, np.float32)


def a_scorer(sha256: str = "ab" * 32, version: str = "v1") -> Scorer:
    from pathlib import Path

    model = Model("braai", version, ("features",), ("ra",), {"ra": 2.0}, Path("x"), sha256)
    return Scorer([(model, Half())], {}, Backend("onnx", "1.0"))


def test_a_record_is_named_by_its_contents() -> None:
    one = scores_record(a_scorer(), "ZTF", "4.0.0")
    assert one == scores_record(a_scorer(), "ZTF", "4.0.0")
    assert one["networks"]["braai"] == {"version": "v1", "sha256": "ab" * 32, "inputs": ["features"], "features": ["ra"], "norms": {"ra": 2.0}}  # fmt: skip
    others = [scores_record(a_scorer("cd" * 32), "ZTF", "4.0.0"), scores_record(a_scorer(), "PGIR", "4.0.0"), scores_record(a_scorer(), "ZTF", "4.0.1")]  # fmt: skip
    assert len({one["_id"], *(each["_id"] for each in others)}) == 4
    assert named({"a": 1, "b": 2}) == named({"b": 2, "a": 1})
    assert scores_record(Scorer([], {}), "ZTF", "4")["backend"] is None


SCORES = {"braai": 0.5, "braai_version": "v1"}


def test_scores() -> None:
    here = scores_record(a_scorer(), "ZTF", "4.0.0")
    same = score_rows(SCORES, SCORES, here["_id"], here, here, {})
    assert set(verdicts(same).values()) == {"same"}
    other = scores_record(a_scorer("cd" * 32), "ZTF", "3.9")
    found = verdicts(score_rows(SCORES, {**SCORES, "braai": 0.6}, other["_id"], other, here, {}))
    assert found == {"braai": "differs", "braai version": "same", "braai weights": "differs", "backend": "same", "Kowalski": "changed"}  # fmt: skip
    assert verdicts(score_rows(SCORES, SCORES, None, None, here, {}))["made by"] == "not recorded"
    assert verdicts(score_rows(SCORES, SCORES, "lost", None, here, {}))["made by"] == "differs"
    assert verdicts(score_rows({}, {}, here["_id"], here, here, {}))["scores"] == "same"
    assert verdicts(score_rows({}, {}, None, None, here, {})) == {"scores": "same"}
    assert verdicts(score_rows({}, SCORES, here["_id"], here, here, {}))["braai"] == "differs"
    (row, *_) = score_rows({"old": 0.1, "old_version": "x"}, {}, here["_id"], here, here, {"old": "no weights"})
    assert (row.thing, row.verdict, row.note) == ("old", "not checked", "no weights")
    norms = {**here, "networks": {"braai": {**here["networks"]["braai"], "norms": {"ra": 3.0}}}}
    assert verdicts(score_rows(SCORES, SCORES, here["_id"], norms, here, {}))["braai inputs"] == "differs"


def test_filters_were_fed_the_stored_scores_unless_these_are_wrong() -> None:
    here = scores_record(a_scorer(), "ZTF", "4.0.0")
    assert most_likely({**SCORES, "braai": 0.500001}, SCORES, here, here)["braai"] == 0.500001
    assert most_likely({**SCORES, "braai": 0.9}, SCORES, here, here)["braai"] == 0.5
    assert most_likely({**SCORES, "braai": 0.9}, SCORES, scores_record(a_scorer("cd"), "ZTF", "4"), here)["braai"] == 0.9  # fmt: skip
    assert most_likely({**SCORES, "braai": 0.9}, SCORES, None, here)["braai"] == 0.5
    assert most_likely({"braai": 0.9, "braai_version": "v0"}, SCORES, None, here)["braai"] == 0.9


# matches

RECIPES = {name: Recipe.model_validate({"cone_search_radius": 2, "cone_search_unit": "arcsec"}) for name in ("a", "b")}
DIGEST = recipe_digest(RECIPES["a"])
SEEN = {"how": "seen", "rows": 3, "at": datetime(2026, 11, 27, tzinfo=UTC), "uuids": ["u"], "after": None}
SOURCE = {"recipe": "gaia", "tag": None, "files": 1, "names": ["g.fits"], "sha256": "ab" * 32}
INGESTED = {"how": "ingested", "rows": 4, "at": SEEN["at"], "uuids": ["v"], "source": SOURCE}
TOLD = {"a:1": SEEN, "a:2": {**SEEN, "rows": 9}, "a:3": INGESTED, "b:1": SEEN}


def an_object(rows: Any, **matched: Any) -> dict[str, Any]:
    return {"cross_matches": {"a": rows, "b": []}, "matched": {"candid": 1, "catalogs": ["a", "b"], "absent": [], "failed": [], **matched}}  # fmt: skip


def found(stored: Any, made: Any, then: str = "a:1", now: str = "a:1") -> dict[str, str]:
    versions = [{"a": (each, DIGEST), "b": ("b:1", DIGEST)} for each in (then, now)]
    return {thing: verdict for thing, verdict in verdicts(match_rows(stored, made, RECIPES, *versions, TOLD)).items() if verdict != "same"}  # fmt: skip


def test_matches() -> None:
    one = an_object([{"_id": 1, "d": 1.0}])
    assert found(one, one) == {}
    assert found(an_object([{"_id": 1, "d": 1.0 + 1e-12}]), one) == {}
    assert found(an_object([{"_id": 1, "d": 1.1}]), one) == {"a[0].d": "differs"}
    assert found(an_object([]), one) == {"a": "differs"}
    assert found(an_object([{"_id": 1, "d": 1.0}], candid=2), one) == {"matched at": "differs"}
    assert found(an_object([], absent=["a"]), one) == {"a": "differs"}
    assert found(an_object([], absent=["a"]), an_object([], absent=["a"])) == {}
    assert found(an_object([], failed=["a"]), one) == {"a": "differs"}
    assert found(one, an_object([], failed=["a"])) == {"a": "not checked"}
    assert found({**one, "cross_matches": {**one["cross_matches"], "c": [1]}}, one) == {"c": "not checked"}


def test_versions_of_catalogues() -> None:
    one = an_object([])
    assert found(one, one, "a:1", "a:3") == {"a version": "differs"}
    assert found(one, one, "a:1", "a:2") == {"a version": "changed"}
    assert found(one, one, "a:gone", "a:1") == {"a version": "differs"}
    assert verdicts(match_rows(one, one, RECIPES, {}, {"a": ("a:1", DIGEST)}, TOLD))["a version"] == "not recorded"
    assert verdicts(match_rows(one, one, RECIPES, {"a": ("a:1", "0")}, {"a": ("a:1", DIGEST)}, TOLD))["a recipe"] == "differs"  # fmt: skip
    del one["matched"]
    assert verdicts(match_rows(one, an_object([]), RECIPES, {}, {}, TOLD))["matched at"] == "not recorded"
    assert described(SEEN) == "unknown, 3 rows as of 2026-11-27"
    assert described({**SEEN, "after": "a:3"}) == "unknown, 3 rows as of 2026-11-27, once a:3"
    assert described(INGESTED) == "g.fits by gaia, sha256 abababababab, 4 rows, 2026-11-27"
    assert described(None) == "not recorded"


def test_records_of_versions() -> None:
    """What was matched anew counts for its catalogue; a record that is lost is none."""
    whole, later = catalogs_record({"a": "a:1", "b": "b:1"}, RECIPES), catalogs_record({"a": "a:3"}, RECIPES)
    matched = {"versions": whole["_id"], "made_of": {"a": later["_id"]}}
    assert references_of(matched) == {whole["_id"], later["_id"]}
    records = {each["_id"]: each for each in (whole, later)}
    assert versions_of(matched, records) == {"a": ("a:3", DIGEST), "b": ("b:1", DIGEST)}
    assert versions_of(matched, {whole["_id"]: whole}) == {"b": ("b:1", DIGEST)}
    assert versions_of({}, {}) == {}
    assert versions_of({"made_of": {"a": None}}, {}) == {}


def test_filters_saw_the_stored_matches_of_what_has_changed() -> None:
    stored, made = an_object([{"_id": 1}]), an_object([{"_id": 2}])
    same, other = {"a": ("a:1", DIGEST)}, {"a": ("a:3", DIGEST)}
    assert likely_matches(stored, made, same, same)["a"] == [{"_id": 2}]
    assert likely_matches(stored, made, same, other)["a"] == [{"_id": 1}]
