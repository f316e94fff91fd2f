"""The memory of a system's programs over time: sampled, judged and drawn."""

import threading
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil

from kowalski.local.system import LocalSystem

MB = 1024**2
#: s between samples
INTERVAL = 5.0
#: what is left out at the begin: caches fill, workers meet their first batches
WARM_UP = 0.1
#: of each hundred samples, those below the height that is compared
HEIGHT = 95

#: minutes since the begin, MB
Samples = list[tuple[float, float]]


class MemoryWatch:
    """Samples the resident memory of each program, its children included, until told to stop.

    Attributes
    ----------
    samples : program -> its memory over time
    """

    def __init__(self, system: LocalSystem):
        self.samples: dict[str, Samples] = defaultdict(list)
        self._system, self._began = system, time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL):
            minute = (time.monotonic() - self._began) / 60
            for name, state in self._system.supervisor.states().items():
                if (size := _size(state["pid"])) is not None:
                    self.samples[name].append((minute, size))


def _size(pid: int) -> float | None:
    """MB of a process and its children; None where it has just begun or is gone."""
    try:
        process = psutil.Process(pid)
        if not pid or time.time() - process.create_time() < 2 * INTERVAL:
            return None
        return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / MB
    except psutil.NoSuchProcess:
        return None


def growth(samples: Samples) -> float:
    """By what share memory stands higher in the second half than in the first, the warm-up left out; by its 95th percentile.

    What has waited for something that was hurt holds more afterwards, and keeps that until it is killed: there are plateaus, lower and
    higher ones. What leaks makes them higher and higher.
    """
    last = samples[-1][0] if samples else 0.0
    early = [size for minute, size in samples if WARM_UP * last <= minute < last / 2]
    late = [size for minute, size in samples if minute >= last / 2]
    return float(np.percentile(late, HEIGHT) / np.percentile(early, HEIGHT)) - 1 if early and late else 0.0


def draw(samples: dict[str, Samples], faults: list[tuple[float, str]], title: str, path: Path) -> None:
    """A plot of each program's memory over time, with the faults, at a path that ends in .svg or .png."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="minutes", ylabel="resident memory, MB", yscale="log", title=title)
    for name, points in sorted(samples.items(), key=lambda item: -item[1][-1][1]):
        axes.plot(*zip(*points, strict=True), label=f"{name} ({growth(points):+.0%})", linewidth=1)
    for minute, _ in faults:
        axes.axvline(minute, color="0.85", linewidth=0.8, zorder=0)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
