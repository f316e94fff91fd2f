"""The tables and their columns: a survey's own schema for what its packets say, and the names that are the same for all surveys.

Every column may be null. What a document has beside the columns of its table, or in another type, stands as JSON in ``more``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from kowalski.alerts.survey import Survey
from kowalski.archive.tables.arrow import PLAIN, Kind, kind_of, record_of, schema_of, with_nulls

MOMENT = {"type": "long", "logicalType": "timestamp-millis"}
KAFKA = {"type": "record", "name": "Kafka", "fields": [{"name": name, "type": kind} for name, kind in {"topic": "string", "partition": "int", "offset": "long", "timestamp": MOMENT}.items()]}  # fmt: skip

#: what stands in tables of all surveys under these names, in these types
ALERT: dict[str, Any] = {"objectId": "string", "candid": "long", "jd": "double", "ra": "double", "dec": "double", "kafka": KAFKA, "more": "string"}  # fmt: skip
POINT: dict[str, Any] = {"objectId": "string", "kind": "string", "jd": "double", "candid": "long", "fid": "int", "band": "string", "first_jd": "double", "alert_jd": "double", "alert_candid": "long", "more": "string"}  # fmt: skip
#: what a candidate and a point have where the survey's schema does not say otherwise
MEASURED: dict[str, Any] = {"candid": "long", "jd": "double", "fid": "int", "magpsf": "double", "sigmapsf": "double", "diffmaglim": "double", "isdiffpos": "boolean", "withdrawn_jd": "double"}  # fmt: skip
PLACED = {"programid": "int", "pid": "long", "ra": "double", "dec": "double"}
#: and what forced photometry is stored with
FORCED = dict.fromkeys(("mag", "magerr", "snr", "limmag3sig", "limmag5sig", "alert_mag", "alert_ra", "alert_dec"), "double")  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "scores": {"objectId": "string", "candid": "long", "jd": "double", "model": "string", "score": "double", "version": "string", "provenance": "string"},
    "matches": {"objectId": "string", "candid": "long", "jd": "double", "catalogue": "string", "row_id": "string", "distance_arcsec": "double", "row": "string", "provenance": "string"},
    "passes": {"objectId": "string", "candid": "long", "jd": "double", "filter_id": "long", "group_id": "long", "fid": "string", "filter_state": "string", "passed_at": MOMENT, "annotations": "string"},
    "salt2": {
        "objectId": "string", "candid": "long", "jd": "double", "model": "string", "version": "string", "z": "double", "z_source": "string",
        **dict.fromkeys(("t0", "x0", "x1", "c", "chi2"), "double"), "ndof": "long", "covariance": {"type": "array", "items": "double"},
        "parameters": {"type": "array", "items": "string"}, "reason": "string", "made_at": MOMENT, "more": "string",
    },
}  # fmt: skip
#: table -> what tells its rows apart
KEYS = {
    "alerts": ("candid",),
    "points": ("objectId", "kind", "jd", "candid", "fid", "pid"),
    "scores": ("candid", "model"),
    "matches": ("objectId", "catalogue", "row_id"),
    "passes": ("candid", "filter_id"),
    "salt2": ("objectId", "candid"),
}
TABLES = tuple(KEYS)
#: a value of each type from which a survey makes all that it can make
SAMPLES = {"double": 60_000.0, "float": 1.0, "long": 1, "int": 1, "boolean": True, "string": "", "bytes": b""}


@dataclass(frozen=True)
class Table:
    """One table of one survey: the kind of its rows, and the columns by which these are told apart."""

    name: str
    kind: Kind

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that tell rows apart."""
        return KEYS[self.name]

    @property
    def order(self) -> list[str]:
        """Columns by which a night's rows are sorted in the end."""
        return list(dict.fromkeys(("objectId", "jd", *self.key)))

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return schema_of(self.kind)


def tables_of(survey: Survey, schema: Any, cutouts: bool) -> dict[str, Table]:
    """The tables of a survey, by name.

    Parameters
    ----------
    schema : the survey's own, as Avro
    cutouts : whether alerts have their images

    Raises
    ------
    SchemaError : the schema can't be had as columns
    """
    own = kind_of(schema).fields
    measured = MEASURED | PLACED | (FORCED if any(history.forced for history in survey.histories) else {})
    kinds = {
        "alerts": _row({**_of_packets(survey, own, cutouts), "candidate": _candidate(survey, schema, own), **_kinds(ALERT)}),
        "points": _row({**_kinds(measured), **_of_points(survey, own), **_kinds(POINT)}),
        **{name: _row(_kinds(columns)) for name, columns in OTHERS.items()},
    }  # fmt: skip
    return {name: Table(name, kinds[name]) for name in TABLES}


def _row(fields: Mapping[str, Kind]) -> Kind:
    return record_of({name: _loose(kind) for name, kind in fields.items()})


def _loose(kind: Kind) -> Kind:
    """The same with nulls, in the fields of records, too."""
    if kind.fields:
        kind = record_of({name: _loose(each) for name, each in kind.fields.items()})
    return kind if kind.nullable else with_nulls(kind)


def _kinds(columns: Mapping[str, Any]) -> dict[str, Kind]:
    return {name: kind_of(kind) for name, kind in columns.items()}


def _of_packets(survey: Survey, own: Mapping[str, Kind], cutouts: bool) -> dict[str, Kind]:
    """The columns of a packet's own fields, without its histories and the name of its own for what is ``objectId`` elsewhere."""
    left_out = {*survey.history_fields, *(() if cutouts else survey.cutouts.values())}
    common = {name.lower() for name in ALERT}
    return {name: kind for name, kind in own.items() if name not in left_out and name.lower() not in common}


def _of_points(survey: Survey, own: Mapping[str, Kind]) -> dict[str, Kind]:
    """The fields of all points of histories, as the schema has them."""
    found: dict[str, Kind] = {}
    for history in survey.histories:
        if history.field in own and (point := own[history.field].items) is not None:
            found = {**point.fields, **found}
    return found


def _candidate(survey: Survey, schema: Any, own: Mapping[str, Kind]) -> Kind:
    """The candidate: the schema's, and what the survey makes of a packet, typed as in the packet where it has the same name."""
    named: dict[str, Kind] = {}
    for kind in reversed(list(own.values())):
        named |= kind.fields
    declared = own["candidate"].fields if "candidate" in own else {}
    made = survey.normalise(_sample(schema, {})).get("candidate") or {}
    measured = _kinds(MEASURED)
    fields = {name: measured.get(name) or named.get(name) or _kind_like(value) for name, value in made.items()}
    known = {**({} if declared else measured), **fields, **declared}
    return record_of({**known, "withdrawn_jd": measured["withdrawn_jd"]})


def _kind_like(value: Any) -> Kind:
    """The kind of a value that a survey makes."""
    names = {bool: "boolean", int: "long", float: "double", bytes: "bytes"}
    return PLAIN[next((name for kind, name in names.items() if isinstance(value, kind)), "string")]


def _sample(schema: Any, known: dict[str, Any]) -> Any:
    """A value of a type of which as much is there as can be."""
    if isinstance(schema, list):
        return next((_sample(branch, known) for branch in schema if branch != "null"), None)
    if isinstance(schema, str):
        return SAMPLES[schema] if schema in SAMPLES else _sample(known[schema], known) if schema in known else None
    if "name" in schema:
        known[schema["name"]] = schema
    return dict(_fields(schema, known)) if "fields" in schema else SAMPLES.get(schema["type"])


def _fields(schema: Any, known: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for each in schema["fields"]:
        yield each["name"], _sample(each["type"], known)
