"""Workers on a real MongoDB; the tests of a module share a database."""

from collections.abc import Iterator
from typing import Any

import pytest
from emptied import shared_settings
from histories import ZTF
from worker_harness import FILTERS, RECIPES, MakeWorker, put_filter

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.coordinates import position
from kowalski.config import build, settings_tree
from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database

__all__ = ["shared_settings"]


@pytest.fixture
def mongo_settings(shared_settings: Database) -> Database:
    """Settings of a database of empty collections: their indexes stay, since making them takes longer than most tests."""
    database = connect(shared_settings)
    for name in database.list_collection_names():
        database[name].delete_many({})
    database.client.close()
    return shared_settings


@pytest.fixture
def make_worker(mongo_settings: Database, mongo: MongoDatabase) -> Iterator[MakeWorker]:
    """A function that makes a worker, without neural networks unless ``ml`` brings them."""
    made: list[AlertWorker] = []

    def make(
        broker: bool = True,
        ml: dict[str, Any] | None = None,
        xmatch: dict[str, Any] | None = None,
        transients: bool = False,
        output: dict[str, Any] | None = None,
    ) -> AlertWorker:
        tree = settings_tree([], {})
        tree["ml"] = tree["ml"] | {"backend": "onnx", "ZTF": {"models": {}}} | (ml or {})
        tree["misc"]["broker"] = broker
        tree["database"]["xmatch"] = {"ZTF": RECIPES if xmatch is None else xmatch}
        tree["filters"]["max_time_ms"] = 20_000
        tree["transients"]["enabled"] = transients
        tree["kafka"]["output"] = tree["kafka"]["output"] | (output or {})
        config = build(tree)
        database = mongo_settings.model_copy(update={"xmatch": config.database.xmatch})
        made.append(AlertWorker(ZTF, config.model_copy(update={"database": database})))
        for room in (made[-1].alerts, made[-1].objects, made[-1].outbox, made[-1].quarantine):
            room.ensure_indexes()
        return made[-1]

    yield make
    for worker in made:
        worker.alerts.collection.database.client.close()
        worker.filters.filters.reader.client.close()


@pytest.fixture
def worker(make_worker: MakeWorker) -> AlertWorker:
    return make_worker()


@pytest.fixture
def stocked(mongo: MongoDatabase) -> MongoDatabase:
    """The database with filters, and a catalogue of what is near the made packets."""
    for filter_id, pipeline in FILTERS.items():
        put_filter(mongo, filter_id, pipeline)
    mongo["Gaia_EDR3"].insert_many([{"_id": n, "coordinates": position(150.0 + n, 20.0)} for n in range(20)])
    mongo["Gaia_EDR3"].create_index([("coordinates.radec_geojson", "2dsphere")])
    return mongo
