"""All that the page of an object shows, as far as its reader sees it: in few reads, side by side."""

import asyncio
import math
from dataclasses import dataclass, replace
from typing import Any

from kowalski.alerts.curve import MEASURED, Point
from kowalski.alerts.survey import Survey
from kowalski.api.errors import BadRequest
from kowalski.api.models.cutouts import find_survey
from kowalski.api.services.lightcurves import LightCurveService
from kowalski.api.services.object_search import SAME, TNS
from kowalski.api.services.objects import Bands, Visible, linked_with, visible
from kowalski.api.services.passed import Message, Passed, read_passed
from kowalski.api.services.provenance import provenance_of
from kowalski.api.services.reads import PLAIN, Reads
from kowalski.database.links import Link
from kowalski.database.queries import POSITION, Document
from kowalski.gathering import listed

#: what is read of each alert of an object: its point of the light curve and its scores
FIELDS = {
    "_id": 0,
    "candid": 1,
    "candidate.jd": 1,
    "classifications": 1,
    **{f"candidate.{name}": 1 for name in MEASURED},
}


@dataclass(frozen=True)
class Curve:
    """An object's light curve, with those of the objects that are linked with it, and the fit.

    Attributes
    ----------
    own : what is seen of the object itself; of its alerts, oldest first, `FIELDS`
    linked : the objects of other surveys at its place, the nearest first
    fit : what SALT2 found, or why nothing (`LightCurveService.fit_of`)
    """

    own: Visible
    object_id: str
    linked: list[tuple[Link, Visible]]
    fit: Document

    @property
    def survey(self) -> Survey:
        return self.own.survey

    @property
    def points(self) -> list[Point]:
        """All points, by jd."""
        every = [point for one in (self.own, *(other for _, other in self.linked)) for point in one.light_curve]
        return sorted(every, key=lambda point: (point["jd"], point["kind"]))


@dataclass(frozen=True)
class ObjectPage:
    """What there is of an object.

    Attributes
    ----------
    alert : the alert that is shown, as stored, without cutouts; None: there is none, but a history
    cutouts : roles of those that it has
    passed, messages : the filters that its alerts passed, and what was sent, as far as they are of the user's groups
    tns : what TNS has at its place
    made_by : what made the alert's scores and the object's matches (`provenance_of`)
    """

    curve: Curve
    alert: Document | None
    cutouts: tuple[str, ...]
    passed: list[Passed]
    messages: list[Message]
    tns: list[Document]
    made_by: Document


async def read_curve(name: str, object_id: str, reads: Reads, bands: Bands, fits: LightCurveService) -> Curve:
    """An object's light curve.

    Raises
    ------
    BadRequest : there is no such object that this user sees
    """
    survey = find_survey(name)
    own, linked, fit = await asyncio.gather(
        visible(survey, object_id, reads, bands, FIELDS),
        linked_with(survey, object_id, reads, bands, FIELDS),
        fits.fit_of(survey.name, object_id, reads),
    )
    if own is None:
        raise BadRequest(f"{survey.name} has no object {object_id}, or none that you may see")
    return Curve(own, object_id, linked, fit)


async def read_page(
    name: str, object_id: str, candid: int | None, reads: Reads, bands: Bands, fits: LightCurveService
) -> ObjectPage:
    """All of an object, with one of its alerts: that of a candid, or the latest.

    Raises
    ------
    BadRequest : there is no such object that this user sees, or it has no such alert
    """
    curve = await read_curve(name, object_id, reads, bands, fits)
    survey, candids = curve.survey, [alert["candid"] for alert in curve.own.alerts]
    if candid is not None and candid not in candids:
        raise BadRequest(f"{survey.name} object {object_id} has no alert {candid}, or none that you may see")
    shown = candid if candid is not None else (candids[-1] if candids else None)
    alert = await _alert(survey, shown, reads)
    cutouts, (passed, messages), tns, made_by = await asyncio.gather(
        _cutouts(survey, shown, reads), read_passed(survey.name, candids, reads), _tns(curve, reads), provenance_of(alert or {}, curve.own.aux, reads)
    )  # fmt: skip
    return ObjectPage(curve, alert, cutouts, passed, messages, tns, made_by)


async def _alert(survey: Survey, candid: int | None, reads: Reads) -> Document | None:
    if candid is None:
        return None
    without = dict.fromkeys(survey.cutouts.values(), 0) | {"_id": 0}
    return await reads.find_one(survey.alerts, {"candid": candid}, replace(PLAIN, projection=without))


async def _cutouts(survey: Survey, candid: int | None, reads: Reads) -> tuple[str, ...]:
    """The roles of the cutouts that an alert has."""
    if candid is None or not survey.cutouts:
        return ()
    there: dict[str, Any] = {role: {"$gt": [f"${field}", None]} for role, field in survey.cutouts.items()}
    found = await reads.find_one(survey.alerts, {"candid": candid}, replace(PLAIN, projection={"_id": 0} | there))
    return tuple(role for role in survey.cutouts if found and found.get(role))


async def _tns(curve: Curve, reads: Reads) -> list[Document]:
    """What TNS has where the object is."""
    last = next((alert["candidate"] for alert in reversed(curve.own.alerts) if "ra" in alert["candidate"]), None)
    if last is None or not reads.user.may_read(TNS):
        return []
    centre = [[last["ra"] - 180.0, last["dec"]], math.radians(SAME / 3600)]
    shown = replace(PLAIN, projection={"name": 1, "object_type": 1, "redshift": 1, "ra": 1, "dec": 1}, limit=3)
    return await listed(reads.find(TNS, {POSITION: {"$geoWithin": {"$centerSphere": centre}}}, shown))
