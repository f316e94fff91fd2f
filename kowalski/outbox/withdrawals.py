"""Alerts that their survey withdraws: who was told of them is told so, by SkyPortal and by Kafka.

A packet says it of its own detection or of one of its history, as ``withdrawn_jd``, and all later packets of the object say it again:
what is known already costs one look into the alerts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kowalski.alerts.document import Alert
from kowalski.alerts.survey import Survey
from kowalski.database.alerts import Alerts
from kowalski.database.outbox import CAUSE, KAFKA, SKYPORTAL, Entry, Outbox, withdrawal_id

#: what Kafka was told, which a withdrawal tells again
RESULT = ("alert", "passed", "record")
#: what the entries of these kinds have told
TELLING = {"candidate": SKYPORTAL, "result": KAFKA, "extragalactic": KAFKA, "fit": KAFKA}


def withdrawn_by(batch: Iterable[Alert], survey: Survey) -> dict[int, float]:
    """Candid -> jd of the withdrawal, of all detections that a batch says were withdrawn."""
    detections = [history.field for history in survey.histories if not history.forced]
    return {
        point["candid"]: point["withdrawn_jd"]
        for alert in batch
        for point in (alert.candidate, *(point for name in detections for point in alert.histories[name]))
        if point.get("withdrawn_jd") is not None and point.get("candid") is not None
    }


def withdraw(moments: Mapping[int, float], alerts: Alerts, outbox: Outbox, telling: bool) -> int:
    """Mark stored alerts as withdrawn and, with ``telling``, have all told who were told of them; how many are new to us.

    Every step can be repeated. The mark comes first: what passes filters after it is not sent to SkyPortal any more, and told to Kafka with
    its withdrawal (`withdraw_late`); what did before is looked up.
    """
    untold = alerts.not_told_withdrawn(list(moments))
    if not untold:
        return 0
    alerts.mark_withdrawn({candid: moments[candid] for candid in untold})
    if telling:
        told = outbox.of_alerts(alerts.survey.name, untold)
        reason = {
            "step": None,
            "status": None,
            "message": "the survey has withdrawn the alert",
            "at": datetime.now(UTC),
        }
        outbox.expire((entry["_id"] for entry in told if entry["kind"] == "followup"), reason)
        outbox.add(list(withdrawal_entries(told, moments)))
        alerts.told_withdrawn(untold)
    return len(untold)


def withdraw_late(added: Sequence[Entry], alerts: Alerts, outbox: Outbox) -> None:
    """Of entries for Kafka that were added after their alert was withdrawn, the withdrawal is told, too.

    Who withdraws marks the alert, then looks for entries; who adds entries looks for the mark after that: one of them sees what the other did.
    """
    moments = alerts.withdrawn([entry["candid"] for entry in added]) if added else {}
    outbox.add(list(withdrawal_entries(added, moments)))


def withdrawal_entries(told: Iterable[Entry], moments: Mapping[int, float]) -> Iterator[Entry]:
    """One entry for each that told, or is to tell, of a withdrawn alert, in the same lane."""
    for entry in told:
        if entry["kind"] not in TELLING or entry["candid"] not in moments:
            continue
        taken: dict[str, Any] = {name: entry[name] for name in (*CAUSE, *RESULT) if name in entry}
        yield {
            "_id": withdrawal_id(entry["_id"]),
            "kind": "withdrawal",
            "lane": TELLING[entry["kind"]],
            "of": entry["_id"],
            "tells": entry["kind"],
            "withdrawn_jd": moments[entry["candid"]],
            **taken,
        }
