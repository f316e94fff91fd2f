"""Alerts of all surveys as workers store them, and what their tables must then have."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
from bson.objectid import ObjectId
from packets import packet, real_files

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.coordinates import position
from kowalski.alerts.decode import Packet
from kowalski.alerts.document import read_batch
from kowalski.alerts.survey import Survey, get_survey
from kowalski.archive.tables.columns import KEYS, TABLES
from kowalski.archive.tables.tables import Tables
from kowalski.config import build, merge, settings_tree
from kowalski.database.client import MongoDatabase
from kowalski.database.filters import Filters
from kowalski.settings import Config, Database
from kowalski.simulation.night import simulate

SURVEYS = ("LSST", "PGIR", "TURBO", "WNTR", "ZTF")
#: night of the simulated alerts, and of the real ones of ZTF, by their topics
SIMULATED, REAL = date(2024, 1, 1), date(2023, 10, 12)
CONE = {"cone_search_radius": 5, "cone_search_unit": "arcsec"}

Make = Callable[..., Tables]
Content = dict[str, list[str]]
SCORE = {"braai": 0.75, "braai_version": "d6_m9", "acai_h": 1.0, "acai_h_version": "1"}


@dataclass
class Made:
    """A filled database."""

    database: MongoDatabase
    config: Config

    def tables(self, folder: Path | str, surveys: tuple[str, ...] = ("ZTF",), **settings: Any) -> Tables:
        """Tables in a folder, to which what is new of some surveys is appended."""
        changed = self.config.tables.model_copy(update={"folder": str(folder), "settled": -5.0, **settings})
        enabled = {name.lower(): name in surveys for name in SURVEYS}
        config = self.config.model_copy(update={"tables": changed, "enabled": enabled})
        return Tables(config, self.database)

    def nights(self, survey: str) -> set[date]:
        """The nights of a survey's alerts."""
        from kowalski.database.tabled import Tabled, topic_of

        tabled = Tabled(self.database, get_survey(survey))
        found = self.database[f"{survey}_alerts"].find({}, {"kafka.topic": 1, "candidate.jd": 1})
        return {tabled.night_of(topic_of(each), each["candidate"]["jd"]) for each in found}

    def compact_all(self, tables: Tables) -> None:
        """All nights of all surveys are whole."""
        for survey in SURVEYS:
            for night in self.nights(survey):
                tables.compact(survey, night)


def filled(data: Path, database: MongoDatabase, settings: Database, folder: Path) -> Made:
    """Have workers process the packets, with a filter for each survey and a catalogue near the alerts; one fit is made."""
    tree = settings_tree([], {})
    changes: dict[str, Any] = {
        "enabled": dict.fromkeys((name.lower() for name in SURVEYS), True),
        "ml": {"backend": "onnx", "ZTF": {"models": {}}, "PGIR": {"models": {}}},
        "schemas": {"LSST": {"folder": str(data / "lsst_schemas")}},
        "tables": {"enabled": True, "folder": str(folder)},
        "filters": {"max_time_ms": 20_000},
    }
    tree["ml"] = {key: value for key, value in tree["ml"].items() if not key.isupper()}
    tree["database"]["xmatch"] = {name: {"Stars": CONE} for name in SURVEYS}
    config = build(merge(tree, changes))
    config = config.model_copy(update={"database": settings.model_copy(update={"xmatch": config.database.xmatch})})
    database["Stars"].create_index([("coordinates.radec_geojson", "2dsphere")])
    packets = {name: packets_of(data, get_survey(name)) for name in SURVEYS}
    for name, own in packets.items():
        _process(get_survey(name), own, config, database)
    database["ZTF_alerts"].update_many({}, {"$set": {"classifications": SCORE}})
    alert = database["ZTF_alerts"].find_one({"kafka.topic": {"$regex": "20240101"}})
    assert alert is not None
    database["fits"].insert_one(fit_of(alert))
    return Made(database, config)


def packets_of(data: Path, survey: Survey) -> list[Packet]:
    topics = {"ZTF": "ztf_20231012_programid1", "LSST": "lsst-alerts"}
    topic = topics.get(survey.name, survey.topic_on(REAL))
    real = [packet(path.read_bytes(), number, topic) for number, path in enumerate(real_files(data, survey.name.lower()))]  # fmt: skip
    if survey.name != "ZTF":
        return real
    made = [
        packet(each.data, number, "ztf_20240101_programid1") for number, each in enumerate(simulate(60, 15, seed=4))
    ]
    return real + made


def _process(survey: Survey, packets: list[Packet], config: Config, database: MongoDatabase) -> None:
    version = {
        "fid": "abc123",
        "pipeline": json.dumps([{"$match": {}}, {"$project": {"annotations": {"n": "$candid"}}}]),
    }
    Filters(database, database).put(
        {
            "filter_id": 1, "group_id": 7, "catalog": survey.alerts, "permissions": [0, 1, 2, 3], "active": True, "autosave": False,
            "active_fid": "abc123", "fv": [version], "last_modified": datetime.now(UTC),
        }
    )  # fmt: skip
    worker = AlertWorker(survey, config)
    worker.alerts.ensure_indexes()
    alerts, _ = read_batch(packets, survey, worker.schemas)
    stars = [{"_id": f"{survey.name} {number}", "mag": 12.5, "coordinates": position(alert.ra, alert.dec)} for number, alert in enumerate(alerts[::3])]  # fmt: skip
    database["Stars"].insert_many(stars)
    try:
        assert worker.process(packets[:5]).stored == 5
        worker.process(packets[5:])
    finally:
        worker.alerts.collection.database.client.close()
        worker.filters.filters.reader.client.close()


def fit_of(alert: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A fit as it is stored."""
    return {
        "_id": f"ZTF:{alert['objectId']}", "survey": "ZTF", "objectId": alert["objectId"], "candid": alert["candid"], "jd": alert["candidate"]["jd"],
        "model": "salt2", "version": "2.4", "z": 0.05, "z_source": "NED", "t0": 60300.5, "x0": 1e-3, "x1": -0.0, "c": 0.1, "chi2": 12.0,
        "ndof": 10, "covariance": [1.0, 0.0, 0.0, 1.0], "parameters": ["x0", "x1"], "reason": None, "made_at": datetime.now(UTC), "requested_at": datetime(2026, 1, 1, tzinfo=UTC),
    } | changes  # fmt: skip


def read(folder: Path | str, table: str, what: str = "*", rest: str = "") -> list[tuple[Any, ...]]:
    """What DuckDB reads of a table, as the documents say."""
    return duckdb.sql(f"select {what} from {files_of(folder, table)} {rest}").fetchall()


def files_of(folder: Path | str, table: str) -> str:
    """A table's files, as DuckDB is told of them."""
    return f"read_parquet('{folder}/{table}/**/*.parquet', hive_partitioning=true, union_by_name=true)"


def count(folder: Path | str, table: str, survey: str) -> int:
    """Rows of a survey."""
    return int(read(folder, table, "count(*)", f"where survey = '{survey}'")[0][0])


def content(folder: Path | str, night: date | None = None) -> dict[str, list[str]]:
    """All rows of all tables, or those of one night of ZTF, in an order that is always the same, for comparison."""
    rest = f"where survey = 'ZTF' and night = {night:%Y%m%d}" if night else ""
    return {table: sorted(map(repr, _rows(folder, table, rest))) for table in TABLES}


def _rows(folder: Path | str, table: str, rest: str) -> list[Any]:
    """Rows by the names of their columns and without nulls, as other surveys that are read together have others."""
    if not any(Path(folder, table).rglob("*.parquet")):
        return []
    found = duckdb.sql(f"select * from {files_of(folder, table)} {rest}")
    return [_without_nulls(dict(zip(found.columns, row, strict=True))) for row in found.fetchall()]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in sorted(value.items()) if each is not None}
    return value


def keys(folder: Path | str, table: str) -> list[tuple[Any, ...]]:
    """What tells the rows of a table apart, of all surveys."""
    return read(folder, table, ", ".join(("survey", *KEYS[table])))


def expected(database: MongoDatabase, name: str) -> dict[str, int]:
    """How many rows MongoDB gives to each table of a survey, counted the plain way."""
    survey = get_survey(name)
    alerts = list(database[survey.alerts].find({}, {"candid": 1, "objectId": 1, "classifications": 1}))
    candids, objects = {each["candid"] for each in alerts}, {each["objectId"] for each in alerts}
    points, matches = len(alerts), 0
    for aux in database[survey.aux].find({"_id": {"$in": list(objects)}}):
        for history in survey.histories:
            points += sum(history.forced or point.get("candid") not in candids for point in aux[history.field])
        matches += sum(len(rows) for rows in aux["cross_matches"].values())
    passed = {(each["candid"], each["filter_id"]) for each in database["passes"].find({"survey": name})}
    return {
        "alerts": len(alerts),
        "points": points,
        "scores": sum(len(each["classifications"]) // 2 for each in alerts),
        "matches": matches,
        "passes": len(passed),
        "salt2": database["fits"].count_documents({"survey": name}),
    }


def an_alert(made: Made, **changes: Any) -> dict[str, Any]:
    """One more alert of the simulated night."""
    alert = made.database["ZTF_alerts"].find_one({"kafka.topic": {"$regex": "20240101"}})
    assert alert is not None
    candidate = alert["candidate"] | {"candid": 77, **changes.pop("candidate", {})}
    return alert | {"_id": ObjectId(), "candid": 77, "candidate": candidate, **changes}
