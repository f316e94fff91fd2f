"""The real packets of each survey, a worker for them, and what SkyPortal would be told of them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packets import packet, real_files

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Alert, arrival, read_batch
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.survey import Survey, get_survey
from kowalski.database.client import MongoDatabase
from kowalski.database.filters import Filters
from kowalski.simulation.night import simulate
from kowalski.simulation.reshape import reshaped
from kowalski.skyportal.photometry import Columns, make_photometry

SURVEYS = ("PGIR", "WNTR", "TURBO")
#: alerts and objects of the real packets
COUNTS = {"PGIR": (17, 15), "WNTR": (11, 11), "TURBO": (11, 11)}

MakeWorker = Callable[..., AlertWorker]


def packets_of(data: Path, survey: Survey) -> list[Packet]:
    """The real packets as messages of the stream."""
    files = real_files(data, survey.name.lower())
    return [packet(file.read_bytes(), number, f"night_of_{survey.name}") for number, file in enumerate(files)]


def simulated(survey: Survey, number: int = 20) -> list[Packet]:
    """Packets of the simulator in the survey's own schema, some of them of the same object."""
    made = reshaped(simulate(number, number // 4, seed=1), survey)
    return [packet(each.data, place, f"night_of_{survey.name}") for place, each in enumerate(made)]


def alerts_of(data: Path, survey: Survey) -> dict[int, Alert]:
    """The alerts of the real packets by candid."""
    alerts, refusals = read_batch(packets_of(data, survey), survey)
    assert refusals == []
    return {alert.candid: alert for alert in alerts}


def aux_of(alerts: list[Alert], survey: Survey) -> dict[str, Any]:
    """The object of some alerts."""
    return merged({}, [arrival(alert, survey) for alert in alerts], survey)


def photometry_of(alert: Alert, survey: Survey) -> Columns:
    """The light curve of an alert and the history that its packet brings."""
    return make_photometry(alert.candidate, aux_of([alert], survey)["prv_candidates"], [], survey)


def put_filter(
    database: MongoDatabase,
    survey: Survey,
    filter_id: int,
    pipeline: list[dict[str, Any]],
    permissions: tuple[int, ...],
) -> None:
    """An active filter of a survey."""
    version = {"fid": "abc123", "pipeline": json.dumps(pipeline), "created_at": datetime.now(UTC)}
    document = {
        "filter_id": filter_id, "group_id": 1, "catalog": survey.alerts, "permissions": list(permissions), "active": True,
        "active_fid": "abc123", "fv": [version], "autosave": False, "last_modified": datetime.now(UTC),
    }  # fmt: skip
    Filters(database, database).put(document)


def all_surveys() -> list[Survey]:
    return [get_survey(name) for name in SURVEYS]
