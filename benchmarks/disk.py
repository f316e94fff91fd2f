"""What an alert takes: bytes on disk and over the network, measured on a mongod of its own.

python -m benchmarks.disk [--survey S] [--n N] [--alerts DIR]
"""

import argparse
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.filters import benchmark_filters
from benchmarks.floor import BATCH
from benchmarks.packets import SEED, packets_of_tonight
from kowalski.alert_worker import AlertWorker
from kowalski.alerts.decode import Packet
from kowalski.alerts.survey import Survey, get_survey
from kowalski.config import ROOT
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.filters import Filters
from kowalski.local.system import LocalSystem
from kowalski.simulation.catalogs import catalogs

FOLDER = ROOT / "data" / "local" / "disk"


def main() -> None:
    """Store alerts, each of a new object, and print what one of them took."""
    parser = argparse.ArgumentParser(description="Bytes per alert")
    parser.add_argument("--survey", default="ZTF", help="whose alerts (default ZTF)")
    parser.add_argument("--n", type=int, default=3000, help="alerts to store (default 3000)")
    parser.add_argument("--filters", type=int, default=25, help="active filters (default 25)")
    parser.add_argument("--alerts", type=Path, metavar="DIR", help="re-stamp the packets of a folder")
    arguments = parser.parse_args()
    survey = get_survey(arguments.survey)
    system = LocalSystem.isolated(FOLDER, surveys=(survey.name,))
    try:
        system.start(["mongod"])
        figures = measured(system, survey, arguments)
    finally:
        system.stop()
        shutil.rmtree(FOLDER)
    print(json.dumps(figures, indent=2))


def measured(system: LocalSystem, survey: Survey, arguments: argparse.Namespace) -> dict[str, Any]:
    """Bytes per alert after so many were stored, scored, matched and filtered as a worker does it."""
    database = connect(system.config.database)
    for document in benchmark_filters(arguments.filters, survey):
        Filters(database, database).put(document)
    for name, rows in catalogs(SEED).items():
        Catalogs(database).replace(name, rows)
    worker = AlertWorker(survey, system.config)
    worker.alerts.ensure_indexes()
    worker.objects.ensure_indexes()
    worker.outbox.ensure_indexes()
    admin = connect(system.config.database, "admin")
    packets, before, size = packets_of_tonight(survey, arguments.n, arguments.alerts), _traffic(admin), 0
    now = datetime.now(UTC)
    for first in range(0, arguments.n, BATCH):
        batch = [
            Packet(next(packets), "topic", 0, offset, now)
            for offset in range(first, min(first + BATCH, arguments.n))
        ]  # fmt: skip
        size += sum(len(packet.data) for packet in batch)
        worker.process(batch)
    after = _traffic(admin)
    per_alert = {
        "packet": size,
        "alert": _on_disk(admin, survey.alerts, "storageSize"),
        "alert_indexes": _on_disk(admin, survey.alerts, "totalIndexSize"),
        "object": _on_disk(admin, survey.aux, "storageSize"),
        "object_indexes": _on_disk(admin, survey.aux, "totalIndexSize"),
        "outbox": _on_disk(admin, "outbox", "totalSize"),
        "to_mongod": after["bytesIn"] - before["bytesIn"],
        "from_mongod": after["bytesOut"] - before["bytesOut"],
    }
    return {
        "survey": survey.name,
        "alerts": arguments.n,
        "filters": arguments.filters,
        "packets": "re-stamped" if arguments.alerts else "simulated",
        "bytes_per_alert": {name: round(value / arguments.n) for name, value in per_alert.items()},
    }


def _on_disk(database: MongoDatabase, collection: str, what: str) -> int:
    """Bytes of a collection's files, after all is in them, without what is free in them."""
    database.client.admin.command("fsync")
    stats = database.command("collStats", collection)
    free = stats.get("freeStorageSize", 0) if what != "totalIndexSize" else 0
    return int(stats[what]) - int(free)


def _traffic(database: MongoDatabase) -> dict[str, int]:
    return dict(database.client.admin.command("serverStatus")["network"])


if __name__ == "__main__":
    main()
