"""Three hosts, one of them cut off in the middle of a night and brought back: nothing is lost, nothing doubled."""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import network
import pytest
from bson import json_util
from hosts import PARTITIONS, WORKERS, Hosts
from network import Network

from benchmarks.restamp import restamped
from kowalski.alert_broker_ztf import SURVEY
from kowalski.database.filters import Filters
from kowalski.simulation.night import simulate
from kowalski.simulation.publish import Publisher

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.skipif(network.why_not() is not None, reason=network.why_not() or ""),
]

#: alerts of each portion
PORTION = 100
#: a third of all alerts, whatever they are
THIRD = {"$expr": {"$eq": [{"$mod": ["$candid", 3]}, 0]}}
JULIAN_DATE_OF_2026 = 2461041.5


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Three hosts with all that belongs to them, nothing streamed yet."""
    hosts = Hosts(tmp_path, Network("abc"))
    try:
        hosts.start_servers()
        Publisher(hosts.config.kafka.bootstrap_servers, PARTITIONS).make_topic(hosts.topic)
        hosts.start_kowalski()
        Filters(hosts.database, hosts.database).put(filter_of_a_third())
        yield hosts
    finally:
        hosts.end()


def filter_of_a_third() -> dict[str, object]:
    """An active filter that passes every third candid."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    version = {"fid": "third1", "pipeline": json_util.dumps([{"$match": THIRD}]), "created_at": now}
    about = {"filter_id": 1, "group_id": 1, "catalog": "ZTF_alerts", "permissions": [1, 2, 3], "active": True}
    return about | {"autosave": False, "update_annotations": False, "active_fid": "third1", "fv": [version]}


def packets(count: int) -> list[bytes]:
    """Real ones with new ids where ``KOWALSKI_TEST_DATA`` names some, else simulated ones."""
    if folder := os.environ.get("KOWALSKI_TEST_DATA"):
        return list(restamped(Path(folder) / "ztf_alerts", SURVEY, count, JULIAN_DATE_OF_2026))
    return [packet.data for packet in simulate(count, seed=31)]


def test_a_host_that_is_cut_off_and_comes_back_loses_nothing(hosts: Hosts) -> None:
    """Broker, workers and active poster of a host vanish at once; the others take over, and it takes part again."""
    night = iter(packets(3 * PORTION))
    both = ("broker-a", "broker-b")
    hosts.wait(lambda: all(hosts.partitions_of(broker) for broker in both), "partitions shared by both brokers")
    publish(hosts, night)
    hosts.wait(lambda: hosts.stored() == PORTION, "the first portion stored")
    hosts.wait(lambda: hosts.database.outbox.count_documents({"state": "delivered"}) > 0, "something posted")
    assert hosts.active_poster() == "poster-b"

    publish(hosts, night)
    hosts.wait(lambda: hosts.stored() > PORTION, "the second portion under way")
    hosts.network.cut("b")
    assert hosts.stored() < 2 * PORTION, "too late: all was stored before the cut"
    hosts.wait(lambda: hosts.active_poster() == "poster-c", "the other poster active")
    hosts.wait(lambda: hosts.partitions_of("broker-a") == PARTITIONS, "all partitions with the other broker")
    hosts.wait(lambda: hosts.stored() == 2 * PORTION, "the second portion stored without the host")

    hosts.network.heal("b")
    hosts.wait(lambda: hosts.workers() == sum(WORKERS.values()), "its workers back")
    hosts.wait(lambda: all(hosts.partitions_of(broker) for broker in both), "its broker back")
    publish(hosts, night)
    hosts.wait(lambda: hosts.committed() == 3 * PORTION, "all offsets committed")
    hosts.wait(lambda: hosts.database.outbox.count_documents({"state": "pending"}) == 0, "all posted")
    assert hosts.active_poster() == "poster-c"
    assert all(process.poll() is None for process in hosts.processes.values())
    assert_all_is_there_once(hosts)


def test_the_host_of_all_servers_is_cut_off_and_comes_back(hosts: Hosts) -> None:
    """MongoDB, Kafka and the scheduler vanish at once: everything waits, workers join again, and the night goes on."""
    night = iter(packets(3 * PORTION))
    both = ("broker-a", "broker-b")
    hosts.wait(lambda: all(hosts.partitions_of(broker) for broker in both), "partitions shared by both brokers")
    publish(hosts, night)
    publish(hosts, night)
    hosts.wait(lambda: hosts.stored() > 0, "the night under way")
    assert hosts.stored() < 2 * PORTION, "too late: all was stored before the cut"
    hosts.network.cut("a")
    logs = [hosts.folder / f"workers-{host}.log" for host in WORKERS]
    hosts.wait(lambda: all("or lost it" in log.read_text() for log in logs), "workers without their scheduler")
    hosts.network.heal("a")
    hosts.wait(lambda: hosts.workers() == sum(WORKERS.values()), "the workers back")
    publish(hosts, night)
    hosts.wait(lambda: hosts.committed() == 3 * PORTION, "all offsets committed")
    hosts.wait(lambda: hosts.database.outbox.count_documents({"state": "pending"}) == 0, "all posted")
    assert all(process.poll() is None for process in hosts.processes.values())
    assert_all_is_there_once(hosts)


def publish(hosts: Hosts, night: Iterator[bytes]) -> None:
    """The next portion of a night is in Kafka."""
    with Publisher(hosts.config.kafka.bootstrap_servers, PARTITIONS) as publisher:
        for number, data in enumerate(islice(night, PORTION)):
            publisher.send(hosts.topic, data, f"packet {number}")


def assert_all_is_there_once(hosts: Hosts) -> None:
    """Every alert is stored once, every candidate posted once, and nothing is in quarantine."""
    database = hosts.database
    alerts = list(database.ZTF_alerts.find({}, {"candid": 1, "objectId": 1}))
    assert len(alerts) == len({alert["candid"] for alert in alerts}) == 3 * PORTION
    assert database.ZTF_alerts_aux.count_documents({}) == len({alert["objectId"] for alert in alerts})
    assert list(database.quarantine.find({}, {"reason": 1, "detail": 1})) == []
    passing = [alert["candid"] for alert in alerts if alert["candid"] % 3 == 0]
    assert passing
    entries = list(database.outbox.find({"kind": "candidate"}))
    assert Counter(entry["candid"] for entry in entries) == Counter(passing)
    assert {entry["state"] for entry in entries} == {"delivered"}
    posted = Counter(
        candidate["candid"]
        for object_id in {alert["objectId"] for alert in alerts}
        for candidate in (hosts.received(f"/{object_id}") or {"candidates": []})["candidates"]
    )
    assert posted == Counter(passing)
    assert (hosts.received() or {})["violations"] == []
