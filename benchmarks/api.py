"""The API under load, beside a bare aiohttp route under the same gunicorn: python -m benchmarks.api [--seconds S] [--json FILE].

Both serve from the same mongod, one after the other in the same run, so that their ratio holds on a busy machine too.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests
import uvloop

from benchmarks.bare_route import WORKERS
from kowalski.alerts.coordinates import position
from kowalski.config import ROOT
from kowalski.database.client import MongoDatabase, connect
from kowalski.local.ports import free_ports
from kowalski.local.system import LocalSystem

ALERTS, ROWS = 50_000, 100_000
CONNECTIONS = (8, 64)
#: bytes after which a slow client leaves
SLOWLY = 50_000_000
FIRST_CANDID = 2_000_000_000_000_000_000
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass
class Load:
    """What some connections got in some time; times in ms, memory in MB, CPU of the server's workers."""

    what: str
    connections: int
    per_second: float
    p50: float
    p99: float
    cpu_ms: float
    memory: float
    refused: int


@dataclass
class Download:
    """One answer with all alerts: how much of it was taken in GB of JSON, in how many s, and the worker's peak memory in MB."""

    what: str
    gigabytes: float
    seconds: float
    memory: float


def main() -> None:
    """Fill a database, load both servers, and print what they did."""
    parser = argparse.ArgumentParser(description="The API under load")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options = parser.parse_args()
    (bare_port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="kowalski-benchmark-") as folder:
        system = LocalSystem.isolated(Path(folder), {"server": {"processes": 2}}, receiver=False)
        system.start(["mongod"])
        fill(connect(system.config.database))
        system.start(["api"])
        settings = Path(folder) / "database.json"
        settings.write_text(system.config.database.model_dump_json())
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare_route", str(bare_port), str(settings)], cwd=ROOT
        ) as bare:
            try:
                url, token = log_in(system)
                loads = list(measure(system, token, bare.pid, bare_port, options.seconds))
                downloads = list(download(system, url, token))
            finally:
                bare.terminate()
        system.stop()
    for load in loads:
        print(f"{load.what:24} {load.connections:3} connections {load.per_second:8.1f} /s  p50 {load.p50:7.1f} ms  p99 {load.p99:7.1f} ms  CPU {load.cpu_ms:7.2f} ms  {load.memory:6.1f} MB  429: {load.refused}")  # fmt: skip
    for each in downloads:
        print(f"{each.what:24} {each.gigabytes:5.2f} GB in {each.seconds:6.1f} s, worker's memory at most {each.memory:6.1f} MB")  # fmt: skip
    if options.json:
        figures = [asdict(load) for load in loads] + [asdict(each) for each in downloads]
        options.json.write_text(json.dumps(figures, indent=1))


def fill(database: MongoDatabase) -> None:
    """Alerts with what find_one needs, and a catalogue all over the sky."""
    rng = np.random.default_rng(1)
    database["ZTF_alerts"].create_index([("candid", -1)], unique=True, name="candid")
    database["ZTF_alerts"].insert_many(
        {"candid": FIRST_CANDID + n, "objectId": f"ZTF{n}", "candidate": {"programid": 1, "jd": 2460000.5, "magpsf": 18.0}, "cutoutScience": {"stampData": rng.bytes(15_000)}}
        for n in range(ALERTS)
    )  # fmt: skip
    ra, dec = rng.uniform(0, 360, ROWS), np.degrees(np.arcsin(rng.uniform(-1, 1, ROWS)))
    database["Stars"].create_index([("coordinates.radec_geojson", "2dsphere"), ("_id", 1)])
    database["Stars"].insert_many(
        {"_id": n, "mag": 18.0, "coordinates": position(a, d)} for n, (a, d) in enumerate(zip(ra.tolist(), dec.tolist(), strict=True))
    )  # fmt: skip


def log_in(system: LocalSystem) -> tuple[str, str]:
    """Where the API is, and the token of a user who sees all alerts."""
    server = system.config.server
    login = {"username": server.admin_username, "password": server.admin_password}
    url = f"http://{server.host}:{server.port}"
    made: dict[str, Any] = {"username": "astronomer", "password": "benchmark", "permissions": {"ZTF": [1, 2]}}
    admin = requests.post(f"{url}/api/auth", json=login, timeout=30).json()["token"]
    requests.post(f"{url}/api/users", json=made, headers={"Authorization": admin}, timeout=30)
    return url, requests.post(f"{url}/api/auth", json=made, timeout=30).json()["token"]


def measure(system: LocalSystem, token: str, bare_pid: int, bare_port: int, seconds: float) -> Iterator[Load]:
    """The loads, one after the other."""
    server = system.config.server
    while not _answers(bare_port) or len(workers_of(bare_pid)) < WORKERS:
        time.sleep(0.1)
    workers = {"api": workers_of(system.pid_of("api")), "bare-route": workers_of(bare_pid)}
    plan: list[tuple[str, str, int, Callable[[int], bytes]]] = [
        ("bare find_one", "bare-route", bare_port, lambda n: _post("/", {"candid": FIRST_CANDID + n % ALERTS})),
        ("find_one by candid", "api", server.port, lambda n: _query(token, _find_one(n))),
        ("cone search", "api", server.port, lambda n: _query(token, _cones(n, 1))),
        ("1000-position cone search", "api", server.port, lambda n: _query(token, _cones(n, 1000))),
    ]
    for what, program, port, request in plan:
        for connections in CONNECTIONS:
            requests_made = [request(n) for n in range(20 if "1000" in what else 2000)]
            before = [process.cpu_times() for process in workers[program]]
            with ProcessPoolExecutor(1) as pool:
                times, refused, took = pool.submit(run_load, port, requests_made, connections, seconds).result()
            used = sum(sum(p.cpu_times()[:2]) - sum(b[:2]) for p, b in zip(workers[program], before, strict=True))
            memory = max(process.memory_info().rss for process in workers[program]) / 1e6
            p50, p99 = np.percentile(times, (50, 99)).tolist()
            yield Load(what, connections, len(times) / took, p50, p99, 1000 * used / len(times), memory, refused)


def download(system: LocalSystem, url: str, token: str) -> Iterator[Download]:
    """All alerts in one answer: as JSON, compressed, a document a line, and by a client that takes them slowly for a while."""
    workers = workers_of(system.pid_of("api"))
    kinds: dict[str, tuple[dict[str, str], float]] = {
        "all as JSON": ({"Accept-Encoding": "identity"}, 0.0),
        "all as JSON, gzipped": ({"Accept-Encoding": "gzip"}, 0.0),
        "all, one a line": ({"Accept-Encoding": "identity", "Accept": "application/x-ndjson"}, 0.0),
        "all as JSON, slowly": ({"Accept-Encoding": "identity"}, 0.05),
    }
    for what, (headers, pause) in kinds.items():
        began, size, peak = time.perf_counter(), 0, 0.0
        body: dict[str, Any] = {"query_type": "find", "query": {"catalog": "ZTF_alerts", "filter": {}}}
        headers["Authorization"] = token
        with requests.post(f"{url}/api/queries", json=body, headers=headers, stream=True, timeout=60) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_content(1 << 20):
                size += len(chunk)
                peak = max(peak, *(worker.memory_info().rss / 1e6 for worker in workers))
                time.sleep(pause)
                if pause and size > SLOWLY:
                    break
        yield Download(what, size / 1e9, time.perf_counter() - began, peak)


def workers_of(pid: int) -> list[psutil.Process]:
    """The worker processes of a server."""
    return [process for process in psutil.Process(pid).children(recursive=True) if not process.children()]


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health/live", timeout=5).ok
    except requests.ConnectionError:
        return False


def _find_one(number: int) -> dict[str, Any]:
    asked = {
        "catalog": "ZTF_alerts",
        "filter": {"candid": FIRST_CANDID + number % ALERTS},
        "projection": {"_id": 0, "candid": 1, "candidate": 1},
    }
    return {"query_type": "find_one", "query": asked}


def _cones(number: int, positions: int) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    ra, dec = rng.uniform(0, 360, positions).tolist(), rng.uniform(-80, 80, positions).tolist()
    coordinates = {"cone_search_radius": 600, "cone_search_unit": "arcsec", "radec": {f"p{n}": [a, d] for n, (a, d) in enumerate(zip(ra, dec, strict=True))}}  # fmt: skip
    return {
        "query_type": "cone_search",
        "query": {
            "object_coordinates": coordinates,
            "catalogs": {"Stars": {"projection": {"_id": 1, "coordinates.radec_geojson": 1}}},
        },
    }


def _query(token: str, content: dict[str, Any]) -> bytes:
    return _post("/api/queries", content, f"Authorization: {token}\r\n")


def _post(path: str, content: dict[str, Any], more: str = "") -> bytes:
    body = json.dumps(content).encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode()
        + body
    )


def run_load(port: int, made: list[bytes], connections: int, seconds: float) -> tuple[list[float], int, float]:
    """The ms that each request took, on so many connections kept alive, how many had to wait too long, and the s of all of it."""
    return uvloop.run(_run_load(port, made, connections, seconds))


async def _run_load(port: int, made: list[bytes], connections: int, seconds: float) -> tuple[list[float], int, float]:
    loop, load = asyncio.get_running_loop(), _Clients(made, time.perf_counter() + seconds, connections)
    began = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Client(load), "127.0.0.1", port)
    await load.done
    return load.times, load.refused, time.perf_counter() - began


class _Clients:
    """What the connections of one load share."""

    def __init__(self, made: list[bytes], end: float, connections: int):
        self.requests, self.end, self.open = cycle(made), end, connections
        self.times: list[float] = []
        self.refused = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Client(asyncio.Protocol):
    """One connection that asks again as soon as it has its answer: as little work as can be, as it takes the server's cores."""

    def __init__(self, load: _Clients):
        self.load = load
        self.answer = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if not _is_whole(self.answer):
            return
        status = self.answer[9:12]
        if status == b"200":
            self.load.times.append(1000 * (time.perf_counter() - self.began))
        elif status == b"429":
            self.load.refused += 1
        else:
            self._fail(RuntimeError(self.answer.decode()))
        self.answer.clear()
        if time.perf_counter() < self.load.end:
            self._ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.load.open -= 1
        if time.perf_counter() < self.load.end:
            self._fail(error or ConnectionError("the server closed a connection"))
        elif self.load.open == 0 and not self.load.done.done():
            self.load.done.set_result(None)

    def _ask(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(next(self.load.requests))

    def _fail(self, error: Exception) -> None:
        if not self.load.done.done():
            self.load.done.set_exception(error)


def _is_whole(answer: bytearray) -> bool:
    """Whether an answer has come to its end."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    return bool(separator) and (len(body) == int(length[1]) if length else answer.endswith(b"\r\n0\r\n\r\n"))


if __name__ == "__main__":
    main()
