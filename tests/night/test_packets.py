"""Folders and tarballs of packets: all that is whole is read, and what isn't is named."""

import gzip
import io
import os
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

from kowalski.alerts.batches import Batch
from kowalski.alerts.decode import Packet
from kowalski.errors import StreamError
from kowalski.night import packets as module
from kowalski.night.archive import Place
from kowalski.night.packets import archive_of, packets_from

#: names, and contents that don't compress to nothing
FILES = {f"20240301/{number}.avro": bytes((number * place) % 251 for place in range(3000)) for number in range(20)}


def tarball(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    """A tarball of some files, with a folder and a file that is no packet beside them."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("20240301")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in {"20240301/README": b"read me", **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_a_tarball(tmp_path: Path, compression: str) -> None:
    path = tarball(tmp_path / "night.tar", FILES, f"w:{compression}")
    for source in (str(path), f"tar:{path}"):
        archive = archive_of(source)
        found = list(archive.packets())
        assert [packet.data for packet in found] == list(FILES.values())
        assert [(packet.topic, packet.offset) for packet in found] == [
            (f"tar:{name}", n) for n, name in enumerate(FILES)
        ]
        assert (archive.problems, archive.seen) == ([], archive.total)
    assert [packet.offset for packet in archive_of(str(path)).packets(after=17)] == [17, 18, 19]
    assert list(archive_of(str(path)).packets(after=20)) == []


def test_a_folder(tmp_path: Path) -> None:
    path = folder(tmp_path / "night", {**FILES, "other/README": b"read me"})
    (path / "other" / "gone.avro").symlink_to("nowhere")
    for source in (str(path), f"dir:{path}"):
        archive = archive_of(source)
        found = list(archive.packets())
        assert [packet.data for packet in found] == [FILES[name] for name in sorted(FILES)]
        assert [packet.offset for packet in found] == list(range(20))
        assert (archive.problems, archive.seen) == ([], archive.total)
    assert [packet.offset for packet in archive_of(str(path)).packets(after=18)] == [18, 19]


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_half_a_tarball(tmp_path: Path, compression: str, share: float) -> None:
    """Whole members are given, then it is said that the rest is missing; bzip2 and xz have only what their whole blocks hold."""
    noise = {name: os.urandom(60_000) for name in FILES}
    whole = tarball(tmp_path / "night.tar", noise, f"w:{compression}").read_bytes()
    path = tmp_path / "half.tar"
    path.write_bytes(whole[: int(len(whole) * share)])
    archive, found = archive_of(str(path)), []
    with suppress(StreamError):  # of those two there may be no packet at all
        for packet in archive.packets():
            found.append(packet.data)
    assert found == list(noise.values())[: len(found)]
    if compression in ("", "gz"):
        assert len(found) >= int(20 * share) - 1
    (problem,) = archive.problems
    assert f"after {len(found)} packets can't be read" in problem if found else "can't be read as a tarball" in problem


def test_a_tarball_cut_off_between_two_members(tmp_path: Path) -> None:
    """`tarfile` takes that for the end."""
    whole = tarball(tmp_path / "night.tar", FILES).read_bytes()
    path = tmp_path / "half.tar"
    path.write_bytes(whole[: 512 * (1 + 2 + 7 * 5)])
    archive = archive_of(str(path))
    assert len(list(archive.packets())) == 5
    assert "after 5 packets" in archive.problems[0]
    with pytest.raises(StreamError, match="after 5 packets"):
        list(packets_from(str(path)))


def test_a_tarball_with_a_broken_header(tmp_path: Path) -> None:
    whole = bytearray(tarball(tmp_path / "night.tar", FILES).read_bytes())
    begin = 512 * (1 + 2 + 7 * 5)
    whole[begin : begin + 512] = b"x" * 512
    (tmp_path / "night.tar").write_bytes(whole)
    archive = archive_of(str(tmp_path / "night.tar"))
    assert len(list(archive.packets())) == 5
    assert "after 5 packets can't be read" in archive.problems[0]


def test_a_tarball_whose_checksum_is_wrong(tmp_path: Path) -> None:
    """The last bytes are those of gzip's checksum and length, which nobody needs to unpack it."""
    tarball(tmp_path / "night.tar", FILES)
    data = bytearray(gzip.compress((tmp_path / "night.tar").read_bytes()))
    data[-6] ^= 255
    (tmp_path / "night.tar.gz").write_bytes(data)
    archive = archive_of(str(tmp_path / "night.tar.gz"))
    assert len(list(archive.packets())) == 20
    assert "after 20 packets" in archive.problems[0]


def test_members_that_are_no_packets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are named, and keep their numbers, so that a replay that goes on finds its place."""
    monkeypatch.setattr(module, "LARGEST", 5000)
    path = tmp_path / "night.tar"
    with tarfile.open(path, "w") as tar:
        for name, size in (("a.avro", 10), ("b.avro", 6000), ("c.avro", 20)):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(bytes(size)))
        link = tarfile.TarInfo("d.avro")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    for after, numbers in ((0, [0, 2]), (1, [2])):
        archive = archive_of(str(path))
        assert [packet.offset for packet in archive.packets(after)] == numbers
        assert archive.problems == [
            "b.avro has 6000 bytes: that is no packet",
            "d.avro is a link or a device, not a file",
        ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "can't be read as a tarball"),
        (b"nothing of that kind" * 99, "can't be read as a tarball"),
        (None, "give kafka"),
    ],
)
def test_no_tarball(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "night.tar"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StreamError, match=said):
        list(packets_from(str(path)))


def test_archives_without_packets(tmp_path: Path) -> None:
    tarball(tmp_path / "empty.tar", {})
    (tmp_path / "night").mkdir()
    for name in ("empty.tar", "night"):
        with pytest.raises(StreamError, match=r"holds no \.avro file"):
            list(packets_from(str(tmp_path / name)))
    with pytest.raises(StreamError, match="is not a folder"):
        archive_of(f"dir:{tmp_path / 'empty.tar'}")


def test_an_archive_is_known_by_what_it_holds(tmp_path: Path) -> None:
    files = folder(tmp_path / "night", FILES)
    first, ball = archive_of(str(files)).identity(), archive_of(str(tarball(tmp_path / "night.tar", FILES))).identity()
    (tmp_path / "night").rename(tmp_path / "moved")
    (tmp_path / "night.tar").rename(tmp_path / "moved.tar")
    assert archive_of(str(tmp_path / "moved")).identity() == first
    assert archive_of(str(tmp_path / "moved.tar")).identity() == ball
    (tmp_path / "moved" / "new.avro").write_bytes(b"x")
    assert archive_of(str(tmp_path / "moved")).identity() != first
    assert (
        archive_of(str(tarball(tmp_path / "moved.tar", {**FILES, "20240301/0.avro": b"y" * 3000}))).identity() != ball
    )


def test_a_place_is_where_no_gap_is() -> None:
    place, packets = Place(10), [Packet(b"", "", 0, offset) for offset in (10, 11, 13, 14)]
    noted = place.noted((packet.offset, packet) for packet in packets)
    assert place.done == 10
    first, second, third = (next(noted) for _ in range(3))
    place.finished([Batch([second])])
    assert place.done == 10
    place.finished([Batch([first])])
    assert place.done == 13
    place.finished([Batch([third])])
    assert place.done == 14
    place.finished([Batch(list(noted))])
    assert place.done == 15
