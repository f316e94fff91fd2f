"""A small observed night in a database of its own, as the chain leaves it: scored, matched, filtered, with something to send."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from bson import json_util

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.decode import Packet
from kowalski.alerts.marks import Marks
from kowalski.alerts.survey import get_survey
from kowalski.config import build, settings_tree
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.filters import Filters
from kowalski.local.demo_filters import DEMO_FILTERS
from kowalski.ml.convert import convert_models
from kowalski.settings import Database
from kowalski.simulation.catalogs import catalogs
from kowalski.simulation.night import simulate

ZTF = get_survey("ZTF")
ALERTS = 150
TOPIC = "ztf_20240101_programid1"
#: a filter whose annotation holds a script
HOSTILE, SCRIPT = 9, "<script>document.title='taken'</script>"


class Observed(NamedTuple):
    """The database, and the candids in it."""

    database: MongoDatabase
    settings: Database
    candids: list[int]


def observe(settings: Database, alerts: int = ALERTS) -> Observed:
    """Simulated alerts of one night through the real worker, with the stand-ins of the networks, the demo's filters and catalogues."""
    tree = settings_tree([], {})
    tree["ml"] = tree["ml"] | {"backend": "onnx", "allow_stand_ins": True}
    tree["misc"]["broker"] = True
    tree["filters"]["max_time_ms"] = 20_000
    config = build(tree)
    settings = settings.model_copy(update={"xmatch": config.database.xmatch})
    database = connect(settings)
    for name, rows in catalogs(1).items():
        Catalogs(database).replace(name, rows)
    store = Filters(database, database)
    store.ensure_indexes()
    for document in [*DEMO_FILTERS, _hostile()]:
        store.put(document)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as child:  # TensorFlow's memory goes with it
        assert child.submit(convert_models, config.ml, "ZTF").result() == {}
    worker = AlertWorker(ZTF, config.model_copy(update={"database": settings}))
    with closing(worker.alerts.collection.database.client), closing(worker.filters.filters.reader.client):
        for room in (worker.alerts, worker.objects, worker.outbox, worker.quarantine, worker.ledger):
            room.ensure_indexes()
        packets = [Packet(each.data, TOPIC, 0, offset) for offset, each in enumerate(simulate(alerts))]
        worker.process(packets)
        marks = Marks(ZTF)  # as the broker keeps its books once a batch is done
        for packet in packets:
            marks.add("acknowledged", packet)
        worker.ledger.add(marks)
        worker.filters.recorder.flush()  # type: ignore[attr-defined]
    found = database[ZTF.alerts].find({}, {"candid": 1}).sort("candid", 1)
    return Observed(database, settings, [row["candid"] for row in found])


def _hostile() -> dict[str, Any]:
    """A filter whose annotation is a script, as packets and users may bring one."""
    pipeline = [
        {"$match": {"candidate.drb": {"$gt": 0.5}}},
        {"$project": {"annotations": {"host": {"$literal": SCRIPT}}}},
    ]
    version = DEMO_FILTERS[0]["fv"][0] | {"fid": "h05711", "pipeline": json_util.dumps(pipeline)}
    return DEMO_FILTERS[0] | {"filter_id": HOSTILE, "fv": [version], "active_fid": "h05711"}
