"""Run all active filters on a batch of alerts: one aggregation per filter, one alert at a time only where it must be."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from threading import Lock
from time import monotonic
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from kowalski.alerts.survey import Survey
from kowalski.database.filters import Filters
from kowalski.errors import DatabaseError, DatabaseUnavailable, FilterError
from kowalski.filters.compile import CARRIER, CompiledFilter, Reads, compile_filter
from kowalski.filters.enrich import enriched, visible
from kowalski.log import get_logger

log = get_logger(__name__)

#: bytes of documents sent with one aggregation; the server's limit for one document is 16 MiB
CHUNK_BYTES = 8 * 1024 * 1024
#: how much longer than a batch all its alerts together may take, one at a time
PATIENCE = 5


@dataclass(frozen=True, slots=True)
class Pass:
    """An alert that passed a filter."""

    candid: int
    filter: CompiledFilter
    annotations: Any


@dataclass(slots=True)
class FilterRun:
    """What a batch's filters gave."""

    passes: list[Pass] = field(default_factory=list)
    failures: Counter[tuple[int, str]] = field(default_factory=Counter)


class FilterRunner:
    """Keeps the compiled filters of one survey up to date and runs them."""

    def __init__(self, filters: Filters, survey: Survey, max_time_ms: int):
        self.filters = filters
        self.survey = survey
        self.max_time_ms = max_time_ms
        self._lock = Lock()  # a dask worker may have several threads
        self._compiled: dict[Any, tuple[dict[str, Any], CompiledFilter | None]] = {}

    def run(self, documents: list[dict[str, Any]], objects: Mapping[str, Mapping[str, Any]]) -> FilterRun:
        """Which of some alerts (with their objects' documents) pass which filter, as each would by itself.

        An alert passes when the pipeline returns exactly one document for it. A filter that fails or is too slow is
        named in the result and does not keep the others from running.
        """
        result = FilterRun()
        with self._lock:
            filters = self._current(result)
        for group in self._groups(filters):
            batch = self._encode(documents, objects, group[0].permissions, _union(group))
            for compiled in group if batch else ():
                try:
                    self._run_one(compiled, batch, result)
                except DatabaseUnavailable:
                    raise
                except DatabaseError as error:
                    result.failures[compiled.filter_id, str(error)[:500]] += len(batch)
        for (filter_id, reason), alerts in result.failures.items():
            log.error("filter %s failed on %d alerts: %s", filter_id, alerts, reason)
        return result

    def _groups(self, filters: list[CompiledFilter]) -> list[list[CompiledFilter]]:
        """Filters that can be fed the same documents: of equal permissions, reading the same large fields."""
        large = ("cross_matches", *(history.field for history in self.survey.histories))

        def key(compiled: CompiledFilter) -> tuple[tuple[int, ...], list[str]]:
            return compiled.permissions, [name for name in large if compiled.reads.wants(name)]

        return [list(group) for _, group in groupby(sorted(filters, key=key), key)]

    def _current(self, result: FilterRun) -> list[CompiledFilter]:
        """The active filters as they are now; only those that changed are read and compiled again."""
        signatures = {signature["_id"]: signature for signature in self.filters.active(self.survey.alerts)}
        changed = [key for key, signature in signatures.items() if self._compiled.get(key, ({},))[0] != signature]
        for document in self.filters.read(changed) if changed else ():
            try:
                compiled = compile_filter(document)
            except (FilterError, KeyError, TypeError, AttributeError) as error:
                log.error("filter %s can't be run: %s", document.get("filter_id"), error)
                compiled = None
            self._compiled[document["_id"]] = (signatures[document["_id"]], compiled)
        self._compiled = {key: entry for key, entry in self._compiled.items() if key in signatures}
        return [compiled for _, compiled in self._compiled.values() if compiled is not None]

    def _encode(
        self,
        documents: list[dict[str, Any]],
        objects: Mapping[str, Mapping[str, Any]],
        permissions: tuple[int, ...],
        reads: Reads,
    ) -> list[RawBSONDocument]:
        return [
            RawBSONDocument(
                bson.encode(
                    enriched(document, objects[document[self.survey.object_id]], self.survey, permissions, reads)
                )
            )
            for document in documents
            if visible(document, self.survey, permissions)
        ]

    def _run_one(self, compiled: CompiledFilter, batch: list[RawBSONDocument], result: FilterRun) -> None:
        if compiled.by_batch:
            try:
                found = [row for chunk in _chunks(batch) for row in self._rows(compiled, chunk)]
            except DatabaseUnavailable:
                raise
            except DatabaseError:
                found = self._one_by_one(compiled, batch, result)
        else:
            found = self._one_by_one(compiled, batch, result)
        per_alert = Counter(row[CARRIER] for row in found)
        result.passes += [
            Pass(row[CARRIER], compiled, row.get("annotations")) for row in found if per_alert[row[CARRIER]] == 1
        ]

    def _rows(self, compiled: CompiledFilter, chunk: list[RawBSONDocument]) -> list[dict[str, Any]]:
        stages = [*compiled.stages, {"$project": {"_id": 0, CARRIER: 1, "annotations": 1}}]
        return self.filters.run(stages, chunk, self.max_time_ms)

    def _one_by_one(
        self, compiled: CompiledFilter, batch: list[RawBSONDocument], result: FilterRun
    ) -> list[dict[str, Any]]:
        """Rows of each alert by itself; one that fails is counted and the rest go on, until the filter has had its time."""
        deadline = monotonic() + PATIENCE * self.max_time_ms / 1000
        rows = []
        for done, document in enumerate(batch):
            if monotonic() > deadline:
                result.failures[compiled.filter_id, "too slow one alert at a time"] += len(batch) - done
                break
            try:
                found = self._rows(compiled, [document])
            except DatabaseUnavailable:
                raise
            except DatabaseError as error:
                result.failures[compiled.filter_id, str(error)[:500]] += 1
                continue
            rows += [{**row, CARRIER: document[CARRIER]} for row in found]
        return rows


def _union(group: list[CompiledFilter]) -> Reads:
    reads = group[0].reads
    for compiled in group[1:]:
        reads = reads | compiled.reads
    return reads


def _chunks(batch: list[RawBSONDocument]) -> Iterator[list[RawBSONDocument]]:
    chunk: list[RawBSONDocument] = []
    size = 0
    for document in batch:
        if chunk and size + len(document.raw) > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(document)
        size += len(document.raw)
    if chunk:
        yield chunk
