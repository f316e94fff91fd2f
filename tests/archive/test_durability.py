"""What is acknowledged stays: writers killed half way, torn files, full disks, files closed under a writer."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from archived import ZTF, files_in, keep, kept_in, offsets, records_of, taken, writer_in
from packets import encode, packet, ztf_record

from kowalski.alerts.batches import Fault, fault_of
from kowalski.alerts.decode import Packet
from kowalski.archive.packets.index import read_index
from kowalski.archive.packets.reading import ArchiveFile, PacketArchive
from kowalski.archive.packets.sealing import seal, sha256_of
from kowalski.config import ROOT
from kowalski.errors import ArchiveError, ArchiveUnavailable

#: writes batches of 5 to the folder of its argument, and says how many messages are kept after each, until it is killed
KILLED = """
import sys
from itertools import count
from pathlib import Path
sys.path[:0] = ["tests", "tests/archive"]
from archived import taken, writer_in
from packets import encode, packet, ztf_record
data = encode(ztf_record(1))
writer = writer_in(Path(sys.argv[1]), size=40_000)
for number in count():
    batch = [packet(data, 5 * number + place) for place in range(5)]
    writer.keep(batch, taken(batch))
    print(5 * number + 5, flush=True)
"""
#: may write files of 120 kB at most, as on a disk that is full
FULL = """
import resource, sys
from pathlib import Path
sys.path[:0] = ["tests", "tests/archive"]
from archived import kept_in, taken, writer_in
from kowalski.errors import ArchiveUnavailable
from packets import encode, packet, ztf_record
folder = Path(sys.argv[1])
writer = writer_in(folder)
small, large = ([packet(encode(ztf_record(number, object_id="x" * size)), number)] for number, size in ((1, 10), (2, 200_000)))
writer.keep(small, taken(small))
resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        writer.keep(large, taken(large))
    except ArchiveUnavailable as error:
        print(error.retriable, error)
print([kept.entry.offset for kept in kept_in(folder)], [path.stat().st_size < 120_000 for path in folder.rglob("*.avro")])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.keep(large, taken(large))
print([kept.entry.offset for kept in kept_in(folder) if kept.received()])
"""


def made(count: int, first: int = 0) -> list[Packet]:
    """Messages with as many alerts, of 10 kB each."""
    records = [ztf_record(1000 + number, object_id="x" * 10_000) for number in range(first, first + count)]
    return [packet(encode(record), number) for number, record in enumerate(records, first)]


def started(script: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_writer_killed(tmp_path: Path) -> None:
    """Whatever it was doing: all that it had said to be kept is there, and what comes again is no copy."""
    process = started(KILLED, tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 60:
            break
    process.send_signal(signal.SIGKILL)
    said = int(([line, *process.stdout.readlines()])[-1])
    process.wait()
    found = kept_in(tmp_path)
    assert offsets(found)[:said] == list(range(said))
    first = found[0].received()  # all that it wrote were the same bytes
    assert [record["candid"] for record in records_of(first)] == [1]
    assert all(kept.received() == first for kept in found)
    for path in files_in(tmp_path):
        assert seal(path) is not None
        assert len(records_of(path.read_bytes())) == ArchiveFile(path).seal["records"]  # type: ignore[index]
    assert offsets(kept_in(tmp_path)) == offsets(found)


@pytest.mark.parametrize("torn", [1, 40, 400])
def test_torn_tails(torn: int, tmp_path: Path) -> None:
    """What was being written is ignored by who reads, and cut off by who closes: blocks without an entry, half an entry."""
    keep(tmp_path, made(3))
    (path,), (index,) = files_in(tmp_path), files_in(tmp_path, ".index")
    sound, indexed = path.read_bytes(), index.read_bytes()
    path.write_bytes(sound + sound[-900:][:torn])
    index.write_bytes(indexed + indexed[-500:][:torn])
    assert offsets(kept_in(tmp_path)) == [0, 1, 2]
    said = seal(path)
    assert said is not None
    assert (path.read_bytes(), index.read_bytes()) == (sound, indexed)
    assert (said["packets"], said["broken"], said["sha256"]) == (3, 0, sha256_of(path))
    assert [kept.received() for kept in kept_in(tmp_path)] == [kept.received() for kept in kept_in(tmp_path)]


def test_nothing_was_written_but_the_beginning(tmp_path: Path) -> None:
    """Files of a writer that was killed before its first batch was kept are gone."""
    keep(tmp_path, made(1))
    (path,), (index,) = files_in(tmp_path), files_in(tmp_path, ".index")
    index.write_bytes(index.read_bytes()[:-30])
    assert seal(path) is None
    assert files_in(tmp_path) == files_in(tmp_path, ".index") == []


def test_a_lost_index_is_made_anew(tmp_path: Path) -> None:
    """Of the records; how they were received is lost, but for what was kept as received only."""
    keep(tmp_path, [*made(3), packet(b"garbage", 3)])
    for index in files_in(tmp_path, ".index"):
        index.unlink()
    said = [seal(path) for path in files_in(tmp_path)]
    assert sorted(each["packets"] for each in said if each) == [1, 3]
    (kept,) = PacketArchive(tmp_path).find(1001)
    assert records_of(kept.fixed())[0]["candid"] == 1001
    with pytest.raises(ArchiveError, match="fixed form only"):
        kept.received()
    assert [each.received() for each in kept_in(tmp_path) if each.form is None] == [b"garbage"]


def test_a_full_disk(tmp_path: Path) -> None:
    """The batch is to come again, nothing of it is left behind, and once there is room it is kept."""
    process = started(FULL, tmp_path)
    said = process.communicate(timeout=60)[0].splitlines()
    assert said[0] == said[1]
    assert said[0].startswith(f"True {tmp_path}/ZTF/20230101/")
    assert "can't be written (File too large): no packet is acknowledged until it can; make room there" in said[0]
    assert said[2:] == ["[1] [True]", "[1, 2]"]


def test_a_batch_that_cannot_be_kept_comes_again() -> None:
    assert fault_of(ArchiveUnavailable("the disk is full")) is Fault.UNAVAILABLE


def test_half_a_batch_is_not_kept_twice(tmp_path: Path) -> None:
    """Of two nights the second can't be written: when the batch comes again, the first is not written once more."""
    packets = [packet(encode(ztf_record(n)), n, f"ztf_2023010{n}_programid1") for n in (1, 2)]
    writer = writer_in(tmp_path)
    (tmp_path / "ZTF").mkdir()
    (tmp_path / "ZTF" / "20230102").write_text("no folder")
    for _ in range(3):
        with pytest.raises(ArchiveUnavailable):
            writer.keep(packets, taken(packets))
    (tmp_path / "ZTF" / "20230102").unlink()
    assert writer.keep(packets, taken(packets)) == 1
    assert [len(records_of(path.read_bytes())) for path in files_in(tmp_path)] == [1, 1]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "ZTF").write_text("no folder")
    with pytest.raises(ArchiveUnavailable, match="archive.folder to another disk"):
        keep(tmp_path, made(1))


def test_a_file_closed_under_its_writer(tmp_path: Path) -> None:
    """The writer goes on with another one, and knows what is kept already."""
    packets = made(4)
    writer = keep(tmp_path, packets[:2])
    (path,) = files_in(tmp_path)
    assert seal(path) is not None
    assert writer.keep(packets, taken(packets)) == 2
    assert len(files_in(tmp_path)) == 2
    assert [kept.received() for kept in kept_in(tmp_path)] == [each.data for each in packets]
    assert seal(path) == json.loads(path.with_suffix(".json").read_text())


def test_a_file_in_use_is_not_closed(tmp_path: Path) -> None:
    import fcntl

    keep(tmp_path, made(1))
    (path,), (index,) = files_in(tmp_path), files_in(tmp_path, ".index")
    number = os.open(index, os.O_RDWR)
    fcntl.flock(number, fcntl.LOCK_EX)
    assert seal(path) is None
    os.close(number)
    assert seal(path) is not None


def test_files_are_rolled_by_size(tmp_path: Path) -> None:
    packets = made(12)
    writer = writer_in(tmp_path, size=60_000)
    for begin in range(0, 12, 2):
        batch = packets[begin : begin + 2]
        writer.keep(batch, taken(batch))
    sizes = [path.stat().st_size for path in files_in(tmp_path)]
    assert len(sizes) > 1
    assert all(size >= 60_000 for size in sizes[:-1])
    assert [kept.received() for kept in kept_in(tmp_path)] == [each.data for each in packets]


def test_a_broken_packet_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not given: by who asks for it, and by who closes the file."""
    keep(tmp_path, made(2))
    (path,) = files_in(tmp_path)
    entries, _ = read_index(path.with_suffix(".index").read_bytes())
    data = bytearray(path.read_bytes())
    data[entries[1].position + 500] ^= 1
    path.write_bytes(data)
    first, second = kept_in(tmp_path)
    assert first.received()
    with pytest.raises(ArchiveError, match=r"ztf_20230101_programid1:0:1 at byte \d+ is broken: its checksum differs"):
        second.received()
    said = seal(path)
    assert said is not None
    assert said["broken"] == 1
    path.write_bytes(data[: entries[1].position + 100])
    with pytest.raises(ArchiveError, match="the file ends before it"):
        kept_in(tmp_path)[1].received()


def test_numbers_that_several_surveys_have(tmp_path: Path) -> None:
    keep(tmp_path, made(2))
    (tmp_path / "ZTF").rename(tmp_path / "PGIR")
    keep(tmp_path, made(1))
    archive = PacketArchive(tmp_path)
    assert archive.surveys() == ["PGIR", "ZTF"]
    assert len(archive.find(1000)) == 2
    assert len(archive.find(1000, "ZTF", "20230101")) == len(archive.find(1001)) == 1
    assert archive.find(1000, "ZTF", "20230102") == archive.find(5) == []
    for path in files_in(tmp_path):
        seal(path)
    assert len(archive.find(1001)) == 1
    assert ZTF.name in archive.surveys()
