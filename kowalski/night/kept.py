"""A night of the packet archive, as what a replay reads: each message once, in the form that can be read."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from kowalski.alerts.decode import Packet
from kowalski.archive.packets.reading import Kept, PacketArchive
from kowalski.database.quarantine import key_of
from kowalski.errors import ArchiveError, StreamError
from kowalski.night.packets import Archive


class KeptNight(Archive):
    """The messages of a survey's night (YYYYMMDD), with the topics, partitions and offsets that they came with.

    Raises
    ------
    StreamError : there are none
    """

    kind = "archive"

    def __init__(self, folder: Path, survey: str, night: str):
        archive = PacketArchive(folder)
        if not (files := archive.files(survey, night)):
            there = ", ".join(archive.nights(survey)) or "none"
            raise StreamError(
                f"{folder} holds no packets of {survey} of the night {night}; nights that it has: {there}"
            )
        self._sizes = {file.name: file.path.stat().st_size for file in files}
        self._messages = list(archive.messages(survey, night))
        super().__init__(folder / survey / night, sum(map(_size, self._messages)))

    def identity(self) -> str:
        """By the names and sizes of its files."""
        listing = [f"{name} {size}" for name, size in self._sizes.items()]
        return hashlib.sha256("\n".join(listing).encode()).hexdigest()

    def messages(self) -> list[Kept]:
        """The messages as the archive has them."""
        return self._messages

    def refused(self) -> list[str]:
        """Of those that the chain refused when they came, and that can be read in fixed form."""
        return [key_of(_packet(kept, b"")) for kept in self._messages if kept.form and not kept.entry.taken]

    def _members(self, after: int) -> Iterator[tuple[int, Packet]]:
        for number, kept in enumerate(self._messages):
            self.seen += _size(kept)
            if number < after:
                continue
            try:
                data = kept.fixed() or kept.received()
            except ArchiveError as error:
                self.problems.append(str(error))
                continue
            yield number, _packet(kept, data)


def _size(kept: Kept) -> int:
    place = kept.form or kept.whole
    return place[1].size if place else 0


def _packet(kept: Kept, data: bytes) -> Packet:
    entry = kept.entry
    return Packet(data, entry.topic, entry.partition, entry.offset, entry.timestamp, kept=True)
