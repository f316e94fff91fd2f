"""Packets of other surveys, made of simulated ones: each field holds what that of the same name does there, in its own type.

What a survey's packets look like is read of its own schema and of its declaration. Where its records are made otherwise altogether, a module
``as_<survey>`` beside this one has a function ``translated``: record of the model -> what its fields hold, by their names.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import fastavro

from kowalski.alerts.decode import decode
from kowalski.alerts.schemas import SCHEMAS, Schemas, own_schema, store_of
from kowalski.alerts.survey import Survey, get_survey
from kowalski.config import load_config
from kowalski.errors import StreamError
from kowalski.simulation.tracking import SimulatedPacket

#: the survey whose packets are simulated
MODEL = get_survey("ZTF")

_SYNC = b"kowalski-reshape"
_POSITIVE = ("t", "1", True)


def reshaped(
    packets: Iterable[SimulatedPacket], survey: Survey, schemas: Schemas | None = None
) -> Iterator[SimulatedPacket]:
    """The packets as those of a survey: the same bytes for the same packets.

    Raises
    ------
    StreamError : there is no schema of that survey's packets
    """
    if survey.name == MODEL.name:
        yield from packets
        return
    text = json.dumps(schema_of(survey, schemas))
    schema = fastavro.parse_schema(json.loads(text))
    whole = fastavro.parse_schema(json.loads(text), expand=True)  # each type where it is used, not its name
    module = f"kowalski.simulation.as_{survey.name.lower()}"
    translate = import_module(module).translated if find_spec(module) else lambda record: renamed(record, survey)
    for packet in packets:
        known, file = translate(decode(packet.data)[0]), io.BytesIO()
        fastavro.writer(file, schema, [_record(whole, known)], sync_marker=_SYNC)
        yield replace(packet, object_id=known[survey.object_id], data=file.getvalue())


def schema_of(survey: Survey, schemas: Schemas | None = None) -> Any:
    """The schema of a survey's packets: the project's own, or, where they name it by number, the one with its number.

    Raises
    ------
    StreamError : it isn't here
    """
    files = sorted(SCHEMAS.glob(f"{survey.name.lower()}_alert*.avsc"))
    if files:
        return json.loads(files[-1].read_text())
    found = own_schema(survey, schemas or store_of(survey, load_config()))
    if found is None:
        raise StreamError(f"packets of {survey.name} can't be simulated: their schema is not here (docs/lsst.md)")
    return {key: value for key, value in found.items() if not key.startswith("__")}


def renamed(record: Mapping[str, Any], survey: Survey) -> dict[str, Any]:
    """A record of the model under the names of a survey, whose objects have the survey's name in place of the model's."""
    object_id = survey.name + record[MODEL.object_id].removeprefix(MODEL.name)
    stamps = {role: MODEL.stamp(record, role) for role in MODEL.cutouts}
    cutouts = {
        survey.cutouts[role]: {**record[name], survey.stamp_field: stamps[role]} if survey.stamp_field else stamps[role]
        for role, name in MODEL.cutouts.items()
    }
    models = {history.forced: history.field for history in MODEL.histories}
    histories = {history.field: record[models[history.forced]] for history in survey.histories}
    return {**record, **cutouts, **histories, survey.object_id: object_id}


def _record(schema: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    return {field["name"]: _value(field["type"], known.get(field["name"])) for field in schema["fields"]}


def _value(kind: Any, value: Any) -> Any:
    """A value in a type of Avro; where there is none a null, or what says least."""
    if isinstance(kind, list):
        if value is None and "null" in kind:
            return None
        return _value(next(branch for branch in kind if branch != "null"), value)
    if isinstance(kind, str):
        neutral, cast = SCALARS[kind]
        return neutral if value is None else cast(value)
    match kind["type"]:
        case "record":
            return _record(kind, value or {})
        case "array":
            points = value if isinstance(value, list) and "fields" in kind["items"] else ()
            return [_record(kind["items"], point) for point in points if _is_whole(kind["items"], point)]
        case "map":
            return {}
        case "enum":
            return value if value in kind["symbols"] else kind["symbols"][0]
        case "fixed":
            return bytes(kind["size"])
        case further:  # a type with attributes, such as a logical one
            return _value(further, value)


def _is_whole(schema: Any, point: Mapping[str, Any]) -> bool:
    """Whether a point has all that the schema requires of what the model knows: some surveys' histories have no upper limits."""
    required = (field["name"] for field in schema["fields"] if "null" not in field["type"])
    return all(point[name] is not None for name in required if name in point)


def _number(value: Any) -> float:
    return float(value in _POSITIVE) if isinstance(value, str) else float(value)


#: type of Avro -> what says least, and how a value becomes one of that type
SCALARS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "string": ("", str),
    "bytes": (b"", bytes),
    "boolean": (False, lambda value: value in _POSITIVE),
    "int": (0, int),
    "long": (0, int),
    "float": (0.0, _number),
    "double": (0.0, _number),
}
