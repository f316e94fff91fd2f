"""A Kafka that wants TLS and a password (SASL_SSL, SCRAM-SHA-512), reached by the settings; who is refused is told why."""

import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from kowalski.alert_broker import AlertConsumer, consumer_settings
from kowalski.alert_broker_ztf import SURVEY
from kowalski.config import build, in_container, isolated_tree, merge
from kowalski.database.client import MongoDatabase
from kowalski.database.outbox import KAFKA, Outbox, result_id
from kowalski.errors import ConfigError
from kowalski.local.kafka import Kafka
from kowalski.local.ports import free_ports
from kowalski.outbox.publisher import ResultPublisher
from kowalski.settings import Config
from kowalski.simulation.publish import publish

USER, PASSWORD = "kowalski", "of the telescope's Kafka"

LISTENERS = """\
listeners=SASL_SSL://127.0.0.1:{port},INNER://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://127.0.0.1:{port},INNER://127.0.0.1:{inner}
listener.security.protocol.map=SASL_SSL:SASL_SSL,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INNER
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={pair}
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, ours: Authority) -> Iterator[int]:
    """The port of a Kafka that knows one user and has a certificate for 127.0.0.1."""
    if in_container():
        pytest.skip("the images have no Kafka")
    port, inner, controller = free_ports(3)
    folder = tmp_path_factory.mktemp("kafka")
    node = Kafka(folder, port, controller, isolated_tree()["local"]["kafka_version"], "256m", 2**28)
    command = node.prepare()
    own = LISTENERS.format(port=port, inner=inner, controller=controller, pair=ours.pair("kafka", "127.0.0.1"))
    names = tuple(line.partition("=")[0] + "=" for line in own.splitlines())
    properties = folder / "server.properties"
    kept = [line for line in properties.read_text().splitlines() if not line.startswith(names)]
    properties.write_text("\n".join([*kept, own]))
    with (folder / "log").open("w") as log:
        child = [sys.executable, "-m", "kowalski.local.child", str(os.getpid()), *command]
        process = subprocess.Popen(child, stdout=log, stderr=log)
    try:
        _make_user(process, folder / "log", f"127.0.0.1:{inner}")
        yield port
    finally:
        process.kill()
        process.wait()


def _make_user(process: "subprocess.Popen[bytes]", log: Path, servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    deadline = time.monotonic() + 90
    while True:
        try:
            admin.list_topics(timeout=1)
            break
        except KafkaException:
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
    credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = UserScramCredentialUpsertion(USER, credential, PASSWORD.encode())
    for made in admin.alter_user_scram_credentials([wanted]).values():
        made.result(30)


def options(port: int, authority: Authority, **changes: Any) -> dict[str, Any]:
    """What the settings say of this Kafka."""
    return {
        "bootstrap.servers": f"127.0.0.1:{port}",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": USER,
        "sasl.password": PASSWORD,
        "ssl.ca.location": str(authority.ca),
        **{name.replace("_", "."): value for name, value in changes.items()},
    }


def settings(kafka: Mapping[str, Any]) -> Config:
    """All settings, with these as ``kafka.ZTF``."""
    return build(merge(isolated_tree(), {"kafka": {"ZTF": dict(kafka)}}))


def test_alerts_are_read(guarded: int, ours: Authority) -> None:
    known = options(guarded, ours)
    servers = known.pop("bootstrap.servers")
    publish([b"one", b"two"], "ztf_guarded", servers, 1, **known)
    consumer = Consumer(consumer_settings(SURVEY, settings(options(guarded, ours)), False, "readers"))
    consumer.subscribe(["ztf_guarded"])
    found = [consumer.poll(60), consumer.poll(60)]
    consumer.close()
    assert [message and message.value() for message in found] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sasl_password": "guessed"}, "invalid credentials"),
        ({"bootstrap_servers": "localhost"}, "certificate could not be verified"),
        ({"ssl_ca_location": "theirs"}, "certificate could not be verified"),
    ],
    ids=["password", "host name", "CA"],
)
def test_who_is_refused_is_told_once(
    guarded: int, ours: Authority, theirs: Authority, caplog: pytest.LogCaptureFixture, wrong: dict[str, str], told: str
) -> None:
    values = {"localhost": f"localhost:{guarded}", "theirs": str(theirs.ca)}
    changes = {name: values.get(value, value) for name, value in wrong.items()}
    caplog.set_level(logging.WARNING)
    ours_and_wrong = consumer_settings(SURVEY, settings(options(guarded, ours, **changes)), False, "strangers")
    reports, failed = ours_and_wrong["error_cb"], Counter[str]()

    def report(error: KafkaError) -> None:
        failed[error.name()] += 1
        reports(error)

    consumer = Consumer({**ours_and_wrong, "error_cb": report})
    consumer.subscribe(["ztf_guarded"])
    deadline = time.monotonic() + 60
    while failed["_AUTHENTICATION"] + failed["_SSL"] < 3:
        assert consumer.poll(0.05) is None
        assert time.monotonic() < deadline, failed
    consumer.close()
    assert [told in record.getMessage() for record in caplog.records].count(True) == 1
    assert PASSWORD not in caplog.text
    assert "guessed" not in caplog.text


def test_a_file_that_is_not_there_ends_the_start(guarded: int, ours: Authority) -> None:
    missing = settings(options(guarded, ours, ssl_ca_location="/nowhere.pem"))
    with pytest.raises(ConfigError, match=r"kafka\.ZTF: .*ssl\.ca\.location failed"):
        AlertConsumer(SURVEY, missing)


def results(mongo: MongoDatabase) -> Outbox:
    """An outbox with one result to be sent."""
    outbox = Outbox(mongo)
    outbox.ensure_indexes()
    alert = {"ra": 1.0, "dec": 2.0, "programid": 1, "fid": 1, "magpsf": 18.0, "sigmapsf": 0.1, "isdiffpos": True}
    entry = {
        "_id": result_id("ZTF", 1, 5), "kind": "result", "lane": KAFKA, "survey": "ZTF", "candid": 1, "objectId": "ZTF18a",
        "jd": 2460000.5, "passed_at": datetime.now(UTC), "filter_id": 5, "alert": {**alert, "classifications": {}},
        "passed": {"filter_id": 5, "group_id": 1, "fid": "abcdef", "annotations": "{}"},
    }  # fmt: skip
    outbox.add([entry])
    return outbox


def test_results_are_sent(guarded: int, ours: Authority, mongo: MongoDatabase) -> None:
    known = options(guarded, ours)
    publisher = ResultPublisher(results(mongo), known.pop("bootstrap.servers"), known)
    assert publisher.send_some() == 1


def test_a_result_that_waits_says_why(guarded: int, ours: Authority, mongo: MongoDatabase) -> None:
    outbox = results(mongo)
    stranger = options(guarded, ours, sasl_password="guessed", message_timeout_ms=3000)
    assert ResultPublisher(outbox, stranger.pop("bootstrap.servers"), stranger).send_some() == 0
    [waiting] = outbox.pending_in(KAFKA, datetime(2100, 1, 1, tzinfo=UTC), 10)
    assert "timed out" in waiting["error"]["message"]
    assert "invalid credentials" in waiting["error"]["message"]
