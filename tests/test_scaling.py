"""What the documents on scaling say is what the code gives: figures computed, shard keys that fit indexes and writes."""

import json
import re
from typing import Any

import pytest

from benchmarks.scaling import DOCUMENT, document_disk, needs, plans, shown_benchmark, tables, with_tables
from kowalski.alerts.survey import get_survey, known_surveys
from kowalski.config import ROOT
from kowalski.database.alerts import alert_indexes
from kowalski.database.objects import INDEXES as OBJECT_INDEXES
from kowalski.database.outbox import Outbox

SHARDED = re.findall(r'sh\.shardCollection\("kowalski\.(\w+)", \{(\w+): "hashed"\}\)', (ROOT / "docs" / "sharding.md").read_text())  # fmt: skip


def test_the_document_has_the_tables_of_the_figures_shown() -> None:
    text = DOCUMENT.read_text()
    assert with_tables(text, tables(shown_benchmark(), document_disk())) == text


def test_what_is_needed_follows_from_the_figures() -> None:
    """By hand: 139 alerts/s of 10 ms each at 60 % of a core are 2.3 cores; a million of 50 kB, 300 nights, 15 TB."""
    cpu = {"worker": 10.0, "mongod": 1.0, "kafka": 1.0, "broker": 1.0, "scheduler": 1.0}
    memory = {"worker": 500.0, "broker": 100.0, "scheduler": 100.0, "mongod": 1.0, "kafka": 1.0}
    benchmark: dict[str, Any] = {"cpu_ms_per_alert": cpu, "peak_rss_mb": memory, "workers": 2}
    size = {
        "packet": 100_000,
        "alert": 40_000,
        "alert_indexes": 900,
        "object": 9_000,
        "object_indexes": 100,
        "outbox": 0,
    }
    disk = {"bytes_per_alert": {**size, "to_mongod": 200_000}}
    ztf, lsst = plans(100_000)
    needed = needs(ztf, benchmark, disk)
    assert needed["worker processes (a core each)"] == "3"
    assert needed["stored per alert"] == "50 kB"
    assert needed["stored per year, one copy"] == "15 TB"
    assert needed["memory of workers, brokers and scheduler"] == "1.9 GB"
    assert needed["network: workers → MongoDB"] == "222 Mbit/s"
    assert needs(lsst, benchmark, disk)["stored per year, one copy"] == "164 TB"


def test_figures_that_change_change_the_tables() -> None:
    benchmark, disk = shown_benchmark(), document_disk()
    slower = json.loads(json.dumps(benchmark))
    slower["cpu_ms_per_alert"]["worker"] *= 10
    assert tables(slower, disk) != tables(benchmark, disk)


@pytest.mark.parametrize("survey", known_surveys(), ids=lambda survey: survey.name)
def test_unique_indexes_begin_with_the_shard_key(survey: Any) -> None:
    """MongoDB keeps what is unique so only where the shard key is the beginning of the index."""
    keys = {name.replace("ZTF", survey.name): key for name, key in SHARDED}
    indexes = {survey.alerts: alert_indexes(survey), survey.aux: OBJECT_INDEXES, "outbox": Outbox.INDEXES}
    for collection, declared in indexes.items():
        unique = [index.keys[0][0] for index in declared if index.options.get("unique")]
        assert set(unique) <= {keys[collection]}
    assert keys[survey.alerts] == "candid"
    assert keys[survey.aux] == keys[survey.classifications] == "_id"


def test_the_collections_that_are_sharded_exist_in_the_code() -> None:
    survey = get_survey("ZTF")
    known = {survey.alerts, survey.aux, survey.classifications, "outbox", "object_links", "skyportal_objects"}
    assert {name for name, _ in SHARDED} == known | {"Gaia_EDR3"}
