"""The tables: what MongoDB has, exactly, and what is new as the night goes."""

import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tables_harness import REAL, SIMULATED, SURVEYS, Content, Made, Make, an_alert, content, count, expected, keys, read

from kowalski.archive.tables.columns import TABLES
from kowalski.archive.tables.tables import Tables
from kowalski.config import ROOT
from kowalski.database.tabled import NAMED
from kowalski.errors import SchemaError

# what is in them


def test_duckdb_counts_what_mongodb_has(made: Made, whole: Tables) -> None:
    folder = whole.store.root
    for survey in SURVEYS:
        wanted = expected(made.database, survey)
        assert {table: count(folder, table, survey) for table in TABLES} == wanted
        assert wanted["points"] >= wanted["alerts"] == wanted["passes"] > 0
        assert wanted["matches"] >= 1
    for table in TABLES:
        found = keys(folder, table)
        assert len(found) == len(set(found))


def test_rows_are_sorted_and_nothing_is_left_over(whole: Tables) -> None:
    for table in TABLES:
        for partition in whole.store.partitions():
            if partition.table == table:
                (path,) = whole.store.files(partition)
                found = [(row["objectId"], row["jd"]) for rows in whole.store.batches(path) for row in rows.to_pylist()]
                assert found == sorted(found)
    assert read(whole.store.root, "alerts", "count(more)") == [(0,)]


@pytest.mark.parametrize("survey", SURVEYS)
def test_alerts_are_the_packets_to_the_last_bit(made: Made, whole: Tables, survey: str) -> None:
    stored = {alert["candid"]: alert for alert in made.database[f"{survey}_alerts"].find()}
    compared = 0
    for partition in whole.store.partitions():
        if (partition.table, partition.survey) == ("alerts", survey):
            for rows in whole.store.batches(whole.store.files(partition)[0]):
                for row in rows.to_pylist():
                    alert = stored[row["candid"]]
                    for name, value in row["candidate"].items():
                        wanted = alert["candidate"].get(name)
                        assert (type(value), repr(value)) in ((type(wanted), repr(wanted)), (int, str(wanted)))
                    assert (row["objectId"], row["kafka"]["topic"]) == (alert["objectId"], alert["kafka"]["topic"])
                    assert 0 <= row["ra"] < 360
                    compared += 1
    assert compared == len(stored) > 0


def test_scores_passes_matches_and_fits(made: Made, whole: Tables) -> None:
    folder = whole.store.root
    models = read(folder, "scores", "distinct model, version, score", "where survey = 'ZTF' order by model")
    assert models == [("acai_h", "1", 1.0), ("braai", "d6_m9", 0.75)]
    passes = read(folder, "passes", "candid, filter_id, group_id, fid, annotations, passed_at", "where survey = 'PGIR'")
    assert {each[0] for each in passes} == {alert["candid"] for alert in made.database["PGIR_alerts"].find()}
    for candid, *about, annotations, passed_at in passes:
        assert (about, json.loads(annotations)) == ([1, 7, "abc123"], {"n": candid})
        assert abs((passed_at - datetime.now(UTC)).total_seconds()) < 3600
    matches = read(folder, "matches", 'catalogue, row_id, distance_arcsec, "row"')
    for catalogue, row_id, distance, row in matches:
        assert (catalogue, json.loads(row)["_id"], json.loads(row)["mag"]) == ("Stars", row_id, 12.5)
        assert 0 <= distance <= 5
    (fit,) = read(folder, "salt2", "x0, x1, covariance, parameters, reason, night, more")
    assert fit[:6] == (1e-3, 0.0, [1.0, 0.0, 0.0, 1.0], ["x0", "x1"], None, 20240101)
    assert math.copysign(1, fit[1]) == -1
    assert list(json.loads(fit[6])) == ["requested_at"]


def test_points_are_each_once_with_their_kind_and_band(made: Made, whole: Tables) -> None:
    points = read(whole.store.root, "points", "objectId, kind, jd, band", "where survey = 'ZTF'")
    assert {(kind, band) for _, kind, _, band in points} >= {
        ("detection", "ztfg"),
        ("limit", "ztfr"),
        ("forced", "ztfr"),
    }
    aux = made.database["ZTF_alerts_aux"].find_one({"fp_hists.3": {"$exists": True}})
    assert aux is not None
    found = sorted(jd for object_id, kind, jd, _ in points if (object_id, kind) == (aux["_id"], "forced"))
    assert found == sorted(point["jd"] for point in aux["fp_hists"])


def test_what_has_no_column_is_kept_as_json(made: Made, put: Any, fresh: Make) -> None:
    odd = {"magpsf": "bright", "drb": 0.1, "new": {"a": 1}, "ra": 10}
    put("ZTF_alerts", an_alert(made, candidate=odd, extra=[1, 2]))
    tables = fresh()
    tables.compact("ZTF", SIMULATED)
    ((magpsf, drb, ra, more),) = read(tables.store.root, "alerts", "candidate.magpsf, candidate.drb, candidate.ra, more", "where candid = 77")  # fmt: skip
    assert (magpsf, drb, ra) == (None, pytest.approx(0.1), 10.0)
    assert json.loads(more) == {"candidate": {"magpsf": "bright", "drb": 0.1, "new": {"a": 1}}, "extra": [1, 2]}


def test_cutouts_where_they_are_asked_for(made: Made, fresh: Make) -> None:
    tables = fresh(cutouts=True)
    tables.compact("ZTF", REAL)
    found = dict(read(tables.store.root, "alerts", "candid, cutoutScience.stampData"))
    assert found == {alert["candid"]: alert["cutoutScience"]["stampData"] for alert in made.database["ZTF_alerts"].find({"candid": {"$in": list(found)}})}  # fmt: skip
    assert len(found) == 36


def test_the_lines_of_the_document_work(whole: Tables) -> None:
    text = (ROOT / "docs" / "tables.md").read_text()
    queries = [line for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL) for line in block.split(";") if line.strip()]  # fmt: skip
    assert len(queries) >= 4
    for query in queries:
        assert "data/local/tables/" in query
        assert duckdb.sql(query.replace("data/local/tables/", f"{whole.store.root}/")).fetchall()


def test_reads_of_a_night_are_by_indexes(made: Made) -> None:
    def explained(**command: Any) -> dict[str, Any]:
        found: dict[str, Any] = made.database.command("explain", command, verbosity="executionStats")
        return found

    topics = explained(distinct="ZTF_alerts", key="kafka.topic", query=NAMED)
    assert "DISTINCT_SCAN" in json.dumps(topics, default=str)
    assert "COLLSCAN" not in json.dumps(topics, default=str)
    candids = made.database["ZTF_alerts"].distinct("candid")
    covered = explained(find="ZTF_alerts", filter={"candid": {"$in": candids}}, projection={"_id": 0, "candid": 1})
    assert covered["executionStats"]["totalDocsExamined"] == 0
    noon = 2460310.0
    around = {"candidate.jd": {"$gte": noon - 1, "$lt": noon + 2}, "kafka.topic": {"$nin": ["x"]}}
    assert "COLLSCAN" not in json.dumps(explained(find="LSST_alerts", filter=around)["queryPlanner"]["winningPlan"], default=str)  # fmt: skip


# while the night goes


def test_appended_is_what_is_whole_in_the_end(whole: Tables, fresh: Make) -> None:
    tables = fresh(surveys=SURVEYS)
    added = tables.append()
    assert tables.append() == dict.fromkeys(TABLES, 0)
    found = content(tables.store.root)
    assert found == content(whole.store.root)
    assert added == {table: len(rows) for table, rows in found.items()}


def test_what_is_new_is_added_once_whoever_adds_it(made: Made, put: Any, fresh: Make, simulated: Content) -> None:
    one, other = fresh(), fresh()
    one.append()
    put("ZTF_alerts", an_alert(made))
    assert one.append()["alerts"] == 1
    assert other.append() == dict.fromkeys(TABLES, 0)
    other.compact("ZTF", SIMULATED)
    made.database["tabled"].delete_many({})
    assert one.append() == dict.fromkeys(TABLES, 0)
    assert len(content(one.store.root, SIMULATED)["alerts"]) == len(simulated["alerts"]) + 1


def test_an_alert_waits_for_its_object(made: Made, without: Any, put: Any, fresh: Make) -> None:
    """An alert of this moment whose object does not have it yet is appended with its points, when it has."""
    tables, alert = fresh(), an_alert(made, objectId="ZTFnew")
    tables.append()
    put("ZTF_alerts", alert)
    assert tables.append() == dict.fromkeys(TABLES, 0)
    last = {"jd": alert["candidate"]["jd"], "candid": 77}
    limit = {"jd": 2460000.5, "first_jd": last["jd"], "fid": 1, "pid": 5}
    put("ZTF_alerts_aux", {"_id": "ZTFnew", "first_alert": last, "last_packet": last, "prv_candidates": [limit], "cross_matches": {}})  # fmt: skip
    assert tables.append() == dict.fromkeys(TABLES, 0) | {"alerts": 1, "points": 2, "scores": 2}


def test_a_survey_without_schema_keeps_no_other_from_its_tables(made: Made, tmp_path: Path) -> None:
    lost = made.config.schemas["LSST"].model_copy(update={"folder": str(tmp_path)})
    tables = Made(made.database, made.config.model_copy(update={"schemas": {"LSST": lost}})).tables(
        tmp_path / "own", SURVEYS
    )
    with pytest.raises(SchemaError, match=r"LSST: its schema is not here.*schemas.LSST"):
        tables.append()
    assert count(tables.store.root, "alerts", "ZTF") == expected(made.database, "ZTF")["alerts"]
    made.database["tabled"].delete_many({})
