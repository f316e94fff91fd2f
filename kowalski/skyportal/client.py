"""The calls that Kowalski makes on SkyPortal, each with its time-out, its answer checked and its errors classified."""

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import requests
from urllib3.exceptions import NewConnectionError

from kowalski.alerts.survey import Survey
from kowalski.certificate_files import authorities
from kowalski.errors import SkyPortalError
from kowalski.retry_after import retry_after
from kowalski.settings import LOOPBACK
from kowalski.settings import SkyPortal as Settings
from kowalski.skyportal.health import Health
from kowalski.skyportal.throttle import Throttle

Message = Mapping[str, Any]

#: s for which a group's name and filters are taken from memory
GROUP_TTL = 300.0
#: the most that SkyPortal puts on a page of candidates or sources
PAGE = 500
#: and of follow-up requests
REQUESTS_PER_PAGE = 1000
#: s to wait when SkyPortal is asked too fast and doesn't say for how long
DEFAULT_HOLD = 1.0
#: answers that say "not now" or "not with this token": the same message may be taken later
RETRIABLE = {401, 403, 408, 429}
#: characters of an error's text that are kept; some are whole tracebacks
MAX_MESSAGE = 2000


class Candidacy(NamedTuple):
    """An alert that is a candidate of a filter."""

    filter_id: int
    candid: int | None
    passed_at: datetime


class SkyPortal:
    """SkyPortal or Fritz at one address. Threads share it; each has its own connection. Raises `ConfigError` for a bad ``ca_file``."""

    def __init__(self, settings: Settings, version: str):
        self._settings = settings
        self._verify = authorities("skyportal.ca_file", settings.ca_file) or True
        self._headers = {"Authorization": f"token {settings.token}", "User-Agent": f"Kowalski v{version}"}
        limited = settings.host not in LOOPBACK
        self._throttle = Throttle(settings.requests_per_second if limited else None, settings.burst)
        self.health = Health()
        self._local = threading.local()
        self._instruments: dict[str, int] = {}
        self._streams: dict[str, dict[str, int]] = {}
        self._groups: dict[int, tuple[float, dict[str, Any]]] = {}

    @property
    def has_token(self) -> bool:
        """Whether SkyPortal can be spoken to at all."""
        return self._settings.token is not None

    # What SkyPortal is made of

    def instrument_id(self, survey: Survey) -> int:
        """SkyPortal's number of a survey's instrument."""
        if survey.name not in self._instruments:
            found = self._ask("GET", "/api/instrument", query={"name": survey.instrument}, gives=list)
            if not found:
                raise _not_there(f"SkyPortal has no instrument {survey.instrument}")
            self._instruments[survey.name] = found[0]["id"]
        return self._instruments[survey.name]

    def stream_ids(self, survey: Survey) -> dict[str, int]:
        """SkyPortal's numbers of a survey's streams, by the names that the survey declares, all of them."""
        if survey.name not in self._streams:
            there = {stream["name"]: stream["id"] for stream in self._ask("GET", "/api/streams", gives=list)}
            ids = {name: _stream_id(name, there, survey) for name in set(survey.streams.values())}
            if missing := sorted(name for name, number in ids.items() if number is None):
                raise _not_there(f"SkyPortal has no stream {', '.join(missing)} that Kowalski's token may use")
            self._streams[survey.name] = {name: number for name, number in ids.items() if number is not None}
        return self._streams[survey.name]

    def group(self, group_id: int, filter_id: int) -> dict[str, Any]:
        """A group with its filters, at most `GROUP_TTL` old, and just read where it lacks this one; failures are not remembered."""
        until, group = self._groups.get(group_id, (0.0, {}))
        if until < time.monotonic() or all(one["id"] != filter_id for one in group.get("filters", ())):
            group = self._ask("GET", f"/api/groups/{group_id}", query={"includeGroupUsers": False}, gives=dict)
            self._groups[group_id] = (time.monotonic() + GROUP_TTL, group)
        return group

    # Candidates

    def knows(self, object_id: str) -> bool:
        """Whether the object is a candidate or a source there."""
        return any(
            self._ask("HEAD", f"/api/{kind}/{object_id}", absent={404}) is not None
            for kind in ("candidates", "sources")
        )

    def post_candidate(self, message: Message) -> list[int]:
        """Make an object a candidate of filters; the candidates' numbers, one per filter that SkyPortal accepted."""
        ids: list[int] = self._ask("POST", "/api/candidates", message, gives=dict)["ids"]
        return ids

    def candidacies(self, object_id: str) -> list[Candidacy]:
        """All candidates of an object; none when SkyPortal doesn't have it."""
        query = {"includeAlerts": True}
        found = self._ask("GET", f"/api/candidates/{object_id}", query=query, absent={400, 404}, gives=dict)
        passed = (found or {}).get("passing_alerts", ())
        return [
            Candidacy(
                one["filter_id"], one["passing_alert_id"], datetime.fromisoformat(one["passed_at"]).replace(tzinfo=UTC)
            )
            for one in passed
        ]

    def candidates_between(self, start: datetime, end: datetime) -> Iterator[list[str]]:
        """Identifiers of the objects that became candidates in an interval, page by page."""
        return self._listed("candidates", {"startDate": _utc(start), "endDate": _utc(end)})

    def sources_between(self, start: datetime, end: datetime) -> Iterator[list[str]]:
        """Identifiers of the objects that were saved as sources in an interval, page by page."""
        return self._listed("sources", {"savedAfter": _utc(start), "savedBefore": _utc(end), "removeNested": "true"})

    def _listed(self, what: str, query: dict[str, Any]) -> Iterator[list[str]]:
        query |= {"numPerPage": PAGE, "pageNumber": 1}
        while True:
            found = self._ask("GET", f"/api/{what}", query=query, timeout=self._settings.photometry_timeout)
            page, total = _page(found, what)
            yield [one["id"] for one in page]
            if query["pageNumber"] * PAGE >= total:
                return
            query |= {"pageNumber": query["pageNumber"] + 1, "queryID": found.get("queryID")}

    # What hangs on an object

    def annotations(self, object_id: str) -> dict[str, dict[str, Any]]:
        """The annotations of an object by origin."""
        return {one["origin"]: one for one in self._ask("GET", f"/api/sources/{object_id}/annotations", gives=list)}

    def post_annotation(self, object_id: str, message: Message) -> None:
        """Annotate an object; its annotations are unique by origin."""
        self._ask("POST", f"/api/sources/{object_id}/annotations", message)

    def put_annotation(self, object_id: str, annotation: Mapping[str, Any], message: Message) -> None:
        """Replace the data of an annotation."""
        try:
            path = f"/api/sources/{object_id}/annotations/{annotation['id']}"
            self._ask("PUT", path, {**message, "author_id": annotation["author_id"]})
        except SkyPortalError as error:
            if error.status == 403:  # here it says that the annotation is another's, or gone: never ours to change
                raise SkyPortalError(str(error), 403, retriable=False) from error
            raise

    def put_photometry(self, message: Message, overwrite: bool = False) -> None:
        """Add points to a light curve; those that are there already stay, or with ``overwrite`` get the new flux."""
        query = {"duplicate_ignore_flux": "true", "overwrite_flux": "true"} if overwrite else None
        self._ask("PUT", "/api/photometry", message, query, timeout=self._settings.photometry_timeout)

    def thumbnails(self, object_id: str) -> set[str]:
        """The kinds of thumbnails that an object has."""
        found = self._ask("GET", f"/api/candidates/{object_id}", absent={400, 404}, gives=dict)
        return {one["type"] for one in (found or {}).get("thumbnails") or ()}

    def post_thumbnail(self, message: Message) -> None:
        """Show a cutout."""
        self._ask("POST", "/api/thumbnail", message)

    # Sources and follow-up

    def groups_of(self, object_id: str) -> set[int]:
        """The groups for which an object is saved."""
        found = self._ask("GET", f"/api/sources/{object_id}/groups", absent={404}, gives=list)
        return {group["id"] for group in found or ()}

    def post_source(self, message: Message) -> set[int]:
        """Save an object for groups; those for which it was saved. Doing it again changes nothing."""
        return set(self._ask("POST", "/api/sources", message, gives=dict)["saved_to_groups"])

    def post_comment(self, object_id: str, message: Message) -> None:
        """Comment on an object; the same comment again makes no second one."""
        self._ask("POST", f"/api/sources/{object_id}/comments", message)

    def follow_up_requests(self, object_id: str) -> list[dict[str, Any]]:
        """All follow-up requests of an object.

        Raises
        ------
        SkyPortalError : also when the list breaks off
        """
        query: dict[str, Any] = {"sourceID": object_id, "numPerPage": REQUESTS_PER_PAGE, "pageNumber": 1}
        requests_: list[dict[str, Any]] = []
        while True:
            page, total = _page(self._ask("GET", "/api/followup_request", query=query), "followup_requests")
            requests_ += page
            if len(requests_) >= total:
                return [one for one in requests_ if one["obj_id"] == object_id]  # it looks for parts of names
            if not page:
                raise SkyPortalError(f"{len(requests_)} followup_requests of {object_id} out of {total}", 200, True)
            query["pageNumber"] += 1

    def post_follow_up(self, message: Message) -> dict[str, Any]:
        """Ask for follow-up; what came of it: ``{"id", "request_status"}``, or ``{"ignored": True, "message"}``."""
        answer: dict[str, Any] = self._ask(
            "POST", "/api/followup_request", message, timeout=self._settings.followup_timeout, gives=dict
        )
        return answer

    def put_follow_up(self, number: int, message: Message) -> None:
        """Change a follow-up request."""
        self._ask("PUT", f"/api/followup_request/{number}", message, timeout=self._settings.followup_timeout)

    # One request

    def _ask(
        self,
        method: str,
        path: str,
        body: Message | None = None,
        query: Mapping[str, Any] | None = None,
        absent: set[int] | None = None,
        timeout: float | None = None,
        gives: type = object,
    ) -> Any:
        """The ``data`` of the answer, which are a ``gives``; None if its status is in ``absent``.

        Raises
        ------
        SkyPortalError : any other answer than success, or none; retriable unless the message itself was refused
        """
        if not self.has_token:
            raise SkyPortalError("skyportal.token is not set: SkyPortal's pages make one", 401, True, sent=False)
        self._throttle.wait()
        if (pause := self.health.pause_s()) > 0:
            raise SkyPortalError(f"SkyPortal is left alone for {pause:.1f} s more", 503, True, False, pause)
        try:
            answer = self._session().request(
                method,
                self._settings.url + path,
                json=body,
                params=query,
                headers=self._headers,
                timeout=timeout or self._settings.timeout,
                allow_redirects=False,
            )
        except requests.exceptions.InvalidJSONError as error:
            raise SkyPortalError(f"{method} {path}: no valid JSON: {error}", None, retriable=False) from error
        except requests.RequestException as error:
            self.health.failed()
            what = f"{_untrusted(error)}: skyportal.ca_file names the CA to trust" if _untrusted(error) else error
            raise SkyPortalError(f"{method} {path}: {what}", None, True, sent=not _never_connected(error)) from error
        if absent and answer.status_code in absent:
            self.health.worked()
            return None
        return self._data(answer, f"{method} {path}", gives)

    def _data(self, answer: requests.Response, call: str, gives: type) -> Any:
        status = answer.status_code
        envelope = _envelope(answer, gives)
        # a 200 or 404 that isn't SkyPortal's, a redirect or a server error comes from what stands before it, or passes
        foreign = envelope is None and (status < 400 or status == 404)
        retriable = status in RETRIABLE or status >= 500 or foreign
        if status == 200 and answer.request.method == "HEAD":
            retriable, envelope = False, {"status": "success", "data": {}}
        self.health.failed() if retriable else self.health.worked()
        if status == 429:
            asked = retry_after(answer.headers.get("Retry-After"))
            self.health.hold(DEFAULT_HOLD if asked is None else asked)
        if status == 200 and envelope is not None and envelope["status"] == "success":
            return envelope.get("data")
        text = envelope.get("message") if envelope is not None else answer.text
        raise SkyPortalError(f"{call}: {status} {str(text)[:MAX_MESSAGE]}", status, retriable)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.verify = self._verify
            session.trust_env = False  # a .netrc would replace the token's header; and looking for it costs 1 ms a call
        return session


def _never_connected(error: requests.RequestException) -> bool:
    """Whether there was no connection on which a request could have been sent."""
    never = isinstance(error, requests.ConnectTimeout) or isinstance(_reason(error), NewConnectionError)
    return never or _untrusted(error) is not None


def _untrusted(error: requests.RequestException) -> ssl.SSLCertVerificationError | None:
    """Why SkyPortal's certificate is not accepted, if that is what is wrong."""
    causes = getattr(_reason(error), "args", ())
    return next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)


def _reason(error: requests.RequestException) -> Exception | None:
    """What urllib3 gave up for."""
    return getattr(error.args[0] if error.args else None, "reason", None)


def _not_there(what: str) -> SkyPortalError:
    """Something that SkyPortal's administrators have to add; until then the messages wait."""
    return SkyPortalError(what, 404, retriable=True)


def _page(data: Any, what: str) -> tuple[list[dict[str, Any]], int]:
    """One page of a list, and how long the list is."""
    try:
        return data[what], data["totalMatches"]
    except (KeyError, TypeError) as error:
        raise SkyPortalError(f"an answer without {what} and totalMatches", 200, retriable=True) from error


def _envelope(answer: requests.Response, gives: type) -> dict[str, Any] | None:
    """The JSON of an answer, if it can be SkyPortal's: an error, or a success whose ``data`` are a ``gives``."""
    try:
        content = answer.json()
    except requests.exceptions.JSONDecodeError:
        return None
    if not isinstance(content, dict) or "status" not in content:
        return None
    return content if content["status"] != "success" or isinstance(content.get("data"), gives) else None


def _stream_id(name: str, there: Mapping[str, int], survey: Survey) -> int | None:
    """The stream of that name; for a survey with one stream for all else the last that contains it or the survey's key."""
    if name in there or None not in survey.streams:
        return there.get(name)
    parts = (name.lower(), survey.name.lower())
    alike = [number for full, number in there.items() if any(part in full.lower() for part in parts)]
    return alike[-1] if alike else None


def _utc(time_: datetime) -> str:
    return time_.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
