"""What Prometheus and the signs of life are told of a broker's work."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter, Gauge

from kowalski.alerts.offsets import Partition
from kowalski.batch_report import BatchReport
from kowalski.database.quarantine_room import Standing
from kowalski.gauges import keep

PACKETS = Counter("kowalski_broker_packets", "Packets by what became of them", ["survey", "outcome"])
QUARANTINED = Counter("kowalski_broker_quarantined", "Packets put in quarantine", ["survey", "reason"])
STAGE_SECONDS = Counter("kowalski_broker_stage_seconds", "Time of workers by stage of the chain", ["survey", "stage"])
BATCHES = Counter("kowalski_broker_batches", "Batches that are done", ["survey"])
PASSED = Counter("kowalski_broker_filter_passes", "Alerts that passed a filter", ["survey"])
FILTER_FAILURES = Counter("kowalski_broker_filter_failures", "Alerts that a filter failed on or was not run on", ["survey"])  # fmt: skip
POSTED = Counter(
    "kowalski_broker_outbox_entries", "Candidates and photometry put into the outbox for SkyPortal", ["survey"]
)
LAG = Gauge("kowalski_broker_lag_messages", "Messages that are not read yet", ["survey", "topic", "partition"])
UNDER_WAY = Gauge("kowalski_broker_alerts_under_way", "Alerts that workers have in hand", ["survey"])
MODELS = Gauge("kowalski_broker_model_info", "1 for each network that scores", ["survey", "model", "version"])
MODEL_PROBLEMS = Gauge("kowalski_broker_model_problems", "Networks that are configured and not loaded", ["survey"])
HELD = Gauge("kowalski_broker_quarantine_held_bytes", "Bytes in quarantine, of all surveys")
MOST = Gauge("kowalski_broker_quarantine_max_bytes", "Bytes beyond which only heads are kept")

#: of packets
OUTCOMES = ("received", "stored", "known", "withdrawn")


def begin(survey: str) -> None:
    """The counters are there from the start, at zero: one that is missing raises no alert."""
    for counter in (BATCHES, PASSED, FILTER_FAILURES, POSTED):
        counter.labels(survey)
    for outcome in OUTCOMES:
        PACKETS.labels(survey, outcome)


def count(survey: str, report: BatchReport) -> None:
    """One batch is done."""
    BATCHES.labels(survey).inc()
    for outcome in OUTCOMES:
        PACKETS.labels(survey, outcome).inc(getattr(report, outcome))
    for reason, number in report.quarantined.items():
        QUARANTINED.labels(survey, reason).inc(number)
    for stage, seconds in report.seconds.items():
        STAGE_SECONDS.labels(survey, stage).inc(seconds)
    PASSED.labels(survey).inc(report.passed.total())
    FILTER_FAILURES.labels(survey).inc(report.filter_failures.total())
    POSTED.labels(survey).inc(report.posted)


def stand(survey: str, lags: Mapping[Partition, int], under_way: int, report: BatchReport) -> None:
    """How a broker stands now: what it has not read, what is under way, and which networks score."""
    for (topic, partition), messages in lags.items():
        LAG.labels(survey, topic, str(partition)).set(messages)
    keep(LAG, ((survey, topic, str(partition)) for topic, partition in lags))
    UNDER_WAY.labels(survey).set(under_way)
    for model, version in report.models.items():
        MODELS.labels(survey, model, version).set(1)
    keep(MODELS, ((survey, model, version) for model, version in report.models.items()))
    MODEL_PROBLEMS.labels(survey).set(len(report.model_problems))


def quarantine(standing: Standing, most: int) -> None:
    """How full quarantine is, which all brokers fill."""
    HELD.set(standing.held)
    MOST.set(most)


def sign(lags: Mapping[Partition, int], under_way: int, report: BatchReport) -> dict[str, Any]:
    """What a broker's sign of life says."""
    return {
        "lag": sum(lags.values()) + under_way,
        "lags": [{"topic": topic, "partition": number, "messages": messages} for (topic, number), messages in lags.items()],
        "under_way": under_way,
        **{name: getattr(report, name) for name in ("received", "stored", "known", "posted", "withdrawn", "extragalactic")},
        "quarantined": dict(report.quarantined),
        "passed": {str(key): number for key, number in report.passed.items()},
        "filter_failures": {str(key): number for key, number in report.filter_failures.items()},
        "seconds": dict(report.seconds),
        "models": report.models,
        "model_problems": report.model_problems,
        "drift": [{"schema": schema, "packets": number} for schema, number in report.drift.items()],
    }  # fmt: skip
