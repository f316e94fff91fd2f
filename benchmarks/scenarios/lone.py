"""Alerts sent one by one: how long each takes from Kafka to the outbox."""

import time
from itertools import islice
from typing import Any

from benchmarks.filters import passing_all
from benchmarks.measured import Measured, Options
from benchmarks.meters import Sightings

#: alerts, and s between them
LONE, PAUSE = 60, 0.15
#: s until a watch has begun
SETTLE = 1.0
#: alerts that warm a broker up that was just started
WARM = 200


def packets(options: Options) -> int:
    """How many packets it takes."""
    return WARM + options.n


def run(measured: Measured, options: Options) -> dict[str, Any]:
    """The figures."""
    warm(measured)
    return {"latency_ms": latency(measured, options.n)}


def warm(measured: Measured) -> None:
    """The broker reads, and its workers have scored a few alerts."""
    before = measured.alerts.estimated_count()
    measured.settle()
    measured.publish(islice(measured.packets, WARM), "warming up", WARM)
    measured.start_broker()
    measured.when(before + WARM)


def latency(measured: Measured, number: int) -> dict[str, float]:
    """Milliseconds from Kafka's time stamp to the outbox entry seen stored, of so many alerts sent one by one."""
    with (
        watch(measured) as sightings,
        measured.publisher() as publisher,
        measured.progress("lone alerts", number) as bar,
    ):
        for data in islice(measured.packets, number):
            publisher.send(measured.topic, data, "a lone alert")
            publisher.flush()
            time.sleep(PAUSE)
        measured.wait_for(sightings.seen, number, bar)
    return sightings.percentiles()


def watch(measured: Measured) -> Sightings:
    """Sees every alert in the outbox from the moment when it is entered."""
    always = passing_all(measured.survey)
    if always not in measured.filters:
        measured.put_filters([always])
    return Sightings(measured.outbox, always["filter_id"], SETTLE)
