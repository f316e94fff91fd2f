"""The schema under which a packet is kept, so that every reader opens it; none is kept under one that doesn't read it to its end."""

import json
from typing import Any, NamedTuple

from fastavro import parse_schema
from fastavro.schema import SchemaParseException, UnknownType

from kowalski.alerts.decode import CODECS, MAX_CONTENT, MAX_HEADER, metadata_of, parsed, read_records
from kowalski.alerts.document import Alert
from kowalski.alerts.schemas import json_of, own_text, text_of
from kowalski.alerts.survey import Survey
from kowalski.alerts.unfolding import REMEMBERED, require_memory
from kowalski.alerts.wire import Schemas, schema_number
from kowalski.archive.packets.form import same_form
from kowalski.archive.packets.framing import Parts, contents
from kowalski.errors import PacketError

#: codecs that Avro's specification has, and any reader; blocks of others are kept decompressed
COMMON = ("null", "deflate", "bzip2", "xz", "snappy", "zstandard")


class Schema(NamedTuple):
    """A schema as it is published, and ready to read with."""

    text: str
    parsed: Any


class Head(NamedTuple):
    """What a header or prefix says.

    Attributes
    ----------
    own : the schema that it brings or names; None: that is none
    codec : of its blocks
    cosmetic : ``own`` has the form of the published schema
    """

    own: Schema | None
    codec: str
    cosmetic: bool


class Fixed(NamedTuple):
    """The form in which a packet can be read by anybody.

    Attributes
    ----------
    schema : JSON
    codec : of its blocks
    body : its blocks, where these aren't as received; None: they are
    records : what was read of it, where it had to be
    """

    schema: str
    codec: str
    body: list[tuple[int, bytes]] | None = None
    records: list[dict[str, Any]] | None = None


class Fixer:
    """Finds the schemas of one survey's packets.

    A packet that the chain has taken keeps what it was read with: the survey's published schema where its header says just that, maybe
    with other explanations, else its own. One that it refused gets the published schema if that reads its bytes to the end, else its own
    if that does.
    """

    def __init__(self, survey: Survey, schemas: Schemas):
        self._survey, self._schemas = survey, schemas
        self._heads: dict[bytes, Head] = {}
        self._known: Schema | None = None

    def fix(self, parts: Parts, alerts: list[Alert]) -> Fixed:
        """The fixed form of a packet; ``alerts`` is what the chain took of it.

        Raises
        ------
        PacketError : there is none: no schema reads it to its end
        """
        head = self._head(parts)
        if alerts and head.own is not None:
            schema = (self._published() if head.cosmetic else None) or head.own
            return Fixed(schema.text, *self._common(parts, head))
        problem = PacketError("schema", "there is no schema to read it with")
        for schema in filter(None, (self._published() if parts.sync else None, head.own)):
            try:
                records = self._records(parts, head, schema)
            except PacketError as error:
                problem = error
            else:
                return Fixed(schema.text, *self._common(parts, head), records)
        raise problem

    def _published(self) -> Schema | None:
        """The survey's published schema; None: it can't be had now, and is asked for again."""
        if self._known is None and (text := own_text(self._survey, self._schemas)) is not None:
            self._known = Schema(text, parsed(text))
        return self._known

    def _head(self, parts: Parts) -> Head:
        head = self._heads.get(parts.head)
        if head is None:
            if len(self._heads) >= REMEMBERED:
                self._heads.clear()
            head = self._heads[parts.head] = self._read_wire(parts) if not parts.sync else self._read(parts.head)
        return head

    def _read_wire(self, parts: Parts) -> Head:
        number = schema_number(parts.head + b"\0")
        own = Schema(text_of(self._schemas, number), self._schemas(number))
        return Head(own, "null", False)

    def _read(self, header: bytes) -> Head:
        if len(header) > MAX_HEADER:
            raise PacketError("too_large", f"a header of {len(header)} bytes")
        said = dict(metadata_of(header))
        codec = said.get("avro.codec", b"null").decode(errors="replace")
        if codec not in CODECS:
            raise PacketError("codec", codec)
        try:
            own = _readable(said.get("avro.schema", b""))
        except PacketError:
            return Head(None, codec, False)
        published = self._published()
        return Head(own, codec, published is not None and same_form(own.parsed, published.parsed))

    def _common(self, parts: Parts, head: Head) -> tuple[str, list[tuple[int, bytes]] | None]:
        """A codec that any reader has, and the blocks in it, unless they are so already."""
        return (head.codec, None) if head.codec in COMMON else ("null", _plain(parts, head))

    def _records(self, parts: Parts, head: Head, schema: Schema) -> list[dict[str, Any]]:
        blocks = _plain(parts, head)
        require_memory(schema.parsed, sum(count for count, _ in blocks), sum(len(content) for _, content in blocks))
        return [record for count, content in blocks for record in read_records(content, count, schema.parsed)]


def _plain(parts: Parts, head: Head) -> list[tuple[int, bytes]]:
    """A packet's blocks, decompressed."""
    if not parts.sync:
        return [(1, parts.body)]
    blocks, room = [], MAX_CONTENT
    for count, content in contents(parts.body, parts.sync):
        blocks.append((count, CODECS[head.codec](content, room)))
        room -= len(blocks[-1][1])
    return blocks


def _readable(text: bytes) -> Schema:
    """A header's schema, as it stands there if strict readers take it, else without what they can't do with."""
    schema = parsed(text)
    try:
        parse_schema(json.loads(text))
        return Schema(text.decode(), schema)
    except (SchemaParseException, UnknownType, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Schema(json_of(schema), schema)
