"""A whole system streaming a night, for the tests of the chain."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from bson import json_util

from kowalski.alerts.survey import get_survey
from kowalski.database.client import connect
from kowalski.database.filters import Filters
from kowalski.local.system import LocalSystem
from kowalski.night.ledger import Books, books_of
from kowalski.simulation.publish import Publisher

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
#: s that a system under test may take for something that it has to do in the end
PATIENCE = 150.0


def filter_document(filter_id: int, pipeline: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """An active filter of group 1 that sees all programmes."""
    version = {"fid": f"t{filter_id:05d}", "pipeline": json_util.dumps(pipeline), "created_at": CREATED}
    return {
        "filter_id": filter_id,
        "group_id": 1,
        "catalog": "ZTF_alerts",
        "permissions": [1, 2, 3],
        "active": True,
        "autosave": False,
        "auto_followup": {},
        "update_annotations": False,
        "active_fid": version["fid"],
        "fv": [version],
        "created_at": CREATED,
        "last_modified": CREATED,
    } | changes


class Chain:
    """A running system, and what a test wants of one of its surveys."""

    def __init__(self, system: LocalSystem, survey: str = "ZTF"):
        self.system = system
        self.survey = get_survey(survey)
        self.database = connect(system.config.database)
        self.topic = self.survey.topic_on(datetime.now(UTC).date())

    def put_filters(self, *documents: dict[str, Any]) -> None:
        """These filters are active."""
        for document in documents:
            Filters(self.database, self.database).put(document)

    def publish(self, packets: Iterable[bytes]) -> int:
        """Packets go to tonight's topic; how many."""
        with Publisher(self.system.config.kafka.bootstrap_servers, partitions=2) as publisher:
            for number, data in enumerate(packets):
                publisher.send(self.topic, data, f"packet {number}")
        return publisher.sent

    def wait(self, done: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Return as soon as something is so; fail with the state of the system when it never is."""
        deadline = time.monotonic() + patience
        while not done():
            if time.monotonic() > deadline:
                state = json.dumps(self.system.status(), default=str)
                names = (f"alert-broker-{self.survey.name.lower()}", "poster")
                logs = {name: self.system.supervisor.last_lines(name) for name in names}
                pytest.fail(f"{what}: not within {patience:g} s\n{state}\n{logs}")
            time.sleep(0.1)

    def stored(self) -> int:
        """Alerts in the database."""
        return int(self.database[self.survey.alerts].count_documents({}))

    def pending(self) -> int:
        """Outbox entries still to be sent."""
        return int(self.database.outbox.count_documents({"state": "pending"}))

    def committed(self, partitions: int = 2) -> int:
        """Messages of tonight's topic that Kafka will not give again."""
        from confluent_kafka import Consumer, TopicPartition

        kafka = self.system.config.kafka
        consumer = Consumer(
            {"bootstrap.servers": kafka.bootstrap_servers, "group.id": f"{kafka.group}_{self.survey.name.lower()}"}
        )
        try:
            wanted = [TopicPartition(self.topic, number) for number in range(partitions)]
            return sum(max(each.offset, 0) for each in consumer.committed(wanted, timeout=10))
        finally:
            consumer.close()

    def books(self) -> Books:
        """Tonight's books."""
        return books_of(self.survey.night_of(self.topic) or "", self.database, self.system.config.kafka.topics)

    def received(self) -> dict[str, Any]:
        """What the stand-in for SkyPortal got."""
        answer: dict[str, Any] = requests.get(f"{self.system.config.skyportal.url}/_received", timeout=10).json()
        return answer

    def received_of(self, object_id: str) -> dict[str, Any]:
        """What it knows of one object, of which it has got something."""
        answer = requests.get(f"{self.system.config.skyportal.url}/_received/{object_id}", timeout=10)
        assert answer.ok, f"{object_id} was never posted"
        known: dict[str, Any] = answer.json()
        return known

    def posted(self, object_ids: Iterable[str]) -> list[tuple[int, int]]:
        """(candid, filter_id) of every candidate that it got of some objects."""
        url = self.system.config.skyportal.url
        found = []
        for object_id in object_ids:
            answer = requests.get(f"{url}/_received/{object_id}", timeout=10)
            if answer.ok:
                found += [(each["candid"], each["filter_id"]) for each in answer.json()["candidates"]]
        return found


@pytest.fixture(scope="module")
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A whole system of this module's own, scoring by the stand-ins or the published weights, whichever are there.

    A module that keeps tables (``TABLES``) has them in the system's folder.
    """
    folder = tmp_path_factory.mktemp("chain")
    changes: dict[str, Any] = {"kafka": {"metadata_refresh": 1}, "broker": {"batch_size": 64}}
    if tables := getattr(request.module, "TABLES", None):
        changes["tables"] = {"enabled": True, "folder": str(folder / "tables"), **tables}
    system = LocalSystem.isolated(folder, changes)
    system.start()
    yield Chain(system)
    system.stop()
    assert system.processes() == []
