"""Indexes: declared beside their collections, made where missing."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from pymongo import IndexModel
from pymongo.collection import Collection

GEO = ("coordinates.radec_geojson", "2dsphere")


class Index(NamedTuple):
    """One index of a collection."""

    name: str
    keys: list[tuple[str, int | str]]
    options: dict[str, Any] = {}


def ensure_indexes(collection: Collection[dict[str, Any]], indexes: Iterable[Index]) -> None:
    """Make the missing ones among the indexes; an index of the same name is left as it is."""
    present = set(collection.index_information())
    missing = [
        IndexModel(index.keys, name=index.name, **index.options) for index in indexes if index.name not in present
    ]
    if missing:
        collection.create_indexes(missing)
