"""Follow-up requests: at most one for the same observation, whatever fails on the way; a telescope is never triggered twice.

A request is sent only after SkyPortal's list of the object's requests was read. Before it is sent that is marked durably, with
the equal requests that were there: after an attempt whose answer was lost, one that was not counts as ours, whatever its status.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kowalski.database.outbox import CAUSE, Entry, Outbox, follow_up_id
from kowalski.database.outbox import FOLLOW_UP as LANE
from kowalski.errors import SkyPortalError
from kowalski.log import get_logger
from kowalski.skyportal import messages
from kowalski.skyportal.client import SkyPortal

log = get_logger(__name__)

#: statuses of requests that count, by a part of their text
COUNTED = ("complete", "submitted", "deleted", "failed")
#: after which a failed request is forgotten
FAILED_COUNTS = timedelta(hours=12)
#: parts of a payload that do not make it another observation
NOT_COMPARED = {"priority", "urgency", "Urgency", "start_date", "end_date", "advanced", "observation_choices", "observation_type"}  # fmt: skip
#: the filters or instruments of a kind of observation
KINDS = {"IFU": {"IFU"}, "3-shot": {"g", "r", "i"}, "4-shot": {"u", "g", "r", "i"}}
CHOSEN = "Mix 'n Match"

#: statuses after which a request may still be on its way: none at all, and those of a proxy
UNANSWERED = (None, 502, 503, 504)
#: after which it is not any more
SETTLES = timedelta(seconds=120)
Request = Mapping[str, Any]


def follow_up_entries(entries: Iterable[Entry]) -> list[Entry]:
    """The outbox entries of the follow-up that some candidates ask for."""
    return [
        {
            "_id": follow_up_id(entry["survey"], entry["candid"], entry["filter_id"]),
            "kind": "followup",
            "lane": LANE,
            **{name: entry[name] for name in CAUSE if name in entry},
            "request": entry["auto_followup"],
        }
        for entry in entries
        if entry["auto_followup"]
    ]


class FollowUps:
    """Sends the follow-up requests of an alert, the most urgent first."""

    def __init__(self, client: SkyPortal, outbox: Outbox):
        self._client = client
        self._outbox = outbox

    def send(self, entries: list[Entry], may_continue: Callable[[], bool]) -> bool:
        """Send or settle the requests of one alert and close their entries; False: stopped between two, as told.

        Raises
        ------
        SkyPortalError : a retriable one; what is not closed is to be tried again
        """
        for entry in sorted(entries, key=_urgency):
            if not may_continue():
                return False
            try:
                self._settle(entry)
            except SkyPortalError as error:
                if error.retriable:
                    raise
                log.warning("%s refused: %s", entry["_id"], error)
                self._outbox.fail([entry["_id"]], _told(str(error), error.status))
        return True

    def _settle(self, entry: Entry) -> None:
        """Close an entry: sent, changed, not needed, or too late."""
        request = entry["request"]
        if "sent" not in entry["done"]:
            outcome = self._outcome(entry, datetime.now(UTC))
            if outcome is None:
                self._outbox.expire([entry["_id"]], _told(f"not sent by {_latest(entry):%Y-%m-%d %H:%M} UTC"))
                return
            self._note(entry, outcome=outcome)
            self._outbox.step_done([entry["_id"]], "sent", durable=True)
            entry["done"].append("sent")
        if request["comment"] and entry["outcome"]["comment"]:
            groups = list(dict.fromkeys([entry["group_id"], *request["data"]["target_group_ids"]]))
            self._client.post_comment(entry["objectId"], messages.comment_message(request["comment"], groups))
        self._outbox.deliver([entry["_id"]])

    def _outcome(self, entry: Entry, now: datetime) -> dict[str, Any] | None:
        """What came of a request: sent now or by an earlier attempt, changed, the same as another; None: it is too late."""
        late, tried = now > _latest(entry), entry.get("sending_at") is not None
        if late and not tried:
            return None
        equal = [one for one in self._there(entry["objectId"]) if is_equivalent(entry["request"], one)]
        ours = [one for one in equal if tried and one["id"] not in entry.get("there_before", ())]
        if ours:
            return {"did": "requested", "id": ours[0]["id"], "comment": True}
        if late:
            return None
        counted = [one for one in equal if _counts(one, now)]
        if counted:
            return self._update(entry["request"], counted)
        return self._trigger(entry, [one["id"] for one in equal], now)

    def _there(self, object_id: str) -> list[dict[str, Any]]:
        """All requests of an object.

        Raises
        ------
        SkyPortalError : a retriable one, whatever the answer: without the list nothing can be decided
        """
        try:
            return self._client.follow_up_requests(object_id)
        except SkyPortalError as error:
            if error.retriable:
                raise
            raise SkyPortalError(str(error), error.status, retriable=True) from error

    def _trigger(self, entry: Entry, there_before: list[int], now: datetime) -> dict[str, Any]:
        before = entry.get("sending_at")
        if before is not None and not entry.get("answered") and (left := before + SETTLES - now) > timedelta(0):
            text = f"an attempt at {before:%H:%M:%S} got no answer and may still come through"
            raise SkyPortalError(text, None, True, wait_s=left.total_seconds())
        seen = {"sending_at": before, "answered": entry.get("answered")}
        if not self._outbox.claim(entry["_id"], seen, sending_at=now, answered=False, there_before=there_before):
            raise SkyPortalError("another poster has it in hand", None, retriable=True)
        try:
            answer = self._client.post_follow_up(messages.follow_up_message(entry["request"], now))
        except SkyPortalError as error:
            if not error.sent:
                self._note(entry, **seen)
            elif error.status not in UNANSWERED:
                self._note(entry, answered=True)
            raise
        if answer.get("ignored"):
            return {"did": "ignored", "message": answer.get("message"), "comment": False}
        return {"did": "requested", "id": answer.get("id"), "comment": True}

    def _update(self, request: Request, equal: Sequence[Request]) -> dict[str, Any]:
        """Make the priority of a request that waits more urgent, where ours is."""
        alias, ours = request["priority_alias"], request["data"]["payload"][request["priority_alias"]]
        waiting = next((one for one in equal if "submitted" in str(one["status"])), None)
        if waiting is None or not request["implements_update"] or not _is_better(ours, waiting, request):
            return {"did": "nothing", "message": f"request {equal[0]['id']} is the same", "comment": False}
        change = {
            "obj_id": request["data"]["obj_id"],
            "allocation_id": request["data"]["allocation_id"],
            "payload": {**waiting["payload"], alias: ours},
        }
        self._client.put_follow_up(waiting["id"], change)
        return {"did": "updated", "id": waiting["id"], "comment": False}

    def _note(self, entry: Entry, **fields: Any) -> None:
        """Keep what is known of an entry, durably."""
        self._outbox.note([entry["_id"]], **fields)
        entry.update(fields)


def _latest(entry: Entry) -> datetime:
    """Until when a request makes sense."""
    until: datetime = entry["passed_at"] + timedelta(days=entry["request"]["validity_days"])
    return until


def is_equivalent(request: Request, there: Request) -> bool:
    """Whether a request on SkyPortal asks for all that ours does: same allocation, a group in common, same observation."""
    ours, payload = request["data"], request["data"]["payload"]
    theirs = there.get("payload") or {}
    groups = {group["id"] for group in there.get("target_groups") or ()}
    if there["allocation_id"] != ours["allocation_id"]:
        return False
    if (groups or ours["target_group_ids"]) and not groups & set(ours["target_group_ids"]):
        return False
    same = all(theirs.get(key) == value for key, value in payload.items() if key not in NOT_COMPARED)
    return same and _instruments(payload) <= _instruments(theirs)


def _instruments(payload: Request) -> set[str]:
    """What a payload wants to be observed with."""
    kind = payload.get("observation_type")
    if kind is None:
        return set()
    if kind == CHOSEN:
        return set(payload.get("observation_choices") or ())
    return KINDS.get(kind, {str(kind)})


def _counts(there: Request, now: datetime) -> bool:
    """Whether a request on SkyPortal stands in the way of another one."""
    status = str(there.get("status"))
    if "failed" in status:
        return now - _time(there["modified"]) < FAILED_COUNTS
    return any(part in status for part in COUNTED)


def _is_better(ours: float, there: Request, request: Request) -> bool:
    try:
        theirs = float((there.get("payload") or {})[request["priority_alias"]])
    except (KeyError, TypeError, ValueError):
        return True
    return ours > theirs if request["priority_order"] == "asc" else ours < theirs


def _urgency(entry: Entry) -> tuple[bool, float]:
    """Sorts the most urgent request to the front, those that count downwards first."""
    request = entry["request"]
    priority = request["data"]["payload"][request["priority_alias"]]
    upwards = request["priority_order"] == "asc"
    return upwards, -priority if upwards else priority


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _told(message: str, status: int | None = None) -> dict[str, Any]:
    return {"step": "followup", "status": status, "message": message, "at": datetime.now(UTC)}
