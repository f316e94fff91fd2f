"""A SkyPortal in memory: what it has of each object, and how its endpoints answer.

It is as strict as the stricter of SkyPortal's versions. Of the conditions of follow-up requests only those on groups are
applied: a request that is made twice shows.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kowalski.skyportal import contract
from kowalski.skyportal.contract import Body, Refused, Row, json_object, require

ZTF_STREAMS = ("ZTF Public", "ZTF Public+Partnership", "ZTF Public+Partnership+Caltech")
STREAMS = {name: number for number, name in enumerate((*ZTF_STREAMS, "PGIR", "WINTER", "TURBO", "LSST"), 1)}
INSTRUMENTS = {
    "ZTF": {"ztfg", "ztfr", "ztfi"},
    "PGIR": {"cspjs"},
    "WINTER": {"ps1::y", "2massj", "2massh"},
    "TURBO": {"bessellb", "bessellv", "bessellr", "besselli"},
    "LSST": {"lsstu", "lsstg", "lsstr", "lssti", "lsstz", "lssty"},
}
INSTRUMENT_IDS = {name: number for number, name in enumerate(INSTRUMENTS, 1)}
TRUE = ("true", "True", "t", "1")

#: group -> its filters
Groups = Mapping[int, Iterable[int]]


@dataclass
class Object:
    """What the receiver has of an object.

    Attributes
    ----------
    photometry : by (instrument, origin), then mjd, fluxerr and flux
    groups : for which it is saved -> who saved it; None: Kowalski itself
    saved_at : when it was saved last
    comments : text and groups -> number
    """

    ra: float
    dec: float
    candidates: dict[tuple[int, datetime], dict[str, Any]] = field(default_factory=dict)
    annotations: dict[str, dict[str, Any]] = field(default_factory=dict)
    photometry: dict[tuple[int, str], dict[tuple[Any, ...], tuple[int, Row]]] = field(default_factory=dict)
    thumbnails: list[str] = field(default_factory=list)
    groups: dict[int, int | None] = field(default_factory=dict)
    saved_at: datetime | None = None
    comments: dict[tuple[str, tuple[int, ...]], int] = field(default_factory=dict)
    follow_up: list[dict[str, Any]] = field(default_factory=list)


class Marshal:
    """The objects of a SkyPortal with some groups and their filters; one method per endpoint."""

    def __init__(self, groups: Groups):
        self._groups = {group: list(filters) for group, filters in groups.items()}
        self._filters = {one for filters in self._groups.values() for one in filters}
        self._number = 0
        self.objects: dict[str, Object] = {}

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Any:
        """The ``data`` of the answer to a request.

        Raises
        ------
        Refused : SkyPortal would not take it
        """
        allowed = False
        for verb, pattern, handler in ROUTES:
            if found := re.fullmatch(pattern, path):
                allowed = True
                if verb == method:
                    return handler(self, *found.groups(), query=query, body=body)
        raise Refused("Method not allowed", 405) if allowed else Refused("Invalid API endpoint")

    def _next_id(self) -> int:
        self._number += 1
        return self._number

    def _object(self, object_id: Any, message: str, status: int = 400) -> Object:
        require(object_id in self.objects, message, status)
        return self.objects[object_id]

    def describe(self, object_id: str) -> dict[str, Any] | None:
        """What is known of an object, as JSON has it; None when nothing is."""
        known = self.objects.get(object_id)
        if known is None:
            return None
        return {
            "id": object_id,
            "ra": known.ra,
            "dec": known.dec,
            "candidates": [
                {"filter_id": one, "passed_at": _naive(at), **rest} for (one, at), rest in known.candidates.items()
            ],
            "annotations": list(known.annotations.values()),
            "photometry": [row._asdict() for rows in known.photometry.values() for _, row in rows.values()],
            "thumbnails": known.thumbnails,
            "groups": known.groups,
            "comments": [{"text": text, "group_ids": groups} for text, groups in known.comments],
            "followup_requests": known.follow_up,
        }

    # Candidates

    def head_candidate(self, object_id: str, **_: Any) -> None:
        """Whether the object is a candidate."""
        require(object_id in self.objects, "No candidate", 404)

    def head_source(self, object_id: str, **_: Any) -> None:
        """Whether the object is a source."""
        require(object_id in self.objects and bool(self.objects[object_id].groups), f"No source {object_id}", 404)

    def post_candidate(self, query: Any, body: Any) -> dict[str, Any]:
        """One candidate per filter, once per moment."""
        body = json_object(body)
        passed_at = contract.check_candidate(body)
        filters = [one for one in dict.fromkeys(body["filter_ids"]) if one in self._filters]
        require(bool(filters), "At least one valid filter ID must be provided.")
        known = self.objects.get(body["id"])
        if known is None:
            for name in ("ra", "dec"):
                require(body.get(name) is not None, f"{name} must not be null for a new Obj")
            known = Object(body["ra"], body["dec"])
        if any((one, passed_at) in known.candidates for one in filters):
            raise Refused(f"Failed to post candidate for object {body['id']}: UniqueViolation", conflict=True)
        self.objects[body["id"]] = known
        ids = []
        for one in filters:
            ids.append(self._next_id())
            known.candidates[(one, passed_at)] = {"id": ids[-1], "candid": body.get("passing_alert_id")}
        return {"ids": ids}

    def get_candidate(self, object_id: str, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        """An object with its thumbnails and, if asked, the alerts that passed."""
        known = self._object(object_id, "Invalid ID")
        passed = [
            {"filter_id": filter_id, "passing_alert_id": one["candid"], "passed_at": _naive(passed_at)}
            for (filter_id, passed_at), one in known.candidates.items()
        ]
        thumbnails = [{"type": kind} for kind in known.thumbnails]
        about = {"id": object_id, "ra": known.ra, "dec": known.dec, "thumbnails": thumbnails}
        alerts = {"filter_ids": [one["filter_id"] for one in passed], "passing_alerts": passed}
        return about | alerts if query.get("includeAlerts") in TRUE else about

    def get_candidates(self, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        """A page of the objects that passed in an interval."""
        start, end = (contract.parse_time(query.get(name), name) for name in ("startDate", "endDate"))
        matches = [
            object_id
            for object_id, one in self.objects.items()
            if any(start <= passed_at <= end for _, passed_at in one.candidates)
        ]
        shown, about = _page(matches, query, 25)
        return {"candidates": [{"id": object_id, "thumbnails": []} for object_id in shown], **about, "queryID": "1"}

    # What hangs on an object

    def put_photometry(self, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        """Points, all or none; those that are there keep their numbers."""
        body = json_object(body)
        instrument = body.get("instrument_id")
        name = next((name for name, number in INSTRUMENT_IDS.items() if number == instrument), None)
        require(name is not None, f"Invalid instrument ID: {instrument}")
        known = self._object(body.get("obj_id"), f"Invalid object ID: {body.get('obj_id')}")
        ignore_flux = query.get("duplicate_ignore_flux") in TRUE
        rows = contract.photometry_rows(body, INSTRUMENTS[name or ""], ignore_flux)
        unknown = set(body.get("stream_ids", ())) - set(STREAMS.values())
        require(not unknown, f"Invalid stream IDs: {unknown}")
        overwrite = query.get("overwrite_flux") in TRUE
        return {"ids": [self._put_row(known, instrument, row, ignore_flux, overwrite) for row in rows]}

    def _put_row(self, known: Object, instrument: int, row: Row, ignore_flux: bool, overwrite: bool) -> int:
        points = known.photometry.setdefault((instrument, row.origin), {})
        key = (row.mjd,) if ignore_flux else (row.mjd, row.fluxerr, row.flux)
        number, stored = points.get(key, (0, row))
        if not number:
            number = self._next_id()
        points[key] = (number, row if overwrite else stored)
        return number

    def post_thumbnail(self, query: Any, body: Any) -> dict[str, Any]:
        """A picture, as often as it comes."""
        body = json_object(body)
        contract.check_thumbnail(body)
        known = self._object(body["obj_id"], "Thumbnail failed to post: Invalid obj_id")
        known.thumbnails.append(body["ttype"])
        return {"id": self._next_id()}

    def post_annotation(self, object_id: str, query: Any, body: Any) -> dict[str, Any]:
        """An annotation, one per object and origin."""
        body = json_object(body)
        known = self._object(object_id, f"Obj {object_id} not found", 404)
        contract.check_annotation(body, new=True)
        self._require_groups(body)
        if body["origin"] in known.annotations:
            raise Refused(f"Annotation already exists: {body['origin']}", conflict=True)
        annotation = {"id": self._next_id(), "author_id": 1, "obj_id": object_id, **body}
        known.annotations[body["origin"]] = annotation
        return {"annotation_id": annotation["id"]}

    def get_annotations(self, object_id: str, query: Any, body: Any) -> list[dict[str, Any]]:
        """All annotations of an object."""
        known = self.objects.get(object_id)
        return list(known.annotations.values()) if known else []

    def put_annotation(self, object_id: str, number: str, query: Any, body: Any) -> dict[str, Any]:
        """New data for an annotation."""
        body = json_object(body)
        contract.check_annotation(body, new=False)
        self._require_groups(body)
        known = self._object(object_id, f"Obj {object_id} not found", 404)
        found = next((one for one in known.annotations.values() if one["id"] == int(number)), None)
        if found is None:
            raise Refused(f"no annotation {number} of {object_id}", 403)
        found.update({name: body[name] for name in ("data", "origin", "group_ids") if name in body})
        return {}

    # Sources and follow-up

    def post_source(self, query: Any, body: Any) -> dict[str, Any]:
        """An object saved for groups, but not for those of whose ignored groups one has it."""
        body = json_object(body)
        contract.check_source(body)
        self._require_groups(body)
        known = self._object(body["id"], f"Failed to post source: ra must not be null for {body['id']}")
        ignored = {int(group): set(others) for group, others in body.get("ignore_if_in_group_ids", {}).items()}
        savers = {int(group): saver for group, saver in body.get("saver_per_group_id", {}).items()}
        there = set(known.groups)
        saved = [group for group in body["group_ids"] if not ignored.get(group, set()) & there]
        known.groups |= {group: savers.get(group) for group in saved if group not in there}
        known.saved_at = datetime.now(UTC)
        return {"id": body["id"], "saved_to_groups": saved}

    def get_sources(self, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        """A page of the objects that were saved in an interval."""
        after, before = (contract.parse_time(query.get(name), name) for name in ("savedAfter", "savedBefore"))
        matches = [name for name, one in self.objects.items() if one.saved_at and after <= one.saved_at <= before]
        shown, about = _page(matches, query, 100)
        return {"sources": [{"id": object_id} for object_id in shown], **about}

    def get_groups(self, object_id: str, query: Any, body: Any) -> list[dict[str, Any]]:
        """The groups for which an object is saved."""
        known = self._object(object_id, f"Source {object_id} not found", 404)
        return [{"id": group, "name": f"group {group}"} for group in known.groups]

    def post_comment(self, object_id: str, query: Any, body: Any) -> dict[str, Any]:
        """A comment; the same one again is the one that is there."""
        body = json_object(body)
        contract.check_comment(body)
        self._require_groups(body)
        known = self._object(object_id, f"Obj {object_id} not found")
        key = (body["text"], tuple(body.get("group_ids") or ()))
        if key not in known.comments:
            known.comments[key] = self._next_id()
        return {"comment_id": known.comments[key]}

    def post_follow_up(self, query: Any, body: Any) -> dict[str, Any]:
        """A request to a telescope, unless one of its conditions does not hold."""
        body = json_object(body)
        contract.check_follow_up(body, new=True)
        known = self._object(body["obj_id"], f"Invalid obj_id {body['obj_id']}")
        there = set(known.groups)
        if not set(body.get("source_group_ids", ())) <= there or set(body.get("ignore_source_group_ids", ())) & there:
            return {"id": None, "ignored": True, "message": "not submitting request: not saved as it should be"}
        request = {
            "id": self._next_id(),
            **{name: body[name] for name in ("obj_id", "allocation_id", "payload")},
            "target_groups": [{"id": group} for group in body.get("target_group_ids", ())],
            "status": "submitted",
            "modified": _naive(datetime.now(UTC)),
        }
        known.follow_up.append(request)
        return {"id": request["id"], "request_status": "submitted"}

    def get_follow_up(self, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        """A page of the requests for objects whose name has a part."""
        part = query.get("sourceID", "")
        found = [one for name, known in self.objects.items() if part in name for one in known.follow_up]
        page, size = int(query.get("pageNumber", 1)), min(int(query.get("numPerPage", 100)), 1000)
        shown = found[(page - 1) * size : page * size]
        return {"followup_requests": shown, "totalMatches": len(found), "pageNumber": page, "numPerPage": size}

    def put_follow_up(self, number: str, query: Any, body: Any) -> dict[str, Any]:
        """Another payload for a request."""
        body = json_object(body)
        contract.check_follow_up(body, new=False)
        every = (one for known in self.objects.values() for one in known.follow_up)
        found = next((one for one in every if one["id"] == int(number)), None)
        if found is None:
            raise Refused(f"Could not load follow-up request with ID {number}")
        require(found["obj_id"] == body["obj_id"], "obj_id of another request")
        found["payload"] = body["payload"]
        return {}

    def _require_groups(self, body: Body) -> None:
        unknown = [group for group in body.get("group_ids") or () if group not in self._groups]
        require(not unknown, f"Cannot find one or more groups with IDs: {unknown}")

    # What SkyPortal is made of

    def get_instrument(self, query: Mapping[str, str], body: Any) -> list[dict[str, Any]]:
        """The instruments of a name."""
        return [{"id": i, "name": name} for name, i in INSTRUMENT_IDS.items() if query.get("name") in (None, name)]

    def get_streams(self, query: Any, body: Any) -> list[dict[str, Any]]:
        """All streams."""
        return [{"id": number, "name": name, "altdata": None, "auto_join": False} for name, number in STREAMS.items()]

    def get_group(self, number: str, query: Any, body: Any) -> dict[str, Any]:
        """A group with its filters."""
        group = int(number)
        require(group in self._groups, f"Cannot find Group with id {group}")
        filters = [{"id": one, "name": f"filter {one}", "group_id": group} for one in self._groups[group]]
        return {"id": group, "name": f"group {group}", "nickname": None, "streams": [], "filters": filters}


Handler = Callable[..., Any]

ROUTES: list[tuple[str, str, Handler]] = [
    ("HEAD", r"/api/candidates/([^/]+)", Marshal.head_candidate),
    ("HEAD", r"/api/sources/([^/]+)", Marshal.head_source),
    ("POST", r"/api/candidates", Marshal.post_candidate),
    ("GET", r"/api/candidates", Marshal.get_candidates),
    ("GET", r"/api/candidates/([^/]+)", Marshal.get_candidate),
    ("PUT", r"/api/photometry", Marshal.put_photometry),
    ("POST", r"/api/thumbnail", Marshal.post_thumbnail),
    ("POST", r"/api/sources/([^/]+)/annotations", Marshal.post_annotation),
    ("GET", r"/api/sources/([^/]+)/annotations", Marshal.get_annotations),
    ("PUT", r"/api/sources/([^/]+)/annotations/(\d+)", Marshal.put_annotation),
    ("POST", r"/api/sources", Marshal.post_source),
    ("GET", r"/api/sources", Marshal.get_sources),
    ("GET", r"/api/sources/([^/]+)/groups", Marshal.get_groups),
    ("POST", r"/api/sources/([^/]+)/comments", Marshal.post_comment),
    ("GET", r"/api/followup_request", Marshal.get_follow_up),
    ("POST", r"/api/followup_request", Marshal.post_follow_up),
    ("PUT", r"/api/followup_request/(\d+)", Marshal.put_follow_up),
    ("GET", r"/api/instrument", Marshal.get_instrument),
    ("GET", r"/api/streams", Marshal.get_streams),
    ("GET", r"/api/groups/(\d+)", Marshal.get_group),
]


def _page(matches: list[str], query: Mapping[str, str], usual: int) -> tuple[list[str], dict[str, int]]:
    """The objects of the page asked for, and what is said of it; ``usual``: how many are on a page unless asked."""
    page, size = int(query.get("pageNumber", 1)), min(int(query.get("numPerPage", usual)), 500)
    require(page <= max(1, math.ceil(len(matches) / size)), "Page number out of range.")
    shown = matches[(page - 1) * size : page * size]
    return shown, {"totalMatches": len(matches), "pageNumber": page, "numPerPage": size}


def _naive(time: datetime) -> str:
    """As SkyPortal writes times: UTC without saying so, no fraction where it is zero."""
    return time.replace(tzinfo=None).isoformat()
