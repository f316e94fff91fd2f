"""Nights into BigQuery: Google's own client, talking to a server here that keeps what it is sent as BigQuery would."""

import io
import json
import re
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from tables_harness import SIMULATED, Made

from kowalski.archive.tables.bigquery import BigQuery
from kowalski.archive.tables.columns import TABLES
from kowalski.archive.tables.store import Partition
from kowalski.errors import ConfigError, SourceError
from kowalski.tables_section import BigQuerySettings

NIGHT = Partition("alerts", "ZTF", "20240101")
SETTINGS = BigQuerySettings(project="sky", dataset="kowalski", location="EU", credentials=None, timeout=20)
REASON = "invalid"


class Google(ThreadingHTTPServer):
    """Jobs by their ids, and of each partition of a table the rows that the last job left; ``failing``: jobs that are to fail."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.partitions: dict[str, list[dict[str, Any]]] = {}
        self.ends: dict[str, dict[str, Any]] = {}
        self.wrong: list[str] = []
        self.uploads = self.failing = 0
        self.refusal: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def begin(self, job: dict[str, Any]) -> bool:
        """Whether there is a new job."""
        name = job["jobReference"]["jobId"]
        if name in self.jobs:
            return False
        load = job["configuration"]["load"]
        wanted = {
            "sourceFormat": "PARQUET", "writeDisposition": "WRITE_TRUNCATE", "createDisposition": "CREATE_IF_NEEDED",
            "timePartitioning": {"type": "DAY"}, "schemaUpdateOptions": ["ALLOW_FIELD_ADDITION"], "parquetOptions": {"enableListInference": True},
        }  # fmt: skip
        self.wrong += [f"{key}: {load.get(key)}" for key, value in wanted.items() if load.get(key) != value]
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,1024}", name) or job["jobReference"].get("location") != "EU":
            self.wrong.append(str(job["jobReference"]))
        self.jobs[name] = job | {"id": name, "kind": "bigquery#job", "status": {"state": "PENDING"}}
        return True

    def finish(self, name: str, content: bytes) -> dict[str, Any]:
        """The job has its file."""
        job, self.uploads = self.jobs[name], self.uploads + 1
        table = job["configuration"]["load"]["destinationTable"]
        job["status"] = {"state": "RUNNING"}
        if self.failing:
            self.failing -= 1
            self.ends[name] = {"state": "DONE", "errorResult": {"reason": REASON, "message": "a bad file"}}
        else:
            self.ends[name] = {"state": "DONE"}
            self.partitions["{projectId}.{datasetId}.{tableId}".format(**table)] = pq.read_table(
                io.BytesIO(content)
            ).to_pylist()
        return job


class Answer(BaseHTTPRequestHandler):
    """One request to `Google`."""

    server: Google

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.startswith("/upload/bigquery/v2/projects/sky/jobs?uploadType=resumable"):
            self.server.wrong.append(self.path)
        if self.server.refusal:
            self._send(self.server.refusal, {"error": {"message": "not now"}})
        elif self.server.begin(body):
            self._send(200, {}, Location=f"{self.server.url}/content/{body['jobReference']['jobId']}")
        else:
            self._send(409, {"error": {"message": "Already Exists: Job", "errors": [{"reason": "duplicate"}]}})

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Range"] != f"bytes 0-{len(content) - 1}/{len(content)}":
            self.server.wrong.append(self.headers["Content-Range"])
        self._send(200, self.server.finish(self.path.rpartition("/")[2], content))

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        job = self.server.jobs[name]
        job["status"] = self.server.ends[name]
        self._send(200, job)

    def log_message(self, *arguments: Any) -> None:
        pass

    def _send(self, status: int, content: dict[str, Any], **headers: str) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def google() -> Iterator[Google]:
    server = Google()
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    assert server.wrong == []


@pytest.fixture
def loader(google: Google) -> BigQuery:
    options = {"api_endpoint": google.url}
    client = bigquery.Client("sky", AnonymousCredentials(), client_options=options, location="EU")
    return BigQuery(SETTINGS, client)


def file_of(*numbers: int) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(pa.table({"n": numbers}), file)
    file.seek(0)
    return file


def test_the_same_file_is_loaded_once_and_another_takes_its_place(google: Google, loader: BigQuery) -> None:
    first = loader.load(NIGHT, file_of(1, 2))
    assert re.fullmatch(r"kowalski_ZTF_alerts_20240101_[0-9a-f]{32}", first)
    assert loader.load(NIGHT, file_of(1, 2)) == first
    assert google.uploads == 1
    assert google.partitions == {"sky.kowalski.ZTF_alerts$20240101": [{"n": 1}, {"n": 2}]}
    assert loader.load(NIGHT, file_of(1, 2, 3)) != first
    assert google.partitions["sky.kowalski.ZTF_alerts$20240101"] == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_job_that_failed_is_done_again_under_another_name(google: Google, loader: BigQuery) -> None:
    google.failing = 2
    for _ in range(2):
        with pytest.raises(SourceError, match="BigQuery: sky.kowalski.ZTF_alerts: .*a bad file"):
            loader.load(NIGHT, file_of(1))
    name = loader.load(NIGHT, file_of(1))
    assert name.endswith("_2")
    assert loader.load(NIGHT, file_of(1)) == name
    assert (google.uploads, google.partitions) == (3, {"sky.kowalski.ZTF_alerts$20240101": [{"n": 1}]})
    google.failing = 99
    for _ in range(5):
        with pytest.raises(SourceError, match="a bad file"):
            loader.load(NIGHT, file_of(9))
    with pytest.raises(
        SourceError, match=r"BigQuery: sky.kowalski.ZTF_alerts: 5 jobs with this file failed: a bad file"
    ):
        loader.load(NIGHT, file_of(9))


@pytest.mark.parametrize(("status", "retriable"), [(403, False), (404, False)])
def test_a_refusal_is_said(google: Google, loader: BigQuery, status: int, retriable: bool) -> None:
    google.refusal = status
    with pytest.raises(SourceError, match=r"BigQuery: sky.kowalski.ZTF_alerts: .*not now") as error:
        loader.load(NIGHT, file_of(1))
    assert error.value.retriable is retriable


def test_no_credentials_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"tables.bigquery: no credentials .*name a service account's file"):
        BigQuery.of(SETTINGS.model_copy(update={"credentials": str(tmp_path / "none.json")}))


def test_a_whole_night_is_loaded(made: Made, google: Google, loader: BigQuery, tmp_path: Path) -> None:
    tables = made.tables(tmp_path / "tables")
    counts = tables.compact("ZTF", SIMULATED)
    for _ in range(2):
        tables.load(loader, "ZTF", SIMULATED)
    assert google.uploads == len(TABLES)
    found = {name.partition("$")[0].rpartition("_")[2]: rows for name, rows in google.partitions.items()}
    assert {table: len(rows) for table, rows in found.items()} == counts
    stored = {alert["candid"] for alert in made.database["ZTF_alerts"].find({"kafka.topic": {"$regex": "20240101"}})}
    assert {row["candid"] for row in found["alerts"]} == stored
    tables.load(loader, "ZTF", date(2001, 1, 1))
    assert google.uploads == len(TABLES)
