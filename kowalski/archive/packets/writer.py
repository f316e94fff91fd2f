"""Packets into the archive, as the workers of one process do it: each durably, before its offset may be committed."""

import secrets
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from isal import isal_zlib

from kowalski.alerts.decode import SYNC_SIZE, Packet
from kowalski.alerts.document import Alert
from kowalski.alerts.survey import Survey
from kowalski.alerts.times import jd_of
from kowalski.alerts.wire import Schemas
from kowalski.archive.packets.fixing import Fixed, Fixer
from kowalski.archive.packets.framing import RECEIVED, Parts, block, long, received, resynced, taken_apart
from kowalski.archive.packets.index import Entry, Identity, Kind
from kowalski.archive.packets.segment import Segment
from kowalski.errors import PacketError
from kowalski.night.dates import night_of_alert

#: messages that are remembered as kept: a batch may come again and again while the database is away
REMEMBERED = 20_000
#: files that are open at a time
OPEN = 32
#: schemas of a night; packets that come with still others are kept as received only, so that garbage makes no files without end
SCHEMAS = 16

Key = tuple[date, str, str]
"""Night, schema and codec of a file."""


class Record(NamedTuple):
    """What is told of a record by which it can be found."""

    candid: int | None
    object_id: str | None
    jd: float | None


class Piece(NamedTuple):
    """What is to be added to a file: blocks of a message, and the entries of its records, which don't know their places yet."""

    blocks: bytes
    head: bytes
    entries: list[Entry]

    @property
    def identity(self) -> Identity:
        """What tells its message from others."""
        return self.entries[0].identity


class ArchiveWriter:
    """Adds the packets of one survey to the archive, one batch at a time, beside whatever else becomes of it.

    Parameters
    ----------
    folder : the archive's root
    segment_bytes : size from which on a new file is begun
    """

    def __init__(self, folder: Path, survey: Survey, schemas: Schemas, segment_bytes: int):
        self.folder, self.survey, self.segment_bytes = folder, survey, segment_bytes
        self._fixer = Fixer(survey, schemas)
        self._sync = secrets.token_bytes(SYNC_SIZE)
        self._segments: OrderedDict[Key, Segment] = OrderedDict()
        self._schemas: dict[date, set[str]] = {}
        self._kept: OrderedDict[Identity, None] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, "archive")

    def begin(self, packets: list[Packet], alerts: list[Alert]) -> Future[int]:
        """Begin with `keep`, which has come to its end when its result is there."""
        return self._thread.submit(self.keep, packets, alerts)

    def keep(self, packets: Iterable[Packet], alerts: Iterable[Alert]) -> int:
        """The packets are on disk, but for those that come out of the archive or are there already; how many are new.

        Parameters
        ----------
        alerts : what the chain has taken of them

        Raises
        ------
        ArchiveUnavailable : some may be kept; the same packets are to come again
        """
        taken: dict[int, list[Alert]] = {}
        for alert in alerts:
            taken.setdefault(id(alert.packet), []).append(alert)
        files: dict[Key, list[Piece]] = {}
        left: Counter[Identity] = Counter()
        for packet in packets:
            identity = (packet.topic, packet.partition, packet.offset, isal_zlib.crc32(packet.data))
            if packet.kept or identity in self._kept or identity in left:
                continue
            for key, piece in self._pieces(packet, identity[-1], taken.get(id(packet), [])):
                files.setdefault(key, []).append(piece)
                left[identity] += 1
        for key, pieces in files.items():
            self._add(key, pieces)
            left.subtract(piece.identity for piece in pieces)
            self._kept.update((piece.identity, None) for piece in pieces if not left[piece.identity])
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)
        return len(left)

    def close(self) -> None:
        """Let go of all files; who keeps the archive seals them."""
        self._thread.shutdown()
        while self._segments:
            self._segments.popitem()[1].close()

    # what of a packet goes where

    def _pieces(self, packet: Packet, crc32: int, alerts: list[Alert]) -> Iterator[tuple[Key, Piece]]:
        """The fixed form of a packet, and what it takes to give it back as it was received."""
        arrived = jd_of(packet.timestamp)
        try:
            parts = taken_apart(packet.data, self.survey)
            fixed = self._fixer.fix(parts, alerts)
        except PacketError:
            night = night_of_alert(self.survey, packet.topic, arrived)
            yield self._as_received(packet, crc32, night, [Record(None, None, None)], False)
            return
        records = [Record(each.candid, each.object_id, each.jd) for each in alerts] or self._records(fixed)
        jd = next((each.jd for each in records if each.jd is not None), arrived)
        night = night_of_alert(self.survey, packet.topic, jd)
        if not self._may_have(night, fixed.schema):
            yield self._as_received(packet, crc32, night, records, bool(alerts))
            return
        kind, blocks = self._blocks(parts, fixed)
        if kind != "fixed" and received(kind, parts.head, parts.sync, blocks, self._sync) != packet.data:
            kind = "fixed"
        entries = _entries(packet, crc32, kind, parts.sync, records, bool(alerts))
        yield (night, fixed.schema, fixed.codec), Piece(blocks, parts.head, entries)
        if kind == "fixed":
            yield self._as_received(packet, crc32, night, records, bool(alerts))

    def _blocks(self, parts: Parts, fixed: Fixed) -> tuple[Kind, bytes]:
        """How a packet's blocks are kept."""
        if fixed.body is not None:
            return "fixed", b"".join(block(count, content, self._sync) for count, content in fixed.body)
        if not parts.sync:
            return "wire", block(1, parts.body, self._sync)
        if parts.blocks == 1:  # as packets are: one copy, and nothing to look for
            return "container", parts.body[:-SYNC_SIZE] + self._sync
        return "container", resynced(parts.body, parts.sync, self._sync)

    def _as_received(
        self, packet: Packet, crc32: int, night: date, records: list[Record], taken: bool
    ) -> tuple[Key, Piece]:
        blocks = block(1, long(len(packet.data)) + packet.data, self._sync)
        entries = _entries(packet, crc32, "received", b"", records, taken)
        return (night, RECEIVED, "null"), Piece(blocks, b"", entries)

    def _may_have(self, night: date, schema: str) -> bool:
        """Whether a night may have files of a schema, and has not too many of others."""
        there = self._schemas.setdefault(night, set())
        if schema not in there and len(there) < SCHEMAS:
            there.add(schema)
        return schema in there

    def _records(self, fixed: Fixed) -> list[Record]:
        """What can be told of the records of a packet that the chain refused."""
        try:
            return [told(self.survey.normalise(record), self.survey) for record in fixed.records or ()]
        except PacketError:
            return [Record(None, None, None)]

    # files

    def _add(self, key: Key, pieces: list[Piece]) -> None:
        """The pieces are in a file of that kind, on disk."""
        while True:
            segment = self._segment(key)
            position = segment.size
            for piece in pieces:
                number, new = segment.head(piece.head)
                for entry in piece.entries:
                    entry.position, entry.size, entry.head, entry.head_bytes = position, len(piece.blocks), number, new
                    new = None
                position += len(piece.blocks)
            if segment.append([piece.blocks for piece in pieces], [each for piece in pieces for each in piece.entries]):
                return
            self._let_go(key)

    def _segment(self, key: Key) -> Segment:
        """The file to add to, a new one where the last is large enough."""
        segment = self._segments.get(key)
        if segment is not None and (segment.broken or segment.size >= self.segment_bytes):
            self._let_go(key)
            segment = None
        if segment is None:
            night, schema, codec = key
            notes = {"kowalski.survey": self.survey.name, "kowalski.night": named(night)}
            segment = Segment(self.folder / self.survey.name / named(night), schema, codec, self._sync, notes)
            self._segments[key] = segment
            if len(self._segments) > OPEN:
                self._let_go(next(iter(self._segments)))
        self._segments.move_to_end(key)
        return segment

    def _let_go(self, key: Key) -> None:
        self._segments.pop(key).close()


def named(night: date) -> str:
    """A night as its folder is called."""
    return night.isoformat().replace("-", "")


def told(record: Mapping[str, Any], survey: Survey) -> Record:
    """What a normalised record tells of itself, whatever it is."""
    candidate = record.get("candidate")
    jd = candidate.get("jd") if isinstance(candidate, Mapping) else None
    candid, object_id = record.get("candid"), record.get(survey.object_id)
    return Record(
        candid if isinstance(candid, int) and not isinstance(candid, bool) else None,
        object_id if isinstance(object_id, str) else None,
        jd if isinstance(jd, float) and isfinite(jd) else None,
    )


def _entries(packet: Packet, crc32: int, kind: Kind, sync: bytes, records: list[Record], taken: bool) -> list[Entry]:
    """The entries of a packet's records, as far as they know no place yet."""
    return [
        Entry(
            record.candid, record.object_id, record.jd, packet.topic, packet.partition, packet.offset, packet.timestamp,
            taken, kind, 0, 0, 0, None, sync, len(packet.data), crc32,
        )
        for record in records
    ]  # fmt: skip
