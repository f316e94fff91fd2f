"""Each process killed (kill -9) while a night streams: nothing is lost, nothing doubled."""

import os
import signal
from collections import Counter
from itertools import islice
from pathlib import Path

import psutil
import pytest
from chain_oracle import expected_objects
from conftest import Chain, filter_document

from kowalski.local.system import LocalSystem
from kowalski.simulation.night import simulate

PASSING = filter_document(
    1, [{"$match": {"candidate.drb": {"$gt": 0.7}}}, {"$project": {"annotations": {"drb": "$candidate.drb"}}}]
)
#: alerts streamed around each kill
AROUND = 120


def victim(chain: Chain, name: str) -> psutil.Process:
    """The process to kill; a dask worker is a child of its cluster's process."""
    if name != "dask-worker":
        return psutil.Process(chain.system.pid_of(name))
    cluster = psutil.Process(chain.system.pid_of("dask-cluster-ztf"))
    workers = [child for child in cluster.children() if "spawn_main" in " ".join(child.cmdline())]
    return workers[0]


def test_no_kill_loses_or_doubles_anything(chain: Chain) -> None:
    """Worker, scheduler, broker, poster, mongod and Kafka, one after the other, in the middle of a night."""
    chain.put_filters(PASSING)
    names = ("dask-worker", "dask-cluster-ztf", "alert-broker-ztf", "poster", "mongod", "kafka")
    packets = list(simulate(AROUND * len(names), objects=200, seed=21))
    sent = 0
    for number, name in enumerate(names):
        portion = packets[number * AROUND : (number + 1) * AROUND]
        process = victim(chain, name)
        chain.publish(packet.data for packet in portion[: AROUND // 2])
        before = _stored(chain)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
        chain.publish(packet.data for packet in portion[AROUND // 2 :])
        sent += len(portion)
        chain.wait(lambda before=before: _stored(chain) > before, f"work after {name} was killed")  # type: ignore[misc]
    chain.wait(lambda: _committed(chain) >= sent and not chain.pending(), "the night done")
    # a Kafka producer that met the kill may have sent again what was there: the chain has to bear that too
    assert chain.stored() == len(packets)
    assert chain.database.quarantine.count_documents({}) == 0
    objects = {document["_id"]: document for document in chain.database.ZTF_alerts_aux.find()}
    expected = expected_objects([packet.data for packet in packets], chain.survey)
    assert objects.keys() == expected.keys()
    for object_id, document in expected.items():
        assert {key: objects[object_id][key] for key in document} == document
    passing = [doc["candid"] for doc in chain.database.ZTF_alerts.find({"candidate.drb": {"$gt": 0.7}}, {"candid": 1})]
    assert passing
    assert Counter(chain.posted(objects)) == Counter((candid, 1) for candid in passing)
    assert chain.received()["violations"] == []
    assert chain.database.outbox.count_documents({"kind": "candidate", "state": "delivered"}) == len(passing)


def _stored(chain: Chain) -> int:
    """Alerts stored; as many as before while mongod is away."""
    from pymongo.errors import PyMongoError

    try:
        return chain.stored()
    except PyMongoError:
        return 0


def _committed(chain: Chain) -> int:
    from confluent_kafka import KafkaException

    try:
        return chain.committed()
    except KafkaException:
        return 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_supervisor_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    """When the supervisor is gone, so is all that it ran."""
    system = LocalSystem.isolated(tmp_path / "system")
    try:
        system.start()
        processes = system.processes()
        assert len(processes) >= 9
        os.kill(system.supervisor.pid() or 0, how)
        _, left = psutil.wait_procs(processes, timeout=60)
        assert left == []
        assert system.processes() == []
    finally:
        system.stop()


def test_workers_renewed_by_age_lose_nothing(tmp_path: Path) -> None:
    """Workers that reach the end of their lifetime in the middle of a night are replaced; every alert is stored."""
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
        packets = iter(list(simulate(3000, seed=41)))
        while len(seen - first) < 2:
            sent += chain.publish(packet.data for packet in islice(packets, 20))
            chain.wait(lambda sent=sent: chain.committed() == sent, "the portion done")  # type: ignore[misc]
            seen |= workers()
        assert chain.stored() == sent
        assert chain.database.quarantine.count_documents({}) == 0
    finally:
        system.stop()
