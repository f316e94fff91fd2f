"""A small receiver in SkyPortal's place: checks each message against the contract and keeps what it got.

It answers as SkyPortal does, envelopes and errors included, and is as strict as the stricter of its versions.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from kowalski.skyportal import contract
from kowalski.skyportal.contract import Body, Refused, Row, json_object, require

VERSION = "1.4.0"

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


class Answer(NamedTuple):
    """Status and JSON envelope (None: no body) of an answer."""

    status: int
    envelope: dict[str, Any] | None


@dataclass
class Object:
    """What the receiver has of an object.

    Attributes
    ----------
    photometry : by (instrument, origin), then mjd, fluxerr and flux
    groups : for which it is saved -> who saved it; None: Kowalski itself
    comments : text and groups -> number
    """

    ra: float
    dec: float
    candidates: dict[tuple[int, datetime], dict[str, Any]] = field(default_factory=dict)
    annotations: dict[str, dict[str, Any]] = field(default_factory=dict)
    photometry: dict[tuple[int, str], dict[tuple[Any, ...], tuple[int, Row]]] = field(default_factory=dict)
    thumbnails: list[str] = field(default_factory=list)
    groups: dict[int, int | None] = field(default_factory=dict)
    comments: dict[tuple[str, tuple[int, ...]], int] = field(default_factory=dict)
    follow_up: list[dict[str, Any]] = field(default_factory=list)


class ReceiverState:
    """All that was received; with ``store`` it is kept in a file of JSON lines and read again at the next start."""

    def __init__(self, groups: Groups, token: str | None = None, store: Path | None = None):
        self._token = token
        self._groups = {group: list(filters) for group, filters in groups.items()}
        self._filters = {one for filters in self._groups.values() for one in filters}
        self._number = 0
        self.objects: dict[str, Object] = {}
        self.counts: Counter[str] = Counter()
        self.messages: list[dict[str, Any]] = []
        self.violations: list[dict[str, Any]] = []
        self.conflicts: list[dict[str, Any]] = []
        self._store = None
        if store is not None:
            for record in _read(store):
                self._replay(record)
            self._store = store.open("a")

    def _replay(self, record: dict[str, Any]) -> None:
        if "refused" in record:
            (self.conflicts if record["conflict"] else self.violations).append(record)
        else:
            self._answer(record["method"], record["path"], record["query"], record["body"])
            self._count(record)

    def handle(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], raw: bytes = b""
    ) -> Answer:
        """Answer one request as SkyPortal would."""
        record: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(),
            "method": method,
            "path": path,
            "query": dict(query),
        }
        try:
            self._authorise(headers.get("Authorization", ""))
            record["body"] = _parsed(raw) if method in ("POST", "PUT") else None
            data = self._answer(method, path, query, record["body"])
        except Refused as refused:
            record |= {"refused": str(refused), "status": refused.status, "conflict": refused.conflict}
            if method in ("POST", "PUT") or refused.status not in (400, 404):
                (self.conflicts if refused.conflict else self.violations).append(record)
                self._keep(record)
            return Answer(refused.status, None if method == "HEAD" else _error(str(refused)))
        self._count(record)
        if method in ("POST", "PUT"):
            self._keep(record)
        return Answer(200, None if method == "HEAD" else {"status": "success", "data": data, "version": VERSION})

    def summary(self) -> dict[str, Any]:
        """What was received so far, in numbers, and every message that was refused."""
        objects = self.objects.values()
        return {
            "counts": dict(self.counts),
            "objects": len(self.objects),
            "candidates": sum(len(one.candidates) for one in objects),
            "annotations": sum(len(one.annotations) for one in objects),
            "points": sum(len(rows) for one in objects for rows in one.photometry.values()),
            "thumbnails": sum(len(one.thumbnails) for one in objects),
            "sources": sum(bool(one.groups) for one in objects),
            "comments": sum(len(one.comments) for one in objects),
            "followup_requests": sum(len(one.follow_up) for one in objects),
            "violations": self.violations,
            "conflicts": self.conflicts,
        }

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

    def _keep(self, record: Mapping[str, Any]) -> None:
        if self._store is not None:
            self._store.write(json.dumps(record) + "\n")
            self._store.flush()

    def _count(self, record: dict[str, Any]) -> None:
        self.counts[f"{record['method']} {_template(record['path'])}"] += 1
        if record["method"] in ("POST", "PUT"):
            self.messages.append(_slim(record))

    def _authorise(self, header: str) -> None:
        found = re.fullmatch(r"token +(\S+)", header)
        require(
            found is not None, "HTTP 401: Unauthorized (Credentials malformed; use Authorization: token <uuid>)", 401
        )
        require(self._token in (None, header.split()[-1]), "HTTP 401: Unauthorized (Invalid token)", 401)

    def _answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Any:
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
        page, size = int(query.get("pageNumber", 1)), min(int(query.get("numPerPage", 25)), 500)
        matches = [
            object_id
            for object_id, one in self.objects.items()
            if any(start <= passed_at <= end for _, passed_at in one.candidates)
        ]
        require(page <= max(1, math.ceil(len(matches) / size)), "Page number out of range.")
        shown = [{"id": object_id, "thumbnails": []} for object_id in matches[(page - 1) * size : page * size]]
        return {
            "candidates": shown,
            "totalMatches": len(matches),
            "pageNumber": page,
            "numPerPage": size,
            "queryID": "1",
        }

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
        return {"id": body["id"], "saved_to_groups": saved}

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
    ("HEAD", r"/api/candidates/([^/]+)", ReceiverState.head_candidate),
    ("HEAD", r"/api/sources/([^/]+)", ReceiverState.head_source),
    ("POST", r"/api/candidates", ReceiverState.post_candidate),
    ("GET", r"/api/candidates", ReceiverState.get_candidates),
    ("GET", r"/api/candidates/([^/]+)", ReceiverState.get_candidate),
    ("PUT", r"/api/photometry", ReceiverState.put_photometry),
    ("POST", r"/api/thumbnail", ReceiverState.post_thumbnail),
    ("POST", r"/api/sources/([^/]+)/annotations", ReceiverState.post_annotation),
    ("GET", r"/api/sources/([^/]+)/annotations", ReceiverState.get_annotations),
    ("PUT", r"/api/sources/([^/]+)/annotations/(\d+)", ReceiverState.put_annotation),
    ("POST", r"/api/sources", ReceiverState.post_source),
    ("GET", r"/api/sources/([^/]+)/groups", ReceiverState.get_groups),
    ("POST", r"/api/sources/([^/]+)/comments", ReceiverState.post_comment),
    ("GET", r"/api/followup_request", ReceiverState.get_follow_up),
    ("POST", r"/api/followup_request", ReceiverState.post_follow_up),
    ("PUT", r"/api/followup_request/(\d+)", ReceiverState.put_follow_up),
    ("GET", r"/api/instrument", ReceiverState.get_instrument),
    ("GET", r"/api/streams", ReceiverState.get_streams),
    ("GET", r"/api/groups/(\d+)", ReceiverState.get_group),
]


def _read(store: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, which loses a last one that was not written to its end: nobody got an answer to that."""
    content = store.read_bytes() if store.exists() else b""
    lines, _, torn = content.rpartition(b"\n")
    if torn:
        store.write_bytes(lines + b"\n" if lines else b"")
    yield from map(json.loads, lines.splitlines())


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise Refused(f"the body is not JSON: {error}", 500) from None


def _error(message: str) -> dict[str, Any]:
    return {"status": "error", "message": message, "data": {}, "version": VERSION}


def _naive(time: datetime) -> str:
    """As SkyPortal writes times: UTC without saying so, no fraction where it is zero."""
    return time.replace(tzinfo=None).isoformat()


def _template(path: str) -> str:
    return re.sub(r"(/api/(?:candidates|sources|groups))/[^/]+", r"\1/{id}", path).rstrip("0123456789")


def _slim(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its picture, of which only the length is kept in memory."""
    body = record["body"]
    return {**record, "body": {**body, "data": len(body["data"])}} if record["path"] == "/api/thumbnail" else record
