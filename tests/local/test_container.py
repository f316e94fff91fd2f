"""What the images start, started here: a role's programs under supervisord, told to stop as Docker does it."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil
import pytest
import yaml

from kowalski.config import ROOT, in_container
from kowalski.database.client import connect
from kowalski.database.replica_set import drop_database
from kowalski.errors import ConfigError
from kowalski.local import compose
from kowalski.local.ports import free_ports
from kowalski.settings import Database

pytestmark = pytest.mark.skipif(in_container(), reason="it is about what is outside containers")


@dataclass
class Started:
    """The first process of a container, which has its state and its output in a folder."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    output: IO[bytes]

    @property
    def said(self) -> str:
        return (self.folder / "output").read_text()

    @property
    def ready(self) -> Path:
        return self.folder / "state" / "ready"

    def wait_ready(self) -> None:
        """Return when all that it runs does its work."""
        deadline = time.monotonic() + 60
        while not self.ready.exists():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def left(self) -> list[psutil.Process]:
        """Its processes that live."""
        return [each for each in psutil.process_iter() if str(self.folder) in _mark(each)]


def _mark(process: psutil.Process) -> str:
    try:
        return process.environ().get("KOWALSKI_SYSTEM", "")
    except psutil.Error:
        return ""


@pytest.fixture
def api(mongo_settings: Database, tmp_path: Path) -> Iterator[Started]:
    """The API as its image starts it."""
    started = _start(tmp_path, mongo_settings, KOWALSKI_ROLE="api")
    yield started
    started.process.kill()
    started.process.wait()
    started.output.close()


def _start(folder: Path, database: Database, **environment: str) -> Started:
    (port,) = free_ports(1)
    settings = {
        "server": {"port": port, "processes": 1, "admin_password": "correct horse", "JWT_SECRET_KEY": "s" * 64},
        "database": database.model_dump(exclude={"xmatch"}),
        "local": {"folder": str(folder / "state"), "min_free_gb": 0},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({"kowalski": settings}))
    ours = {key: value for key, value in os.environ.items() if not key.startswith("KOWALSKI")}
    ours |= {"USING_DOCKER": "true", "KOWALSKI_CONFIG": str(folder / "config.yaml")}
    output = (folder / "output").open("wb")
    command = [sys.executable, "-m", "kowalski.local.container"]
    process = subprocess.Popen(command, cwd=ROOT, env=ours | environment, stdout=output, stderr=output)
    return Started(process, folder, port, output)


def test_a_role_runs_until_told_to_stop(api: Started) -> None:
    api.wait_ready()
    with urllib.request.urlopen(f"http://127.0.0.1:{api.port}/health/ready", timeout=10) as answer:
        assert answer.status == 200
    assert len(api.left()) >= 3  # supervisord, gunicorn, its worker
    began = time.monotonic()
    api.process.send_signal(signal.SIGTERM)
    assert api.process.wait(20) == 0, api.said
    assert time.monotonic() - began < 10
    assert api.left() == []


def test_its_programs_write_where_it_writes(api: Started) -> None:
    api.wait_ready()
    assert "INFO    container" in api.said
    assert "INFO    api" in api.said


def test_what_does_not_work_is_not_called_ready(api: Started) -> None:
    api.wait_ready()
    supervisor = next(each for each in api.left() if "supervisord" in " ".join(each.cmdline()))
    (gunicorn,) = [each for each in supervisor.children() if "kowalski.api" in " ".join(each.cmdline())]
    gunicorn.suspend()
    for worker in gunicorn.children(recursive=True):
        worker.suspend()
    api.ready.unlink()
    deadline = time.monotonic() + 30
    while "not ready: api (running)" not in api.said:
        assert time.monotonic() < deadline, api.said
        time.sleep(0.1)
    assert not api.ready.exists()
    for process in (gunicorn, *gunicorn.children(recursive=True)):
        process.resume()
    api.wait_ready()


def test_a_role_that_there_is_not_is_refused(mongo_settings: Database, tmp_path: Path) -> None:
    started = _start(tmp_path, mongo_settings, KOWALSKI_ROLE="cook")
    assert started.process.wait(30) == 1
    assert "KOWALSKI_ROLE is cook, which must be api or ingester" in started.said
    started.output.close()


def test_status_in_a_container_is_about_its_role(api: Started, tmp_path: Path) -> None:
    api.wait_ready()
    ours = {key: value for key, value in os.environ.items() if not key.startswith("KOWALSKI")}
    ours |= {"USING_DOCKER": "true", "KOWALSKI_CONFIG": str(tmp_path / "config.yaml"), "KOWALSKI_ROLE": "api"}
    command = [sys.executable, "-c", "from kowalski.local.status import report_of; from kowalski.local.system import LocalSystem; print([each['program'] for each in report_of(LocalSystem.running())['programs']])"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=ours, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['api']"


def test_tests_are_collected_where_there_is_no_xdist() -> None:
    """As in images."""
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "--collect-only", "-q", "tests/test_delayed.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# prepare


@pytest.mark.parametrize("hosts", ["one", "several"])
def test_prepare_makes_the_users(mongodb: Database, tmp_path: Path, hosts: str) -> None:
    settings = mongodb.model_copy(update={"db": f"kowalski_test_{tmp_path.name[-8:]}_{hosts}"})
    if hosts == "several":
        settings = settings.model_copy(update={"host": f"127.0.0.1:{mongodb.port},127.0.0.1:{mongodb.port}"})
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"kowalski": {"database": settings.model_dump(exclude={"xmatch"})}})
    )
    ours = {key: value for key, value in os.environ.items() if not key.startswith("KOWALSKI")}
    for _ in range(2):
        command = [sys.executable, "-m", "kowalski.local.prepare"]
        subprocess.run(command, cwd=ROOT, env=ours | {"KOWALSKI_CONFIG": str(tmp_path / "config.yaml")}, check=True)
    for role in ("writer", "reader"):
        connect(settings, role).list_collection_names()  # type: ignore[arg-type]
    drop_database(settings)


# compose


@pytest.mark.parametrize(
    ("setting", "gb"), [(None, None), (2, 2), ("1.5", 1.5), ("50%", 4), ("12.5%", 1), ("40 %", 3.2)]
)
def test_cache_of_mongod(setting: int | str | None, gb: float | None) -> None:
    assert compose.cache_gb(setting, memory=8 * compose.GB) == gb


@pytest.mark.parametrize("setting", ["much", "9", "101%", "1%", "-1", "40%%"])
def test_cache_that_can_not_be(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"database\.max_wired_tiger_cache is "):
        compose.cache_gb(setting, memory=8 * compose.GB)


def test_key_file_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mongo_key.yaml"
    monkeypatch.setattr(compose, "KEY_FILE", path)
    compose.write_key_file()
    key = path.read_text()
    assert key.isalnum()
    assert len(key) == 64
    assert path.stat().st_mode & 0o777 == 0o400
    compose.write_key_file()
    assert path.read_text() == key
