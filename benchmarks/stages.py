"""The stages of the chain alone, in one process with a mongod and nothing else: ``python -m benchmarks.stages``.

Prints one JSON: CPU ms per alert of the process and of mongod, the seconds of each stage, and the floor of each.
"""

import gc
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import psutil
from rich.console import Console

from benchmarks.chain import commit
from benchmarks.floor import BATCH, Floor
from benchmarks.measured import Measured
from benchmarks.packets import packets_of_tonight
from kowalski.alert_worker import AlertWorker
from kowalski.alerts.decode import Packet
from kowalski.alerts.survey import get_survey
from kowalski.config import ROOT
from kowalski.dask_cluster import GC_THRESHOLD
from kowalski.local.system import LocalSystem
from kowalski.ml.convert import ensure_converted

FOLDER = ROOT / "data" / "local" / "stages"
#: batches that warm up, and those that count
WARM, COUNTED = 3, 6
FILTERS = 25
#: the calls of the floor that each stage can't spare
CALLS = {
    "decode": ["decode"],
    "score": ["stamps", "inference"],
    "match": ["cones"],
    "objects": ["cones", "aux"],
    "insert": ["bson", "insert"],
    "filter": ["filters"],
}


def main() -> None:
    """Measure, and print the figures."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    survey = get_survey("ZTF")
    system = LocalSystem.isolated(FOLDER, surveys=(survey.name,))
    packets = packets_of_tonight(survey, 2 * (WARM + COUNTED) * BATCH)
    try:
        system.start(["mongod"])
        measured = Measured(system, survey, packets, Console(stderr=True))
        measured.prepare(FILTERS, "small")
        ensure_converted(system.config, survey.name)
        print(json.dumps(figures(measured), indent=2))
    finally:
        system.stop()
        shutil.rmtree(FOLDER, ignore_errors=True)


def figures(measured: Measured) -> dict[str, Any]:
    """CPU and seconds of the stages, and of the floor, on as many packets."""
    worker = AlertWorker(measured.survey, measured.system.config)
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 10, 10)
    mongod = psutil.Process(measured.system.pid_of("mongod"))
    batches = list(islice(_batches(measured.packets), WARM + COUNTED))
    for batch in batches[:WARM]:
        worker.process(batch)
    seconds: Counter[str] = Counter()
    before = _cpu(mongod)
    for batch in batches[WARM:]:
        seconds.update(worker.process(batch).seconds)
    number = COUNTED * BATCH
    cpu = [1000 * (after - then) / number for then, after in zip(before, _cpu(mongod), strict=True)]
    floor = Floor(measured.system.config, measured.survey, measured.database, mongod.pid)
    least = floor.measure(list(islice(measured.packets, COUNTED * BATCH)), COUNTED - 1)
    return {
        "commit": commit(),
        "cpu_ms_per_alert": {"worker": round(cpu[0], 3), "mongod": round(cpu[1], 3)},
        "floor_ms_per_alert": round(sum(least.values()), 3),
        "stage_ms_per_alert": {name: round(1000 * value / number, 3) for name, value in seconds.items()},
        "floor_ms_by_stage": {
            name: round(sum(least.get(call, 0.0) for call in calls), 3) for name, calls in CALLS.items()
        },
    }


def _batches(packets: Iterator[bytes]) -> Iterator[list[Packet]]:
    now, done = datetime.now(UTC), 0
    while data := list(islice(packets, BATCH)):
        yield [Packet(each, "stages", 0, done + place, now) for place, each in enumerate(data)]
        done += len(data)


def _cpu(mongod: psutil.Process) -> tuple[float, float]:
    times = mongod.cpu_times()
    return time.process_time(), times.user + times.system


if __name__ == "__main__":
    main()
