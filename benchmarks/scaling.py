"""What to buy for a survey: the tables of docs/scaling.md, from a benchmark's figures.

python -m benchmarks.scaling [--benchmark FILE] [--disk FILE] [--write]

Without FILE the figures are those that docs/speed.md and docs/scaling.md (bytes) have.
"""

import argparse
import json
import re
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from kowalski.config import ROOT

SPEED, DOCUMENT = ROOT / "docs" / "speed.md", ROOT / "docs" / "scaling.md"
BEGIN, END = "<!-- scaling:begin -->", "<!-- scaling:end -->"

#: share of a core that is planned with: the rest is for queries, the system and what nobody thought of
LOAD = 0.6
#: copies of the data, in a replica set
COPIES = 3
#: share of a disk that may be full
FULL = 0.7
#: nights of packets that a Kafka of one's own keeps, and its copies
KAFKA_NIGHTS, KAFKA_COPIES = 7, 2
#: nights of a year with alerts
NIGHTS = 300
#: nights whose indexes are read and written all the time, and belong in memory
HOT_NIGHTS = 30
#: MB that a process may grow beyond what the benchmark saw
MEMORY_MARGIN = 2.0
#: what one shard of a cluster is taken to have: bytes of memory and of disk
SHARD_MEMORY, SHARD_DISK = 256e9, 100e12
ONCE = ("broker", "scheduler")


@dataclass(frozen=True)
class Plan:
    """A survey's stream, and what is wanted.

    Attributes
    ----------
    night : alerts per night
    rate : alerts per second that the chain has to do
    why : where that rate is from
    packet : bytes of a packet
    """

    name: str
    night: int
    rate: float
    why: str
    packet: int


def plans(packet: int) -> list[Plan]:
    """ZTF and LSST; ``packet`` is ZTF's, measured."""
    return [
        Plan("ZTF", 1_000_000, 4 * 1_000_000 / 8 / 3600, "4 times the mean of a night of 8 h", packet),
        # 10 packets of Rubin's first on-sky nights
        Plan(
            "LSST",
            10_000_000,
            10_000 / 15,
            "a burst of 10,000 done 15 s after it began, of the 39 s to the next",
            109_458,
        ),
    ]


def needs(plan: Plan, benchmark: dict[str, Any], disk: dict[str, Any]) -> dict[str, str]:
    """What a survey needs, by the line of the table."""
    cpu, memory, size = benchmark["cpu_ms_per_alert"], benchmark["peak_rss_mb"], disk["bytes_per_alert"]
    larger = plan.packet / size["packet"]
    # a larger packet is taken to cost more in proportion, everywhere
    cores = {part: plan.rate * larger * ms / 1000 / LOAD for part, ms in cpu.items()}
    workers = ceil(cores["worker"])
    brokers = ceil(cores["broker"])
    worker_mb = memory["worker"] / benchmark["workers"] * MEMORY_MARGIN
    indexes = size["alert_indexes"] + size["object_indexes"]
    stored = (size["alert"] + size["object"] + size["outbox"]) * larger + indexes
    hot = plan.night * HOT_NIGHTS * indexes
    year = plan.night * NIGHTS * stored
    kafka = plan.night * KAFKA_NIGHTS * plan.packet
    to_mongod = plan.rate * size["to_mongod"] * larger
    return {
        "alerts/s to be done": f"{plan.rate:,.0f} ({plan.why})",
        "worker processes (a core each)": f"{workers}",
        "broker processes": f"{brokers}",
        "scheduler: load of its one core": f"{plan.rate * larger * cpu['scheduler'] / 10:.0f} %",
        "MongoDB, cores of the primary": f"{ceil(cores['mongod'])}",
        "Kafka, if it is your own, cores": f"{ceil(cores['kafka'])}",
        "cores in all": f"{workers + brokers + 1 + ceil(cores['mongod']) + ceil(cores['kafka'])}",
        "memory of workers, brokers and scheduler": _bytes(
            1e6 * (workers * worker_mb + (brokers * memory["broker"] + memory["scheduler"]) * MEMORY_MARGIN)
        ),
        f"memory of a MongoDB member, or of its shards together: indexes of {HOT_NIGHTS} nights, twice": _bytes(
            2 * hot
        ),
        f"shards of {_bytes(SHARD_MEMORY)} memory and {_bytes(SHARD_DISK)} disk, after the first year": f"{ceil(max(2 * hot / SHARD_MEMORY, year / FULL / SHARD_DISK))}",
        "stored per alert": _bytes(stored),
        "stored per year, one copy": _bytes(year),
        f"disk per year, {COPIES} copies, {FULL:.0%} full": _bytes(year * COPIES / FULL),
        f"disk of Kafka, {KAFKA_NIGHTS} nights, {KAFKA_COPIES} copies": _bytes(kafka * KAFKA_COPIES / FULL),
        "network: packets, each of Kafka → broker → scheduler → workers": _bits(plan.rate * plan.packet),
        "network: workers → MongoDB": _bits(to_mongod),
        "network: primary → each other member": _bits(plan.rate * stored),
    }


def tables(benchmark: dict[str, Any], disk: dict[str, Any]) -> str:
    """The tables as Markdown."""
    columns = {plan.name: needs(plan, benchmark, disk) for plan in plans(disk["bytes_per_alert"]["packet"])}
    first = next(iter(columns.values()))
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    lines += [f"| {line} | {' | '.join(column[line] for column in columns.values())} |" for line in first]
    cpu = benchmark["cpu_ms_per_alert"]
    most = {part: 1000 / cpu[part] for part in ONCE}
    limits = " and ".join(f"{rate:,.0f} alerts/s for a {part}" for part, rate in most.items())
    return "\n".join([*lines, "", f"One process has one core: the most it can do is {limits}."])


def shown_benchmark() -> dict[str, Any]:
    """The figures that docs/speed.md shows."""
    text = SPEED.read_text()
    shown = text[text.index("<!-- benchmark:begin -->") : text.index("<!-- benchmark:end -->")]
    figures: dict[str, Any] = json.loads(re.findall(r"```json\n(.*?)```", shown, re.DOTALL)[0])
    return figures


def document_disk() -> dict[str, Any]:
    """The bytes per alert that docs/scaling.md shows."""
    figures: dict[str, Any] = json.loads(re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[0])
    return figures


def with_tables(text: str, new: str) -> str:
    """A document with its tables replaced."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{new}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Print the tables, or write them into docs/scaling.md."""
    parser = argparse.ArgumentParser(description="What to buy for a survey")
    parser.add_argument("--benchmark", type=Path, metavar="FILE", help="what ./kowalski.py benchmark --json wrote")
    parser.add_argument("--disk", type=Path, metavar="FILE", help="what python -m benchmarks.disk printed")
    parser.add_argument("--write", action="store_true", help="put them into docs/scaling.md")
    arguments = parser.parse_args()
    benchmark = json.loads(arguments.benchmark.read_text()) if arguments.benchmark else shown_benchmark()
    disk = json.loads(arguments.disk.read_text()) if arguments.disk else document_disk()
    made = tables(benchmark, disk)
    if arguments.write:
        DOCUMENT.write_text(with_tables(DOCUMENT.read_text(), made))
    else:
        print(made)


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} PB"


def _bits(bytes_per_second: float) -> str:
    megabits = bytes_per_second * 8 / 1e6
    return f"{megabits / 1000:.2g} Gbit/s" if megabits >= 1000 else f"{megabits:.0f} Mbit/s"


if __name__ == "__main__":
    main()
