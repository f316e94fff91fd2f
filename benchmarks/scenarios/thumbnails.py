"""Candidates made ready for SkyPortal: the CPU of the thumbnails and of all messages of each."""

import json
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from benchmarks.filters import passing_all
from benchmarks.measured import Measured, Options
from kowalski.alert_worker import AlertWorker
from kowalski.alerts.decode import Packet
from kowalski.alerts.survey import Survey
from kowalski.database.outbox import SKYPORTAL, Entry, Target
from kowalski.errors import LocalError
from kowalski.ml.convert import ensure_converted
from kowalski.skyportal import messages
from kowalski.skyportal.thumbnails import THUMBNAILS

#: alerts that a worker takes at a time
BATCH = 64
#: rounds, of which the best counts, after one to get warm
ROUNDS = 3

Parts = dict[str, float]


def packets(options: Options) -> int:
    """How many packets it takes."""
    return options.n


def run(measured: Measured, options: Options) -> dict[str, Any]:
    """The figures: of alerts that went through a worker in this process, each a candidate of one filter at least."""
    survey, stored = measured.survey, measured.alerts
    measured.put_filters([passing_all(survey)])
    ensure_converted(measured.system.config, survey.name)
    worker, done = AlertWorker(survey, measured.system.config), 0
    with measured.progress("storing candidates", options.n) as bar:
        while data := list(islice(measured.packets, BATCH)):
            now = datetime.now(UTC)
            worker.process([Packet(each, "benchmark", 0, done + place, now) for place, each in enumerate(data)])
            done += len(data)
            bar.more(len(data))
    candidates = []
    for alert in stored.collection.find():
        entries = measured.outbox.pending_of(Target(survey.name, alert["objectId"], SKYPORTAL))
        aux = worker.objects.read([alert["objectId"]])[alert["objectId"]]
        if entries:
            candidates.append((alert, aux, entries))
    if not candidates:
        raise LocalError("no alert became a candidate; see the logs")
    rounds = [spent(candidates, survey) for _ in range(ROUNDS + 1)][1:]
    best = min(rounds, key=lambda parts: sum(parts.values()))
    return {
        "candidates": len(candidates),
        "cpu_ms_per_candidate": {name: round(1000 * value / len(candidates), 3) for name, value in best.items()},
        "cpu_ms": round(1000 * sum(best.values()) / len(candidates), 3),
    }


def spent(candidates: Iterable[tuple[Any, Any, list[Entry]]], survey: Survey) -> Parts:
    """CPU seconds of thumbnails and of the other messages of all candidates, as JSON."""
    parts = {"thumbnails": 0.0, "messages": 0.0}
    for alert, aux, entries in candidates:
        for name, made in (
            ("thumbnails", thumbnails(alert, survey)),
            ("messages", others(alert, aux, entries, survey)),
        ):
            began = time.process_time()
            for message in made:
                json.dumps(message)
            parts[name] += time.process_time() - began
    return parts


def thumbnails(alert: Any, survey: Survey) -> Iterator[messages.Message]:
    """The thumbnails of an alert."""
    for role in THUMBNAILS:
        if not survey.lacks(alert, role):
            yield messages.thumbnail_message(alert["objectId"], alert, role, survey)


def others(alert: Any, aux: Any, entries: list[Entry], survey: Survey) -> Iterator[messages.Message]:
    """The other messages of an alert whose object SkyPortal does not have yet."""
    yield messages.candidate_message(entries, alert, survey)
    for entry in entries:
        yield messages.annotation_message(entry, f"benchmark:{entry['filter_id']}")
    curve = messages.full_light_curve(alert, aux, [alert], survey)
    streams = {stream: number for number, stream in enumerate(sorted(set(survey.streams.values())))}
    for body, _ in messages.photometry_messages(alert["objectId"], curve, survey, 1, streams):
        yield body
    if saved := [entry for entry in entries if entry["autosave"]]:
        yield messages.source_message(saved)
