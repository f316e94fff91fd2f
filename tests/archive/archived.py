"""Packets put into an archive as a worker does it, and what it gives back."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fastavro
from packets import packet

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Alert, read_batch
from kowalski.alerts.drift import DriftWatch
from kowalski.alerts.schemas import own_schema, store_of
from kowalski.alerts.survey import Survey, get_survey
from kowalski.alerts.wire import Schemas
from kowalski.archive.packets.reading import Kept, PacketArchive
from kowalski.archive.packets.writer import ArchiveWriter
from kowalski.config import build, merge, settings_tree

ZTF = get_survey("ZTF")
PLENTY = 1 << 28


def schemas_of(survey: Survey, data: Path | None) -> Schemas:
    """Those that the messages of a survey name, from the folder of real packets."""
    folder = str(data / "lsst_schemas") if data else "nowhere"
    return store_of(survey, build(merge(settings_tree([], {}), {"schemas": {"LSST": {"folder": folder}}})))


def messages_of(data: Path, survey: str) -> list[Packet]:
    """All real packets of a survey, wire messages included, as messages of the stream."""
    files = sorted(path for path in (data / f"{survey.lower()}_alerts").rglob("*") if path.is_file())
    return [packet(path.read_bytes(), offset, "stream") for offset, path in enumerate(files)]


def writer_in(folder: Path, survey: Survey = ZTF, data: Path | None = None, size: int = PLENTY) -> ArchiveWriter:
    return ArchiveWriter(folder, survey, schemas_of(survey, data), size)


def taken(packets: list[Packet], survey: Survey = ZTF, data: Path | None = None) -> list[Alert]:
    """What the chain takes of some packets."""
    schemas = schemas_of(survey, data)
    return read_batch(packets, survey, schemas, DriftWatch(survey, lambda: own_schema(survey, schemas)))[0]


def keep(folder: Path, packets: list[Packet], survey: Survey = ZTF, data: Path | None = None) -> ArchiveWriter:
    """Packets are in the archive; who has put them there."""
    writer = writer_in(folder, survey, data)
    writer.keep(packets, taken(packets, survey, data))
    return writer


def kept_in(folder: Path, survey: str = "ZTF") -> list[Kept]:
    """All messages of a survey, in the order of their offsets."""
    archive = PacketArchive(folder)
    found = [kept for night in archive.nights(survey) for kept in archive.messages(survey, night)]
    return sorted(found, key=lambda kept: (kept.entry.topic, kept.entry.offset))


def records_of(data: bytes | None) -> list[Any]:
    """What fastavro, which knows nothing of Kowalski, reads in a file."""
    assert data is not None
    return list(fastavro.reader(io.BytesIO(data)))


def files_in(folder: Path, suffix: str = ".avro") -> list[Path]:
    return sorted(folder.rglob(f"*{suffix}"))


def offsets(found: Iterable[Kept]) -> list[int]:
    return [kept.entry.offset for kept in found]
