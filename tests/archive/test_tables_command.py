"""./kowalski.py archive, and a night of the archive as a replay reads it."""

import argparse
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from archived import files_in, keep, records_of, taken
from packets import encode, packet, ztf_record

from kowalski.archive.packets.sealing import seal
from kowalski.config import ROOT, build, isolated_tree
from kowalski.errors import ArchiveError, StreamError
from kowalski.local import archive as command
from kowalski.local import compose
from kowalski.night.kept import KeptNight

PACKETS = [packet(encode(ztf_record(100 + number)), number) for number in range(3)]
HURT = packet(PACKETS[0].data.replace(b'"double"', b'"dubble"', 1), 3)
GARBAGE = packet(b"garbage", 4)

Say = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An archive of three packets, one with a schema that is none, and garbage."""
    keep(tmp_path / "archive", [*PACKETS, HURT, GARBAGE])
    return tmp_path / "archive"


@pytest.fixture
def say(folder: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Callable[..., tuple[bytes, str]]:  # fmt: skip
    """A function that runs the command and gives what it prints, and says."""
    config = build(isolated_tree({"archive": {"folder": str(folder)}}))
    monkeypatch.setattr(command, "load_config", lambda: config)
    monkeypatch.setattr(command, "setup_logging", lambda *names: None)  # pytest's own goes on

    def run(*words: str) -> tuple[bytes, str]:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        assert command.run(parser.parse_args(words)) == 0
        out, err = capsysbinary.readouterr()
        return out, err.decode()

    return run


def test_get(say: Any, tmp_path: Path) -> None:
    assert say("get", "101") == (PACKETS[1].data, "")
    assert say("get", "101", "--survey", "ztf", "--night", "2023-01-01", "--output", "-")[0] == PACKETS[1].data
    (record,) = records_of(say("get", "101", "--fixed")[0])
    assert record["candid"] == 101
    target = tmp_path / "101.avro"
    assert say("get", "101", "--output", str(target)) == (b"", f"{len(PACKETS[1].data)} bytes in {target}\n")
    assert target.read_bytes() == PACKETS[1].data
    with pytest.raises(ArchiveError, match="101.avro: File exists"):
        say("get", "101", "--output", str(target))


def test_get_what_several_messages_brought(say: Any) -> None:
    """100 came again, with a broken schema."""
    out, err = say("get", "100")
    assert out == PACKETS[0].data
    assert err == "2 messages brought candid 100 (ztf_20230101_programid1:0:0, ztf_20230101_programid1:0:3): this is the first\n"  # fmt: skip


def test_get_what_is_not_there(say: Any, folder: Path) -> None:
    with pytest.raises(ArchiveError, match="holds no packet of candid 99; ./kowalski.py archive list tells the nights"):
        say("get", "99")
    (folder / "PGIR").symlink_to(folder / "ZTF")
    with pytest.raises(ArchiveError, match="candid 101 is one of PGIR and one of ZTF: add --survey"):
        say("get", "101")
    assert say("get", "101", "--survey", "PGIR")[0] == PACKETS[1].data


def test_a_packet_is_not_for_a_terminal(folder: Path, tmp_path: Path) -> None:
    """The whole command, whose output is one."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"kowalski": {"archive": {"folder": str(folder)}}}))
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, str(ROOT / "kowalski.py"), "archive", "get", "101"], stdout=theirs, stderr=subprocess.PIPE,
        env=os.environ | {"KOWALSKI_CONFIG": str(tmp_path / "config.yaml")}, check=False,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (
        1,
        b"kowalski: a packet is no text for a terminal: add --output FILE, or > FILE\n",
    )


def test_list(say: Any, folder: Path) -> None:
    lines = say("list")[0].decode().splitlines()
    size = sum(path.stat().st_size for path in files_in(folder))
    assert lines[0].split() == ["survey", "night", "files", "packets", "bytes", "open", "uploaded", "broken"]
    assert [line.split() for line in lines[1:]] == [["ZTF", "20230101", "2", "5", str(size), "2", "0", "0"]]
    assert len(say("list", "20230101")[0].decode().splitlines()) == 3
    assert say("list", "20230102")[0].decode() == f"{folder} holds no packets of 20230102; archive.enabled is false\n"
    rows = json.loads(say("list", "20230101", "--json")[0])
    assert sorted((row["packets"], row["open"], row["uploaded"]) for row in rows) == [
        (1, True, False),
        (4, True, False),
    ]
    with pytest.raises(StreamError, match="yesterday is not a night"):
        say("list", "yesterday")


def test_close(say: Any, folder: Path) -> None:
    assert (
        say("close", "20230101", "--survey", "PGIR")[0] == b"0 files closed; archive.remote is null: they stay here\n"
    )
    assert say("close", "20230101")[0] == b"2 files closed; archive.remote is null: they stay here\n"
    assert say("list")[0].split()[-3:] == [b"0", b"0", b"0"]


def test_in_containers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It runs in the ingester; a file is written on this side."""
    calls: list[Any] = []
    monkeypatch.setattr(compose, "is_meant", lambda local: True)
    monkeypatch.setattr(compose, "inside", lambda name, words: calls.append((name, *words)) or 0)
    monkeypatch.setattr(compose, "bytes_of", lambda name, words, target: calls.append((name, *words, target)) or 0)
    monkeypatch.setattr(command, "setup_logging", lambda *names: None)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    for words in (
        ["get", "101", "--survey", "ZTF", "--night", "20230101", "--fixed", "--output", str(tmp_path / "x")],
        ["list"],
        ["list", "20230101", "--json"],
        ["close", "20230101", "--survey", "ZTF"],
    ):
        assert command.run(parser.parse_args(words)) == 0
    assert calls == [
        ("archive", "get", "101", "--survey", "ZTF", "--night", "20230101", "--fixed", tmp_path / "x"),
        ("archive", "list"),
        ("archive", "list", "20230101", "--json"),
        ("archive", "close", "20230101", "--survey", "ZTF"),
    ]


# a night for replays


def test_a_night(folder: Path) -> None:
    """With topic, partition and offset as received; the packet with the broken schema in fixed form, and it may leave quarantine."""
    night = KeptNight(folder, "ZTF", "20230101")
    found = list(night.numbered())
    assert [number for number, _ in found] == [0, 1, 2, 3, 4]
    packets = [each for _, each in found]
    assert [(each.topic, each.partition, each.offset) for each in packets] == [
        ("ztf_20230101_programid1", 0, number) for number in range(5)
    ]
    assert all(each.kept for each in packets)
    assert [alert.candid for alert in taken(packets)] == [100, 101, 102, 100]
    assert packets[4].data == GARBAGE.data
    assert night.refused() == ["ztf_20230101_programid1:0:3"]
    assert (night.seen, night.problems) == (night.total, [])
    assert [number for number, _ in KeptNight(folder, "ZTF", "20230101").numbered(3)] == [3, 4]
    before = night.identity()
    for path in files_in(folder):
        seal(path)
    assert KeptNight(folder, "ZTF", "20230101").identity() == before
    keep(folder, [packet(encode(ztf_record(105)), 5)])
    assert KeptNight(folder, "ZTF", "20230101").identity() != before


def test_what_is_broken_is_a_problem(folder: Path) -> None:
    path = max(files_in(folder), key=lambda each: each.stat().st_size)
    os.truncate(path, path.stat().st_size - 50)
    night = KeptNight(folder, "ZTF", "20230101")
    assert len(list(night.packets())) == 4
    (problem,) = night.problems
    assert f"{path}: ztf_20230101_programid1:0:3 at byte" in problem
    assert "the file ends before it; restore the file" in problem


def test_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="holds no packets of ZTF of the night 20230101; nights that it has: none"):
        KeptNight(tmp_path, "ZTF", "20230101")
