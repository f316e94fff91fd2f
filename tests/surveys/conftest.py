"""Workers of any survey on a real MongoDB."""

from collections.abc import Iterator
from typing import Any

import pytest
from emptied import mongo_settings, shared_settings
from surveys_harness import MakeWorker

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.survey import Survey
from kowalski.config import build, merge, settings_tree
from kowalski.settings import Database

__all__ = ["mongo_settings", "shared_settings"]


@pytest.fixture
def make_worker(mongo_settings: Database) -> Iterator[MakeWorker]:
    """A function that makes a worker of a survey, with the settings of everybody."""
    made: list[AlertWorker] = []

    def make(survey: Survey, changes: dict[str, Any] | None = None) -> AlertWorker:
        tree = settings_tree([], {})
        tree["ml"]["backend"] = "onnx"
        tree["misc"]["broker"] = True
        tree["filters"]["max_time_ms"] = 20_000
        config = build(merge(tree, changes or {}))
        database = mongo_settings.model_copy(update={"xmatch": config.database.xmatch})
        worker = AlertWorker(survey, config.model_copy(update={"database": database}))
        for room in (worker.alerts, worker.objects, worker.outbox, worker.quarantine):
            room.ensure_indexes()
        made.append(worker)
        return worker

    yield make
    for worker in made:
        worker.alerts.collection.database.client.close()
        worker.filters.filters.reader.client.close()
