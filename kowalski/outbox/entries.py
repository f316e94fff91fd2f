"""What a batch of alerts asks to be sent, as outbox entries."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from bson.int64 import Int64

from kowalski.alerts.document import Alert
from kowalski.database.outbox import Entry, candidate_id, photometry_id
from kowalski.filters.results import Pass


def entries_of(
    survey: str, alerts: Iterable[Alert], passes: list[Pass], at_skyportal: set[str], now: datetime
) -> Iterator[Entry]:
    """One entry per filter that an alert passed, and one of photometry where SkyPortal knows the alert's object.

    Each alert has its own ``passed_at``: SkyPortal takes candidates of one object, filter and time for the same.
    """
    passed: dict[int, list[Pass]] = {}
    for each in passes:
        passed.setdefault(each.candid, []).append(each)
    for place, alert in enumerate(alerts):
        common = {
            "survey": survey,
            "candid": Int64(alert.candid),
            "objectId": alert.object_id,
            "jd": alert.jd,
            "passed_at": now + timedelta(milliseconds=place),
            "kafka": alert.document["kafka"],
            "replayed": alert.packet.received is None,
        }
        for each in passed.get(alert.candid, ()):
            yield {"_id": candidate_id(survey, alert.candid, each.filter.filter_id), **common, **_candidate(each)}
        if alert.object_id in at_skyportal:
            yield {"_id": photometry_id(survey, alert.candid), **common, "kind": "photometry"}


def _candidate(each: Pass) -> dict[str, Any]:
    """What the poster needs to know of a filter and its answer."""
    return {
        "kind": "candidate",
        "filter_id": each.filter.filter_id,
        "group_id": each.filter.group_id,
        "fid": each.filter.fid,
        "filter_state": each.filter.state,
        **each.filter.sight.record,
        "annotations": each.annotations,
        "update_annotations": each.filter.update_annotations,
        "autosave": each.autosave,
        "auto_followup": each.follow_up,
    }
