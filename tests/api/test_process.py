"""The process: how it starts, stops, and does without MongoDB for a while."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests
from api_harness import Api, start_api, wait_until
from pymongo import MongoClient

from kowalski.config import in_container
from kowalski.database.client import MongoDatabase, client_options
from kowalski.database.replica_set import prepare
from kowalski.local.mongod import mongod_command
from kowalski.local.ports import free_ports
from kowalski.settings import Database


@pytest.fixture
def mongod(tmp_path: Path, api_settings: Database) -> Iterator[tuple[Database, Callable[[], None], Callable[[], None]]]:
    """Settings of a mongod of this test's own, how to start it, and how to kill it."""
    if in_container():
        pytest.skip("it starts a mongod, and the images have none")
    (port,) = free_ports(1)
    settings = api_settings.model_copy(update={"port": port})
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        command = mongod_command(tmp_path / "mongod", port, settings.replica_set or "", 0.25)
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        prepare(settings, timeout=30)

    def kill() -> None:
        running[-1].kill()
        running[-1].wait()

    yield settings, start, kill
    if running:
        kill()


def test_mongod_may_come_late_and_go(
    mongod: tuple[Database, Callable[[], None], Callable[[], None]], another_api: Callable[..., Api]
) -> None:
    settings, start, kill = mongod
    api = another_api(settings)
    api.wait_ready(503)
    assert requests.get(f"{api.url}/health/live", timeout=10).status_code == 200
    assert api.log_in().json() == {"status": "error", "message": "Service Unavailable"}
    start()
    api.wait_ready()
    api.token = api.log_in().json()["token"]
    assert api.data("find", {"catalog": "Stars"}) == []
    kill()
    assert "not available" in api.refusal("find", {"catalog": "Stars"})
    api.wait_ready(503)
    start()
    api.wait_ready()
    assert api.data("find", {"catalog": "Stars"}) == []
    assert "Traceback" not in api.log.read_text()


def test_a_query_under_way_is_answered_before_the_end(
    stored: MongoDatabase, api_settings: Database, tmp_path: Path
) -> None:
    api = start_api(tmp_path, api_settings)
    api.wait_ready()
    api.token = api.log_in().json()["token"]
    stored["Slow"].insert_many({"_id": number} for number in range(800))
    all_pairs = {"$match": {"$expr": {"$gt": [{"$add": ["$_id", "$$mine"]}, -1]}}}
    pairs = {"$lookup": {"from": "Slow", "let": {"mine": "$_id"}, "pipeline": [all_pairs], "as": "x"}}
    query = {"catalog": "Slow", "pipeline": [pairs, pairs, {"$match": {"x.0._id": {"$gte": 0}}}, {"$count": "n"}]}
    answers: list[requests.Response] = []
    asking = threading.Thread(target=lambda: answers.append(api.ask("aggregate", query)))
    asking.start()
    running = {"$currentOp": {"allUsers": True}}, {"$match": {"ns": f"{api_settings.db}.Slow"}}
    with MongoClient(**client_options(api_settings, "admin")) as client:
        wait_until(lambda: list(client.admin.aggregate(list(running))))
    start = time.monotonic()
    api.stop()
    assert time.monotonic() - start < 10
    asking.join()
    assert answers[0].json()["data"] == [{"n": 800}]


def test_no_worker_outlives_its_master(stored: MongoDatabase, api_settings: Database, tmp_path: Path) -> None:
    api = start_api(tmp_path, api_settings, processes=2)
    api.wait_ready()
    workers = psutil.Process(api.process.pid).children()
    assert len(workers) == 2
    api.process.send_signal(signal.SIGKILL)
    api.process.wait()
    assert psutil.wait_procs(workers, timeout=15)[1] == []


@pytest.mark.parametrize(
    ("server", "complaint"),
    [
        ({"admin_password": None}, "server.admin_password is not set"),
        ({"JWT_SECRET_KEY": None}, "server.JWT_SECRET_KEY is not set"),
        ({"host": "0.0.0.0", "password_rounds": 12, "admin_password": "admin"}, "which everybody knows"),
        ({"host": "0.0.0.0", "password_rounds": 4}, "10 at least, where others reach it"),
        ({"prot": 1}, "server.prot is not a setting"),
    ],
)
def test_it_does_not_start_with_settings_that_can_not_work(
    api_settings: Database, tmp_path: Path, server: dict[str, object], complaint: str
) -> None:
    api = start_api(tmp_path, api_settings, **server)
    assert api.process.wait(30) == 1
    text = api.log.read_text()
    assert complaint in text
    assert "Traceback" not in text
