"""Packets of a night from a folder, a tarball or the packet archive, one after the other."""

import hashlib
import lzma
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from tarfile import EOFHeaderError, HeaderError, ReadError  # type: ignore[attr-defined]
from typing import Self

from kowalski.alerts.decode import Packet
from kowalski.errors import StreamError

SUFFIX = ".avro"
#: bytes of a file at most: no packet is as large
LARGEST = 256 * 1024 * 1024
#: bytes that are read at once, and by whose checksum, with its size, a tarball is known
PIECE = 1024 * 1024
#: what a broken file raises when it is read as a tarball, compressed or not
BROKEN = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError)


class Archive(ABC):
    """The packets that a folder, a tarball or the packet archive holds.

    A packet of a folder or tarball is known by its path: that is its topic, its number there its offset.

    Attributes
    ----------
    total, seen : bytes in all, and those that were read by now
    problems : what of it could not be read, and why; complete once all packets were asked for
    """

    kind: str

    def __init__(self, path: Path, total: int):
        self.path, self.total, self.seen = path, total, 0
        self.problems: list[str] = []

    @abstractmethod
    def identity(self) -> str:
        """Text that an archive of other packets does not have."""

    @abstractmethod
    def _members(self, after: int) -> Iterator[tuple[int, Packet]]:
        """Number and packet of each but the first so many; what can't be read becomes a problem."""

    def packets(self, after: int = 0) -> Iterator[Packet]:
        """The packets but the first so many, as far as they can be read; raises as `numbered`."""
        return (packet for _, packet in self.numbered(after))

    def numbered(self, after: int = 0) -> Iterator[tuple[int, Packet]]:
        """The same with their numbers in the archive.

        Raises
        ------
        StreamError : there is no packet in it
        """
        number = after - 1
        for number, packet in self._members(after):
            yield number, packet
        if number < 0:
            raise StreamError("; ".join(self.problems) or f"{self.path} holds no {SUFFIX} file")

    def refused(self) -> list[str]:
        """What the packets are called in quarantine that may leave it now."""
        return []

    def _packet(self, number: int, name: str, data: bytes) -> tuple[int, Packet]:
        return number, Packet(data, topic=f"{self.kind}:{name}", offset=number)

    def _is_packet(self, name: str, size: int) -> bool:
        """Whether a file may be one; else that is a problem."""
        if size > LARGEST:
            self.problems.append(f"{name} has {size} bytes: that is no packet")
        return size <= LARGEST


class Folder(Archive):
    """A folder, searched recursively, in the order of the names."""

    kind = "dir"

    def __init__(self, path: Path):
        if not path.is_dir():
            raise StreamError(f"{path} is not a folder")
        self._sizes = {each: each.stat().st_size for each in sorted(path.rglob(f"*{SUFFIX}")) if each.is_file()}
        super().__init__(path, sum(self._sizes.values()))

    def identity(self) -> str:
        """By the names and sizes of its files."""
        listing = [f"{each.relative_to(self.path)} {size}" for each, size in self._sizes.items()]
        return hashlib.sha256("\n".join(listing).encode()).hexdigest()

    def _members(self, after: int) -> Iterator[tuple[int, Packet]]:
        for number, (path, size) in enumerate(self._sizes.items()):
            self.seen += size
            if not self._is_packet(path.name, size) or number < after:
                continue
            try:
                data = path.read_bytes()
            except OSError as error:
                self.problems.append(f"{path} can't be read: {error.strerror}")
                continue
            yield self._packet(number, path.name, data)


class Tarball(Archive):
    """A tarball, plain or compressed by gzip, bzip2 or xz; of one that is cut off, what is whole of it."""

    kind = "tar"

    def __init__(self, path: Path):
        if not path.is_file():
            raise StreamError(f"{path} is not a file")
        super().__init__(path, path.stat().st_size)

    def identity(self) -> str:
        """By its size and its begin."""
        with self.path.open("rb") as file:
            return f"{self.total}:{hashlib.sha256(file.read(PIECE)).hexdigest()}"

    def _members(self, after: int) -> Iterator[tuple[int, Packet]]:
        number = 0
        try:
            with self.path.open("rb") as raw, tarfile.open(fileobj=raw, tarinfo=_Member) as tar:
                while (member := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # it would keep them all
                    self.seen = raw.tell()
                    if not member.name.endswith(SUFFIX) or member.isdir():
                        continue
                    if not member.isreg():
                        self.problems.append(f"{member.name} is a link or a device, not a file")
                    elif self._is_packet(member.name, member.size) and number >= after:
                        file = tar.extractfile(member)
                        assert file is not None  # a regular file has content
                        yield self._packet(number, member.name, file.read())
                    number += 1
                assert tar.fileobj is not None  # it is open
                while tar.fileobj.read(PIECE):  # so that the checksum of what is compressed is looked at
                    pass
                self.seen = self.total
        except BROKEN as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            where = f"the end of it after {number} packets" if number else "it"
            self.problems.append(f"{self.path}: {where} can't be read as a tarball ({reason}): fetch it again")


class _Member(tarfile.TarInfo):
    """A header that says where it is none: `tarfile` takes any end, and whatever is no header, for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except EOFHeaderError:  # the block of zeros that should be there
            raise
        except HeaderError as error:
            raise ReadError(f"no member, and not the end: {error}") from error


def archive_of(source: str) -> Archive:
    """What ``dir:PATH``, ``tar:PATH`` or the path of a folder or file names.

    Raises
    ------
    StreamError : there is no such folder or tarball
    """
    kinds = {"dir": Folder, "tar": Tarball}
    kind, _, path = source.partition(":")
    if kind in kinds and path:
        return kinds[kind](Path(path))
    if not Path(source).exists():
        raise StreamError(
            f"{source} is nothing: give kafka, quarantine, archive, dir:PATH, tar:PATH, or the path of a folder or tarball"
        )
    return Folder(Path(source)) if Path(source).is_dir() else Tarball(Path(source))


def packets_from(source: str) -> Iterator[Packet]:
    """All packets of what `archive_of` takes.

    Raises
    ------
    StreamError : there is no such folder or tarball, or no packet in it, or, once all others were given, some can't be read
    """
    archive = archive_of(source)
    yield from archive.packets()
    if archive.problems:
        raise StreamError("; ".join(archive.problems))
