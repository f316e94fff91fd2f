"""The floor: CPU ms per alert of the library calls that nothing can spare, timed alone on a batch after the other."""

import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import bson
import psutil
from bson.raw_bson import RawBSONDocument
from fastavro import schemaless_reader
from pymongo import UpdateOne

from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.decode import Packet, open_container
from kowalski.alerts.document import arrival, read_batch
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.survey import Survey
from kowalski.crossmatch.matcher import search_of
from kowalski.database.alerts import Alerts
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase
from kowalski.database.filters import Filters
from kowalski.filters.run import FilterRunner
from kowalski.ml.inputs import feature_matrix, triplets
from kowalski.ml.registry import load_models
from kowalski.settings import Config

BATCH = 128
#: runs after which filters run together
SETTLED = 3


class Floor:
    """Times single library calls on the packets of one batch, CPU of this process and of mongod together."""

    def __init__(self, config: Config, survey: Survey, database: MongoDatabase, mongod_pid: int):
        self.config, self.survey, self.database = config, survey, database
        self.mongod = psutil.Process(mongod_pid)
        self.milliseconds: dict[str, float] = {}

    def measure(self, packets: list[bytes], rounds: int = 4) -> dict[str, float]:
        """CPU ms per alert by call; the first round warms up and doesn't count."""
        batches = [packets[start : start + BATCH] for start in range(0, len(packets) - BATCH + 1, BATCH)][: rounds + 1]
        for number, batch in enumerate(batches):
            self.milliseconds = {} if number == 1 else self.milliseconds
            self._round(batch)
        counted = max(len(batches) - 1, 1) * BATCH
        return {name: round(value / counted, 3) for name, value in self.milliseconds.items()}

    def _round(self, batch: list[bytes]) -> None:
        survey = self.survey
        records = [(schema, block) for schema, blocks in map(open_container, batch) for _, block in blocks]
        self._time("decode", lambda: [schemaless_reader(BytesIO(block), schema, None) for schema, block in records])
        alerts, _ = read_batch([Packet(data) for data in batch], survey)
        stamps = [survey.stamps(alert.document) for alert in alerts]
        self._time("stamps", lambda: [read_stamp(stamp) for three in stamps for stamp in three])
        self._infer([alert.candidate for alert in alerts], stamps)
        documents = [alert.document for alert in alerts]
        self._time("bson", lambda: [bson.encode(document) for document in documents])
        raw = [RawBSONDocument(bson.encode({**document, "_id": bson.ObjectId()})) for document in documents]
        collection = Alerts(self.database, survey).collection
        self._time("insert", lambda: collection.insert_many(raw, ordered=False))
        objects = {alert.object_id: merged({}, [arrival(alert, survey)], survey) for alert in alerts}
        aux = self.database[survey.aux]
        upserts = [UpdateOne({"_id": key}, {"$set": document}, upsert=True) for key, document in objects.items()]
        self._time("aux", lambda: aux.bulk_write(upserts, ordered=False))
        self._cones([(alert.ra, alert.dec) for alert in alerts])
        self._filters(documents, objects)
        collection.delete_many({"_id": {"$in": [document["_id"] for document in raw]}})
        aux.delete_many({"_id": {"$in": list(objects)}})

    def _infer(self, candidates: list[dict[str, Any]], stamps: list[tuple[bytes, bytes, bytes]]) -> None:
        scorer = load_models(self.config, self.survey.name)
        if not scorer.networks:
            return
        images = triplets(stamps)
        for model, network in scorer.networks:
            inputs = {}
            if "triplet" in model.inputs:
                inputs["triplet"] = images
            if "features" in model.inputs:
                inputs["features"] = feature_matrix(candidates, model.feature_names, model.feature_norms).values
            network.predict(inputs)
            self._time("inference", lambda network=network, inputs=inputs: network.predict(inputs))  # type: ignore[misc]

    def _cones(self, positions: list[tuple[float, float]]) -> None:
        catalogs, recipes = Catalogs(self.database), self.config.database.xmatch.get(self.survey.name, {})
        present = catalogs.present()
        searches = {name: search_of(recipe) for name, recipe in recipes.items() if name in present}
        catalogs.at_once(searches, positions)  # which looks up what catalogues have
        self._time("cones", lambda: catalogs.at_once(searches, positions))

    def _filters(self, documents: list[dict[str, Any]], objects: dict[str, dict[str, Any]]) -> None:
        """What goes to MongoDB once the filters are known and have shown to be quick, sent again."""
        for document in documents:
            document.setdefault("_id", bson.ObjectId())
        recording = Recording(self.database, self.database)
        runner = FilterRunner(recording, self.survey, self.config.filters.max_time_ms)
        for _ in range(SETTLED):
            recording.calls.clear()
            runner.run(documents, objects)
        again = Filters(self.database, self.database)
        self._time("filters", lambda: [again.run(*call) for call in recording.calls])

    def _time(self, name: str, call: Callable[[], Any]) -> None:
        before = time.process_time() + _cpu(self.mongod)
        call()
        spent = time.process_time() + _cpu(self.mongod) - before
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + spent * 1000


class Recording(Filters):
    """Remembers what it was asked to run."""

    def __init__(self, database: MongoDatabase, reader: MongoDatabase):
        super().__init__(database, reader)
        self.calls: list[tuple[Any, Any, int]] = []

    def run(self, stages: list[dict[str, Any]], documents: list[RawBSONDocument], max_time_ms: int) -> list[dict[str, Any]]:  # fmt: skip
        """As `Filters.run`."""
        self.calls.append((stages, documents, max_time_ms))
        return super().run(stages, documents, max_time_ms)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
