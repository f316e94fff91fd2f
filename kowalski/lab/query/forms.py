"""What each kind of query asks for in its form, and the body of ``POST /api/queries`` that a filled form stands for."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from kowalski.api.errors import BadRequest, explain
from kowalski.api.models.fields import UNITS, literal
from kowalski.api.models.queries import QUERY, AnyQuery
from kowalski.nesting import LEVELS, is_too_deep

#: characters of a form that the lab keeps
MOST = 100_000
COMMANDS = ("catalog_names", "catalog_info", "index_info", "db_info")


class Kind(NamedTuple):
    """One kind of query.

    Attributes
    ----------
    title : what it gives, in a few words
    fields : of its form, in their order
    """

    title: str
    fields: tuple[str, ...]


READ = ("sort", "skip", "limit")
PART = ("filter", "projection")
KINDS: Mapping[str, Kind] = {
    "find": Kind("documents that meet a condition", ("catalog", *PART, *READ)),
    "find_one": Kind("the first document that meets a condition", ("catalog", *PART, "sort")),
    "aggregate": Kind("what a pipeline makes of a catalogue", ("catalog", "pipeline", "limit")),
    "cone_search": Kind("rows around positions", ("catalog", "radec", "radius", "unit", *PART, *READ)),
    "near": Kind("the nearest rows to positions, the nearest first", ("catalog", "radec", "min_distance", "max_distance", "unit", *PART, "limit")),
    "skymap": Kind("rows within a stored sky map", ("catalog", "dateobs", "localization_name", "contour", *PART, *READ)),
    "count_documents": Kind("how many documents meet a condition", ("catalog", "filter")),
    "estimated_document_count": Kind("how many documents a catalogue has", ("catalog",)),
    "info": Kind("names, sizes and indexes of catalogues", ("command", "catalog")),
}  # fmt: skip
#: of all kinds
ALWAYS = ("max_time_ms", "comment")
NAMES = frozenset(name for kind in KINDS.values() for name in kind.fields) | set(ALWAYS)
#: what stands in a fresh form
FRESH = {"limit": "100", "radius": "5", "unit": "arcsec", "max_distance": "30", "contour": "90", "filter": "{}"}


def query_of(kind: str, fields: Mapping[str, str]) -> tuple[dict[str, Any], AnyQuery]:
    """The body of the request that a form stands for, and the query that it is.

    Raises
    ------
    BadRequest : something in the form is wrong; the text names the field
    """
    if kind not in KINDS:
        raise BadRequest(f"{kind!r:.100} is no kind of query")
    if sum(map(len, fields.values())) > MOST:
        raise BadRequest(f"the form has more than {MOST} characters: send this query to POST /api/queries")
    given = {name: _read(name, fields[name]) for name in (*KINDS[kind].fields, *ALWAYS) if fields.get(name, "").strip()}
    options = {name: given.pop(name) for name in (*READ, *ALWAYS) if name in given}
    query = SHAPES.get(kind, dict)(given)
    body = {"query_type": kind, "query": query, "kwargs": options}
    try:
        body = json.loads(json.dumps(body, allow_nan=False))
        if is_too_deep(body):
            raise BadRequest(f"the query is nested deeper than {LEVELS} levels")
        return body, QUERY.validate_python(body)
    except ValidationError as error:
        raise BadRequest(explain(error)) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise BadRequest(f"this can't be written as JSON: {error}") from None


def _read(name: str, text: str) -> Any:
    text = text.strip()
    read = READERS.get(name)
    if read is None:
        return text
    try:
        return read(text)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}") from None


def _value(text: str) -> Any:
    """The value of JSON, or of a Python literal."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        try:
            return literal(text)
        except ValueError:
            raise ValueError(f"neither JSON nor a Python literal: {error}") from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _order(text: str) -> Any:
    """A field's name, with a minus before it for the largest first, or pairs as JSON."""
    if text.startswith(("[", "{", "(")):
        return _value(text)
    return [[text.lstrip("-"), -1 if text.startswith("-") else 1]]


def _positions(text: str) -> Any:
    """One position a line, or what the API takes, as JSON."""
    if text.startswith(("[", "{", "(")):
        return _value(text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r:.50} is no whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r:.50} is no number") from None


READERS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("filter", "projection", "pipeline"), _value),
    **dict.fromkeys(("skip", "limit", "max_time_ms"), _whole),
    **dict.fromkeys(("radius", "min_distance", "max_distance", "contour"), _number),
    "sort": _order,
    "radec": _positions,
}


def _around(given: dict[str, Any]) -> dict[str, Any]:
    cone = {
        "cone_search_radius": given.get("radius"),
        "cone_search_unit": given.get("unit"),
        "radec": given.get("radec"),
    }
    return {"object_coordinates": cone, "catalogs": _parts(given)}


def _near(given: dict[str, Any]) -> dict[str, Any]:
    distances: dict[str, Any] = {name: given[name] for name in ("min_distance", "max_distance") if name in given}
    return {"radec": given.get("radec"), **distances, "distance_units": given.get("unit"), "catalogs": _parts(given)}


def _within(given: dict[str, Any]) -> dict[str, Any]:
    skymap = {name: given.pop(name) for name in ("localization_name", "dateobs", "contour") if name in given}
    return {**given, "skymap": skymap}


def _parts(given: dict[str, Any]) -> dict[str, Any]:
    return {given.get("catalog", ""): {name: given[name] for name in PART if name in given}}


SHAPES: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "cone_search": _around,
    "near": _near,
    "skymap": _within,
}
UNIT_NAMES = tuple(UNITS)
