"""Indexes: declared beside their collections, made where missing."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from pymongo import IndexModel
from pymongo.collection import Collection

from kowalski.log import get_logger

log = get_logger(__name__)

#: documents from which a collection counts as full
FULL = 100_000

GEO = ("coordinates.radec_geojson", "2dsphere")


class Index(NamedTuple):
    """One index of a collection."""

    name: str
    keys: list[tuple[str, int | str]]
    options: dict[str, Any] = {}


def ensure_indexes(collection: Collection[dict[str, Any]], indexes: Iterable[Index]) -> None:
    """Make the missing ones among the indexes; an index of the same name is left as it is.

    None is built on a full collection: that takes hours and slows what runs beside it, so it is for who asks for it.
    """
    missing = missing_indexes(collection, indexes)
    if missing and collection.estimated_document_count() > FULL:
        names = ", ".join(index.name for index in missing)
        log.warning("%s has no index %s: ./kowalski.py migrate --run --indexes builds it", collection.name, names)
    elif missing:
        create_indexes(collection, missing)


def missing_indexes(collection: Collection[dict[str, Any]], indexes: Iterable[Index]) -> list[Index]:
    """Those of the indexes whose name no index of the collection has."""
    present = set(collection.index_information())
    return [index for index in indexes if index.name not in present]


def create_indexes(collection: Collection[dict[str, Any]], indexes: Iterable[Index]) -> None:
    """The indexes are there."""
    collection.create_indexes([IndexModel(index.keys, name=index.name, **index.options) for index in indexes])
