"""./kowalski.py quarantine: what it lists, shows, saves and discards; replays are in tests/chain."""

import argparse
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packets import encode, packet, ztf_record

from kowalski.alerts.document import Refusal
from kowalski.config import build, isolated_tree
from kowalski.database.client import MongoDatabase
from kowalski.database.quarantine import Quarantine
from kowalski.errors import QuarantineError
from kowalski.local import quarantine as command
from kowalski.settings import Database

Say = Callable[..., str]
TOPIC = "ztf_20230101_programid1"
RENAMED = {
    "type": "record", "name": "alert", "fields": [
        {"name": "objectId", "type": "string"},
        {"name": "candid", "type": "string"},
        {"name": "red", "type": "bytes"},
        {"name": "last", "type": "double"},
    ],
}  # fmt: skip


@pytest.fixture
def say(mongo_settings: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """A function that runs the command and gives what it prints."""
    tree = isolated_tree({"database": mongo_settings.model_dump(), "broker": {"quarantine_bytes": 300_000}})
    monkeypatch.setattr(command, "load_config", lambda: build(tree))
    monkeypatch.setattr(command, "setup_logging", lambda *names: None)  # pytest's own goes on

    def run(*words: str) -> str:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        assert command.run(parser.parse_args(words)) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def quarantine(mongo: MongoDatabase) -> Quarantine:
    """A full one: a packet without its tail, one of another schema, one that is none, and one of which there is the head."""
    quarantine = Quarantine(mongo, 1000, 300_000)
    quarantine.ensure_indexes()
    strange = encode({"objectId": "ZTF\x1b[31m1", "candid": "x", "red": bytes(99), "last": 0.0}, schema=RENAMED)
    for offset, (data, reason) in enumerate(
        [(encode(ztf_record())[:-19], "truncated"), (strange[:-20], "schema_drift"), (b"nothing\x1b[0m", "not_avro"), (encode(ztf_record()) + bytes(290_000), "trailing_bytes")]
    ):  # fmt: skip
        quarantine.add("ZTF", [Refusal(packet(data, offset, TOPIC), reason, f"because\n\x1b[31m{reason}")])
    return quarantine


def test_list(quarantine: Quarantine, say: Say) -> None:
    """By survey and reason; the latest with their keys; the alarm."""
    table = say("list")
    rows = {line.split()[1]: line.split()[2:5] for line in table.splitlines() if line.startswith("ZTF ")}
    one, head = ["1", "0", "0"], ["1", "1", "0"]
    assert rows == {"truncated": one, "schema_drift": one, "not_avro": one, "trailing_bytes": head}
    assert "ALARM: 1 packets in quarantine have only their heads" in table
    latest = table.split("latest first:\n")[1].splitlines()
    assert [line.split()[2] for line in latest] == [f"{TOPIC}:0:{offset}" for offset in (3, 2, 1, 0)]
    assert "\x1b" not in table
    report = json.loads(say("list", "ztf", "--reason", "not_avro", "--limit", "5", "--json"))
    assert [each["_id"] for each in report["latest"]] == [f"{TOPIC}:0:2"]
    assert (report["packets"], report["truncated"], report["max_bytes"]) == (4, 1, 300_000)
    assert report["groups"][0]["standing"]["packets"] == 1


def test_show(quarantine: Quarantine, say: Say) -> None:
    """Where it came from, what its schema has otherwise, its bytes, and its fields up to where it breaks."""
    cut_off = say("show", f"{TOPIC}:0:0")
    assert "no difference" in cut_off
    assert "4f 62 6a 01" in cut_off
    assert "truncated: ends inside stampData" in cut_off
    assert '"jd": 2460000.5' in cut_off
    strange = say("show", f"{TOPIC}:0:1")
    assert "can't be processed: candid is text, integer needed" in strange
    assert "- candidate: record" in strange
    assert "99 bytes: 000000000000000000000000..." in strange
    assert "ends inside last" in strange
    assert "schema: can't be read (not_avro" in say("show", f"{TOPIC}:0:2")
    head = say("show", f"{TOPIC}:0:3")
    assert "its head only" in head
    assert '"jd": 2460000.5' in head
    assert "\x1b" not in cut_off + strange + say("show", f"{TOPIC}:0:2")


def test_bytes_are_saved_for_their_owner_alone(quarantine: Quarantine, say: Say, tmp_path: Path) -> None:
    file = tmp_path / "packet.avro"
    say("show", f"{TOPIC}:0:1", "--save", str(file))
    assert file.read_bytes() == quarantine.data(f"{TOPIC}:0:1")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(QuarantineError, match="File exists"):
        say("show", f"{TOPIC}:0:1", "--save", str(file))


def test_discard(quarantine: Quarantine, say: Say, mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not without a reason, not many without a yes; what is discarded can be seen, and not be replayed."""
    key = f"{TOPIC}:0:2"
    assert "1 discarded" in say("discard", key, "--because", "noise of the test stand")
    assert key not in say("list")
    assert "noise of the test stand; not_avro" in say("list", "--discarded")
    assert "noise of the test stand" in say("show", key)
    for wrong, complaint in [
        (["replay", key], "was discarded on"),
        (["discard", key, "--because", "again"], "was discarded on"),
        (["discard", "--reason", "truncated", "--because", " "], "is empty"),
        (["discard", "--because", "all"], "which packets"),
        (["discard", key, "--reason", "truncated", "--because", "both"], "which packets"),
        (["discard", "--reason", "unheard_of", "--because", "x", "--yes"], "nothing of that"),
        (["discard", "--reason", "truncated", "--because", "x"], "takes --yes"),
        (["replay"], "which packets"),
        (["replay", key, "--all"], "which packets"),
        (["show", "nothing:0:1"], "not in quarantine"),
        (["show", key, "--save", "-"], "are gone"),
    ]:
        with pytest.raises(QuarantineError, match=complaint):
            say(*wrong)
    monkeypatch.setattr(command.sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "no")
    with pytest.raises(QuarantineError, match="nothing was discarded"):
        say("discard", "--reason", "truncated", "--because", "x")
    assert mongo["quarantine"].count_documents({"discarded": {"$exists": True}}) == 1
    assert "3 discarded" in say("discard", "--survey", "ZTF", "--because", "all of it", "--yes")
    notes: list[dict[str, Any]] = [each["discarded"] for each in mongo["quarantine"].find({"offset": {"$ne": 2}})]
    assert {note["because"] for note in notes} == {"all of it"}
    assert mongo["quarantine_files.chunks"].count_documents({}) == 0
