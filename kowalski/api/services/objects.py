"""Objects as an astronomer thinks of them, and surveys, as far as a user sees them."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from kowalski.alerts.curve import Point, merge_light_curve
from kowalski.alerts.parts import joined
from kowalski.alerts.survey import Survey, get_survey, key_of, known_surveys
from kowalski.api.errors import BadRequest
from kowalski.api.models.cutouts import find_survey
from kowalski.api.services.provenance import provenance_of
from kowalski.api.services.reads import PLAIN, Reads
from kowalski.database.links import COLLECTION as LINKS
from kowalski.database.links import Link, end_of, links_of
from kowalski.gathering import listed

POSITIVE = ("t", "1", "y", "true", 1, 1.0, True)

Bands = Mapping[str, Mapping[int, str | None]]


class Visible(NamedTuple):
    """What a user sees of an object of a survey: its alerts without cutouts, oldest first, and its own document."""

    survey: Survey
    alerts: list[dict[str, Any]]
    aux: dict[str, Any]

    @property
    def light_curve(self) -> list[Point]:
        """Its points, by jd."""
        return merge_light_curve(self.alerts, self.aux, self.survey)


async def read_object(name: str, object_id: str, reads: Reads, bands: Bands) -> dict[str, Any]:
    """An object with its merged light curve, latest alert, matches and classifications; ``bands`` are the settings', by survey.

    The light curve has the points of all surveys' objects that are linked with this one.

    Raises
    ------
    BadRequest : there is none that this user sees
    """
    survey = find_survey(name)
    own = await visible(survey, object_id, reads, bands)
    if own is None:
        raise BadRequest(f"{name.lower()} object {object_id} not found")
    alerts, aux = own.alerts, own.aux
    latest = alerts[-1] if alerts else {}
    labels = reads.find(survey.classifications, {"_id": {"$in": [alert["candid"] for alert in alerts]}}, PLAIN)
    light_curve = own.light_curve
    detections = [point for point in light_curve if point["kind"] == "detection"]
    bright = [point for point in detections if point.get("isdiffpos") in POSITIVE and point.get("magpsf") is not None]
    where = latest.get("candidate") or next(iter(reversed(detections)), {})
    linked = await linked_with(survey, object_id, reads, bands)
    elsewhere = [point for _, other in linked for point in other.light_curve]
    return {
        "survey": survey.name,
        "objectId": object_id,
        "ra": where.get("ra"),
        "dec": where.get("dec"),
        "coordinates": latest.get("coordinates"),
        "alerts": [{"candid": alert["candid"], "jd": alert["candidate"]["jd"]} for alert in alerts],
        "latest_alert": latest or None,
        "light_curve": sorted([*light_curve, *elsewhere], key=lambda point: (point["jd"], point["kind"])),
        "first_detection": detections[0] if detections else None,
        "last_detection": detections[-1] if detections else None,
        "peak": min(bright, key=lambda point: point["magpsf"], default=None),
        "linked": [
            {"survey": link.other_survey, "objectId": link.other_id, "distance_arcsec": link.distance}
            for link, _ in linked
        ],
        "cross_matches": aux.get("cross_matches") or {},
        "classifications": {
            "scores": latest.get("classifications") or {},
            "labels": {str(row.pop("_id")): row async for row in labels},
        },
        "provenance": await provenance_of(latest, aux, reads),
    }


async def require_visible(survey: Survey, object_id: str, reads: Reads) -> None:
    """Raise `BadRequest` where a reader sees nothing of an object."""
    if await visible(survey, object_id, reads, {}) is None:
        raise BadRequest(f"{survey.name.lower()} object {object_id} not found")


async def visible(
    survey: Survey, object_id: str, reads: Reads, bands: Bands, fields: Mapping[str, Any] | None = None
) -> Visible | None:
    """An object as far as its reader sees it; None: there is nothing that he does. ``fields``: those of its alerts, if not all."""
    without = dict.fromkeys(survey.cutouts.values(), 0) | {"_id": 0, "kafka": 0}
    own = replace(PLAIN, projection=fields or without, sort=[("candidate.jd", 1)])
    alerts, aux = await asyncio.gather(
        listed(reads.find(survey.alerts, {survey.object_id: object_id}, own)),
        reads.find_one(survey.aux, {"_id": object_id}, PLAIN),
    )
    if aux is None and not alerts:
        return None
    if aux and (older := aux.get("older")):
        parts = await listed(reads.find(survey.older, {"_id": {"$in": older}}, PLAIN))
        aux = joined(aux, parts, survey.history_fields)
    return Visible(survey.with_bands(bands.get(survey.name, {})), alerts, aux or {})


async def linked_with(
    survey: Survey, object_id: str, reads: Reads, bands: Bands, fields: Mapping[str, Any] | None = None
) -> list[tuple[Link, Visible]]:
    """The other surveys' objects at the same place that the reader sees, the nearest first."""
    end = end_of(survey.name, object_id)
    pairs = await listed(reads.queries.find(LINKS, {"objects": end}, PLAIN))
    # of surveys that this version has no module of, there may be links
    known = (link for link in links_of([end], pairs) if key_of(link.other_survey) is not None)
    links = sorted(known, key=lambda link: link.distance)
    others = await asyncio.gather(
        *(visible(get_survey(link.other_survey), link.other_id, reads, bands, fields) for link in links)
    )
    return [(link, other) for link, other in zip(links, others, strict=True) if other is not None]


async def read_surveys(reads: Reads, bands: Bands) -> list[dict[str, Any]]:
    """All surveys with what a user sees of them."""
    return [await _read_survey(each.with_bands(bands.get(each.name, {})), reads) for each in known_surveys()]


async def _read_survey(survey: Survey, reads: Reads) -> dict[str, Any]:
    seen = reads.user.sees(survey.name)
    first, last = [await _jd(survey, reads, order) for order in (1, -1)]
    return {
        "name": survey.name,
        "collections": {"alerts": survey.alerts, "objects": survey.aux, "classifications": survey.classifications},
        "cutouts": list(survey.cutouts),
        "bands": {"*" if fid is None else str(fid): band for fid, band in survey.bands.items()},
        "instrument": survey.instrument,
        "programids": seen if isinstance(seen, bool) else sorted(seen),
        "alerts": await reads.estimated_count(survey.alerts, PLAIN),
        "first_jd": first,
        "last_jd": last,
    }


async def _jd(survey: Survey, reads: Reads, order: int) -> float | None:
    """The jd of the first or last visible alert."""
    reading = replace(PLAIN, projection={"_id": 0, "candidate.jd": 1}, sort=[("candidate.jd", order)])
    found = await reads.find_one(survey.alerts, {}, reading)
    return float(found["candidate"]["jd"]) if found else None
