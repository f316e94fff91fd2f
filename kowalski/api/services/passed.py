"""Which filters alerts passed, and what was sent of them, as far as a user may know: the admin all, others what is of their groups."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from kowalski.alerts.survey import get_survey, key_of
from kowalski.api.services.reads import PLAIN, Reads
from kowalski.api.services.rights import Programmes, User
from kowalski.database.outbox import candidate_id
from kowalski.database.queries import Reading
from kowalski.database.told import PASSING, Told
from kowalski.gathering import listed

#: alerts of an object, the newest, of which is looked up what came of them
LOOKED_UP = 300
#: passes among which the newest of different objects are looked for
LAST = 400
#: in the place of annotations that were made of what the user may not see, or may have been
HIDDEN = "annotations are left out: the filter sees more than you may, or what it saw was not recorded"

Document = dict[str, Any]


class Passed(NamedTuple):
    """An alert that passed a filter."""

    survey: str
    candid: int
    object_id: str
    jd: float
    filter_id: int
    group_id: int
    fid: str | None
    passed_at: datetime
    annotations: Any


class Message(NamedTuple):
    """Something that was, or is to be, sent.

    Attributes
    ----------
    kind : what it is, e.g. candidate or photometry; of a withdrawal, that of what it takes back
    when : of its delivery, or of its next attempt
    error : what was said against it last
    """

    candid: int
    kind: str
    lane: str
    filter_id: int | None
    state: str
    attempts: int
    made_at: datetime | None
    when: datetime | None
    error: str | None


async def read_passed(survey: str, candids: Sequence[int], reads: Reads) -> tuple[list[Passed], list[Message]]:
    """The filters that visible alerts passed, and the messages of them, the newest first; of the last `LOOKED_UP` of the candids."""
    told, newest = Told(reads.queries), candids[-LOOKED_UP:]
    entries, passes = await asyncio.gather(told.entries(survey, newest), told.passes(survey, newest))
    his = [entry for entry in entries if _is_his(entry, reads.user)]
    messages = sorted(map(_message, his), key=lambda each: (each.made_at is not None, each.made_at), reverse=True)
    return _passed(his, [each for each in passes if _is_his(each, reads.user)], reads.user), messages


async def read_newest_passed(reads: Reads, number: int) -> list[tuple[Passed, Document]]:
    """Objects that passed filters last, each once, and ``candid`` and ``candidate`` of their alerts; those that the user sees."""
    user = reads.user
    entries, passes = await Told(reads.queries).newest_passes(LAST, None if user.is_admin else user.groups)
    once: dict[tuple[str, str], Passed] = {}
    for each in _passed(entries, passes, user):
        if key_of(each.survey) is not None:  # of surveys that this version has no module of, there may be entries
            once.setdefault((each.survey, each.object_id), each)
    wanted = list(once.values())[: 3 * number]
    surveys = sorted({each.survey for each in wanted})
    found = await asyncio.gather(
        *(_alerts(survey, [each.candid for each in wanted if each.survey == survey], reads) for survey in surveys)
    )
    alerts = {(survey, row["candid"]): row for survey, rows in zip(surveys, found, strict=True) for row in rows}
    seen = [(each, alerts[each.survey, each.candid]) for each in wanted if (each.survey, each.candid) in alerts]
    return seen[:number]


async def _alerts(survey: str, candids: list[int], reads: Reads) -> list[Document]:
    names = ("candid", "candidate.jd", "candidate.magpsf", "candidate.ra", "candidate.dec", "candidate.fid")
    reading = Reading(PLAIN.max_time_ms, PLAIN.comment, projection={"_id": 0} | dict.fromkeys(names, 1))
    return await listed(reads.find(get_survey(survey).alerts, {"candid": {"$in": candids}}, reading))


def _passed(entries: Iterable[Document], passes: Iterable[Document], user: User) -> list[Passed]:
    """Each alert and filter once, the newest first, whichever of the two collections says it."""
    found: dict[str, Passed] = {}
    for each in [*(entry for entry in entries if entry["kind"] in PASSING), *passes]:
        said = each | (each.get("passed") or {})
        key = candidate_id(each["survey"], each["candid"], said["filter_id"])
        found.setdefault(key, _pass(each, said, _may_see(each, user)))
    return sorted(found.values(), key=lambda each: (each.passed_at, each.candid), reverse=True)


def _pass(each: Document, said: Document, open_: bool) -> Passed:
    annotations = said.get("annotations") if open_ else HIDDEN
    if open_ and isinstance(annotations, str) and "passed" in each:
        annotations = json.loads(annotations)
    own = (each["survey"], each["candid"], each["objectId"], each["jd"])
    return Passed(*own, said["filter_id"], said["group_id"], said.get("fid"), _utc(each["passed_at"]), annotations)


def _may_see(document: Document, user: User) -> bool:
    """Whether a user sees all of which the annotations may tell: the programmes, of this survey and others, that the filter sees."""
    if "permissions" not in document or "surveys" not in document:
        return user.is_admin
    told = {document["survey"]: document["permissions"], **document["surveys"]}
    return all(_covers(user.sees(survey), seen) for survey, seen in told.items())


def _covers(programmes: Programmes, seen: Any) -> bool:
    """Whether who sees these programmes sees all that a filter does."""
    return programmes is True or (seen is not True and set(seen) <= set(programmes or ()))


def _message(entry: Document) -> Message:
    kind = f"withdrawal of {entry['tells']}" if entry["kind"] == "withdrawal" else entry["kind"]
    when = entry.get("delivered_at") or (entry.get("next_attempt_at") if entry.get("attempts") else None)
    error = entry.get("error") or {}
    said = " ".join(str(error[name]) for name in ("status", "message") if error.get(name) is not None) or None
    filter_id = entry.get("filter_id", (entry.get("passed") or {}).get("filter_id"))
    state, attempts = entry.get("state", "pending"), entry.get("attempts", 0)
    made_at = entry.get("passed_at")
    return Message(entry["candid"], kind, entry.get("lane", "skyportal"), filter_id, state, attempts, made_at and _utc(made_at), when and _utc(when), said)  # fmt: skip


def _is_his(document: Document, user: User) -> bool:
    """Whether it is of a filter of a user's groups; what is of no filter, photometry say, is the admin's to see."""
    group = document.get("group_id", (document.get("passed") or {}).get("group_id"))
    return user.is_admin or (group is not None and group in user.groups)


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
