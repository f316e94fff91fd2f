"""A night made whole: complete and exact, whatever happened before, and whatever ends it."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from tables_harness import (
    SIMULATED,
    SURVEYS,
    Content,
    Made,
    Make,
    content,
    fit_of,
    packets_of,
    read,
)

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.survey import get_survey
from kowalski.archive.tables import turn as turns
from kowalski.archive.tables.columns import TABLES
from kowalski.archive.tables.compaction import Compaction
from kowalski.archive.tables.sorting import Sorter
from kowalski.archive.tables.store import Store
from kowalski.archive.tables.turn import turn_of
from kowalski.config import ROOT
from kowalski.database.tabled import Tabled
from kowalski.errors import TableError
from kowalski.local import tables as command


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
