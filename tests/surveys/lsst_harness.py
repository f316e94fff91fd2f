"""The real packets of LSST as files and as messages, and such that were changed."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from packets import packet, real_files

from kowalski.alert_broker_lsst import SURVEY, schema_file
from kowalski.alerts.decode import Packet, decode
from kowalski.alerts.document import Alert, read_batch
from kowalski.alerts.schemas import SchemaStore
from kowalski.settings import SchemaSource

TOPIC = "lsst-alerts"


def store(folder: Path) -> SchemaStore:
    return SchemaStore(SchemaSource(registry=None, folder=str(folder)), schema_file)


@pytest.fixture(scope="session")
def schemas(test_data: Path) -> SchemaStore:
    return store(test_data / "lsst_schemas")


def as_files(data: Path) -> list[Packet]:
    return [packet(path.read_bytes(), number, TOPIC) for number, path in enumerate(real_files(data, "lsst"))]


def as_messages(data: Path) -> list[Packet]:
    paths = sorted((data / "lsst_alerts" / "v10_wire").glob("*.wire"))
    return [packet(path.read_bytes(), number, TOPIC) for number, path in enumerate(paths)]


def alerts_of(packets: list[Packet], schemas: SchemaStore) -> list[Alert]:
    alerts, refusals = read_batch(packets, SURVEY, schemas)
    assert refusals == []
    return alerts


def message(record: Any, schema: Any, number: int = 1000) -> bytes:
    body = BytesIO()
    fastavro.schemaless_writer(body, schema, record)
    return struct.pack(">BI", 0, number) + body.getvalue()


def changed(data: bytes, schemas: SchemaStore, change: Any) -> bytes:
    """A real packet, as a message, whose record was changed."""
    (record,) = decode(data)
    change(record)
    return message(record, schemas(1000))


def plain(alert: Alert) -> str:
    """All that an alert is, down to the types; NaN equals NaN."""
    return repr((alert.document, alert.histories, alert.candid, alert.object_id, alert.jd, alert.ra, alert.dec))


def forced(record: dict[str, Any], number: int, snr: float, **fields: Any) -> dict[str, Any]:
    source = record["diaSource"]
    taken = {name: source[name] for name in ("visit", "detector", "diaObjectId", "ra", "dec", "band")}
    flux = {"psfFlux": 100.0 * snr, "psfFluxErr": 100.0, "scienceFlux": 1.0, "scienceFluxErr": 1.0}
    when = {"midpointMjdTai": source["midpointMjdTai"] - number, "timeProcessedMjdTai": source["timeProcessedMjdTai"]}
    return {"diaForcedSourceId": number, **taken, **flux, **when, "timeWithdrawnMjdTai": None, **fields}
