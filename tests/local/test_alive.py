"""Whether a program is alive, as a supervisor asks: of MongoDB, of the scheduler, and when neither can say."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from distributed import Scheduler, Worker

from kowalski.config import ROOT
from kowalski.database.client import MongoDatabase
from kowalski.database.processes import Processes
from kowalski.local.ports import free_ports
from kowalski.settings import Database

Asked = Callable[..., tuple[int, str]]


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """Ask, with these settings: the exit status and what was said."""

    def ask(settings: dict[str, object], *arguments: str) -> tuple[int, str]:
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"kowalski": settings}))
        environment = {key: value for key, value in os.environ.items() if not key.upper().startswith("KOWALSKI__")}
        done = subprocess.run(
            [sys.executable, "-m", "kowalski.local.alive", *arguments],
            cwd=ROOT,
            env=environment | {"KOWALSKI_CONFIG": str(tmp_path / "config.yaml")},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    return ask


def test_of_a_program_that_signs(asked: Asked, mongo_settings: Database, mongo: MongoDatabase) -> None:
    settings: dict[str, object] = {"database": mongo_settings.model_dump(exclude={"xmatch"})}
    processes = Processes(mongo)
    processes.beat("alert-broker", "ZTF")
    assert asked(settings, "alert-broker") == (0, "alert-broker: alive\n")
    assert asked(settings, "alert-broker", "ztf")[0] == 0
    assert asked(settings, "alert-broker", "PGIR")[0] == 1
    assert asked(settings, "poster") == (1, "poster: no sign of life\n")
    (sign,) = processes.alive(600)
    mongo["processes"].update_one({"_id": sign["_id"]}, {"$set": {"at": sign["at"] - timedelta(seconds=90)}})
    assert asked(settings, "alert-broker")[0] == 1
    assert asked(settings, "alert-broker", "--within", "600")[0] == 0
    mongo["processes"].update_one({"_id": sign["_id"]}, {"$set": {"host": "another", "at": sign["at"]}})
    assert asked(settings, "alert-broker", "--within", "600")[0] == 1


def test_who_is_away_says_nothing_against_a_program(asked: Asked) -> None:
    mongodb, scheduler = free_ports(2)
    settings: dict[str, object] = {"database": {"port": mongodb}, "dask": {"scheduler_port": scheduler}}
    for arguments in (("poster",), ("dask-worker", "ZTF")):
        status, words = asked(settings, *arguments)
        assert (status, "can't say" in words) == (0, True)


async def test_of_a_dask_worker(asked: Asked) -> None:
    (port,) = free_ports(1)
    settings: dict[str, object] = {"dask": {"scheduler_port": port}}
    async with Scheduler(host="127.0.0.1", port=port, dashboard=False) as scheduler:
        assert (await asyncio.to_thread(asked, settings, "dask-worker", "ZTF"))[0] == 1
        async with Worker(scheduler.address, name=f"ZTF-{socket.gethostname()}-1-0", dashboard=False):
            assert (await asyncio.to_thread(asked, settings, "dask-worker", "ZTF"))[0] == 0
        async with Worker(scheduler.address, name="ZTF-another-1-0", dashboard=False):
            assert (await asyncio.to_thread(asked, settings, "dask-worker", "ZTF"))[0] == 1


def test_what_it_can_not_be_asked(asked: Asked) -> None:
    for arguments in (("api",), ("dask-worker",), ("alert-broker", "nothing")):
        assert asked({}, *arguments)[0] == 2
