"""Requests to ZTF's queue: what the queue is sent, directly and through a tunnel, and what is made of its answers."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import requests
from api_harness import Api, start_api

from kowalski.config import build, isolated_tree
from kowalski.errors import ConfigError, TelescopeError
from kowalski.local.ports import free_ports
from kowalski.settings import Database, TelescopeQueue
from kowalski.telescope.ztf_queue import ZtfQueue

TARGET = {"request_id": 1, "program_id": 2, "field_id": 699, "ra": 322.7, "dec": 34.5, "filter_id": 1, "exposure_time": 300, "program_pi": "Kulkarni", "subprogram_name": "ToO_neutrino"}  # fmt: skip
QUEUE = {
    "queue_name": "ToO_1",
    "validity_window_mjd": [59480.0, 59481.0],
    "targets": [TARGET],
    "queue_type": "list",
    "user": "skyportal",
}
TRIGGER = {
    "trigger_name": "S1",
    "trigger_time": 59480.5,
    "fields": [{"field_id": 1, "probability": 0.5}],
    "user": "skyportal",
}
PATHS = {
    "/api/triggers/ztf": ("/queues", QUEUE, "queue_name", "queue"),
    "/api/triggers/ztfmma": ("/mma_skymaps", TRIGGER, "trigger_name", "trigger"),
}


class Queue(BaseHTTPRequestHandler):
    """The queue: keeps what it is sent, creates what is new, and refuses what is named so."""

    seen: list[tuple[str, str, Any]] = []
    names: set[str] = set()

    def _answer(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        self.seen.append((self.command, self.path, content))
        name = content.get("queue_name") or content.get("trigger_name") if content else None
        if name == "silence":
            self.close_connection = True
            return
        status = 400 if name == "refused" else 201 if self.command == "PUT" and name not in self.names else 200
        self.names.add(str(name))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(
            b"no such field" if status == 400 else json.dumps([{"queue_name": "ToO_1", "queue": "[]"}]).encode()
        )

    do_GET = do_PUT = do_DELETE = _answer

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def queue() -> Iterator[int]:
    """The port of a queue."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Queue)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


class _Server(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("observer", "palomar")

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of an ssh server, and a file with its key."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    (port,) = free_ports(1)
    known = tmp_path_factory.mktemp("ssh") / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        await asyncssh.create_server(_Server, "127.0.0.1", port, server_host_keys=[key])
        ready.set()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()

    threading.Thread(target=run, daemon=True).start()
    assert ready.wait(20)
    yield port, known
    loop.call_soon_threadsafe(loop.stop)


@pytest.fixture(scope="module", params=["directly", "through a tunnel"])
def api(
    request: pytest.FixtureRequest,
    queue: int,
    ssh: tuple[int, Path],
    fresh_database: Callable[[], Database],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Api]:
    settings = {"mountain_ip": "127.0.0.1", "mountain_bind_ip": "127.0.0.1", "mountain_bind_port": queue}
    if request.param == "through a tunnel":
        settings |= {"mountain_port": ssh[0], "mountain_username": "observer", "mountain_password": "palomar", "mountain_known_hosts": str(ssh[1])}  # fmt: skip
    running = start_api(tmp_path_factory.mktemp("triggers"), fresh_database(), ztf=settings)
    try:
        running.wait_ready()
        running.token = running.log_in().json()["token"]
        yield running
    finally:
        running.stop()


@pytest.fixture(autouse=True)
def fresh_queue() -> None:
    Queue.seen.clear()
    Queue.names.clear()


def call(api: Api, method: str, path: str, body: Any = None) -> requests.Response:
    return requests.request(method, api.url + path, json=body, headers={"Authorization": api.token}, timeout=60)


@pytest.mark.parametrize("path", list(PATHS))
def test_the_queue_gets_what_is_asked(api: Api, path: str) -> None:
    upstream, body, name, what = PATHS[path]
    submitted = call(api, "PUT", path, body)
    assert (submitted.status_code, submitted.json()["message"]) == (200, "submitted"), submitted.text
    assert Queue.seen == [("PUT", upstream, body)]
    again = call(api, "PUT", path, body)
    assert (again.status_code, again.json()["message"]) == (409, f"Submitted {what} {body[name]} already exists")
    for asked in ({}, None):
        found = call(api, "GET", path, asked)
        assert (found.json()["message"], found.json()["data"]) == (
            "retrieved",
            [{"queue_name": "ToO_1", "queue": "[]"}],
        )
    which = {name: body[name], "user": "skyportal"}
    assert call(api, "DELETE", path, which).json()["message"] == "deleted"
    assert Queue.seen[2:] == [("GET", upstream, {}), ("GET", upstream, {}), ("DELETE", upstream, which)]


@pytest.mark.parametrize("path", list(PATHS))
def test_what_the_queue_refuses_is_said_once(api: Api, path: str) -> None:
    _, body, name, what = PATHS[path]
    refused = call(api, "PUT", path, body | {name: "refused"})
    assert (refused.status_code, refused.json()["message"]) == (400, f"{what} refused rejected: no such field")
    silent = call(api, "PUT", path, body | {name: "silence"})
    assert silent.status_code == 400
    assert "whether the request arrived is not known" in silent.json()["message"]
    assert [each[0] for each in Queue.seen] == ["PUT", "PUT"], "nothing is sent twice"


@pytest.mark.parametrize("path", list(PATHS))
def test_tests_go_nowhere(api: Api, path: str) -> None:
    _, body, name, _ = PATHS[path]
    assert call(api, "PUT", f"{path}.test", body).json()["message"] == "submitted"
    assert call(api, "GET", f"{path}.test").json() == {
        "status": "success",
        "message": "submitted",
        "data": [{name: "test"}],
    }
    assert call(api, "DELETE", f"{path}.test", {name: "x", "user": "y"}).json()["message"] == "deleted"
    assert call(api, "PUT", f"{path}.test", body | {name: None}).status_code == 400
    assert Queue.seen == []


def test_triggers_are_the_admins(api: Api) -> None:
    api.post("/api/users", {"username": "somebody", "password": "x"})
    token = api.log_in("somebody", "x").json()["token"]
    for path in PATHS:
        answer = requests.put(api.url + path, json=QUEUE, headers={"Authorization": token}, timeout=30)
        assert (answer.status_code, answer.json()["message"]) == (403, "Forbidden")
    assert Queue.seen == []


def test_a_queue_that_is_not_there(mongo_settings: Database, tmp_path: Path, another_api: Callable[..., Api]) -> None:
    nowhere = another_api(mongo_settings)
    unreachable = another_api(mongo_settings, ztf={"mountain_ip": "127.0.0.1", "mountain_bind_port": free_ports(1)[0]})
    for api, message in [(nowhere, "ztf.mountain_ip"), (unreachable, "the queue is not reached")]:
        api.wait_ready()
        api.token = api.log_in().json()["token"]
        answer = call(api, "PUT", "/api/triggers/ztf", QUEUE)
        assert answer.status_code == 400
        assert message in answer.json()["message"]


@pytest.mark.parametrize("tunnel", [False, True], ids=["directly", "through a tunnel"])
def test_the_queue_at_a_url(queue: int, ssh: tuple[int, Path], tunnel: bool) -> None:
    def settings(url: str) -> TelescopeQueue:
        changes = {"mountain_ip": "127.0.0.1", "mountain_port": ssh[0], "mountain_username": "observer", "mountain_password": "palomar", "mountain_known_hosts": str(ssh[1])}  # fmt: skip
        return build(isolated_tree({"ztf": {"url": url, **(changes if tunnel else {})}})).ztf

    answer = asyncio.run(ZtfQueue(settings(f"http://127.0.0.1:{queue}/palomar/")).call("PUT", "/queues", QUEUE))
    assert answer.status == 201
    assert Queue.seen == [("PUT", "/palomar/queues", QUEUE)]
    if tunnel:
        with pytest.raises(TelescopeError, match="begins with http://"):
            asyncio.run(ZtfQueue(settings("https://queue/")).call("PUT", "/queues", QUEUE))
    with pytest.raises(ConfigError, match=r"ztf\.url"):
        settings("queue:5000")
