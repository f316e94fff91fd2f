"""The API under load, beside a bare aiohttp route under the same gunicorn: python -m benchmarks.api [--seconds S] [--json FILE].

Both serve from the same mongod, one after the other in the same run, so that their ratio holds on a busy machine too.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests

from kowalski.alerts.coordinates import position
from kowalski.config import ROOT
from kowalski.database.client import MongoDatabase, connect
from kowalski.local.ports import free_ports
from kowalski.local.system import LocalSystem

ALERTS, ROWS = 20_000, 100_000
CONNECTIONS = (8, 64)
FIRST_CANDID = 2_000_000_000_000_000_000


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
                loads = list(measure(system, bare.pid, bare_port, options.seconds))
            finally:
                bare.terminate()
        system.stop()
    for load in loads:
        print(f"{load.what:24} {load.connections:3} connections {load.per_second:8.1f} /s  p50 {load.p50:7.1f} ms  p99 {load.p99:7.1f} ms  CPU {load.cpu_ms:7.2f} ms  {load.memory:6.1f} MB  429: {load.refused}")  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps([asdict(load) for load in loads], indent=1))


def fill(database: MongoDatabase) -> None:
    """Alerts with what find_one needs, and a catalogue all over the sky."""
    rng = np.random.default_rng(1)
    database["ZTF_alerts"].create_index([("candid", -1)], unique=True, name="candid")
    database["ZTF_alerts"].insert_many(
        {"candid": FIRST_CANDID + n, "objectId": f"ZTF{n}", "candidate": {"programid": 1, "jd": 2460000.5, "magpsf": 18.0}, "cutoutScience": {"stampData": bytes(15_000)}}
        for n in range(ALERTS)
    )  # fmt: skip
    ra, dec = rng.uniform(0, 360, ROWS), np.degrees(np.arcsin(rng.uniform(-1, 1, ROWS)))
    database["Stars"].create_index([("coordinates.radec_geojson", "2dsphere"), ("_id", 1)])
    database["Stars"].insert_many(
        {"_id": n, "mag": 18.0, "coordinates": position(a, d)} for n, (a, d) in enumerate(zip(ra.tolist(), dec.tolist(), strict=True))
    )  # fmt: skip


def measure(system: LocalSystem, bare_pid: int, bare_port: int, seconds: float) -> Iterator[Load]:
    """The loads, one after the other."""
    server = system.config.server
    login = {"username": server.admin_username, "password": server.admin_password}
    url = f"http://{server.host}:{server.port}"
    made: dict[str, Any] = {"username": "astronomer", "password": "benchmark", "permissions": {"ZTF": [1, 2]}}
    admin = requests.post(f"{url}/api/auth", json=login, timeout=30).json()["token"]
    requests.post(f"{url}/api/users", json=made, headers={"Authorization": admin}, timeout=30)
    token = requests.post(f"{url}/api/auth", json=made, timeout=30).json()["token"]
    while not _answers(bare_port):
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
    return asyncio.run(_run_load(port, made, connections, seconds))


async def _run_load(port: int, made: list[bytes], connections: int, seconds: float) -> tuple[list[float], int, float]:
    times: list[float] = []
    refused: list[float] = []
    numbers, end = count(), time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < end:
            writer.write(made[next(numbers) % len(made)])
            head = await reader.readuntil(b"\r\n\r\n")
            await _skip_body(reader, head.lower())
            if head.startswith(b"HTTP/1.1 200"):
                times.append(1000 * (time.perf_counter() - began))
            elif head.startswith(b"HTTP/1.1 429"):
                refused.append(began)
            else:
                raise RuntimeError(head.decode())
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    return times, len(refused), time.perf_counter() - began


async def _skip_body(reader: asyncio.StreamReader, head: bytes) -> None:
    if b"content-length: " in head:
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        return
    while size := int((await reader.readline()).strip(), 16):
        await reader.readexactly(size + 2)
    await reader.readexactly(2)


if __name__ == "__main__":
    main()
