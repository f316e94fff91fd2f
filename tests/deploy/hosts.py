"""A Kowalski on three hosts, and what a test wants of it.

``a`` has MongoDB, Kafka, the scheduler and a broker; ``b`` a broker, two workers and the poster that starts first; ``c``
a worker and the other poster.
"""

import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from network import Network
from parts import Parts
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from kowalski.alerts.survey import get_survey
from kowalski.config import isolated_tree, merge
from kowalski.dask_access import connect_client
from kowalski.database.client import connect
from kowalski.database.leases import Lease
from kowalski.database.processes import Processes
from kowalski.local.certificates import make
from kowalski.local.kafka import Kafka
from kowalski.local.mongod import find_mongod
from kowalski.outbox.poster import PROGRAM

MONGOD, KAFKA, SCHEDULER, DASHBOARD, SKYPORTAL = 27017, 9092, 8786, 8787, 5000
PARTITIONS = 4
WORKERS = {"b": 2, "c": 1}


class Hosts(Parts):
    """All processes of the three hosts, and the network between them."""

    def __init__(self, folder: Path, network: Network):
        self.network = network
        make(folder / "certificates", 10)
        super().__init__(folder, settings_of(folder, network))
        self.survey = get_survey("ZTF")
        self.topic = self.survey.topic_on(datetime.now(UTC).date())
        self.database = connect(self.config.database)

    def start_servers(self) -> None:
        """MongoDB, Kafka and who takes SkyPortal's place answer."""
        self.start("mongod", self._mongod(), self.network.inside("a"))
        self.start("kafka", self._kafka(), self.network.inside("a"))
        at = ("--host", self.network.outside, "--port", str(SKYPORTAL))
        self.python("skyportal", "tools.skyportal_receiver", *at)
        self.wait(self._mongod_is_primary, "MongoDB")
        self.wait(self._kafka_answers, "Kafka")
        self.wait(lambda: self.received() is not None, "SkyPortal's stand-in")

    def start_kowalski(self) -> None:
        """Brokers, scheduler, workers and posters run, each on its host; the poster of ``b`` is the active one."""
        a, b, c = (self.network.inside(host) for host in "abc")
        self.python("broker-a", "kowalski.alert_broker_ztf", within=a)
        self.python("broker-b", "kowalski.alert_broker_ztf", within=b)
        self.python("workers-b", "kowalski.dask_cluster", "ZTF", "--join", within=b)
        self.python("workers-c", "kowalski.dask_cluster", "ZTF", "--join", "--workers", "1", within=c)
        self.python("poster-b", "kowalski.outbox", within=b)
        self.python("scheduler-a", "kowalski.dask_cluster", "ZTF", "--scheduler", within=a)
        self.wait(lambda: self.active_poster() == "poster-b", "a poster active")
        self.python("poster-c", "kowalski.outbox", within=c)
        self.wait(lambda: self.workers() == sum(WORKERS.values()), "all workers there")
        self.wait(lambda: self.is_alive("poster-c"), "the other poster there")

    def end(self) -> None:
        """No process and no network is left."""
        for host in self.network.addresses:
            self.network.heal(host)
        super().end()
        self.database.client.close()
        self.network.remove()

    # what is so now

    def workers(self) -> int:
        """How many workers the scheduler has."""
        try:
            with connect_client("ZTF", self.config.dask_for("ZTF"), "3s", "test") as client:
                return int(client.scheduler_info(n_workers=0)["n_workers"])
        except OSError:
            return 0

    def active_poster(self) -> str | None:
        """The name of the poster that holds the lease."""
        holder = Lease(self.database, PROGRAM, "nobody", 1).holder() or ""
        return next((name for name in self.processes if holder.endswith(f":{self.processes[name].pid}")), None)

    def partitions_of(self, broker: str) -> int:
        """How many partitions a broker reads; 0 where it was not heard of lately."""
        return int(self._sign_of_life(broker).get("partitions", 0))

    def is_alive(self, name: str) -> bool:
        """Whether a broker or poster was heard of lately."""
        return bool(self._sign_of_life(name))

    def stored(self) -> int:
        """Alerts in the database."""
        return int(self.database[self.survey.alerts].count_documents({}))

    def committed(self) -> int:
        """Messages of the topic that no broker will be given again."""
        kafka = self.config.kafka
        consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": f"{kafka.group}_ztf"})
        try:
            wanted = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
            return sum(max(each.offset, 0) for each in consumer.committed(wanted, timeout=5))
        except KafkaException:
            return 0
        finally:
            consumer.close()

    def received(self, path: str = "") -> dict[str, Any] | None:
        """What SkyPortal's stand-in got, or knows of an object; None where it does not answer or knows nothing."""
        with suppress(requests.RequestException):
            answer = requests.get(f"{self.config.skyportal.url}/_received{path}", timeout=10)
            known: dict[str, Any] | None = answer.json() if answer.ok else None
            return known
        return None

    def _sign_of_life(self, name: str) -> dict[str, Any]:
        pid = self.processes[name].pid
        return next((each for each in Processes(self.database).alive(5) if each["pid"] == pid), {})

    # servers of others, as an operator would set them up

    def _mongod(self) -> list[str]:
        data = self.folder / "mongod"
        data.mkdir()
        address = self.network.addresses["a"]
        listening = ["--bind_ip", address, "--port", str(MONGOD), "--nounixsocket"]
        memory = ["--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "128"]
        return [str(find_mongod()), "--quiet", "--replSet", "rs0", "--dbpath", str(data), *listening, *memory]

    def _mongod_is_primary(self) -> bool:
        member = f"{self.network.addresses['a']}:{MONGOD}"
        options: dict[str, Any] = {"directConnection": True, "serverSelectionTimeoutMS": 500}
        with MongoClient(f"mongodb://{member}", **options) as client, suppress(PyMongoError):
            about = client.admin.command("hello")
            if "setName" not in about:
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": member}]})
            return bool(about["isWritablePrimary"])
        return False

    def _kafka(self) -> list[str]:
        local = self.config.local
        kafka = Kafka(self.folder / "kafka", KAFKA, KAFKA + 1, local.kafka_version, "384m", local.kafka_retention_bytes)
        command = kafka.prepare()
        properties = kafka.folder / "server.properties"
        here = f"PLAINTEXT://{self.network.addresses['a']}:"
        properties.write_text(properties.read_text().replace("PLAINTEXT://127.0.0.1:", here))
        return command

    def _kafka_answers(self) -> bool:
        client = AdminClient({"bootstrap.servers": self.config.kafka.bootstrap_servers, "log_level": 0})
        with suppress(KafkaException):
            return bool(client.list_topics(timeout=1).brokers)
        return False


def settings_of(folder: Path, network: Network) -> dict[str, Any]:
    """The settings that all hosts share."""
    a = network.addresses["a"]
    files = {name: str(folder / "certificates" / file) for name, file in (("ca", "ca.crt"), ("cert", "dask.crt"), ("key", "dask.key"))}  # fmt: skip
    tree = isolated_tree()
    merge(
        tree,
        {
            "kafka": {"bootstrap.servers": f"{a}:{KAFKA}", "metadata_refresh": 1, "ZTF": {"session.timeout.ms": 6000}},
            "database": {"host": f"{a}:{MONGOD}", "replica_set": "rs0", "db": f"hosts_{secrets.token_hex(4)}"},
            "dask": {"host": a, "scheduler_port": SCHEDULER, "dashboard_address": f":{DASHBOARD}", "tls": files},
            "broker": {"batch_size": 8},
            "outbox": {"lease": 4},
            "misc": {"broker": True},
            "ml": {"folder": str(folder)},  # no weights: what is tested is not the scores
        },
    )
    tree["dask"]["n_workers"] = WORKERS["b"]
    receiver = {"protocol": "http", "host": network.outside, "port": SKYPORTAL, "token": "local"}
    tree["skyportal"] |= receiver | {"requests_per_second": 1000, "burst": 1000}
    return tree
