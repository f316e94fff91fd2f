"""Downloads against a server that fails and stalls: resumed, verified, several at a time, and what failed is said."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from kowalski.config import ROOT
from kowalski.downloads import transfer
from kowalski.downloads.command import fetch
from kowalski.downloads.files import File, Outcome, fetch_all, state_of
from kowalski.downloads.listing import checksums, entries
from kowalski.errors import SourceError

CONTENT = random.Random(1).randbytes(3_000_000)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def get(files: list[File], jobs: int = 1, stall: float = 20) -> list[Outcome]:
    return list(fetch_all(files, jobs, requests.Session, stall))


def one(shelf: Any, folder: Path, content: bytes = CONTENT, checksum: str | None = None) -> File:
    shelf.files["/a.bin"] = content
    return File(f"{shelf.url}/a.bin", folder / "deep" / "a.bin", checksum or sha256(content))


def left(file: File) -> list[str]:
    return sorted(path.name for path in file.target.parent.iterdir())


def test_a_file_is_fetched_once(shelf: Any, tmp_path: Path) -> None:
    file = one(shelf, tmp_path)
    assert get([file]) == [Outcome(file, "fetched")]
    assert file.target.read_bytes() == CONTENT
    assert left(file) == ["a.bin"]
    assert get([file]) == [Outcome(file, "present")]
    assert len(shelf.asked) == 1


@pytest.mark.parametrize("tags", [True, False], ids=["tags", "no tags"])
@pytest.mark.parametrize("fault", ["breaks", "stalls"])
def test_what_breaks_or_stalls_goes_on_where_it_was(shelf: Any, tmp_path: Path, fault: str, tags: bool) -> None:
    shelf.tags = tags
    file = one(shelf, tmp_path)
    shelf.faults["/a.bin"] = [fault, "503", fault]
    assert get([file], stall=1) == [Outcome(file, "fetched")]
    assert file.target.read_bytes() == CONTENT
    first, *others = shelf.ranges_of("/a.bin")
    assert (first, len(others)) == (None, 3)
    begins = [int(each[6:-1]) for each in others]
    assert begins == pytest.approx([1_500_000, 1_500_000, 2_250_000], abs=2 * transfer.CHUNK)


def test_a_server_without_parts_sends_all_of_it(shelf: Any, tmp_path: Path) -> None:
    shelf.ranges = False
    file = one(shelf, tmp_path)
    shelf.faults["/a.bin"] = ["breaks"]
    assert get([file])[0].state == "fetched"
    assert file.target.read_bytes() == CONTENT


@pytest.mark.parametrize("tags", [True, False], ids=["tags", "no tags"])
def test_a_file_that_changed_meanwhile_is_fetched_anew(shelf: Any, tmp_path: Path, tags: bool) -> None:
    shelf.tags = tags
    shelf.faults["/a.bin"] = ["breaks", "404"]
    old = one(shelf, tmp_path)
    assert get([old])[0].state == "failed"
    assert state_of(old) == ("part", pytest.approx(1_500_000, abs=transfer.CHUNK))
    new = one(shelf, tmp_path, bytes(reversed(CONTENT)))
    assert get([new])[0].state == "fetched"
    assert new.target.read_bytes() == bytes(reversed(CONTENT))
    shorter = one(shelf, tmp_path, CONTENT[:1000])
    shorter.part.write_bytes(CONTENT)
    assert get([shorter])[0].state == "fetched"
    assert shorter.target.read_bytes() == CONTENT[:1000]


def test_all_of_it_was_there_but_for_the_end(shelf: Any, tmp_path: Path) -> None:
    file = one(shelf, tmp_path)
    file.part.parent.mkdir(parents=True)
    file.part.write_bytes(CONTENT)
    assert get([file])[0].state == "fetched"
    assert shelf.ranges_of("/a.bin") == [f"bytes={len(CONTENT)}-"]


def test_a_wrong_checksum_leaves_nothing(shelf: Any, tmp_path: Path) -> None:
    file = one(shelf, tmp_path)
    shelf.faults["/a.bin"] = ["flipped"]
    [outcome] = get([file])
    assert outcome.state == "failed"
    assert f"not {sha256(CONTENT)}" in outcome.detail
    assert left(file) == []
    file.target.write_bytes(b"something else")
    assert get([file])[0].state == "fetched", "what is there with another checksum is replaced"
    assert file.target.read_bytes() == CONTENT


def test_what_a_check_refuses_leaves_nothing(shelf: Any, tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        raise SourceError(f"{path.name} is no table")

    shelf.files["/a.bin"] = CONTENT
    [outcome] = get([File(f"{shelf.url}/a.bin", tmp_path / "a.bin", None, refuse)])
    assert (outcome.state, outcome.detail) == ("failed", "a.bin.part is no table")
    assert list(tmp_path.iterdir()) == []


def test_what_keeps_failing_is_given_up_and_kept(shelf: Any, tmp_path: Path) -> None:
    file = one(shelf, tmp_path, CONTENT[:300_000])
    shelf.faults["/a.bin"] = ["breaks"] * 99
    [outcome] = get([file])
    assert outcome.state == "failed"
    assert "broke off" in outcome.detail
    assert len(shelf.asked) == transfer.ATTEMPTS
    shelf.faults = {}
    assert get([file])[0].state == "fetched"


@pytest.mark.parametrize(
    ("status", "asked"), [("404", 1), ("403", 1), ("500", transfer.ATTEMPTS), ("429", transfer.ATTEMPTS)]
)
def test_only_what_may_pass_is_tried_again(shelf: Any, tmp_path: Path, status: str, asked: int) -> None:
    file = one(shelf, tmp_path)
    shelf.faults["/a.bin"] = [status] * 99
    [outcome] = get([file])
    assert outcome.state == "failed"
    assert status in outcome.detail
    assert len(shelf.asked) == asked


def test_several_at_a_time_and_one_that_fails(shelf: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for number in range(12):
        content = CONTENT[number * 1000 : number * 1000 + 200_000]
        shelf.files[f"/{number}"] = content
        shelf.faults[f"/{number}"] = ["stalls"] if number % 4 == 0 else ["breaks"]
        files.append(File(f"{shelf.url}/{number}", tmp_path / f"{number}.bin", sha256(content)))
    del shelf.files["/7"]
    assert fetch(files, 4, requests.Session, 1) == 1
    assert 1 < shelf.most_at_once <= 4 + 3, "stalled answers are still held by the server"
    told = capsys.readouterr()
    assert "11 fetched, 0 present, 1 failed" in told.out
    assert "failed: 7.bin: " in told.err
    assert "404" in told.err
    assert fetch(files[:5], 4, requests.Session, 1) == 0
    assert "0 fetched, 5 present, 0 failed" in capsys.readouterr().out


def test_two_at_one_place_do_not_mix(shelf: Any, tmp_path: Path) -> None:
    file = one(shelf, tmp_path)
    file.part.parent.mkdir(parents=True)
    with transfer._alone(file.part):
        [outcome] = get([file])
    assert "by another process" in outcome.detail
    assert get([file])[0].state == "fetched"


def test_a_full_disk_fails_one_file(shelf: Any, tmp_path: Path) -> None:
    file = one(shelf, tmp_path)
    (tmp_path / "deep").write_text("a file where a folder should be")
    [outcome] = get([file])
    assert outcome.state == "failed"


def test_a_killed_tool_goes_on(shelf: Any, tmp_path: Path) -> None:
    shelf.files["/a.bin"] = CONTENT
    shelf.faults["/a.bin"] = ["stalls"]
    word = f"{shelf.url}/a.bin#sha256={sha256(CONTENT)}"
    command = [sys.executable, "tools/fetch_catalog.py", word, "--out", str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    part, deadline = tmp_path / "a.bin.part", time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= 1_000_000):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 fetched, 0 present, 0 failed" in done.stdout
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert int(str(shelf.ranges_of("/a.bin")[1])[6:-1]) >= 1_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


# listings


def test_links_below_a_folder(shelf: Any) -> None:
    page = """<a href="?C=N;O=D">Name</a> <a href="/x/">Parent</a> <a href="fr000201-000250/">f</a> <a href="a%20b.gz">a</a>
      <a href="/x/y/c.gz">c</a> <a href="http://elsewhere.org/x/y/d.gz">d</a> <a href="../e.gz">e</a> <a href="g/h.gz">h</a> <a>n</a>"""
    shelf.files["/x/y/"] = page.encode()
    assert entries(requests.Session(), f"{shelf.url}/x/y/") == ["a b.gz", "c.gz", "fr000201-000250/"]


def test_lists_of_checksums() -> None:
    md5, sha = "d41d8cd98f00b204e9800998ecf8427e", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    text = f"{md5}  a.gz\n{md5.upper()} *b.gz\n{sha}  folder/c.gz\nMD5 (d.gz) = {md5}\n\n# by hand\n"
    assert checksums(text) == {"a.gz": md5, "b.gz": md5, "c.gz": sha, "d.gz": md5}
    assert checksums("") == {}
    with pytest.raises(SourceError, match="no list of checksums"):
        checksums("<html>")
