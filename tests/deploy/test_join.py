"""Workers join a scheduler by one command, under mutual TLS, before it is there and after it was killed."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, Security
from parts import Parts

from kowalski.config import isolated_tree
from kowalski.dask_access import connect_client, security_of
from kowalski.local.certificates import make
from kowalski.local.ports import free_ports
from kowalski.local.probes import dask_is_ready


def tls_in(folder: Path) -> dict[str, str]:
    """The setting ``tls`` for certificates in a folder."""
    return {"ca": str(folder / "ca.crt"), "cert": str(folder / "dask.crt"), "key": str(folder / "dask.key")}


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """Parts whose dask talks TLS on loopback; they have no weights and need no database before the first batch."""
    make(tmp_path / "ours", 10)
    scheduler, dashboard = free_ports(2)
    address = {"host": "127.0.0.1", "scheduler_port": scheduler, "dashboard_address": f":{dashboard}"}
    tree: dict[str, Any] = isolated_tree({"dask": {**address, "n_workers": 2, "tls": tls_in(tmp_path / "ours")}})
    tree["ml"]["folder"] = str(tmp_path)  # no weights: nothing is scored
    parts = Parts(tmp_path, tree)
    yield parts
    parts.end()


def test_workers_join_under_tls_and_outlive_the_scheduler(parts: Parts) -> None:
    settings = parts.config.dask_for("ZTF")

    def joined() -> bool:
        return dask_is_ready("ZTF", settings)

    join = parts.start("join", [sys.executable, "kowalski.py", "workers", "ZTF"])
    log = parts.folder / "join.log"
    parts.wait(lambda: "waiting for the scheduler" in log.read_text(), "the workers waiting")
    scheduler = parts.python("scheduler", "kowalski.dask_cluster", "ZTF", "--scheduler")
    parts.wait(joined, "the workers joined")
    first = {process.pid for process in parts.family("join")}
    only_ours_connects(parts)

    scheduler.kill()
    scheduler.wait()
    parts.python("scheduler", "kowalski.dask_cluster", "ZTF", "--scheduler")
    parts.wait(joined, "the workers joined the new scheduler")
    assert join.poll() is None
    with connect_client("ZTF", settings, "10s", "test") as client:
        pids = set(client.run(os.getpid).values())
    assert len(pids) == 2
    assert pids <= {process.pid for process in parts.family("join")} - first

    family = parts.family("join")
    join.send_signal(signal.SIGTERM)
    assert join.wait(timeout=25) == 0
    assert psutil.wait_procs(family, timeout=5)[1] == []


def only_ours_connects(parts: Parts) -> None:
    """The scheduler talks to who has a certificate of its CA, and to nobody else."""
    settings = parts.config.dask_for("ZTF")
    with connect_client("ZTF", settings, "10s", "test") as client:
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3
    make(parts.folder / "foreign", 10)
    foreign = tls_in(parts.folder / "foreign")
    ours = settings.tls.ca
    pair = {"tls_client_cert": foreign["cert"], "tls_client_key": foreign["key"]}
    stranger = Security(require_encryption=True, tls_ca_file=ours, **pair)
    in_the_clear = settings.address.replace("tls://", "tcp://")
    for address, security in ((settings.address, stranger), (in_the_clear, None)):
        with pytest.raises(OSError, match=r"closed|Timed out"):
            Client(address, timeout="1s", security=security, set_as_default=False)


def test_wrong_certificates_are_told_at_the_start(parts: Parts) -> None:
    """Broker, scheduler and workers end with one line when their certificates don't fit."""
    make(parts.folder / "other", 10)
    (parts.folder / "ours" / "dask.key").write_bytes((parts.folder / "other" / "dask.key").read_bytes())
    commands = {
        "scheduler": ("kowalski.dask_cluster", "ZTF", "--scheduler"),
        "join": ("kowalski.dask_cluster", "ZTF", "--join"),
        "broker": ("kowalski.alert_broker_ztf",),
    }
    for name, command in commands.items():
        parts.python(name, *command)
    for name in commands:
        assert parts.processes[name].wait(timeout=60) == 1, parts.logs()
        lines = (parts.folder / f"{name}.log").read_text().splitlines()
        said = [line for line in lines if "metrics at" not in line]
        assert len(said) == 1
        assert "./kowalski.py certificates" in said[0]


def test_security_is_that_of_all_roles(parts: Parts) -> None:
    """Scheduler, workers and clients check each other by the same CA."""
    security = security_of("ZTF", parts.config.dask_for("ZTF"))
    assert security is not None
    roles = [security.get_tls_config_for_role(role) for role in ("client", "scheduler", "worker")]
    assert roles[0] == roles[1] == roles[2]
    assert all(roles[0][part] for part in ("ca_file", "cert", "key"))
