"""Processes that end by a killed supervisor or by their age. What dies while a night streams: tests/faults."""

import os
import signal
from itertools import islice
from pathlib import Path

import psutil
from conftest import Chain

from kowalski.local.system import LocalSystem
from kowalski.simulation.night import simulate


def end(system: LocalSystem, how: signal.Signals) -> None:
    """When the supervisor is gone, so is all that it ran."""
    processes = system.processes()
    os.kill(system.supervisor.pid() or 0, how)
    _, left = psutil.wait_procs(processes, timeout=60)
    assert left == []
    assert system.processes() == []


def test_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    system = LocalSystem.isolated(tmp_path / "system")
    try:
        system.start()
        assert len(system.processes()) >= 9
        end(system, signal.SIGKILL)
    finally:
        system.stop()


def test_workers_renewed_by_age_lose_nothing(tmp_path: Path) -> None:
    """Workers that reach the end of their lifetime in the middle of a night are replaced; every alert is stored. Its supervisor ends when asked."""
    changes = {"dask": {"lifetime": "6 seconds", "lifetime_stagger": "1 seconds"}, "kafka": {"metadata_refresh": 1}}
    system = LocalSystem.isolated(tmp_path / "system", changes, receiver=False)
    try:
        system.start([program.name for program in system.programs if program.name not in ("api", "poster")])
        chain = Chain(system)
        cluster = psutil.Process(system.pid_of("dask-cluster-ztf"))

        def workers() -> set[int]:
            return {child.pid for child in cluster.children() if "spawn_main" in " ".join(child.cmdline())}

        seen, sent = workers(), 0
        first = set(seen)
        packets = simulate(3000, seed=41)
        while len(seen - first) < 2:
            sent += chain.publish(packet.data for packet in islice(packets, 20))
            chain.wait(lambda sent=sent: chain.committed() == sent, "the portion done")  # type: ignore[misc]
            seen |= workers()
        assert chain.stored() == sent
        assert chain.database.quarantine.count_documents({}) == 0
        end(system, signal.SIGTERM)
    finally:
        system.stop()
