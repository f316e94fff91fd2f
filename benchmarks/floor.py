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
from kowalski.crossmatch.matcher import TO_RADIANS
from kowalski.database.alerts import Alerts
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase
from kowalski.database.filters import Filters
from kowalski.filters.definition import compile_filter
from kowalski.filters.enrich import enriched
from kowalski.ml.inputs import feature_matrix, triplets
from kowalski.ml.registry import load_models
from kowalski.settings import Config

BATCH = 128


class Floor:
    """Times single library calls on the packets of one batch, CPU of this process and of mongod together."""

    def __init__(self, config: Config, survey: Survey, database: MongoDatabase, mongod_pid: int):
        self.config, self.survey, self.database = config, survey, database
        self.mongod = psutil.Process(mongod_pid)
        self.milliseconds: dict[str, float] = {}

    def measure(self, packets: list[bytes], filters: list[dict[str, Any]], rounds: int = 4) -> dict[str, float]:
        """CPU ms per alert by call; the first round warms up and doesn't count."""
        batches = [packets[start : start + BATCH] for start in range(0, len(packets) - BATCH + 1, BATCH)][: rounds + 1]
        for number, batch in enumerate(batches):
            self.milliseconds = {} if number == 1 else self.milliseconds
            self._round(batch, filters)
        counted = max(len(batches) - 1, 1) * BATCH
        return {name: round(value / counted, 3) for name, value in self.milliseconds.items()}

    def _round(self, batch: list[bytes], filters: list[dict[str, Any]]) -> None:
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
        self._filters(documents, objects, filters)
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
        catalogs = Catalogs(self.database)
        present = catalogs.present()
        for name, recipe in self.config.database.xmatch.get(self.survey.name, {}).items():
            if name in present:
                radius = recipe.cone_search_radius * TO_RADIANS[recipe.cone_search_unit]
                cone = (name, positions, radius, recipe.filter, recipe.projection)
                self._time("cones", lambda cone=cone: catalogs.cones(*cone))  # type: ignore[misc]

    def _filters(
        self, documents: list[dict[str, Any]], objects: dict[str, dict[str, Any]], filters: list[dict[str, Any]]
    ) -> None:
        runner = Filters(self.database, self.database)
        for document in filters:
            compiled = compile_filter(document)
            fed = [
                RawBSONDocument(
                    bson.encode(
                        enriched(
                            alert,
                            objects[alert[self.survey.object_id]],
                            compiled.sight,
                            compiled.reads,
                        )
                    )
                )
                for alert in documents
            ]
            stages = compiled.pipeline.stages
            self._time("filters", lambda stages=stages, fed=fed: runner.run(stages, fed, 10_000))  # type: ignore[misc]

    def _time(self, name: str, call: Callable[[], Any]) -> None:
        before = time.process_time() + _cpu(self.mongod)
        call()
        spent = time.process_time() + _cpu(self.mongod) - before
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + spent * 1000


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
