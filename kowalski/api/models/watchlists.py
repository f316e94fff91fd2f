"""What goes with watchlists, and how they are told of."""

from typing import Annotated, Any, Literal

from bson.objectid import ObjectId
from pydantic import AfterValidator, Field

from kowalski.api.models.fields import Body
from kowalski.api.models.filters import FilterId
from kowalski.watchlists.grids import RADIUS, WIDEST

Kind = Literal["objects", "positions", "region"]
ListName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$", description="letters, digits, - and _, the first a letter", examples=["quasars"]),
]  # fmt: skip


def _id(value: str) -> str:
    if not ObjectId.is_valid(value):
        raise ValueError(f"{value[:50]!r} is no id of a watchlist: GET /api/watchlists tells them")
    return value


ListId = Annotated[str, AfterValidator(_id)]


class Lists(Body):
    """Which lists."""

    group_id: FilterId | None = Field(None, description="of this group alone")
    name: str | None = None


class WatchlistPath(Body):
    """Which list."""

    list_id: ListId


class WatchlistRows(WatchlistPath):
    """Which list, and how much of it."""

    skip: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(10, ge=0, le=1000, description="rows that are shown")


class Content(Body):
    """What an uploaded file is."""

    kind: Kind | None = Field(None, description="told by the columns, or as it is a MOC, unless given")
    radius: float | None = Field(
        None, gt=0, le=WIDEST, description=f"arcsec within which alerts match rows that have no radius_arcsec; {RADIUS:g} unless given"
    )  # fmt: skip


class NewWatchlist(Content):
    """A new list, of the file in the body."""

    name: ListName
    group_id: FilterId


class Replacement(Content, WatchlistPath):
    """Which list the file in the body replaces; its radius stays unless given."""


class Watchlist(Body):
    """A list."""

    id: str
    name: str
    group_id: int
    kind: Kind
    radius: float = Field(description="arcsec")
    rows: int = Field(description="of a region, ranges of cells")
    columns: list[str]
    version: str
    made_by: str
    made_at: Any = None
    at: Any = Field(None, description="of this version")
    first: list[dict[str, Any]] = Field([], description="some rows, where one list is asked for")
