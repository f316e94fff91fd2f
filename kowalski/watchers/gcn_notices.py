"""Notices of the General Coordinates Network: of which event, with which sky map, or that there is none after all.

Three formats come over its Kafka: VOEvents (``gcn.classic.voevent.*``), JSON of the unified schema (``gcn.notices.*``), and
gravitational waves' JSON with the sky map inside (``igwn.gwalert``). They are told apart by what they hold, not by their topic.
"""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kowalski.errors import SkymapError
from kowalski.skymaps.localization import cone_name
from kowalski.skymaps.sources import CONE, Source, file_name, noticed_sources
from kowalski.skymaps.voevent import read_voevent

#: characters of an event's name
MAX_NAME = 200
#: share of the probability that an error of the unified schema holds where it does not say
CONTAINED = 0.9

Document = dict[str, Any]


@dataclass(frozen=True)
class EventNotice:
    """One notice.

    Attributes
    ----------
    event : the event's name, the same in all of its notices
    kind : what the notice calls itself
    known : ``dateobs``, ``aliases`` and ``triggerid``; ``dateobs`` is None where a retraction says no more
    sources : the event's sky map; the later ones are for when there is nothing at the first's URL
    retracts : whether the event is taken back
    test : whether it is none that happened
    """

    event: str
    kind: str
    known: Document
    sources: list[Source]
    retracts: bool = False
    test: bool = False


def read_notice(content: bytes) -> EventNotice:
    """The notice in a message.

    Raises
    ------
    SkymapError : it can't be read, or tells of no place on the sky
    """
    if content.lstrip()[:1] == b"<":
        return _voevent(content)
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        raise SkymapError("the notice is neither XML nor JSON") from None
    if not isinstance(told, dict):
        raise SkymapError("the notice is no JSON object")
    try:
        return _gravitational_wave(told) if "superevent_id" in told else _unified(told)
    except (TypeError, ValueError, OverflowError) as error:  # numbers beyond all bounds, texts where lists should be
        raise SkymapError(f"the notice can't be read: {error}") from None


def _voevent(content: bytes) -> EventNotice:
    notice = read_voevent(content)
    known = {"dateobs": notice.dateobs, "aliases": notice.aliases, "triggerid": notice.trigger_id}
    stream = notice.ivorn.rpartition("/")[2].partition("#")[0]
    grace = next((alias.partition("#")[2] for alias in notice.aliases if alias.startswith("LVC#")), None)
    trigger = notice.trigger_id if notice.trigger_id is not None else notice.ivorn.rpartition("#")[2]
    sources = [] if notice.retracts else noticed_sources(notice)
    kind = "retraction" if notice.retracts else notice.role
    return EventNotice(
        _named(grace or f"{stream}:{trigger}"), kind, known, sources, notice.retracts, notice.role == "test"
    )


def _gravitational_wave(told: Document) -> EventNotice:
    event, kind, created = (_text(told, key) for key in ("superevent_id", "alert_type", "time_created"))
    known: Document = {"dateobs": None, "aliases": [f"LVC#{event}"], "triggerid": None}
    test = not event.startswith("S")  # those of simulations begin with M, tests with T
    if kind.upper() == "RETRACTION":
        return EventNotice(_named(event), kind, known, [], retracts=True, test=test)
    found = told.get("event")
    if not isinstance(found, dict):
        raise SkymapError("the notice has no event")
    known["dateobs"] = _moment(_text(found, "time"))
    joint = told.get("external_coinc")
    combined = joint.get("combined_skymap") if isinstance(joint, dict) else None
    content = combined or found.get("skymap")
    if not isinstance(content, str):
        raise SkymapError("the notice has no sky map")
    name = f"{event}-{kind}-{created}{'-combined' if combined else ''}"
    return EventNotice(_named(event), kind, known, [Source(name[:MAX_NAME], {"content": content})], test=test)


def _unified(told: Document) -> EventNotice:
    names, ids = _texts(told.get("event_name")), _texts(told.get("id"))
    if not names and not ids:
        raise SkymapError("the notice names no event: neither id nor event_name")
    mission = _clean(str(told.get("mission") or told.get("instrument") or "unknown"))
    event, kind = f"{mission}:{(ids or names)[0]}", _clean(str(told.get("alert_type") or "initial"))
    aliases = [*names, *(f"{mission}#{each}" for each in ids)]
    test = told.get("alert_tense", "current") in ("test", "injection")
    known: Document = {"dateobs": None, "aliases": aliases, "triggerid": None}
    if kind.lower() == "retraction":
        return EventNotice(_named(event), kind, known, [], retracts=True, test=test)
    known["dateobs"] = _moment(told.get("trigger_time") or told.get("alert_datetime"))
    return EventNotice(_named(event), kind, known, _unified_sources(told, event), test=test)


def _unified_sources(told: Document, event: str) -> list[Source]:
    sources = []
    if isinstance(content := told.get("healpix_file"), str):
        stamp = told.get("alert_datetime") or told.get("trigger_time")
        sources.append(Source(_clean(f"{event}-{stamp}"), {"content": content}))
    elif isinstance(url := told.get("healpix_url"), str):
        sources.append(Source(file_name(url), {"url": url}))
    if (cone := _cone(told)) is not None and not (sources and "content" in sources[0].given):
        sources.append(Source(cone_name(*cone), dict(zip(CONE, cone, strict=True))))
    if not sources:
        raise SkymapError("the notice names neither a sky map nor a position with an error")
    return sources


def _cone(told: Document) -> tuple[float, float, float] | None:
    """Position and standard deviation, deg; an ellipse as the circle around it."""
    error, share = told.get("ra_dec_error"), told.get("containment_probability", CONTAINED)
    if isinstance(error, list):  # semi-axes, and an angle
        error = max((each for each in error[:2] if isinstance(each, int | float)), default=None)
    values = (told.get("ra"), told.get("dec"), error, share)
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in values):
        return None
    ra, dec, radius, contained = (float(each) for each in values if each is not None)
    if not (0 <= ra <= 360 and -90 <= dec <= 90 and radius > 0 and 0 < contained < 1):
        return None
    return ra, dec, radius / math.sqrt(-2 * math.log(1 - contained))


def _text(told: Document, key: str) -> str:
    value = told.get(key)
    if not isinstance(value, str) or not value:
        raise SkymapError(f"the notice has no {key}")
    return _clean(value)


def _clean(text: str) -> str:
    """A text as it may be stored: not without end, and Unicode."""
    return text[:MAX_NAME].encode(errors="replace").decode()


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [_clean(str(each)) for each in values if isinstance(each, str | int) and each != ""]


def _moment(value: Any) -> datetime:
    """A moment in UTC without time zone."""
    try:
        moment = datetime.fromisoformat(str(value))
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        raise SkymapError("the notice does not say when") from None


def _named(event: str) -> str:
    """An event's name as it may be stored, and stand in a URL's path."""
    name = event.replace("/", "_").encode(errors="replace").decode()
    if not 0 < len(name) <= MAX_NAME:
        raise SkymapError(f"the event's name has more than {MAX_NAME} characters, or none")
    return name
