"""Documents as the server stores them, in BSON that nobody decodes: taken apart, named by their _id, summed up."""

import hashlib
import struct
from collections.abc import Iterable
from typing import Any

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument

from kowalski.errors import BackupError

LENGTH = struct.Struct("<i")
#: bytes of values whose type fixes them (https://bsonspec.org)
FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
#: of the others, what comes on top of the length that they begin with
STRINGS, DOCUMENTS, BINARY = (0x02, 0x0D, 0x0E), (0x03, 0x04), 0x05
#: dates beyond Python's years are kept, too
AS_STORED: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
#: documents' hashes are summed modulo this, so that their order makes no difference
MODULUS = 1 << 256

#: what is equal for equal _ids only: the type's byte and the value's bytes
Key = bytes


def split(data: bytes) -> list[bytes]:
    """The documents that stand one behind the other.

    Raises
    ------
    BackupError : they don't end where they say
    """
    documents, at, end = [], 0, len(data)
    while at < end:
        length = LENGTH.unpack_from(data, at)[0] if at + 4 <= end else 0
        if length < 5 or at + length > end:
            raise BackupError(f"no document at byte {at} of {end}")
        documents.append(data[at : at + length])
        at += length
    return documents


def key_of(document: bytes) -> Key:
    """The key of a document, whose first field is _id, as in all that a server stores.

    Raises
    ------
    BackupError : it is not, or has a type that no _id has
    """
    kind, value = document[4], document[9:13]
    if document[5:9] != b"_id\0":
        raise BackupError("a document has no _id in front")
    if kind in FIXED:
        length = FIXED[kind]
    elif kind in STRINGS:
        length = 4 + LENGTH.unpack(value)[0]
    elif kind in DOCUMENTS:
        length = LENGTH.unpack(value)[0]
    elif kind == BINARY:
        length = 5 + LENGTH.unpack(value)[0]
    else:
        raise BackupError(f"an _id has BSON's type {kind:#04x}, which none may have")
    return document[4:5] + document[9 : 9 + length]


def id_document(key: Key) -> bytes:
    """The document that has an _id and nothing else."""
    return LENGTH.pack(len(key) + 9) + key[:1] + b"_id\0" + key[1:] + b"\0"


def id_of(key: Key) -> Any:
    """The _id of a key, as pymongo takes it."""
    return RawBSONDocument(id_document(key), AS_STORED)["_id"]


def among(keys: Iterable[Key]) -> RawBSONDocument:
    """The condition that the _id is one of these, with each value as it is stored."""
    values = b"".join(key[:1] + str(number).encode() + b"\0" + key[1:] for number, key in enumerate(keys))
    array = LENGTH.pack(len(values) + 5) + values + b"\0"
    inner = b"\x04$in\0" + array
    condition = LENGTH.pack(len(inner) + 5) + inner + b"\0"
    outer = b"\x03_id\0" + condition
    return RawBSONDocument(LENGTH.pack(len(outer) + 5) + outer + b"\0")


def rank(key: Key) -> tuple[int, Any] | None:
    """The place of a key in MongoDB's order of _ids; None for types of which this does not know it."""
    kind, value = key[0], key[1:]
    if kind == 0x01:
        number = struct.unpack("<d", value)[0]
        return None if number != number else (1, number)
    if kind == 0x10:
        return 1, LENGTH.unpack(value)[0]
    if kind == 0x12:
        return 1, struct.unpack("<q", value)[0]
    if kind == 0x02:
        return 2, value[4:-1]
    if kind == 0x07:
        return 3, value
    return None


def total(documents: Iterable[bytes]) -> int:
    """The sum of the documents' hashes (SHA-256), modulo 2^256: the same for the same documents in any order."""
    return sum(int.from_bytes(hashlib.sha256(each).digest(), "big") for each in documents) % MODULUS


def as_text(number: int) -> str:
    """A sum of hashes as 64 hexadecimal digits."""
    return f"{number % MODULUS:064x}"
