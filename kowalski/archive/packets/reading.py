"""The archive as it is read: its files by survey and night, packets by candid, each message once, as it was received or fixed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from isal import isal_zlib

from kowalski.alerts.decode import SYNC_SIZE, end_of_header
from kowalski.archive.packets.framing import received
from kowalski.archive.packets.index import Entry, Identity, read_index
from kowalski.archive.packets.segment import INDEX, PACKETS, SEAL
from kowalski.errors import ArchiveError, PacketError

#: bytes that are read of a file for its header
HEADER = 1 << 21


class ArchiveFile:
    """One file of packets with its index and, once it is closed, its seal."""

    def __init__(self, path: Path):
        self.path = path
        self.survey, self.night = path.parts[-3], path.parts[-2]

    @property
    def name(self) -> str:
        """Its path below the archive's root."""
        return "/".join(self.path.parts[-3:])

    @cached_property
    def seal(self) -> dict[str, Any] | None:
        """What was noted when it was closed; None: it is open."""
        try:
            seal: dict[str, Any] = json.loads(self.path.with_suffix(SEAL).read_bytes())
            return seal
        except FileNotFoundError:
            return None

    @cached_property
    def entries(self) -> list[Entry]:
        """The entries that are whole; of a file that is open, those that were there at the first look."""
        try:
            data = self.path.with_suffix(INDEX).read_bytes()
        except FileNotFoundError:
            return []
        return read_index(data)[0]

    @cached_property
    def header(self) -> bytes:
        """How the file begins, the sync marker included."""
        with self.path.open("rb") as file:
            data = file.read(HEADER)
        try:
            return data[: end_of_header(data)[0] + SYNC_SIZE]
        except PacketError as error:
            raise ArchiveError(f"{self.path} is no file of packets ({error}): restore it, or remove it") from None

    @cached_property
    def _heads(self) -> dict[int, bytes]:
        return {entry.head: entry.head_bytes for entry in self.entries if entry.head_bytes is not None}

    def blocks(self, entry: Entry) -> bytes:
        """The blocks of an entry's message."""
        try:
            with self.path.open("rb") as file:
                file.seek(entry.position)
                data = file.read(entry.size)
        except OSError as error:
            raise ArchiveError(f"{self.path} can't be read: {error.strerror}") from None
        if len(data) < entry.size:
            raise self._broken(entry, "the file ends before it")
        return data

    def received(self, entry: Entry) -> bytes:
        """A message as it was received, which its checksum confirms.

        Raises
        ------
        ArchiveError : it is broken
        """
        blocks = self.blocks(entry)
        try:
            data = received(entry.kind, self._heads.get(entry.head, b""), entry.sync, blocks, self.header[-SYNC_SIZE:])
        except (PacketError, ValueError) as error:
            raise self._broken(entry, str(error)) from None
        if len(data) != entry.length or isal_zlib.crc32(data) != entry.crc32:
            raise self._broken(entry, "its checksum differs")
        return data

    def fixed(self, entry: Entry) -> bytes:
        """A message as a container file of its own, with the schema under which it is kept."""
        return self.header + self.blocks(entry)

    def _broken(self, entry: Entry, why: str) -> ArchiveError:
        message = f"{entry.topic}:{entry.partition}:{entry.offset}"
        return ArchiveError(f"{self.path}: {message} at byte {entry.position} is broken: {why}; restore the file")


@dataclass(frozen=True, slots=True)
class Kept:
    """One message in the archive.

    Attributes
    ----------
    entry : of its first record
    form : where its fixed form is; None: it has none
    whole : where its bytes as received come from
    """

    entry: Entry
    form: tuple[ArchiveFile, Entry] | None
    whole: tuple[ArchiveFile, Entry] | None

    def received(self) -> bytes:
        """Its bytes as received; raises `ArchiveError` where they are broken, or not there."""
        if self.whole is None:
            raise ArchiveError(f"candid {self.entry.candid} is there in fixed form only: add --fixed")
        file, entry = self.whole
        return file.received(entry)

    def fixed(self) -> bytes | None:
        """It as a container file that any Avro reader opens; None where no schema reads it."""
        return self.form and self.form[0].fixed(self.form[1])


class PacketArchive:
    """Reads the archive below a folder; beside whoever writes."""

    def __init__(self, folder: Path):
        self.folder = folder

    def surveys(self) -> list[str]:
        """The surveys that there are packets of."""
        return _folders(self.folder)

    def nights(self, survey: str) -> list[str]:
        """The nights (YYYYMMDD) that there are packets of."""
        return [name for name in _folders(self.folder / survey) if len(name) == 8 and name.isdigit()]

    def files(self, survey: str, night: str) -> list[ArchiveFile]:
        """The files of a night, in the order in which they were begun."""
        return [ArchiveFile(path) for path in sorted((self.folder / survey / night).glob(f"*{PACKETS}"))]

    def messages(self, survey: str, night: str) -> Iterator[Kept]:
        """Each message of a night once, however often it was delivered."""
        files = self.files(survey, night)
        wholes: dict[Identity, tuple[ArchiveFile, Entry]] = {}
        for file in files:
            wholes.update({each.identity: (file, each) for each in file.entries if each.kind == "received"})
        seen: set[Identity] = set()
        for file in files:
            for entry in file.entries:
                if entry.kind != "received" and entry.identity not in seen:
                    seen.add(entry.identity)
                    yield _kept(file, entry, wholes)
        for identity, (file, entry) in wholes.items():
            if identity not in seen:
                yield Kept(entry, None, (file, entry))

    def find(self, candid: int, survey: str | None = None, night: str | None = None) -> list[Kept]:
        """The messages with an alert of that number, in the order of their files."""
        found: dict[tuple[str, Identity], Kept] = {}
        for name in [survey] if survey else self.surveys():
            for each in [night] if night else self.nights(name):
                files = [file for file in self.files(name, each) if _may_hold(file, candid)]
                hits = [(file, entry) for file in files for entry in file.entries if entry.candid == candid]
                wholes = {entry.identity: (file, entry) for file, entry in hits if entry.kind == "received"}
                hits.sort(key=lambda hit: hit[1].kind == "received")
                for file, entry in hits:
                    found.setdefault((name, entry.identity), _kept(file, entry, wholes))
        return list(found.values())


def _kept(file: ArchiveFile, entry: Entry, wholes: dict[Identity, tuple[ArchiveFile, Entry]]) -> Kept:
    if entry.kind == "received":
        return Kept(entry, None, (file, entry))
    return Kept(entry, (file, entry), wholes.get(entry.identity) if entry.kind == "fixed" else (file, entry))


def _may_hold(file: ArchiveFile, candid: int) -> bool:
    """Whether an alert may be in a file: the seal says from where to where its numbers go."""
    if file.seal is None:
        return True
    first, last = file.seal["candid"]
    return first is not None and first <= candid <= last


def _folders(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
