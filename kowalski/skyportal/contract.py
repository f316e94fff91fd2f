"""What SkyPortal takes and what it refuses: the rules for the bodies of its requests, the stricter of its versions.

Each function returns or raises `Refused` with SkyPortal's status; nothing here knows what was sent before.
"""

import base64
import binascii
import io
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

Body = Mapping[str, Any]

THUMBNAIL_TYPES = {"new", "ref", "sub", "sdss", "dr8", "ls", "ps1", "sm", "hst", "chandra", "jwst"}
THUMBNAIL_TYPES |= {"new_gz", "ref_gz", "sub_gz"}
MAGNITUDE_SYSTEMS = ("ab", "vega", "bd17", "csp", "jla1", "ab-b12", "vegahst")
MICROJANSKY_ZERO_POINT = 23.9
MAX_ROWS = 10_000

CANDIDATE_FIELDS = {
    "id",
    "ra",
    "dec",
    "filter_ids",
    "passed_at",
    "passing_alert_id",
    "score",
    "origin",
    "altdata",
    "alias",
}
ANNOTATION_FIELDS = {"obj_id", "origin", "data", "group_ids"}
THUMBNAIL_FIELDS = {"obj_id", "data", "ttype"}
ROW_FIELDS = ("mjd", "filter", "magsys", "zp", "fluxerr", "flux", "ra", "dec", "ra_unc", "dec_unc", "origin")
REQUEST_FIELDS = {"obj_id", "instrument_id", "stream_ids", "group_ids", "altdata", "assignment_id"}
REFERENCE_FIELDS = {"ref_flux", "ref_fluxerr", "ref_zp"}


class Refused(Exception):
    """A message that SkyPortal doesn't take. ``conflict``: it is right in itself, but there is such a thing already."""

    def __init__(self, message: str, status: int = 400, conflict: bool = False):
        super().__init__(message)
        self.status = status
        self.conflict = conflict


class Row(NamedTuple):
    """A point of photometry as SkyPortal stores it: flux (None: upper limit) and its error in microjansky."""

    origin: str
    mjd: float
    fluxerr: float
    flux: float | None
    filter: str


def require(condition: bool, message: str, status: int = 400) -> None:
    """Refuse unless."""
    if not condition:
        raise Refused(message, status)


def json_object(body: Any) -> Body:
    """A request's body, which must be one JSON object."""
    require(isinstance(body, dict), "the body is not a JSON object", 500)
    checked: Body = body
    return checked


def is_number(value: Any) -> bool:
    """Whether JSON gave a number, finite or not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether JSON gave a finite number."""
    return is_number(value) and math.isfinite(value)


def _only(body: Body, fields: set[str]) -> None:
    require(not set(body) - fields, f"Unknown field: {', '.join(sorted(set(body) - fields))}")


def _integers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, int) and not isinstance(one, bool) for one in value)


def check_candidate(body: Body) -> datetime:
    """POST /api/candidates; returns ``passed_at`` (UTC)."""
    _only(body, CANDIDATE_FIELDS)
    require(isinstance(body.get("id"), str) and bool(body["id"]), "id must be a text")
    for name, limit in (("ra", 360.0), ("dec", 90.0)):
        value = body.get(name)
        require(value is None or is_finite(value), f"{name} is not a number", 500)
        # SkyPortal itself stores any number, and its list of candidates fails from then on
        require(
            value is None or -90 <= value <= limit and (name == "dec" or value >= 0), f"{name} {value} is no position"
        )
    require(_integers(body.get("filter_ids")), "filter_ids must be a list of integers", 500)
    require(bool(body["filter_ids"]), "At least one valid filter ID must be provided.")
    alert_id = body.get("passing_alert_id")
    require(alert_id is None or _integers([alert_id]) and abs(alert_id) < 2**63, "passing_alert_id is no integer", 500)
    require(body.get("score") is None or is_finite(body["score"]), "score: not a valid number")
    require(isinstance(body.get("origin"), str | None), "origin: not a text")
    return parse_time(body.get("passed_at"), "passed_at")


def parse_time(value: Any, name: str) -> datetime:
    """A time in ISO form, UTC unless it says otherwise."""
    require(isinstance(value, str), f"Missing required parameter: `{name}`.")
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise Refused(f"Invalid {name} value: {value}") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def check_annotation(body: Body, new: bool) -> None:
    """POST or PUT of an annotation; a new one needs origin and data."""
    _only(body, ANNOTATION_FIELDS | (set() if new else {"author_id"}))
    if new or "origin" in body:
        require(
            isinstance(body.get("origin"), str) and re.match(r"\w+", body["origin"]) is not None,
            "origin missing or bad",
        )
    if new or "data" in body:
        require(isinstance(body.get("data"), dict), "data: not an object")
        require(all(is_json(value) for value in body["data"].values()), "NaN in data", 500)
    require(body.get("group_ids") is None or _integers(body["group_ids"]), "group_ids must be a list of integers", 500)


def is_json(value: Any) -> bool:
    """Whether a value is free of NaN and infinities."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(is_json(item) for item in value.values())
    return all(is_json(item) for item in value) if isinstance(value, list) else True


def check_thumbnail(body: Body) -> None:
    """POST /api/thumbnail: a PNG between 16 and 500 pixels a side."""
    _only(body, THUMBNAIL_FIELDS)
    for name in THUMBNAIL_FIELDS:
        require(isinstance(body.get(name), str), f"Thumbnail failed to post: missing {name}")
    require(body["ttype"] in THUMBNAIL_TYPES, f"Thumbnail failed to post: ttype {body['ttype']}")
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(body["data"], validate=True)))
        picture.load()
    except (binascii.Error, UnidentifiedImageError, OSError, SyntaxError) as error:
        raise Refused(f"Thumbnail failed to post: {error}") from error
    require(picture.format == "PNG", "Thumbnail failed to post: not a PNG")
    require(all(16 <= side <= 500 for side in picture.size), f"Thumbnail failed to post: size {picture.size}")


def photometry_rows(body: Body, bands: set[str], ignore_flux: bool) -> list[Row]:
    """PUT /api/photometry in flux form: the rows as they are stored.

    ``bands``: the filters of the instrument. ``ignore_flux``: points are told apart by their mjd alone.
    """
    _only(body, set(ROW_FIELDS) | REQUEST_FIELDS | REFERENCE_FIELDS)
    require(_integers(body.get("stream_ids", [])), "stream_ids must be a list of integers")
    require(
        body.get("group_ids", []) == "all" or _integers(body.get("group_ids", [])), "group_ids must be a list or all"
    )
    for name in ("mjd", "filter", "magsys", "zp", "fluxerr"):
        require(name in body, f"Error parsing packet: missing required field {name}.")
    rows = [_row(point, bands) for point in _points(body)]
    require(len(rows) <= MAX_ROWS, f"more than {MAX_ROWS} rows")
    keys = {(row.origin, row.mjd) if ignore_flux else row[:4] for row in rows}
    require(len(keys) == len(rows), "Traceback: UniqueViolation: the same point twice in one request")
    return rows


def _points(body: Body) -> Iterator[dict[str, Any]]:
    columns = {name: body[name] for name in ROW_FIELDS if name in body}
    lengths = {len(values) for values in columns.values() if isinstance(values, list)}
    require(len(lengths) <= 1, f"lists of different lengths: {sorted(lengths)}")
    require(lengths != {0}, "no rows")
    for index in range(lengths.pop() if lengths else 1):
        yield {name: values[index] if isinstance(values, list) else values for name, values in columns.items()}


def _row(point: Body, bands: set[str]) -> Row:
    for name in ("mjd", "zp", "fluxerr"):
        require(is_finite(point[name]), f"Error parsing packet: {name} is {point[name]}")
    for name in ("ra", "dec", "ra_unc", "dec_unc"):
        require(point.get(name) is None or is_finite(point[name]), f"Error parsing packet: {name} is {point.get(name)}")
    require(point["fluxerr"] > 0, "fluxerr must be positive (non-zero)")
    flux = point.get("flux")
    require(flux is None or is_finite(flux), f"flux must be finite, not {flux}")
    require(point["magsys"] in MAGNITUDE_SYSTEMS, f"magsys {point['magsys']}")
    require(point["filter"] in bands, f"Traceback: the instrument has no filter {point['filter']}.")
    require(isinstance(point.get("origin"), str | None), "origin is no text")
    to_microjansky = 10 ** (-0.4 * (point["zp"] - MICROJANSKY_ZERO_POINT))
    flux = None if flux is None else flux * to_microjansky
    return Row(str(point.get("origin")), point["mjd"], point["fluxerr"] * to_microjansky, flux, point["filter"])
