"""From a packet's record to an alert: checked, split into document and history, with coordinates."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from bson.int64 import Int64

from kowalski.alerts.coordinates import coordinates
from kowalski.alerts.decode import Packet, decode
from kowalski.alerts.lightcurve import Arrival
from kowalski.alerts.survey import Survey
from kowalski.alerts.wire import Schemas, decode_wire
from kowalski.errors import PacketError


@dataclass(slots=True)
class Alert:
    """One alert on its way through the chain.

    Attributes
    ----------
    document : what is stored, the packet without its histories
    histories : the lists of earlier points, as the packet brought them
    packet : the message it came in
    """

    candid: int
    object_id: str
    jd: float
    ra: float
    dec: float
    document: dict[str, Any]
    histories: dict[str, list[dict[str, Any]]]
    packet: Packet

    @property
    def candidate(self) -> dict[str, Any]:
        """The detection."""
        candidate: dict[str, Any] = self.document["candidate"]
        return candidate


@dataclass(frozen=True, slots=True)
class Refusal:
    """A packet that can't be processed, and why."""

    packet: Packet
    reason: str
    detail: str


def no_schemas(number: int) -> Any:
    """Nothing: for those who read only packets that bring their schema along."""
    raise PacketError("unknown_schema", f"schema {number}: nobody was given to ask for it")


def read_batch(
    packets: list[Packet],
    survey: Survey,
    schemas: Schemas = no_schemas,
    accept: Callable[[Any], None] = lambda schema: None,
) -> tuple[list[Alert], list[Refusal]]:
    """The alerts of a batch, copies included, with coordinates; and the packets refused.

    Parameters
    ----------
    schemas : gives the schema that a message names by number
    accept : refuses, by raising `PacketError`, a schema that the chain can't live with
    """
    batch: list[Alert] = []
    refusals: list[Refusal] = []
    for packet in packets:
        try:
            records = read_packet(packet.data, survey, schemas, accept)
            batch += [read_record(survey.normalise(record), packet, survey) for record in records]
        except PacketError as error:
            refusals.append(Refusal(packet, error.reason, error.detail))
    if batch:
        positions = coordinates(np.array([alert.ra for alert in batch]), np.array([alert.dec for alert in batch]))
        for alert, place in zip(batch, positions, strict=True):
            alert.document["coordinates"] = place
    return batch, refusals


def read_packet(data: bytes, survey: Survey, schemas: Schemas, accept: Callable[[Any], None]) -> list[dict[str, Any]]:
    """The records of one message, in whichever of the ways that its survey has."""
    if survey.schemas is not None and data[:1] == b"\0":
        return decode_wire(data, schemas, accept)
    return decode(data, accept)


def read_record(record: dict[str, Any], packet: Packet, survey: Survey) -> Alert:
    """The alert of one record, once all that the chain needs is there and makes sense.

    Raises
    ------
    PacketError : ``field``, ``cutout``, ``position`` or ``history``
    """
    candidate = _require(record, "candidate", dict)
    jd = _number(candidate, "jd")
    ra, dec = _position(candidate)
    for field in ("magpsf", "sigmapsf"):
        if field in candidate and candidate[field] is not None:
            _require(candidate, field, int | float)
    candid = _require(record, "candid", int)
    object_id = _require(record, survey.object_id, str)
    if not object_id:
        raise PacketError("field", f"{survey.object_id} is empty")
    for role in survey.cutouts:
        _check_cutout(record, role, survey)
    histories = {history.field: _points(record, history.field) for history in survey.histories}
    document = {key: value for key, value in record.items() if key not in histories}
    document["objectId"] = object_id  # beside the survey's own name, where that is another
    document["candid"] = Int64(candid)
    if isinstance(candidate.get("candid"), int):
        candidate["candid"] = Int64(candidate["candid"])
    document["classifications"] = {}
    return Alert(candid, object_id, jd, ra, dec, document, histories, packet)


def arrival(alert: Alert, survey: Survey) -> Arrival:
    """What an alert's packet says about its object, ready to be merged."""
    return Arrival(
        source=(alert.jd, alert.candid),
        first_alert={
            "jd": alert.jd,
            "candid": Int64(alert.candid),
            "ra": alert.ra,
            "dec": alert.dec,
            "forced_complete": survey.forced_complete(alert.candidate),
        },
        histories={
            history.field: history.prepare(alert.histories[history.field], alert.candidate)
            for history in survey.histories
        },
        programme=_programme(alert.candidate, survey),
    )


def _programme(candidate: Mapping[str, Any], survey: Survey) -> int | None:
    value = candidate.get(survey.program_field) if survey.program_field else None
    return value if isinstance(value, int) else None


def _require(record: Mapping[str, Any], field: str, kind: Any) -> Any:
    value = record.get(field)
    if not isinstance(value, kind) or isinstance(value, bool):
        shown = (
            f": {str(value)[:60]!r}" if isinstance(value, int | float | str | bytes) else ""
        )  # not a list of any size
        found = "missing" if value is None else f"a {type(value).__name__}{shown}"
        raise PacketError("field", f"{field} is {found}")
    return value


def _number(record: Mapping[str, Any], field: str) -> float:
    value = float(_require(record, field, int | float))
    if not math.isfinite(value):
        raise PacketError("field", f"{field} is {value}")
    return value


def _position(candidate: Mapping[str, Any]) -> tuple[float, float]:
    """ra in [0, 360) and dec, deg; 360 is 0."""
    try:
        ra, dec = _number(candidate, "ra"), _number(candidate, "dec")
    except PacketError as error:
        raise PacketError("position", error.detail) from None
    if not 0 <= ra <= 360 or not -90 <= dec <= 90:
        raise PacketError("position", f"ra {ra}, dec {dec} is not on the sky")
    return ra % 360.0, dec


def _check_cutout(record: Mapping[str, Any], role: str, survey: Survey) -> None:
    if survey.lacks(record, role):
        return
    try:
        stamp = survey.stamp(record, role)
    except (KeyError, TypeError):
        stamp = None
    if not isinstance(stamp, bytes) or not stamp:
        raise PacketError("cutout", f"{survey.cutouts[role]} is missing or empty")


def _points(record: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    points = record.get(field) or []
    if not isinstance(points, list):
        raise PacketError("history", f"{field} is a {type(points).__name__}, not a list")
    for point in points:
        if not isinstance(point, dict) or not isinstance(jd := point.get("jd"), float) or not math.isfinite(jd):
            raise PacketError("history", f"{field} has a point without a jd")
    return points
