"""The latency trace of an alert: when it was exposed, emitted, received, scored, stored, filtered and delivered (UTC).

It stands under ``trace`` in the stored alert. Each moment is there once it is known, and stays as it was first written:

    exposure    the exposure began: the candidate's jd, less `Survey.jd_after_start`
    emitted     Kafka got the message
    received    the broker read it
    scored      the neural networks had judged it; not there where there are none, or no cutouts
    stored      MongoDB had it, durably
    filtered    all filters had judged it; not there for alerts that their survey had withdrawn
    delivered   SkyPortal had taken all that the first message about it asks for: the candidate, its light curve, its thumbnails

Alerts of older versions have none.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Alert
from kowalski.alerts.survey import Survey
from kowalski.alerts.times import EPOCH, SECONDS, moment_of

Trace = Mapping[str, datetime]

#: stage -> the moments between which it lies
STAGES = {
    "exposure_emitted": ("exposure", "emitted"),
    "emitted_received": ("emitted", "received"),
    "received_stored": ("received", "stored"),
    "stored_filtered": ("stored", "filtered"),
    "filtered_delivered": ("filtered", "delivered"),
    "emitted_delivered": ("emitted", "delivered"),
}
#: those that the worker sees the end of, and those that end with the delivery
IN_WORKER = ("exposure_emitted", "emitted_received", "received_stored", "stored_filtered")
AT_DELIVERY = ("filtered_delivered", "emitted_delivered")


def begun(packet: Packet, jd: float, survey: Survey) -> dict[str, datetime]:
    """The trace of an alert that was received: what its message and its jd say."""
    moments = {
        "exposure": moment_of(jd - survey.jd_after_start / SECONDS),
        "emitted": packet.timestamp if packet.timestamp > EPOCH else None,  # otherwise Kafka knows none
        "received": packet.received or datetime.now(UTC),
    }
    return {name: moment for name, moment in moments.items() if moment is not None}


def noted(alerts: Iterable[Alert], moment: str) -> None:
    """The traces of alerts have that moment: now."""
    now = datetime.now(UTC)
    for alert in alerts:
        alert.document["trace"][moment] = now


def spans_of(traces: Iterable[Trace], stages: Iterable[str]) -> dict[str, list[float]]:
    """Stage -> the seconds that it took each alert that has gone through it; clocks that differ make no time negative."""
    ends = {stage: STAGES[stage] for stage in stages}
    spans: dict[str, list[float]] = {stage: [] for stage in ends}
    for trace in traces:
        for stage, (begin, end) in ends.items():
            if begin in trace and end in trace:
                spans[stage].append(max(0.0, (trace[end] - trace[begin]).total_seconds()))
    return spans
