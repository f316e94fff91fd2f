"""The real API as a process of its own, and how tests talk to it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

from kowalski.config import ROOT
from kowalski.local.ports import free_ports
from kowalski.settings import Database

#: bytes of documents that may be exported
EXPORTED = 30_000_000
ADMIN, PASSWORD, SECRET = "admin", "correct horse battery staple", "s" * 64


@dataclass
class Api:
    """A running API and a token of its admin."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    token: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, token: str | None = None) -> requests.Response:
        """GET with the admin's token, or another."""
        return requests.get(self.url + path, headers=self._headers(token), timeout=30)

    def post(self, path: str, body: Any = None, token: str | None = None, **more: Any) -> requests.Response:
        """POST with the admin's token, or another."""
        return requests.post(self.url + path, json=body, headers=self._headers(token), timeout=60, **more)

    def log_in(self, username: str = ADMIN, password: str = PASSWORD, **more: Any) -> requests.Response:
        return requests.post(
            f"{self.url}/api/auth", json={"username": username, "password": password} | more, timeout=30
        )

    def ask(self, query_type: str, query: dict[str, Any], token: str | None = None, **kwargs: Any) -> requests.Response:
        """The answer to a query."""
        return self.post("/api/queries", {"query_type": query_type, "query": query, "kwargs": kwargs}, token)

    def data(self, query_type: str, query: dict[str, Any], **kwargs: Any) -> Any:
        """The data of a query that works."""
        answer = self.ask(query_type, query, **kwargs)
        content = answer.json()
        assert (answer.status_code, content["status"]) == (200, "success"), content
        assert content["message"] == "Successfully executed query"
        return content.get("data")

    def refusal(self, query_type: str, query: dict[str, Any], **kwargs: Any) -> str:
        """The message of a query that is refused."""
        answer = self.ask(query_type, query, **kwargs)
        content = answer.json()
        assert (answer.status_code, content["status"]) == (400, "error"), content
        return str(content["message"])

    def wait_ready(self, status: int = 200) -> None:
        """Return when the API says that it is ready, or (503) that it isn't."""

        def says() -> bool:
            try:
                return requests.get(f"{self.url}/health/ready", timeout=10).status_code == status
            except requests.ConnectionError:
                assert self.process.poll() is None, self.log.read_text()
                return False

        wait_until(says)

    def stop(self) -> None:
        """The API ends as it should, when told so."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0

    def _headers(self, token: str | None) -> dict[str, str]:
        return {"Authorization": self.token if token is None else token}


def wait_until(condition: Any, timeout: float = 120) -> None:
    """Return when a condition is true."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def start_api(
    folder: Path,
    database: Database,
    misc: dict[str, Any] | None = None,
    skymaps: dict[str, Any] | None = None,
    ztf: dict[str, Any] | None = None,
    filters: dict[str, Any] | None = None,
    tables: dict[str, Any] | None = None,
    **server: Any,
) -> Api:
    """An API on a free port, not ready yet; further arguments are settings of ``server``."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    own = {
        "port": port,
        "processes": 1,
        "admin_password": PASSWORD,
        "password_rounds": 4,
        "JWT_SECRET_KEY": SECRET,
    } | server
    settings = {
        "server": own,
        "database": database.model_dump(exclude={"xmatch"}),
        "misc": misc or {},
        "skymaps": skymaps or {},
        "ztf": ztf or {},
        "filters": filters or {},
        "tables": tables or {},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({"kowalski": settings}))
    log = folder / "api.log"
    environment = {key: value for key, value in os.environ.items() if not key.upper().startswith("KOWALSKI__")}
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "kowalski.api"],
            cwd=ROOT,
            env=environment | {"KOWALSKI_CONFIG": str(folder / "config.yaml")},
            stdout=file,
            stderr=file,
        )
    return Api(process, port, log)
