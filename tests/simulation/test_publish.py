"""Publishing packets, and the tools that do it."""

import hashlib
import io
import secrets
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from confluent_kafka import Consumer

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import no_schemas, read_batch
from kowalski.alerts.survey import get_survey
from kowalski.archive.packets.writer import ArchiveWriter
from kowalski.config import load_config
from kowalski.errors import StreamError
from kowalski.simulation import publish as publishing
from kowalski.simulation.commands import kafka_stream, simulate_alerts
from kowalski.simulation.night import simulate
from kowalski.simulation.publish import Publisher, packet_files, publish


@pytest.fixture
def topic() -> str:
    return f"publish_{secrets.token_hex(4)}"


@pytest.fixture
def config_with(kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tools find the tests' Kafka as the test server."""
    file = tmp_path / "config.yaml"
    settings = {"kafka": {"bootstrap.test.servers": kafka}, "archive": {"folder": str(tmp_path / "archive")}}
    file.write_text(yaml.safe_dump({"kowalski": settings}))
    monkeypatch.setenv("KOWALSKI_CONFIG", str(file))
    load_config.cache_clear()
    yield
    load_config.cache_clear()


def messages(bootstrap: str, topic: str, n: int) -> list[bytes]:
    """The first ``n`` messages of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": secrets.token_hex(4),
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": 40 << 20,
        }
    )
    consumer.subscribe([topic])
    try:
        found = consumer.consume(n, timeout=30)
        assert len(found) == n, "Kafka has fewer messages"
        return [message.value() or b"" for message in found]
    finally:
        consumer.close()


def test_all_packets_arrive(kafka: str, topic: str) -> None:
    packets = [packet.data for packet in simulate(50, 20)]
    assert publish(iter(packets), topic, kafka, partitions=3) == 50
    assert sorted(messages(kafka, topic, 50)) == sorted(packets)


def test_order_is_kept_in_one_partition_beside_a_huge_packet(kafka: str, topic: str) -> None:
    packets = [b"small", bytes(30 << 20), b"last"]
    assert publish(packets, topic, kafka) == 3
    assert [len(value) for value in messages(kafka, topic, 3)] == [5, 30 << 20, 4]


def test_a_packet_that_kafka_refuses_is_named(kafka: str, topic: str) -> None:
    publisher = Publisher(kafka)
    publisher.send(topic, b"fine", "small one")
    with pytest.raises(StreamError, match=r"^big one \(34603008 bytes\) was refused by topic"):
        publisher.send(topic, bytes(33 << 20), "big one")
    publisher.flush()
    assert messages(kafka, topic, 1) == [b"fine"]


def test_a_bad_topic_is_named(kafka: str) -> None:
    with pytest.raises(StreamError, match="topic no good! can't be made"):
        publish([b"x"], "no good!", kafka)


def test_a_kafka_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    monkeypatch.setattr(publishing, "TOPIC_SECONDS", 1.0)
    with pytest.raises(StreamError, match=f"topic {topic} can't be made at 127.0.0.1:9"):
        publish([b"x"], topic, "127.0.0.1:9")


def test_a_packet_not_delivered_in_time_is_named(monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    monkeypatch.setattr(publishing, "_make_topic", lambda *arguments: None)
    lost = Publisher("127.0.0.1:9", settings={"message.timeout.ms": 1000})
    with pytest.raises(StreamError, match=f"candid 7 was not delivered to topic {topic} at 127.0.0.1:9"), lost:
        lost.send(topic, b"x", "candid 7")


def test_packet_files_are_avro_and_wire_by_name(tmp_path: Path) -> None:
    for name in ("2.avro", "sub/1.wire", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.name for file in packet_files(tmp_path)] == ["1.wire", "2.avro"]


def test_a_folder_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"no folder .*data/nowhere: give one that exists, absolute or under"):
        packet_files("nowhere")
    with pytest.raises(StreamError, match="no packets in"):
        packet_files(tmp_path)


def test_the_tool_says_in_one_line_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert kafka_stream(["--topic", "t", "--path", "nowhere", "--test", "True"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no folder ")
    assert len(error.splitlines()) == 1


@pytest.mark.usefixtures("config_with")
@pytest.mark.parametrize("option", ["--path", "--path_alerts"])
def test_the_tools_publish_what_they_simulate(
    option: str, kafka: str, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "packets"
    assert simulate_alerts(["--n", "12", "--objects", "5", "--out", str(folder)]) == 0
    written = {file.read_bytes() for file in folder.glob("*.avro")}
    assert {int(file.stem) for file in folder.iterdir()} == {packet.candid for packet in simulate(12, 5)}
    assert kafka_stream(["--topic", topic, option, str(folder), "--test", "True", "--max_alerts", "10"]) == 0
    assert set(messages(kafka, topic, 10)) < written
    assert "10 of 10 packets" in capsys.readouterr().err


@pytest.mark.usefixtures("config_with")
def test_packets_go_at_their_pace(kafka: str, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of their times, a night in no time; from a folder, a tarball and the packet archive, with the same times."""
    packets = {packet.candid: packet.data for packet in simulate(12, 5)}
    ztf = get_survey("ZTF")
    alerts, _ = read_batch([Packet(data) for data in packets.values()], ztf)
    expected = [alert.packet.data for alert in sorted(alerts, key=lambda alert: alert.jd)]
    with tarfile.open(tmp_path / "night.tar", "w") as tar:
        for candid in sorted(packets, reverse=True):
            info = tarfile.TarInfo(f"{candid}.avro")
            info.size = len(packets[candid])
            tar.addfile(info, io.BytesIO(packets[candid]))
    writer = ArchiveWriter(tmp_path / "archive", ztf, no_schemas, 1 << 28)
    writer.keep([Packet(data, "ztf_20240101_programid1", 0, n) for n, data in enumerate(packets.values())], [])
    pace = ["--test", "--pace", "x1e9", "--survey", "ztf"]
    assert kafka_stream(["--topic", topic, "--path", str(tmp_path / "night.tar"), *pace]) == 0
    assert "12 packets looked at" in capsys.readouterr().err
    assert kafka_stream(["--topic", topic, "--archive", "2024-01-01", *pace]) == 0
    sent = messages(kafka, topic, 24)
    assert sorted(sent[:12]) == sorted(sent[12:]) == sorted(expected)
    jds = [[read_batch([Packet(data)], ztf)[0][0].jd for data in part] for part in (sent[:12], sent[12:])]
    assert jds == [sorted(jds[0])] * 2
    assert kafka_stream(["--topic", topic, "--path", str(tmp_path / "night.tar"), "--test", "--pace", "x9"]) == 1
    assert f"{topic} is a topic of no survey: add --survey" in capsys.readouterr().err
    for wrong in (["--pace", "fast"], ["--archive", "today"], ["--path", "x", "--archive", "20240101"]):
        with pytest.raises(SystemExit):
            kafka_stream(["--topic", topic, *wrong])


@pytest.mark.usefixtures("config_with")
def test_simulated_alerts_go_to_the_topics_of_their_programmes(kafka: str, topic: str) -> None:
    assert simulate_alerts(["--n", "30", "--objects", "6", "--topic", topic + "_{programid}", "--test"]) == 0
    made = list(simulate(30, 6))
    for programid in (1, 2, 3):
        sent = [digest(packet.data) for packet in made if packet.programid == programid]
        assert [digest(value) for value in messages(kafka, f"{topic}_{programid}", len(sent))] == sent


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_tools_run_from_anywhere(tmp_path: Path) -> None:
    for tool in ("simulate_alerts", "kafka_stream"):
        script = Path(__file__).parents[2] / "tools" / f"{tool}.py"
        result = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0
        assert "--topic" in result.stdout
