"""An object as its page shows it: what its template needs, and nothing that is still to be looked up."""

import json
import shlex
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from kowalski.api.services.lightcurves import UNASKED
from kowalski.api.services.object_page import ObjectPage
from kowalski.api.services.passed import Message, Passed
from kowalski.database.queries import Document
from kowalski.lab.addresses import cutout_address, elsewhere, galactic_of, host_and_port, object_address
from kowalski.lab.alert_story import Moment, Score, moments_of, scores_of
from kowalski.lab.curve_plot import value_of
from kowalski.lab.curve_rows import KINDS, Row, rows_of
from kowalski.lab.sky import Catalog, Picture, catalogs_of, pictures_of

#: points, alerts and messages that the page lists, the newest of them
POINTS, ALERTS, MESSAGES = 500, 200, 100
#: messages that are shown at once
NEWEST = 5


@dataclass(frozen=True)
class Cutout:
    """A cutout of the alert that is shown."""

    role: str
    picture: str
    fits: str


@dataclass(frozen=True)
class ObjectView:
    """What the page of an object shows.

    Attributes
    ----------
    ra, dec, l, b : deg; None where there is no alert and no detection
    first, last, peak : rows of its own detections
    alerts : (candid, jd, whether it is shown), the newest first
    rows : of its light curve, the newest first, with magnitude and flux in words
    passed : the alerts that passed, by filter, the newest first
    messages, older, more : the newest ones, earlier ones, and how many more there are
    """

    survey: str
    object_id: str
    address: str
    ra: float | None
    dec: float | None
    l: float | None  # noqa: E741 - the field's own name
    b: float | None
    first: Row | None
    last: Row | None
    peak: Row | None
    detections: int
    alert: Document | None
    alerts: list[tuple[int, float, bool]]
    number: int
    cutouts: list[Cutout]
    links: dict[str, str]
    linked: list[tuple[str, str, float, str]]
    tns: list[Document]
    rows: list[tuple[Row, str, str, str]]
    points: int
    fit: Document
    scores: list[Score]
    catalogs: list[Catalog]
    pictures: list[Picture]
    passed: list[list[Passed]]
    messages: list[Message]
    older: list[Message]
    more: int
    moments: list[Moment]
    made_by: dict[str, Any]
    calls: list[tuple[str, str]]

    @property
    def no_fit(self) -> str | None:
        """Why there is no fit, where one was asked for."""
        reason = self.fit.get("reason")
        return str(reason) if reason and reason != UNASKED else None

    @property
    def age(self) -> float | None:
        """Days from the first to the last detection."""
        return self.last.jd - self.first.jd if self.first and self.last else None


def view_of(found: ObjectPage, skyportal: str | None, origin: str) -> ObjectView:
    """What is shown of an object; ``origin``: scheme and host of the API, ``skyportal``: the address of SkyPortal's pages."""
    curve, alert = found.curve, found.alert or {}
    survey, object_id = curve.survey.name, curve.object_id
    rows = rows_of(curve.points)
    own = [row for row in rows if row.survey == survey and not row.withdrawn]
    seen = [row for row in own if row.kind in ("detection", "negative")]
    bright = [row for row in seen if row.kind == "detection" and row.mag is not None]
    candidates = [each["candidate"] for each in curve.own.alerts]
    place = _place(alert, candidates) or _place({}, curve.own.light_curve)
    candid = alert.get("candid")
    catalogs = catalogs_of(curve.own.aux.get("cross_matches") or {}, place)
    places = [(each["ra"], each["dec"]) for each in candidates if "ra" in each and "dec" in each]
    galactic = galactic_of(*place) if place else (None, None)
    newest = list(reversed(curve.own.alerts))
    return ObjectView(
        survey=survey,
        object_id=object_id,
        address=object_address(survey, object_id),
        ra=place[0] if place else None,
        dec=place[1] if place else None,
        l=galactic[0],
        b=galactic[1],
        first=seen[0] if seen else None,
        last=seen[-1] if seen else None,
        peak=min(bright, key=lambda row: row.mag or 0.0, default=None),
        detections=len(seen),
        alert=found.alert,
        alerts=[(each["candid"], each["candidate"]["jd"], each["candid"] == candid) for each in newest[:ALERTS]],
        number=len(newest),
        cutouts=[
            Cutout(role, cutout_address(survey, alert["candid"], role, "png"), cutout_address(survey, alert["candid"], role, "fits"))
            for role in found.cutouts
        ],
        links=elsewhere(object_id, *place, skyportal) if place else {},
        linked=[
            (link.other_survey, link.other_id, link.distance, object_address(link.other_survey, link.other_id))
            for link, _ in curve.linked
        ],
        tns=found.tns,
        rows=[
            (row, KINDS[row.kind], value_of(row, "mag"), value_of(row, "flux")) for row in reversed(rows[-POINTS:])
        ],
        points=len(rows),
        fit=curve.fit,
        scores=scores_of(curve.own.alerts, candid),
        catalogs=catalogs,
        pictures=pictures_of(catalogs, places, place) if place else [],
        passed=_by_filter(found.passed),
        messages=found.messages[:NEWEST],
        older=found.messages[NEWEST:MESSAGES],
        more=max(0, len(found.messages) - MESSAGES),
        moments=moments_of(alert),
        made_by=found.made_by,
        calls=_calls(curve.survey.alerts, curve.survey.object_id, survey, object_id, origin),
    )  # fmt: skip


def _place(alert: Document, others: list[Document]) -> tuple[float, float] | None:
    """Where the object is: at the shown alert, else at the last of other detections that says it."""
    told = [alert.get("candidate") or {}, *reversed(others)]
    return next(((each["ra"], each["dec"]) for each in told if each.get("ra") is not None and each.get("dec") is not None), None)  # fmt: skip


def _by_filter(passed: list[Passed]) -> list[list[Passed]]:
    """The alerts that passed, of each filter together, that first whose newest is the newest."""
    together: dict[int, list[Passed]] = {}
    for each in passed:
        together.setdefault(each.filter_id, []).append(each)
    return list(together.values())


def _calls(collection: str, field: str, survey: str, object_id: str, origin: str) -> list[tuple[str, str]]:
    """What gets the same from the API: (with what, the call)."""
    address = f"{origin}/api/objects/{survey.lower()}/{quote(object_id, safe='')}"
    host, port = host_and_port(origin)
    query = {
        "query_type": "find",
        "query": {"catalog": collection, "filter": {field: object_id}, "projection": {"_id": 0, "candid": 1, "candidate": 1, "classifications": 1}},
        "kwargs": {"sort": [["candidate.jd", 1]]},
    }  # fmt: skip
    penquins = [
        "from penquins import Kowalski",
        "",
        f"kowalski = Kowalski(token=token, protocol={origin.partition(':')[0]!r}, host={host!r}, port={port})",
        f"alerts = kowalski.query(query={json.dumps(query, indent=4)})",
    ]
    return [
        (
            "curl, the object with its light curve",
            f'curl --compressed -H "Authorization: $TOKEN" {shlex.quote(address)}',
        ),
        ("penquins, its alerts", "\n".join(penquins)),
    ]
