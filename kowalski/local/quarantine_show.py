"""One packet of quarantine in words: its origin, its schema beside the survey's own, its first bytes, its fields."""

import json
from collections.abc import Iterator
from typing import Any

from kowalski.alerts.drift import differences, faults, fields_of
from kowalski.alerts.head import Head, read_head
from kowalski.alerts.schemas import own_schema, store_of
from kowalski.alerts.survey import Survey
from kowalski.database.quarantined import Document
from kowalski.errors import PacketError
from kowalski.settings import Config

#: bytes of the packet, and of a line of them
DUMPED, IN_LINE = 256, 16
#: characters of a text and bytes of a stamp that are shown
LONGEST, STAMP = 200, 12


def described(document: Document, data: bytes, survey: Survey, config: Config) -> list[str]:
    """All that can be told of a packet, of whose bytes there are these; nothing in it can harm a terminal."""
    lines = [*_origin(document), *_note(document)]
    if document["size"] and not data:
        return [printable(line) for line in lines]
    head = read_head(data, survey, store_of(survey, config))
    lines += ["", *_structure(head, survey, config)]
    if data:
        lines += ["", f"first bytes of {len(data)} kept:", *hex_dump(data[:DUMPED])]
    if head.schema is not None:
        lines += ["", f"fields, up to where it breaks ({head.problem}):" if head.problem else "fields, all readable:"]
        lines += json.dumps(shortened(head.record), indent=2).splitlines()
    return [printable(line) for line in lines]


def _origin(document: Document) -> Iterator[str]:
    for name in ("survey", "topic", "partition", "offset"):
        yield f"{name:10} {document[name]}"
    yield f"{'in Kafka':10} {document['timestamp']:%Y-%m-%d %H:%M:%S} UTC"
    yield f"{'refused':10} {document['at']:%Y-%m-%d %H:%M:%S} UTC"
    yield f"{'size':10} {document['size']} bytes, sha256 {document.get('sha256', 'not known')}"
    yield f"{'reason':10} {document['reason']}"
    yield from (
        f"{'detail' if number == 0 else '':10} {line}" for number, line in enumerate(document["detail"].split("\n"))
    )


def _note(document: Document) -> Iterator[str]:
    if document.get("truncated"):
        yield f"{'kept':10} its head only; quarantine was full. replay reads the rest from Kafka, as long as that has it"
    if note := document.get("discarded"):
        yield f"{'discarded':10} {note['at']:%Y-%m-%d %H:%M:%S} UTC by {note['by']}: {note['because']}"


def _structure(head: Head, survey: Survey, config: Config) -> list[str]:
    """What the packet's schema has otherwise than the survey's own."""
    if head.schema is None:
        return [f"schema: can't be read ({head.problem})"]
    try:
        theirs = fields_of(head.schema)
        own = own_schema(survey, store_of(survey, config))
        found = differences(fields_of(own), theirs).lines() if own is not None else ["the survey's own is not here"]
    except PacketError as error:
        return [f"schema: {error}"]
    lacks = [f"can't be processed: {lack}" for lack in faults(theirs, survey)]
    return [f"schema of {len(theirs)} fields beside that of {survey.name}:", *(lacks + found or ["no difference"])]


def hex_dump(data: bytes) -> Iterator[str]:
    """Lines of offset, bytes, and the ASCII in them."""
    for begin in range(0, len(data), IN_LINE):
        part = data[begin : begin + IN_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{begin:06x}  {part.hex(' '):{3 * IN_LINE - 1}}  {text}"


def shortened(value: Any) -> Any:
    """A value for the eye: of stamps their sizes and first bytes, of long texts the beginning, of lists the first and the last."""
    if isinstance(value, dict):
        return {key: shortened(part) for key, part in value.items()}
    if isinstance(value, list):
        between = [f"... {len(value) - 2} more ..."] if len(value) > 2 else []
        return [*map(shortened, value[:1]), *between, *map(shortened, value[1:][-1:])]
    if isinstance(value, bytes):
        return f"{len(value)} bytes: {value[:STAMP].hex()}{'...' if len(value) > STAMP else ''}"
    if isinstance(value, str) and len(value) > LONGEST:
        return f"{value[:LONGEST]}... ({len(value)} characters)"
    return value


def printable(text: str) -> str:
    """A text of others' making without anything that a terminal would obey."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def size_of(number: int) -> str:
    """Bytes in the unit that fits."""
    size, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
