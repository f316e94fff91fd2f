"""A burst: alerts published all at once while the broker has nothing to do; how long the first and the last take to the outbox."""

import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.measured import Measured, Options
from benchmarks.scenarios.lone import WARM, warm, watch
from kowalski.errors import LocalError
from kowalski.simulation.publish import Publisher

#: alerts of which Kafka, which keeps messages by size, drops none before it was read
MOST = 40_000


def packets(options: Options) -> int:
    """How many packets it takes.

    Raises
    ------
    LocalError : Kafka would not keep as many
    """
    if options.n > MOST:
        raise LocalError(
            f"--n {options.n}: a burst of {MOST} alerts at most, or Kafka drops the first before they are read"
        )
    return WARM + options.n


def run(measured: Measured, options: Options) -> dict[str, Any]:
    """The figures; latencies of the first and the last alert are from the moment when the burst began."""
    spool, n = measured.system.folder / "burst", options.n
    with measured.progress(f"making {n} alerts", n) as bar:
        sizes = []
        for size in spooled(islice(measured.packets, n), spool):
            sizes.append(size)
            bar.more(1)
    warm(measured)
    ours, theirs = Pipe()
    told = (measured.system.config.kafka.bootstrap_servers, measured.topic, spool, sizes, theirs)
    telescope = get_context("spawn").Process(target=_publish, args=told)
    with watch(measured) as sightings, measured.progress("timing", n) as bar:
        telescope.start()
        measured.wait_for(sightings.seen, n, bar)
        telescope.join()
    began, ended = ours.recv()
    spool.unlink()
    last = max(sightings.seen) - began
    return {
        "published_seconds": round(ended - began, 2),
        "first_ms": round((min(sightings.seen) - began) * 1000, 1),
        "last_ms": round(last * 1000, 1),
        "alerts_per_second": round(n / last, 1),
        "latency_ms": sightings.percentiles(),
    }


def _publish(servers: str, topic: str, spool: Path, sizes: list[int], told: Connection) -> None:
    """Publish the burst, as a telescope would, whose processors are not those of the broker: what that leaves of them is taken."""
    os.nice(19)
    with Publisher(servers, partitions=2) as publisher:
        publisher.connect(topic)
        began = time.time()
        for data in unspooled(spool, sizes):
            publisher.send(topic, data, "an alert of the burst")
        publisher.flush()
        told.send((began, time.time()))


def spooled(packets: Iterable[bytes], file: Path) -> Iterator[int]:
    """The packets are in a file, one after the other; the size of each, as it is written."""
    with file.open("wb") as stream:
        for data in packets:
            stream.write(data)
            yield len(data)


def unspooled(file: Path, sizes: Iterable[int]) -> Iterator[bytes]:
    """The packets of a file, by their sizes."""
    with file.open("rb") as stream:
        for size in sizes:
            yield stream.read(size)
