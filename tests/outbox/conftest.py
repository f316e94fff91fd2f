"""A stored night of simulated alerts, the receiver in SkyPortal's place, and posters that bring one to the other."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from emptied import mongo_settings, shared_settings
from outbox_harness import Night, Receiver

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.decode import Packet
from kowalski.alerts.document import read_batch
from kowalski.database.client import MongoDatabase
from kowalski.database.leases import Lease
from kowalski.database.outbox import Outbox
from kowalski.database.processes import Processes
from kowalski.outbox.poster import PROGRAM, Poster
from kowalski.settings import Outbox as OutboxSettings
from kowalski.simulation.night import simulate
from kowalski.skyportal.client import SkyPortal
from kowalski.skyportal.delivery import Delivery

__all__ = ["mongo_settings", "shared_settings"]


@pytest.fixture(scope="session")
def simulated() -> list[bytes]:
    """Packets of a few objects, some of which have several."""
    return [packet.data for packet in simulate(60, objects=20, seed=5)]


@pytest.fixture
def night(mongo: MongoDatabase, simulated: list[bytes]) -> Night:
    """The simulated alerts, stored."""
    outbox = Outbox(mongo)
    outbox.ensure_indexes()
    night = Night(mongo, outbox)
    batch, refused = read_batch([Packet(data) for data in simulated], SURVEY)
    assert not refused
    night.store(batch)
    return night


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A receiver, not yet started."""
    receiver = Receiver(tmp_path / "received.jsonl")
    yield receiver
    receiver.kill()


@pytest.fixture
def client(receiver: Receiver) -> SkyPortal:
    """A client of the receiver, which has two groups."""
    receiver.start("--group", "2:11-19")
    return SkyPortal(receiver.settings(), "0")


@pytest.fixture
def delivery(mongo: MongoDatabase, client: SkyPortal) -> Delivery:
    return Delivery(client, mongo)


@pytest.fixture
def make_poster(mongo: MongoDatabase, receiver: Receiver) -> Iterator[Callable[..., Poster]]:
    """A function that starts a poster in a thread; it stops with the test."""
    started: list[tuple[Poster, threading.Thread]] = []

    def make(name: str = "one", lease: float = 1.0, max_backoff: float = 0.5, **settings: Any) -> Poster:
        Processes(mongo).ensure_indexes()
        delivery = Delivery(SkyPortal(receiver.settings(**settings), "0"), mongo)
        poster = Poster(
            Outbox(mongo),
            Lease(mongo, PROGRAM, name, lease),
            Processes(mongo),
            delivery,
            OutboxSettings(threads=4, poll_interval=0.02, lease=lease, max_backoff=max_backoff, refresh_interval=600),
        )
        thread = threading.Thread(target=poster.run)
        thread.start()
        started.append((poster, thread))
        return poster

    yield make
    for poster, _ in started:
        poster.stop()
    for _, thread in started:
        thread.join(timeout=20)
        assert not thread.is_alive()
