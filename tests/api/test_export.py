"""``POST /api/export``: what queries select, as Parquet that other programs read, within each user's rights."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from api_harness import EXPORTED, Api
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.regex import Regex
from rights_harness import Archive

from kowalski.database.client import MongoDatabase

OID = ObjectId("0123456789abcdef01234567")
DOCUMENTS: list[dict[str, Any]] = [
    {"_id": 1, "candid": Int64(2**63 - 1), "small": 5, "of": OID, "at": datetime(2026, 1, 1, 12, tzinfo=UTC), "x": 0.1, "deep": {"list": [{"a": 1}, {"b": "t"}]}, "mixed": 1, "number": 1, "raw": b"\0\1"},
    {"_id": 2, "candid": Int64(-(2**63)), "small": 2**40, "x": float("nan"), "deep": {"list": [], "more": None}, "mixed": "text", "number": 0.5, "decimal": Decimal128("1.10")},
    {"_id": 3, "x": -0.0, "deep": {}, "mixed": [1, "a", OID], "regex": Regex("^a"), "odd": Binary(b"x", 5), "huge": 0.5},
    {"_id": 4, "empty": {}, "null": None, "huge": Int64(2**53 + 1), "flag": True},
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _odd(stored: MongoDatabase) -> Iterator[None]:
    stored["Odd"].insert_many(DOCUMENTS)
    yield
    stored["Odd"].drop()


def export(api: Api, query_type: str, query: dict[str, Any], token: str | None = None, **kwargs: Any) -> pa.Table:
    """The table of an export that works."""
    answer = api.post("/api/export", {"query_type": query_type, "query": query, "kwargs": kwargs}, token)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/vnd.apache.parquet"
    assert "kowalski.parquet" in answer.headers["Content-Disposition"]
    return pq.read_table(io.BytesIO(answer.content))


def refusal(api: Api, query_type: str, query: dict[str, Any], token: str | None = None) -> str:
    answer = api.post("/api/export", {"query_type": query_type, "query": query}, token)
    assert (answer.status_code, answer.json()["status"]) == (400, "error")
    return str(answer.json()["message"])


def test_types_are_those_of_the_documents(api: Api) -> None:
    table = export(api, "find", {"catalog": "Odd"}, sort=[["_id", 1]])
    types = {name: str(table.schema.field(name).type) for name in table.schema.names}
    assert types == {
        "_id": "int64", "candid": "int64", "small": "int64", "of": "string", "at": "timestamp[ms, tz=UTC]", "x": "double",
        "deep": "struct<list: list<element: struct<a: int64, b: string>>, more: null>", "mixed": "string", "number": "double",
        "raw": "binary", "decimal": "string", "regex": "string", "odd": "string", "huge": "string", "empty": "string", "null": "null", "flag": "bool",
    }  # fmt: skip
    rows = table.to_pylist()
    assert [row["candid"] for row in rows] == [2**63 - 1, -(2**63), None, None]
    assert rows[0]["of"] == str(OID)
    assert rows[0]["at"] == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert rows[0]["deep"] == {"list": [{"a": 1, "b": None}, {"a": None, "b": "t"}], "more": None}
    assert [row["mixed"] for row in rows] == ["1", '"text"', f'[1, "a", {{"$oid": "{OID}"}}]', None]
    assert [row["number"] for row in rows] == [1.0, 0.5, None, None]
    assert [row["huge"] for row in rows] == [None, None, "0.5", str(2**53 + 1)]
    assert (rows[0]["raw"], rows[1]["decimal"], rows[3]["empty"]) == (b"\0\1", "1.10", "{}")
    assert str(rows[2]["x"]) == "-0.0"


def test_duckdb_reads_it(api: Api, tmp_path: Path) -> None:
    body = {"query_type": "find", "query": {"catalog": "ZTF_alerts", "projection": {"_id": 0}}}
    (tmp_path / "alerts.parquet").write_bytes(api.post("/api/export", body).content)
    found = duckdb.sql(
        f"select candid, candidate.jd, classifications.braai from '{tmp_path}/alerts.parquet' order by 1"
    )
    assert found.fetchall() == [(2_475_433_850_315_015_008 + n, 2460000.5 + n, n / 4) for n in range(5)]


def test_each_query_that_gives_documents(api: Api) -> None:
    stars = {"catalog": "Stars", "filter": {"mag": {"$gte": 18}}, "projection": {"mag": 1}}
    assert export(api, "find", stars, limit=2).num_rows == 2
    assert export(api, "find_one", stars).to_pylist() == [{"_id": 0, "mag": 20}]
    grouped = [{"$group": {"_id": "$mag", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}, {"$limit": 1}]
    assert export(api, "aggregate", {"catalog": "Stars", "pipeline": grouped}).to_pylist() == [{"_id": 16, "n": 1}]
    catalogs = {"Stars": {"filter": {}, "projection": {"mag": 1, "coordinates.radec_geojson": 1}}, "Pole": {}}
    cone = {"cone_search_radius": 20, "cone_search_unit": "arcsec", "radec": {"a": [150.0, 2.0], "b": [150.0, 3.0], "c": [0.0, 89.9999]}}  # fmt: skip
    rows = export(api, "cone_search", {"object_coordinates": cone, "catalogs": catalogs}).to_pylist()
    assert [(row["catalog"], row["key"], row["document"]["_id"]) for row in rows] == [("Stars", "a", "3"), ("Stars", "a", "1"), ("Pole", "c", '"polaris"')]  # fmt: skip
    assert rows[0]["document"]["coordinates"]["distance_arcsec"] == pytest.approx(1.0)
    ring = {"radec": {"a": [150.0, 2.0]}, "min_distance": 5, "max_distance": 40, "distance_units": "arcsec", "catalogs": {"Stars": {}}}  # fmt: skip
    assert [row["document"]["_id"] for row in export(api, "near", ring).to_pylist()] == [1, 2]


def test_nothing_found_is_a_table_without_rows(api: Api) -> None:
    for query_type in ("find", "find_one"):
        table = export(api, query_type, {"catalog": "Stars", "filter": {"mag": -99}})
        assert (table.num_rows, table.schema.names) == (0, ["document"])


@pytest.mark.parametrize(
    ("query_type", "query", "message"),
    [
        ("count_documents", {"catalog": "Stars"}, "export: count_documents gives no documents; one of find, find_one, aggregate, cone_search, near, skymap is expected"),
        ("info", {"command": "catalog_names"}, "export: info gives no documents"),
        ("drop", {"catalog": "Stars", "confirm": "Stars"}, "export: drop gives no documents"),
        ("find", {"catalog": "Stars", "filter": {"$where": "1"}}, "$where"),
        ("find", {"catalog": "Stars", "filter": {"a": {"$nonsense": 1}}}, "Query uses forbidden operators: $nonsense"),
        ("aggregate", {"catalog": "Stars", "pipeline": [{"$set": {"x": {"$divide": [1, 0]}}}]}, "divide by zero"),
        ("fnid", {}, "query_type fnid not in"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_sent(api: Api, query_type: str, query: Any, message: str) -> None:
    assert message in refusal(api, query_type, query)
    assert api.data("count_documents", {"catalog": "Stars", "filter": {}}) == 5


def test_who_is_not_logged_in_gets_nothing(api: Api) -> None:
    body = {"query_type": "find", "query": {"catalog": "Stars"}}
    assert requests.post(f"{api.url}/api/export", json=body, timeout=30).status_code == 401


def test_within_the_users_rights(archive: Archive, who: str) -> None:
    token = archive.tokens[who]
    seen = export(archive.api, "find", {"catalog": "ZTF_alerts", "projection": {"candid": 1}}, token)
    assert set(seen["candid"].to_pylist() if seen.num_rows else []) == archive.visible(who)
    points = export(archive.api, "find", {"catalog": "ZTF_alerts_aux"}, token)
    shown = archive.data(who, "find", {"catalog": "ZTF_alerts_aux"})
    assert points.num_rows == len(shown)
    programmes = {point["programid"] for row in points.to_pylist() for point in row.get("prv_candidates") or []}
    assert programmes == {point["programid"] for row in shown for point in row["prv_candidates"]}
    if who != "admin":
        assert refusal(archive.api, "find", {"catalog": "outbox"}, token) == "Protected collection: outbox"


def test_real_alerts_come_back_as_they_are(archive: Archive) -> None:
    query = {"catalog": "ZTF_alerts", "projection": {"_id": 0, "candid": 1, "candidate": 1}}
    table = export(archive.api, "find", query, sort=[["candid", 1]])
    rows = {row["candid"]: row["candidate"] for row in table.to_pylist()}
    assert len(rows) == len(archive.alerts)
    for alert in archive.alerts:
        found = {name: value for name, value in rows[alert.candid].items() if value is not None}
        assert found == {name: value for name, value in alert.candidate.items() if value is not None}


def test_too_much_is_refused_and_a_lot_has_an_end(api: Api, stored: MongoDatabase) -> None:
    stored["Wide"].insert_many({"_id": n, "text": f"{n:06d}" * 3500} for n in range(1600))
    message = refusal(api, "find", {"catalog": "Wide"})
    assert message.startswith(f"export: the documents take more than {EXPORTED} bytes (tables.export_bytes)")
    table = export(api, "find", {"catalog": "Wide"}, sort=[["_id", 1]], limit=1400)
    assert table["_id"].to_pylist() == list(range(1400))
    assert table["text"][17].as_py() == "000017" * 3500
    stored["Wide"].drop()
