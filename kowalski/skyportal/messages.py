"""What SkyPortal is told about an alert: pure functions from stored documents to the bodies of its requests."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kowalski.alerts.lightcurve import as_of
from kowalski.alerts.points import plain
from kowalski.alerts.survey import History, Survey
from kowalski.errors import PacketError, SkyPortalError
from kowalski.skyportal.photometry import Columns, make_photometry, photometry_requests
from kowalski.skyportal.thumbnails import THUMBNAILS, make_thumbnail

ORIGIN = "Kowalski"
DATE = "%Y-%m-%dT%H:%M:%S.%f"

#: d of history that a packet carries, and a little more
PACKET_DAYS = 31.0

Document = Mapping[str, Any]
Message = dict[str, Any]


class PhotometryMessage(NamedTuple):
    """A request of photometry; ``overwrite``: points that SkyPortal has get the new flux."""

    body: Message
    overwrite: bool


def candidate_message(entries: Sequence[Document], alert: Document, survey: Survey, later: int = 0) -> Message:
    """An alert as a candidate of the filters of some outbox entries, which share their ``passed_at``.

    ``later``: microseconds added to it, see `moment`.

    Raises
    ------
    PacketError : the position is none (SkyPortal would store it, and its list of candidates would fail from then on)
    """
    candidate = alert["candidate"]
    ra, dec = candidate["ra"], candidate["dec"]
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise PacketError("position", f"ra {ra}, dec {dec} is no position in degrees")
    message = {
        "id": entries[0]["objectId"],
        "ra": float(ra),
        "dec": float(dec),
        "filter_ids": [int(entry["filter_id"]) for entry in entries],
        "passing_alert_id": int(entries[0]["candid"]),
        "passed_at": moment(entries[0], later).strftime(DATE),
        "origin": ORIGIN,
    }
    scores = (candidate.get(name) for name in survey.score_fields)
    score = next((value for value in scores if value is not None and math.isfinite(value)), None)
    return message if score is None else {**message, "score": float(score)}


def moment(entry: Document, later: int = 0) -> datetime:
    """When an alert passed, as SkyPortal is told: object, filter and this make a candidate.

    The outbox has milliseconds, which two alerts of an object may share. The microseconds are their candids', so that they differ all
    the same: of two equal ones a newer SkyPortal takes the second for the first, and says that all is well.
    """
    microseconds = int(entry["candid"]) % 997 + later  # a prime, since the candids of an object may end alike
    passed_at: datetime = entry["passed_at"].astimezone(UTC)
    return passed_at + timedelta(microseconds=microseconds)


def annotation_origin(entry: Document, group: Document) -> str:
    """Who annotates: ``<group's nickname or name>:<filter's name>``.

    Raises
    ------
    SkyPortalError : the group has no filter of that number
    """
    names = {one["id"]: one["name"] for one in group.get("filters", ())}
    if entry["filter_id"] not in names:
        raise SkyPortalError(f"group {group['id']} has no filter {entry['filter_id']} on SkyPortal", 400)
    return f"{group.get('nickname') or group['name']}:{names[entry['filter_id']]}"


def annotation_message(entry: Document, origin: str) -> Message:
    """What a filter says about an object."""
    return {
        "obj_id": entry["objectId"],
        "origin": origin,
        "data": json_ready(entry["annotations"]),
        "group_ids": [entry["group_id"]],
    }


def source_message(entries: Sequence[Document]) -> Message:
    """An object saved for the groups of some filters; SkyPortal leaves out those whose ignored groups have it already."""
    object_id, groups = entries[0]["objectId"], list(dict.fromkeys(int(entry["group_id"]) for entry in entries))
    ignored: dict[str, list[int]] = {}
    savers: dict[str, int] = {}
    for entry in entries:
        group, autosave = str(entry["group_id"]), entry["autosave"]
        if autosave["ignore_group_ids"]:
            ignored[group] = list(dict.fromkeys([*ignored.get(group, ()), *autosave["ignore_group_ids"]]))
        if autosave["saver_id"] is not None:
            savers.setdefault(group, autosave["saver_id"])
    message: Message = {"id": object_id, "group_ids": groups, "origin": ORIGIN}
    if ignored:
        message["ignore_if_in_group_ids"] = ignored
    if savers:
        message["saver_per_group_id"] = savers
    return message


def comment_message(text: str, group_ids: Sequence[int]) -> Message:
    """A comment that some groups can read."""
    return {"text": text, "group_ids": list(group_ids)}


def withdrawal_text(entry: Document) -> str:
    """What people are told of an alert that its survey has withdrawn."""
    moment = datetime(2000, 1, 1, 12, tzinfo=UTC) + timedelta(days=entry["withdrawn_jd"] - 2451545.0)
    return f"{entry['survey']} withdrew alert {entry['candid']} on {moment:%Y-%m-%d %H:%M} UTC"


def follow_up_message(request: Document, now: datetime) -> Message:
    """A request to a telescope as it is sent now; its dates count from now, unless it is urgent and has none."""
    data: Message = json_ready(request["data"])
    if not request["dated"]:
        return data
    until = now + timedelta(days=request["validity_days"])
    dates = {"start_date": now.strftime(DATE), "end_date": until.strftime(DATE)}
    return {**data, "payload": {**data["payload"], **dates}}


def full_light_curve(alert: Document, aux: Document, alerts: Sequence[Document], survey: Survey) -> Columns:
    """All that is stored of an object's light curve: its history and those of its alerts that are not yet in it."""
    history, forced = _histories(lambda each: aux.get(each.field) or (), survey)
    there = {point["candid"] for point in history if point.get("candid") is not None} | {alert["candid"]}
    others = [other["candidate"] for other in alerts if other["candid"] not in there]
    return make_photometry(alert["candidate"], history + others, _forced_to_send(aux, forced), survey)


def packet_light_curve(alert: Document, aux: Document, survey: Survey) -> Columns:
    """The part of an object's light curve that an alert's packet brought: the alert and the month before it."""
    jd = alert["candidate"]["jd"]
    month = partial(_of_last_month, aux, jd)
    history, forced = _histories(month, survey)
    return make_photometry(alert["candidate"], history, _forced_to_send(aux, forced), survey)


def _of_last_month(aux: Document, jd: float, history: History) -> list[Message]:
    return [plain(one) for one in as_of(aux, history, jd) if 0 <= jd - one["jd"] <= PACKET_DAYS]


def _histories(
    points_of: Callable[[History], Iterable[Message]], survey: Survey
) -> tuple[list[Message], list[Message]]:
    """The ordinary points of all histories, and the forced ones."""
    ordinary: list[Message] = []
    forced: list[Message] = []
    for history in survey.histories:
        (forced if history.forced else ordinary).extend(points_of(history))
    return ordinary, forced


def _forced_to_send(aux: Document, points: Sequence[Message]) -> list[Message]:
    """The forced points, where they cover the object from its beginning; of others SkyPortal would show a fragment."""
    complete = (aux.get("first_alert") or {}).get("forced_complete", True)
    return list(points) if complete else []


def photometry_messages(
    object_id: str, light_curve: Columns, survey: Survey, instrument_id: int, stream_ids: Mapping[str, int]
) -> Iterator[PhotometryMessage]:
    """A light curve as requests, one per stream, ordinary points first, then forced ones."""
    for stream, forced, rows in photometry_requests(light_curve, survey):
        body = {"obj_id": object_id, "instrument_id": instrument_id, "stream_ids": [stream_ids[stream]], "magsys": "ab"}
        body |= {name: _nullable(rows[name]) for name in ("mjd", "flux", "fluxerr", "zp", "filter", "ra", "dec")}
        if None not in survey.streams:
            body["origin"] = rows["origin"].tolist()
        yield PhotometryMessage(body, overwrite=forced)


def _nullable(column: np.ndarray) -> list[Any]:
    return [None if value != value else value for value in column.tolist()]


def thumbnail_message(object_id: str, alert: Document, role: str, survey: Survey) -> Message:
    """One cutout (science, template or difference) as a thumbnail.

    Raises
    ------
    PacketError : the cutout is missing or unreadable
    """
    try:
        stamp = survey.stamp(alert, role)
    except (KeyError, TypeError) as error:
        raise PacketError("cutout", f"no {role} cutout") from error
    return {"obj_id": object_id, "data": make_thumbnail(stamp, role, survey), "ttype": THUMBNAILS[role]}


def json_ready(value: Any) -> Any:
    """A value as a pipeline may return it, in what JSON has: dates as ISO text, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
