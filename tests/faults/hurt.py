"""A whole system that faults are done to: its programs, what they have done, and whether all of that is right."""

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import requests
from confluent_kafka import Consumer, KafkaException, TopicPartition
from pymongo.errors import PyMongoError

from faults.nights import FILTERS, ZTF, Night, RoundFilter
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.filters import Filters
from kowalski.errors import DatabaseError, LocalError
from kowalski.local.system import LocalSystem
from kowalski.night.ledger import books_of
from kowalski.simulation.publish import Publisher

PARTITIONS = 2
BROKER, SECOND_BROKER, CLUSTER = "alert-broker-ztf", "alert-broker-ztf-2", "dask-cluster-ztf"
#: what runs when nothing is wrong
PROGRAMS = ("mongod", "skyportal-receiver", CLUSTER, "poster", "kafka", BROKER)
#: what a service that is away makes a question to it raise
AWAY = (PyMongoError, KafkaException, DatabaseError, requests.RequestException)
#: what a log has where a program is wrong about logging, or about its own tasks
UNSAID = ("--- Logging error ---", "exception was never retrieved")
#: s that a system may take for something that it has to do in the end
PATIENCE = 240.0
#: s for the ledger to say of what was read that it was
BOOKS = 20.0
#: size of the disk of MongoDB's data, which makes no indexes on less than 500 MB
DISK = "2g"

CHANGES: dict[str, Any] = {
    "kafka": {
        "metadata_refresh": 1,
        "processes_per_topic": {"ZTF": 2},
        "surveys": {"ZTF": {"session.timeout.ms": 6000}},
    },
    "broker": {"batch_size": 32, "commit_interval": 0.3, "retry_delay": 0.5},
    "dask": {"memory_limit": "1.5GB"},
    "outbox": {"lease": 4, "max_backoff": 4},
    "skyportal": {"timeout": 2, "photometry_timeout": 3},
    "local": {"mongod_cache_gb": 0.25, "min_free_gb": 0},
}


class Unsettled(Exception):
    """Something that has to happen did not; the text has the state of the system."""


class HurtSystem:
    """A system of its own in a folder, beside whatever else runs; use it in a ``with``.

    Attributes
    ----------
    expected : alerts that the rounds so far have stored
    own_disk : why MongoDB's data have no small disk of their own; None: they have one
    """

    def __init__(self, folder: Path, small_disk: bool = True, filters: tuple[RoundFilter, ...] = FILTERS):
        self.system = LocalSystem.isolated(folder, CHANGES)
        self.survey, self.topic = ZTF, ZTF.topic_on(datetime.now(UTC).date())
        self.data = self.system.folder / "mongod" / "data"
        self.own_disk: str | None = None if small_disk else "its disk is not small"
        self.expected = 0
        self.filters = filters

    def __enter__(self) -> "HurtSystem":
        self.own_disk = self.own_disk or mount(self.data)
        try:
            self.system.start(PROGRAMS)
        except BaseException:
            self._unmount()
            raise
        config = self.system.config
        self.database: MongoDatabase = connect(config.database)
        self.admin: MongoDatabase = connect(config.database, "admin")
        group = f"{config.kafka.group}_{self.survey.name.lower()}"
        settings = {"bootstrap.servers": config.kafka.bootstrap_servers, "group.id": group, "log_level": 0}
        self._consumer = Consumer(settings)
        for each in self.filters:
            Filters(self.database, self.database).put(each.document())
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
        self.database.client.close()
        self.admin.client.close()
        self.system.stop()
        self._unmount()
        if left := self.system.processes():
            raise LocalError(f"{len(left)} processes are left of {self.system.folder}, e.g. {left[0]}")

    def _unmount(self) -> None:
        if self.own_disk is None:
            subprocess.run(["umount", str(self.data)], check=True, timeout=30)

    # What it is told

    @contextmanager
    def publisher(self) -> Iterator[Publisher]:
        """One that sends to tonight's topic; all is delivered at the end."""
        with Publisher(self.system.config.kafka.bootstrap_servers, PARTITIONS) as publisher:
            publisher.make_topic(self.topic)
            yield publisher

    def behave(self, **how: Any) -> None:
        """SkyPortal's stand-in behaves so from now on."""
        requests.post(f"{self.system.config.skyportal.url}/_behave", json=how, timeout=10).raise_for_status()

    def process(self, name: str) -> psutil.Process:
        """The process of a program; ``dask-worker`` is a child of its cluster's."""
        if name == "dask-worker":
            return self.workers()[0]
        self.wait(lambda: self.system.pid_of(name) > 0, f"{name} runs")
        return psutil.Process(self.system.pid_of(name))

    def workers(self) -> list[psutil.Process]:
        """The dask workers, once there are any."""

        def found() -> list[psutil.Process]:
            try:
                children = psutil.Process(self.system.pid_of(CLUSTER)).children()
                return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
            except (psutil.Error, LocalError):
                return []

        self.wait(lambda: bool(found()), "workers run")
        return found()

    # How it is doing

    def wait(self, done: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Return as soon as something is so; a service that is away counts as not yet.

        Raises
        ------
        Unsettled : it was not so in time
        """
        deadline = time.monotonic() + patience
        while True:
            reason = ""
            try:
                if done():
                    return
            except AWAY as error:
                reason = f" ({error})"
            if time.monotonic() > deadline:
                raise Unsettled(f"{what}: not within {patience:g} s{reason}\n{self.state()}")
            time.sleep(0.05)

    def state(self) -> str:
        """What runs, and the last lines of who has the work."""
        lines = [json.dumps(self.system.status(), default=str)]
        for name in (BROKER, "poster", CLUSTER):
            lines += [f"--- {name}", self.system.supervisor.last_lines(name, 8)]
        return "\n".join(lines)

    def recover(self) -> None:
        """All programs that should run are ready, as after an operator's ``up``."""
        self.system.start(PROGRAMS)

    def stored(self) -> int:
        """Alerts in the database."""
        return self.database[self.survey.alerts].count_documents({})

    def done_with(self, night: Night) -> bool:
        """Whether all alerts of a night are stored, and nothing is to be sent of them, while others may still come."""
        chosen = {"candid": {"$in": list(night.candids)}}
        return (
            self.database[self.survey.alerts].count_documents(chosen) >= len(night.candids)
            and self.database.outbox.count_documents({**chosen, "state": "pending"}) == 0
        )

    def settled(self) -> bool:
        """Whether Kafka has nothing more to give, and the outbox nothing more to send."""
        numbers = self._consumer.list_topics(self.topic, timeout=5).topics[self.topic].partitions
        committed = self._consumer.committed([TopicPartition(self.topic, number) for number in numbers], timeout=5)
        if any(max(each.offset, 0) < end for each, end in zip(committed, self._ends(), strict=True)):
            return False
        return self.database.outbox.count_documents({"state": "pending"}) == 0

    # What is wrong

    def findings(self, night: Night) -> tuple[list[str], list[str]]:
        """What a night has lost (or what is otherwise than it must be), and what it has doubled."""
        lost, doubled = self._of_alerts(night)
        for found in (self._of_objects(night), self._of_quarantine(night), self._of_outbox(night), self._of_logs()):
            lost += found
        more_lost, more_doubled = self._of_deliveries(night)
        return lost + more_lost, doubled + more_doubled

    def _of_alerts(self, night: Night) -> tuple[list[str], list[str]]:
        chosen, fields = {"candid": {"$in": list(night.candids)}}, {"candid": 1, "classifications": 1}
        found = list(self.database[self.survey.alerts].find(chosen, fields))
        copies = Counter(document["candid"] for document in found)
        lost = [f"alert {candid} is not stored" for candid in night.candids.keys() - copies.keys()]
        lost += [f"alert {each['candid']} has no scores" for each in found if not each.get("classifications")]
        doubled = [f"alert {candid} is stored {n} times" for candid, n in copies.items() if n > 1]
        return lost, doubled

    def _of_objects(self, night: Night) -> list[str]:
        collection = self.database[self.survey.aux]
        found = {document["_id"]: document for document in collection.find({"_id": {"$in": list(night.objects)}})}
        wrong = [f"object {key} is not stored" for key in night.objects.keys() - found.keys()]
        for key, document in found.items():
            for name, value in night.objects[key].items():
                if document.get(name) != value:
                    wrong.append(f"{name} of {key} is not the union of its packets")
            if "cross_matches" not in document:
                wrong.append(f"object {key} is not matched")
        return wrong

    def _of_quarantine(self, night: Night) -> list[str]:
        """Each bad packet is there, once per message; a good one never."""
        kept = [bytes(document["data"]) for document in self.database.quarantine.find({}, {"data": 1})]
        reasons = self.database.quarantine.distinct("reason")
        wrong = [f"a bad packet of {len(data)} bytes is not in quarantine" for data in night.bad.difference(kept)]
        good = set(night.messages) - night.bad
        return wrong + [f"a good packet is in quarantine (among reasons {reasons})" for data in kept if data in good]

    def _of_outbox(self, night: Night) -> list[str]:
        chosen = {"candid": {"$in": list(night.candids)}, "state": {"$ne": "delivered"}}
        return [f"{each['_id']} is {each['state']}: {each['error']}" for each in self.database.outbox.find(chosen)]

    def _of_logs(self) -> list[str]:
        """Programs that failed to say what they had to say, or let an error go that nobody looked at."""
        logs = sorted((self.system.folder / "logs").glob("*.log"))
        return [f"{log.name} has: {sign}" for log in logs for sign in UNSAID if sign in log.read_text(errors="replace")]

    def _of_deliveries(self, night: Night) -> tuple[list[str], list[str]]:
        """Every passing filter once with SkyPortal, by SkyPortal's own list."""
        url = f"{self.system.config.skyportal.url}/_received"
        got: Counter[tuple[int, int]] = Counter()
        lost = []
        with requests.Session() as session:
            for object_id in night.objects:
                answer = session.get(f"{url}/{object_id}", timeout=10)
                known = answer.json() if answer.ok else {"candidates": [], "groups": {}, "comments": []}
                got.update((each["candid"], each["filter_id"]) for each in known["candidates"])
                if bool(known["groups"]) != (object_id in night.saved):
                    lost.append(f"{object_id} is saved for {known['groups'] or 'nobody'}")
            violations = session.get(url, timeout=10).json()["violations"]
        lost += [f"{each} was not delivered" for each in night.passing - got.keys()]
        lost += [f"SkyPortal refused {each['method']} {each['path']}: {each['refused']}" for each in violations[:5]]
        doubled = [f"{each} was delivered {n} times" for each, n in got.items() if n > 1]
        return lost, doubled + [f"{each} passed nothing" for each in got.keys() - night.passing]

    def open_books(self) -> list[str]:
        """What is wrong with the ledger of a settled system: every message of tonight's topic was received and is accounted for."""
        found: list[str] = []

        def closed() -> bool:
            books = books_of(self.survey.night_of(self.topic) or "", self.database, self.system.config.kafka.topics)
            total = books.total()
            sent, places = sum(self._ends()), [total.get(name, 0) for name in ("stored", "known", "quarantined")]
            found[:] = [f"ledger: {what}" for what, wrong in {
                f"the balance is {books.balance}: {[(one.missing, one.unposted) for one in books.accounts]}": books.balance,
                f"{total.get('received')} of {sent} messages were received": total.get("received") != sent,
                f"stored, known, quarantined are {places}, which is not {sent}": sum(places) != sent,
                f"{total.get('unread')} messages are unread": total.get("unread"),
                f"{total.get('not_read')} messages are in gaps": total.get("not_read"),
            }.items() if wrong]  # fmt: skip
            return not found

        with suppress(Unsettled):  # the broker says every second how far it is
            self.wait(closed, "books closed", BOOKS)
        return found

    def _ends(self) -> list[int]:
        """How many messages each partition of tonight's topic has got."""
        numbers = self._consumer.list_topics(self.topic, timeout=5).topics[self.topic].partitions
        ends = (self._consumer.get_watermark_offsets(TopicPartition(self.topic, n), timeout=5) for n in numbers)
        return [end for _, end in ends]


def mount(folder: Path) -> str | None:
    """A disk of its own, in memory, is at a folder; else why not."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return "only root may mount a small disk"
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return result.stderr.strip() if result.returncode else None
