"""Types of the fields that several requests share."""

import ast
import math
from collections.abc import Callable
from typing import Annotated, Any

from bson import json_util
from bson.errors import BSONError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from kowalski.filters.language import MAX_DEPTH, TooDeep

#: rad in one unit
UNITS = {"arcsec": math.radians(1 / 3600), "arcmin": math.radians(1 / 60), "deg": math.radians(1), "rad": 1.0}


class Body(BaseModel):
    """Part of a request: keys that it doesn't name are ignored, as clients of all ages send some."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


def literal(text: str) -> Any:
    """The value of a Python literal.

    Raises
    ------
    ValueError : it isn't one
    """
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError("not a Python literal") from None


def _literal_or(kind: type, complaint: str) -> Callable[[Any], Any]:
    """A validator that takes a value of a kind, the text of a Python literal of that kind, or None for an empty one."""

    def read(value: Any) -> Any:
        if value is None:
            return kind()
        if isinstance(value, str):
            try:
                value = literal(value)
            except ValueError:
                raise ValueError(complaint) from None
        if not isinstance(value, kind):
            raise ValueError(complaint)
        return _extended(value)

    return read


def _extended(value: Any, depth: int = 0) -> Any:
    """A value with ``{"$oid": ...}`` and ``{"$date": ...}`` as what they stand for: ids and dates, which JSON has no words for."""
    if depth > MAX_DEPTH:
        raise TooDeep
    if isinstance(value, list | tuple):
        return [_extended(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() in ({"$oid"}, {"$date"}):
        try:
            return json_util.object_hook(value, json_util.RELAXED_JSON_OPTIONS)
        except (ValueError, TypeError, OverflowError, BSONError):
            raise ValueError(f"{str(value)[:100]} is no id or date in extended JSON") from None
    return {key: _extended(item, depth + 1) for key, item in value.items()}


def _unit(name: str) -> str:
    if name not in UNITS:
        raise ValueError(f"Angular units not in {tuple(UNITS)}")
    return name


def _at_least_one_stage(pipeline: list[Any]) -> list[Any]:
    if not pipeline:
        raise ValueError("Pipeline must contain at least one stage")
    if not all(isinstance(stage, dict) for stage in pipeline):
        raise ValueError("Unsupported pipeline specification")
    return pipeline


def _milliseconds(value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if number < 1:
        raise ValueError("ValueError: max_time_ms must be int >= 1")
    return number


def _pairs(value: Any) -> Any:
    """``{field: direction}``, ``[[field, direction], ...]`` or one field's name, as a list of pairs."""
    if isinstance(value, str):
        return [(value, 1)]
    return list(value.items()) if isinstance(value, dict) else value


Name = Annotated[str, Field(min_length=1), BeforeValidator(lambda value: value.strip() if isinstance(value, str) else value)]  # fmt: skip
Filter = Annotated[dict[Any, Any], BeforeValidator(_literal_or(dict, "Unsupported filter specification"))]
Projection = Annotated[dict[Any, Any], BeforeValidator(_literal_or(dict, "Unsupported projection specification"))]
Pipeline = Annotated[
    list[Any],
    AfterValidator(_at_least_one_stage),
    BeforeValidator(_literal_or(list, "Unsupported pipeline specification")),
]
Unit = Annotated[str, AfterValidator(_unit)]
Milliseconds = Annotated[int | None, BeforeValidator(_milliseconds)]
Order = Annotated[list[tuple[str, int | str | dict[str, Any]]], BeforeValidator(_pairs)]
Distance = Annotated[float, Field(ge=0, allow_inf_nan=False)]
