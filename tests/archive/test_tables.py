"""The tables: what MongoDB has, exactly, while the night goes and when it is whole, whatever happens in between."""

import argparse
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from bson.objectid import ObjectId
from tables_harness import REAL, SIMULATED, SURVEYS, Made, content, count, expected, fit_of, keys, packets_of, read

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.survey import get_survey
from kowalski.archive.tables import turn as turns
from kowalski.archive.tables.columns import TABLES
from kowalski.archive.tables.compaction import Compaction
from kowalski.archive.tables.sorting import Sorter
from kowalski.archive.tables.store import Store
from kowalski.archive.tables.tables import Tables
from kowalski.archive.tables.turn import turn_of
from kowalski.config import ROOT
from kowalski.database.tabled import NAMED, Tabled
from kowalski.errors import SchemaError, TableError
from kowalski.local import tables as command

Make = Callable[..., Tables]
Content = dict[str, list[str]]


@pytest.fixture(scope="module")
def whole(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """All nights of all surveys, whole; the tests don't change them."""
    tables = made.tables(tmp_path_factory.mktemp("whole"))
    made.compact_all(tables)
    return tables


@pytest.fixture(scope="module")
def simulated(whole: Tables) -> Content:
    """The content of the simulated night."""
    return content(whole.store.root, SIMULATED)


@pytest.fixture
def without(made: Made) -> Iterator[Callable[..., None]]:
    """A function that takes documents out of collections (name, condition); they come back at the end."""
    taken: list[tuple[str, list[dict[str, Any]]]] = []

    def take(name: str, condition: dict[str, Any]) -> None:
        taken.append((name, list(made.database[name].find(condition))))
        made.database[name].delete_many(condition)

    yield take
    for name, documents in taken:
        for document in documents:
            made.database[name].replace_one({"_id": document["_id"]}, document, upsert=True)


@pytest.fixture
def put(made: Made) -> Iterator[Callable[[str, dict[str, Any]], None]]:
    """A function that puts a document into a collection; it is taken out at the end."""
    there: list[tuple[str, Any]] = []

    def insert(name: str, document: dict[str, Any]) -> None:
        made.database[name].insert_one(document)
        there.append((name, document["_id"]))

    yield insert
    for name, key in there:
        made.database[name].delete_one({"_id": key})


def an_alert(made: Made, **changes: Any) -> dict[str, Any]:
    """One more alert of the simulated night."""
    alert = made.database["ZTF_alerts"].find_one({"kafka.topic": {"$regex": "20240101"}})
    assert alert is not None
    candidate = alert["candidate"] | {"candid": 77, **changes.pop("candidate", {})}
    return alert | {"_id": ObjectId(), "candid": 77, "candidate": candidate, **changes}


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


# made whole


def test_made_whole_again_is_the_same(fresh: Make, simulated: Content) -> None:
    tables = fresh()
    tables.append()
    for _ in range(2):
        assert sum(tables.compact("ZTF", SIMULATED).values()) == sum(map(len, simulated.values()))
        assert content(tables.store.root, SIMULATED) == simulated
    assert tables.compact("ZTF", date(2001, 1, 1)) == {}
    assert {each.night for each in tables.store.partitions()} == {"20231012", "20240101"}


def test_broken_off_anywhere_and_run_again_it_ends_the_same(
    fresh: Make, simulated: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, broken = fresh(), 0
    tables.append()
    steps = [(Tabled, "objects"), (Sorter, "add"), (Sorter, "write"), (Store, "replace"), (Store, "_exchanged"), (Compaction, "_keep")]  # fmt: skip
    for last in range(0, 200, 7):
        left = last

        def dying(call: Any) -> Any:
            def run(*arguments: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
                return call(*arguments)

            return run

        with monkeypatch.context() as patch:
            for holder, name in steps:
                patch.setattr(holder, name, dying(getattr(holder, name)))
            try:
                tables.compact("ZTF", SIMULATED)
            except KeyboardInterrupt:
                broken += 1
        assert content(tables.store.root, SIMULATED) == simulated  # in each table the old files or the new one
        if left >= 0:
            break
    assert broken >= 5


def test_killed_while_tables_are_replaced(made: Made, fresh: Make, simulated: Content, tmp_path: Path) -> None:
    tables = fresh()
    tables.append()
    config = tmp_path / "config.yaml"
    settings = {
        "database": made.config.database.model_dump(exclude={"xmatch"}),
        "tables": {"folder": tables.store.root},
        "enabled": {name.lower(): name == "ZTF" for name in SURVEYS},
    }
    config.write_text(yaml.safe_dump({"kowalski": settings}))
    script = (
        "import os, signal\n"
        "from datetime import date\n"
        "from kowalski.archive.tables.store import Store\n"
        "from kowalski.archive.tables.tables import Tables\n"
        "from kowalski.config import load_config\n"
        "replace, done = Store.replace, []\n"
        "def dying(self, *arguments):\n"
        "    if len(done) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    done.append(replace(self, *arguments))\n"
        "Store.replace = dying\n"
        "Tables(load_config()).compact('ZTF', date(2024, 1, 1))\n"
    )
    environment = os.environ | {"KOWALSKI_CONFIG": str(config)}
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    night = [each for each in tables.store.partitions() if each.night == "20240101"]
    assert {each.table: [path.endswith("whole.parquet") for path in tables.store.files(each)] for each in night}["alerts"] == [True]  # fmt: skip
    assert content(tables.store.root, SIMULATED) == simulated
    made.database["leases"].delete_many({})  # which nobody renews, and ends by itself
    tables.compact("ZTF", SIMULATED)
    assert content(tables.store.root, SIMULATED) == simulated


def test_the_command(
    fresh: Make, simulated: Content, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = fresh()
    monkeypatch.setattr(command, "load_config", lambda: tables.config)
    monkeypatch.setattr(command, "setup_logging", lambda name: None)

    def said(*words: str) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        return command.run(parser.parse_args(words)), capsys.readouterr().out

    counts = ", ".join(f"{len(simulated[table])} {table}" for table in TABLES)
    assert said("compact", "2024-01-01", "--survey", "ztf") == (0, f"ZTF 20240101: {counts}\n")
    assert said("compact", "20010101") == (1, "ZTF 20010101: nothing of that night\n")
    status, text = said("status", "--json")
    listed = {(each["table"], each["night"], each["files"], each["rows"]) for each in json.loads(text)["tables"]}
    assert (status, listed) == (0, {(table, "20240101", 1, len(simulated[table])) for table in TABLES})
    status, text = said("status")
    assert f"tables in {tables.store.root}; kept as the night goes" in text
    assert re.search(rf"20240101 ZTF\n.*\n  alerts +{len(simulated['alerts'])} +1 ", text)


def test_what_mongodb_has_no_more_is_kept(made: Made, without: Any, fresh: Make, simulated: Content) -> None:
    """Some alerts are removed, some with their objects; passes are forgotten; the tables have them all."""
    tables = fresh()
    tables.append()
    alerts = list(made.database["ZTF_alerts"].find({"kafka.topic": {"$regex": "20240101"}}).sort("candid", 1))
    without("ZTF_alerts", {"candid": {"$in": [alert["candid"] for alert in alerts[:20]]}})
    without("ZTF_alerts_aux", {"_id": {"$in": [alert["objectId"] for alert in alerts[:8]]}})
    without("passes", {"survey": "ZTF"})
    for _ in range(2):
        tables.compact("ZTF", SIMULATED)
        found = content(tables.store.root, SIMULATED)
        assert {table: found[table] for table in TABLES if table != "matches"} == {
            table: simulated[table] for table in TABLES if table != "matches"
        }
        assert found["matches"] == simulated["matches"]
    without("ZTF_alerts", {})
    without("ZTF_alerts_aux", {})
    tables.compact("ZTF", SIMULATED)
    assert content(tables.store.root, SIMULATED) == simulated


def test_what_changed_in_mongodb_is_changed(made: Made, without: Any, fresh: Make) -> None:
    tables = fresh()
    tables.append()
    alert = made.database["ZTF_alerts"].find_one({"kafka.topic": {"$regex": "20240101"}})
    assert alert is not None
    without("ZTF_alerts", {"_id": alert["_id"]})
    alert["candidate"]["withdrawn_jd"] = 2460311.5
    made.database["ZTF_alerts"].insert_one(alert)
    tables.compact("ZTF", SIMULATED)
    found = read(tables.store.root, "alerts", "candidate.withdrawn_jd", f"where candid = {alert['candid']}")
    assert found == [(2460311.5,)]


def test_passes_that_only_the_outbox_knows(made: Made, without: Any, put: Any, fresh: Make) -> None:
    first, second = made.database["ZTF_alerts"].find({"kafka.topic": {"$regex": "20240101"}}).limit(2)
    without("passes", {"survey": "ZTF"})
    common = {"survey": "ZTF", "passed_at": datetime(2026, 1, 1, tzinfo=UTC), "state": "delivered"}
    for kind, alert in (("candidate", first), ("result", first), ("result", second)):
        about = {name: alert[name] for name in ("candid", "objectId", "kafka")} | {"jd": alert["candidate"]["jd"]}
        told = {"filter_id": 5, "group_id": 1, "fid": "v1"}
        told = {**told, "annotations": {"a": 1}} if kind == "candidate" else {"filter_id": 5, "passed": {**told, "annotations": '{"a": 1}'}}  # fmt: skip
        put("outbox", {"_id": f"ZTF:{alert['candid']}:5:{kind}", "kind": kind, **common, **about, **told})
    tables = fresh()
    tables.compact("ZTF", SIMULATED)
    found = read(tables.store.root, "passes", "candid, filter_id, group_id, fid, annotations")
    assert sorted(found) == sorted((alert["candid"], 5, 1, "v1", '{"a": 1}') for alert in (first, second))


def test_workers_store_passes_once(made: Made, without: Any, test_data: Path) -> None:
    """The same messages again, which may have been left undone, change nothing; a replay that posts nothing adds none."""
    packets, before = packets_of(test_data, get_survey("ZTF"))[:5], list(made.database["passes"].find())
    worker = AlertWorker(get_survey("ZTF"), made.config)
    try:
        assert worker.process(packets).passed == {1: 5}
        assert list(made.database["passes"].find()) == before
        without("passes", {"survey": "ZTF"})
        assert worker.process(packets, posting=False).passed == {1: 5}
        assert made.database["passes"].count_documents({"survey": "ZTF"}) == 0
    finally:
        worker.alerts.collection.database.client.close()
        worker.filters.filters.reader.client.close()


def test_fits_that_were_followed_by_others_are_kept(made: Made, without: Any, fresh: Make) -> None:
    tables = fresh()
    tables.append()
    (fit,) = made.database["fits"].find()
    alert = made.database["ZTF_alerts"].find_one({"objectId": fit["objectId"], "candid": {"$ne": fit["candid"]}})
    assert alert is not None
    without("fits", {})
    made.database["fits"].insert_one(fit_of(alert, x1=2.0))
    tables.compact("ZTF", SIMULATED)
    assert read(tables.store.root, "salt2", "candid, x1", "order by x1") == [
        (fit["candid"], -0.0),
        (alert["candid"], 2.0),
    ]


def test_columns_of_earlier_versions_stay(made: Made, fresh: Make, without: Any) -> None:
    """A file of a version whose rows had a column more, of an alert that is gone; and one whose column had another type."""
    import pyarrow as pa

    tables = fresh()
    tables.compact("ZTF", SIMULATED)
    (partition,) = [each for each in tables.store.partitions() if each.table == "alerts"]
    row = pa.table({"objectId": ["old"], "candid": [5], "jd": [2460311.0], "older": ["said"]})
    tables.store.add(partition, "part-old.parquet", row)
    tables.compact("ZTF", SIMULATED)
    assert read(tables.store.root, "alerts", "objectId, older, candidate", "where candid = 5") == [
        ("old", "said", None)
    ]
    tables.store.add(partition, "part-old.parquet", pa.table({"objectId": [1], "candid": [6]}))
    with pytest.raises(
        TableError, match=r"night=20240101 has columns of other types than now .*compact the night again"
    ):
        tables.compact("ZTF", SIMULATED)


def test_the_same_at_a_url(fresh: Make, simulated: Content, made: Made) -> None:
    tables = made.tables("memory://tables-of-a-test")
    tables.append()
    tables.compact("ZTF", SIMULATED)
    rows = {
        each.table: [row for path in tables.store.files(each) for batch in tables.store.batches(path) for row in batch.to_pylist()]
        for each in tables.store.partitions()
        if (each.survey, each.night) == ("ZTF", "20240101")
    }  # fmt: skip
    assert {table: len(found) for table, found in rows.items()} == {table: len(simulated[table]) for table in TABLES}
    assert [path.rpartition("/")[2] for each in tables.store.partitions() if each.night == "20240101" for path in tables.store.files(each)] == ["part-whole.parquet"] * 6  # fmt: skip
    made.database["tabled"].delete_many({})
    tables.store.fs.store.clear()


def test_one_writes_at_a_time(made: Made, fresh: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, waits = fresh(), threading.Event()
    monkeypatch.setattr(turns.time, "sleep", lambda seconds: waits.set() or threading.Event().wait(0.02))
    thread = threading.Thread(target=tables.append)
    with turn_of(made.database) as turn:
        thread.start()
        assert waits.wait(30)
        turn.require()
        assert tables.store.partitions() == []
    thread.join(60)
    assert tables.store.partitions()
