"""The documents of a watchlist's rows, of the table or MOC that was uploaded; every row is checked before it is given."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import bson
import numpy as np
from bson.errors import BSONError
from bson.int64 import Int64
from bson.objectid import ObjectId

from kowalski.errors import WatchlistError
from kowalski.watchlists.grids import WIDEST, numbered_pixels
from kowalski.watchlists.regions import parts_of
from kowalski.watchlists.tables import Block, is_missing, number_of

OBJECT_ID, RA, DEC, OWN_RADIUS, ID = "objectid", "ra", "dec", "radius_arcsec", "id"
#: rows and columns of a list, characters of a column's name, and bytes of a row at most
MOST_ROWS, MOST_COLUMNS, LONGEST_NAME, LARGEST_ROW = 1_000_000, 200, 100, 8192
#: rows in one pixel at most: an alert there is compared with all of them
MOST_TOGETHER = 500
#: names that the rows that a filter sees have for what we add
OURS = frozenset({"distance_arcsec"})
KINDS = ("objects", "positions", "region")

Document = dict[str, Any]


class Wanted(NamedTuple):
    """What an upload is to become: of which list, its version, and what was said of it."""

    list_id: str
    version: str
    kind: str | None
    radius: float


def is_numeric(name: str) -> bool | None:
    """Whether a column has numbers; None: its values tell."""
    return False if name.lower() in (OBJECT_ID, RA, DEC, OWN_RADIUS) else None


class Roles(NamedTuple):
    """Names of the columns that say what a row is of; all others are the user's own."""

    kind: str
    object_id: str | None
    ra: str | None
    dec: str | None
    radius: str | None
    id: str | None

    @property
    def own(self) -> frozenset[str | None]:
        """Those that are not kept under their names."""
        return frozenset({self.object_id, self.ra, self.dec, self.radius, self.id})


def roles_of(names: list[str], kind: str | None) -> Roles:
    """What the columns of a table are.

    Raises
    ------
    WatchlistError : those that are needed are missing, or a name can't be one
    """
    _require_names(names)
    found = {name.lower(): name for name in reversed(names)}
    has_positions = {RA, DEC} <= found.keys()
    if kind is None:
        if OBJECT_ID in found and has_positions:
            raise WatchlistError("there are columns objectId and ra and dec: say kind=objects or kind=positions, by which alerts are to match")  # fmt: skip
        kind = "objects" if OBJECT_ID in found else "positions" if has_positions else None
    if kind == "region":
        raise WatchlistError("a region must be a MOC, as FITS, JSON or text; this is a table")
    missing = [name for name in (("objectId",) if kind == "objects" else (RA, DEC)) if name.lower() not in found]
    if kind is None or missing:
        what = " and ".join(missing) if kind else "objectId, and none ra and dec"
        raise WatchlistError(f"there is no column {what}: the columns are {', '.join(names)[:500]}")
    if kind == "objects":
        return Roles(kind, found[OBJECT_ID], None, None, None, None)
    return Roles(kind, None, found[RA], found[DEC], found.get(OWN_RADIUS), ID if ID in names else None)


def _require_names(names: list[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise WatchlistError(f"there are {len(names)} columns: leave some out, {MOST_COLUMNS} are allowed")
    for place, name in enumerate(names, 1):
        if not name or len(name) > LONGEST_NAME or name.startswith("$") or set(name) & {".", "\0"} or name in OURS:
            raise WatchlistError(
                f"column {place} is called {name[:LONGEST_NAME]!r}: give it a name of 1 to {LONGEST_NAME} characters without . and"
                f" not beginning with $, and not {', '.join(OURS)}"
            )


class Rows:
    """Makes the documents, and knows afterwards what the list is to say of them."""

    def __init__(self, wanted: Wanted):
        self.wanted = wanted
        self.version = ObjectId(wanted.version)
        self.kind = "region"
        self.columns: list[str] = []
        self.rows = 0
        self.order: int | None = None
        self._radii: dict[int, float] = {}
        self._pixels: list[np.ndarray] = []

    @property
    def told(self) -> Document:
        """What the list says of its rows."""
        radii = [{"order": order, "radius": radius} for order, radius in sorted(self._radii.items())]
        about = {"kind": self.kind, "radius": self.wanted.radius, "rows": self.rows, "columns": self.columns}
        return about | {"radii": radii, "order": self.order}

    def of_region(self, moc: Any) -> Iterator[bytes]:
        """The documents of a MOC, encoded; ``rows`` are its cells."""
        if self.wanted.kind not in (None, "region"):
            raise WatchlistError(f"this is a MOC, and no table of {self.wanted.kind}")
        self.rows, self.order = len(moc.to_depth29_ranges), int(moc.max_order)
        for number, part in enumerate(parts_of(moc), 1):
            yield bson.encode({**self._head(number), "ranges": part})

    def of_table(self, blocks: Iterable[Block]) -> Iterator[bytes]:
        """The documents of a table's rows, encoded.

        Raises
        ------
        WatchlistError : a column or a row is wrong, or there are none or too many
        """
        roles: Roles | None = None
        for block in blocks:
            if roles is None:
                roles = roles_of(list(block.columns), self.wanted.kind)
                self.kind = roles.kind
                self.columns = [name for name in block.columns if name not in roles.own]
            number = len(next(iter(block.columns.values())))
            self.rows += number
            if self.rows > MOST_ROWS:
                raise WatchlistError(f"there are more than {MOST_ROWS} rows: make several lists of them")
            documents = self._objects(block, roles) if roles.kind == "objects" else self._positions(block, roles)
            for place, document in enumerate(documents, block.first):
                yield _encoded(document, place)
        if not self.rows:
            raise WatchlistError("there are no rows")
        self._require_apart()

    def _require_apart(self) -> None:
        """Raise `WatchlistError` where so many rows lie together that looking for them would hold up the stream."""
        if not self._pixels:
            return
        pixels = np.concatenate(self._pixels)
        crowded, numbers = np.unique(pixels, return_counts=True)
        if numbers.max() > MOST_TOGETHER:
            row = int(np.argmax(pixels == crowded[numbers.argmax()])) + 1
            raise WatchlistError(
                f"row {row}, columns ra and dec: {numbers.max()} rows lie too close together for their radius, {MOST_TOGETHER} may: make the"
                " radius smaller, make a MOC of them, or leave some out"
            )

    def _head(self, number: int) -> Document:
        return {"_id": {"version": self.version, "row": number}, "list": self.wanted.list_id, "version": self.version}

    def _objects(self, block: Block, roles: Roles) -> Iterator[Document]:
        ids = block.columns[str(roles.object_id)]
        for number, (own, columns) in enumerate(zip(ids, self._own(block), strict=True), block.first):
            if own is None:
                raise WatchlistError(f"row {number}, column {roles.object_id}: it is empty: leave the row out")
            yield {**self._head(number), "id": str(own), "columns": columns}

    def _positions(self, block: Block, roles: Roles) -> Iterator[Document]:
        ra = _numbers(block, str(roles.ra), lambda value: 0 <= value < 360, "at least 0 and less than 360 (deg)")
        dec = _numbers(block, str(roles.dec), lambda value: -90 <= value <= 90, "from -90 to 90 (deg)")
        radii = np.full(len(ra), self.wanted.radius)
        if roles.radius is not None:
            filled = [self.wanted.radius if is_missing(value) else value for value in block.columns[roles.radius]]
            radii = _numbers(block._replace(columns={roles.radius: filled}), roles.radius, lambda value: 0 < value <= WIDEST, f"above 0, and {WIDEST:.0f} (arcsec) at most")  # fmt: skip
        pixels, largest = numbered_pixels(ra, dec, radii)
        self._pixels.append(pixels)
        self._radii = {
            order: max(largest.get(order, 0.0), self._radii.get(order, 0.0)) for order in largest | self._radii
        }
        ids = block.columns[roles.id] if roles.id is not None else [None] * len(ra)
        places = zip(
            (ra - 180.0).tolist(), dec.tolist(), pixels.tolist(), radii.tolist(), ids, self._own(block), strict=True
        )
        for number, (longitude, latitude, pixel, radius, own, columns) in enumerate(places, block.first):
            point = {"type": "Point", "coordinates": [longitude, latitude]}
            document = {**self._head(number), "coordinates": {"radec_geojson": point, "pixel": Int64(pixel)}}
            if own is not None:
                document["id"] = own
            if roles.radius is not None:
                document["radius"] = radius
            yield {**document, "columns": columns}

    def _own(self, block: Block) -> Iterator[Document]:
        """The user's own columns of each row, without those that are empty there."""
        for place in range(len(next(iter(block.columns.values())))):
            values = ((name, block.columns[name][place]) for name in self.columns)
            yield {name: value for name, value in values if value is not None}


def _numbers(block: Block, name: str, right: Callable[[float], bool], bounds: str) -> np.ndarray:
    """A column of numbers within bounds, shape (N,)."""
    values = enumerate(block.columns[name], block.first)
    return np.array([_checked(number, name, value, right, bounds) for number, value in values])


def _checked(number: int, name: str, value: Any, right: Callable[[float], bool], bounds: str) -> float:
    value = None if is_missing(value) else value
    as_number = number_of(value) if isinstance(value, str) else value
    if isinstance(as_number, float | int) and not isinstance(as_number, bool) and right(as_number):
        return float(as_number)
    at = f"row {number}, column {name}"
    if value is None:
        raise WatchlistError(f"{at}: it is empty: it must be {bounds}, or leave the row out")
    if as_number is None:
        raise WatchlistError(f"{at}: {value[:50]!r} is no number: it must be one, {bounds}")
    raise WatchlistError(f"{at}: {value} must be {bounds}: correct it, or leave the row out")


def _encoded(document: Document, number: int) -> bytes:
    try:
        encoded = bson.encode(document)
    except (BSONError, OverflowError, UnicodeError) as error:
        raise WatchlistError(f"row {number} can't be stored: {error}") from None
    if len(encoded) > LARGEST_ROW:
        raise WatchlistError(f"row {number} has {len(encoded)} bytes: leave columns out, {LARGEST_ROW} are allowed")
    return encoded
