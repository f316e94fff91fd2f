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
SOURCE_FIELDS = {"id", "group_ids", "origin", "ignore_if_in_group_ids", "saver_per_group_id"}
FOLLOW_UP_FIELDS = {
    "obj_id",
    "allocation_id",
    "payload",
    "target_group_ids",
    "source_group_ids",
    "ignore_source_group_ids",
    "ignore_allocation_ids",
    "not_if_duplicates",
    "not_if_classified",
    "not_if_spectra_exist",
    "not_if_tns_classified",
    "not_if_tns_reported",
    "not_if_assignment_exists",
    "radius",
}
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


def check_source(body: Body) -> None:
    """POST /api/sources of an object that is there."""
    _only(body, SOURCE_FIELDS)
    object_id = body.get("id")
    text = f"Failed to post source: id {object_id!r}"
    require(isinstance(object_id, str) and re.fullmatch(r"[A-Za-z0-9_\-;:+.]+", object_id) is not None, text)
    require(
        _integers(body.get("group_ids")) and bool(body["group_ids"]),
        "Failed to post source: group_ids must not be empty",
    )
    for name in ("ignore_if_in_group_ids", "saver_per_group_id"):
        by_group = body.get(name, {})
        text = f"Failed to post source: {name} {by_group!r}"
        require(isinstance(by_group, dict) and {str(one) for one in body["group_ids"]} >= by_group.keys(), text)
        values = list(by_group.values())
        require(all(map(_integers, values)) if name.startswith("ignore") else _integers(values), text)
    require(isinstance(body.get("origin"), str | None), "Failed to post source: origin is no text")


def check_comment(body: Body) -> None:
    """POST of a comment on a source."""
    _only(body, {"text", "group_ids"})
    require(isinstance(body.get("text"), str) and bool(body["text"]), "Missing required field `text`")
    require(body.get("group_ids") is None or _integers(body["group_ids"]), "group_ids must be a list of integers")


def check_follow_up(body: Body, new: bool) -> None:
    """POST or PUT of a follow-up request: dates in ISO form, a priority that is a number."""
    _only(body, FOLLOW_UP_FIELDS if new else {"obj_id", "allocation_id", "payload"})
    require(isinstance(body.get("obj_id"), str) and bool(body["obj_id"]), "obj_id: not a text")
    require(_integers([body.get("allocation_id")]), "allocation_id: not an integer")
    payload = body.get("payload")
    require(isinstance(payload, dict) and bool(payload) and is_json(payload), "payload: not an object")
    for name in ("target_group_ids", "source_group_ids", "ignore_source_group_ids", "ignore_allocation_ids"):
        require(_integers(body.get(name, [])), f"{name}: not a list of integers")
    for name in sorted(FOLLOW_UP_FIELDS):
        if name.startswith("not_if_") and name in body:
            hours = name == "not_if_tns_reported"
            require(
                isinstance(body[name], int) and isinstance(body[name], bool) is not hours, f"{name}: {body[name]!r}"
            )
    require(is_finite(body.get("radius", 0.5)), "radius: not a number")
    checked: Body = body["payload"]
    for name in ("start_date", "end_date"):
        if name in checked:
            parse_time(checked[name], name)
    for name in ("priority", "urgency", "Urgency"):
        require(is_finite(checked.get(name, 0)), f"payload: {name} {checked.get(name)!r}")


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
