"""Run all active filters on a batch of alerts: together, or one aggregation each, or one alert at a time where it must be."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from threading import Lock
from time import monotonic, perf_counter
from typing import Any, NamedTuple

import numpy as np

from kowalski.alerts.survey import Survey
from kowalski.database.filters import Filters
from kowalski.errors import DatabaseError, DatabaseUnavailable, FilterError
from kowalski.filters.breaker import Breaker
from kowalski.filters.companions import Companion, Companions
from kowalski.filters.compile import CARRIER, CompiledStages, Reads
from kowalski.filters.definition import CompiledFilter, compile_filter
from kowalski.filters.enrich import ELSEWHERE, OWN
from kowalski.filters.fed import Fed
from kowalski.filters.outcome import only, single, whole
from kowalski.filters.portions import Batch, chunks
from kowalski.filters.results import Figures, FilterRun, Pass, Recorder, Row
from kowalski.filters.sieve import Columns
from kowalski.filters.together import run_together
from kowalski.filters.watching import NOTHING, WATCHED, Watched, Watches
from kowalski.log import get_logger

log = get_logger(__name__)

#: how much longer than a batch all its alerts together may take, one at a time
PATIENCE = 5
#: share of the time of a batch that a filter takes which from then on runs after the others
SLOW = 0.2
#: characters of an error that are kept
MAX_REASON = 500


class _Silent:
    def note(self, figures: Figures) -> None:
        pass


class _Known(NamedTuple):
    """A filter as it was when it was compiled; None: it can't be run."""

    signature: Row
    compiled: CompiledFilter | None
    breaker: Breaker
    actions: Breaker


class _Ready(NamedTuple):
    """A filter that can be run, with the breakers of its pipeline, and of its autosave and follow-up."""

    compiled: CompiledFilter
    breaker: Breaker
    actions: Breaker


class _Task(NamedTuple):
    """A filter and what it is to be run on.

    Attributes
    ----------
    alerts : how many it judges: those that it can't let pass are left out of the batch
    rows, ms : what it made of them, where it was run together with others, and its share of the time
    lack : why it can't be run on them
    """

    ready: _Ready
    batch: Batch
    alerts: int
    rows: list[Row] | None = None
    ms: float = 0.0
    lack: str = ""

    @property
    def compiled(self) -> CompiledFilter:
        return self.ready.compiled


class FilterRunner:
    """Keeps the compiled filters of one survey up to date and runs them."""

    def __init__(
        self,
        filters: Filters,
        survey: Survey,
        max_time_ms: int,
        recorder: Recorder | None = None,
        companions: Companions | None = None,
        watching: Watches | None = None,
    ):
        self.filters = filters
        self.companions = companions
        self.watching = watching
        self.survey = survey
        self.max_time_ms = max_time_ms
        self.recorder = recorder or _Silent()
        self._lock = Lock()  # a dask worker may have several threads
        self._known: dict[Any, _Known] = {}

    def run(self, documents: list[Row], objects: Mapping[str, Mapping[str, Any]]) -> FilterRun:
        """Which of some alerts (with their objects' documents) pass which filter, as each would by itself.

        An alert passes when the pipeline returns exactly one document for it. A filter that fails or is too slow is
        named in the result and does not keep the others from running.
        """
        whole = FilterRun()
        for part in self.parts(documents, objects):
            whole.add(part)
        return whole

    def parts(self, documents: list[Row], objects: Mapping[str, Mapping[str, Any]]) -> Iterator[FilterRun]:
        """The same in two parts: filters that take the batch at once, then slow ones and those that go alert by alert."""
        later: list[_Task] = []
        yield self._part(self._tasks(documents, objects), self._in_one_go, later)
        if later:
            yield self._part(later, self._after_the_others, [])

    def _part(self, tasks: Iterable[_Task], run: Any, later: list[_Task]) -> FilterRun:
        result = FilterRun()
        for task in tasks:
            compiled, number = task.compiled, task.alerts
            now = monotonic()
            if task.ready.breaker.is_open(now):
                reason = _left_alone(task.ready.breaker, now)
                result.skipped[compiled.filter_id, reason] += number
                self.recorder.note(Figures(compiled.filter_id, compiled.fid, number, skipped=number, error=reason))
                continue
            own, began = FilterRun(), perf_counter()
            if task.lack:
                result.failures[compiled.filter_id, task.lack] += number
                self.recorder.note(Figures(compiled.filter_id, compiled.fid, number, failed=number, error=task.lack))
                continue
            if not task.batch:
                self._note(task, own, 0.0)
                continue
            rows = run(task, own) if task.rows is None else task.rows
            if rows is None:
                later.append(task)
                continue
            in_vain = own.failures.total() >= number
            self._trip(task.ready.breaker, own.failures, in_vain, task.ms + 1000 * (perf_counter() - began))
            self._pass(task, rows, own)
            self._note(task, own, task.ms + 1000 * (perf_counter() - began))
            result.add(own)
        for (filter_id, reason), alerts in (result.failures + result.action_failures).items():
            log.error("filter %s failed on %d alerts: %s", filter_id, alerts, reason)
        return result

    def _note(self, task: _Task, own: FilterRun, ms: float) -> None:
        """Remember one run of a filter."""
        compiled, breaker = task.compiled, task.ready.breaker
        if task.batch:
            breaker.slow = ms > SLOW * self.max_time_ms
            if task.rows is None:
                breaker.by_itself(sound=not (own.failures or breaker.slow))
        error = next((reason for _, reason in own.failures + own.action_failures), breaker.reason or None)
        left = max(0.0, breaker.open_until - monotonic())
        passed, failed = len(own.passes), own.failures.total()
        self.recorder.note(Figures(compiled.filter_id, compiled.fid, task.alerts, passed, failed, 0, ms, error, left))  # fmt: skip

    def _trip(self, breaker: Breaker, failures: Counter[tuple[int, str]], in_vain: bool, ms: float) -> None:
        """Draw the conclusions of a run: it failed with all alerts, or took much longer than it may, or is fine."""
        reason = next((reason for _, reason in failures), None)
        if (
            ms > PATIENCE * self.max_time_ms
        ):  # MongoDB does not stop in the midst of an expression, nor call it an error
            breaker.failed(monotonic(), reason or f"took {ms:.0f} ms")
        elif reason is not None and in_vain:
            breaker.failed(monotonic(), reason)
        else:
            breaker.worked()

    # which filters, and what they are fed

    def _tasks(self, documents: list[Row], objects: Mapping[str, Mapping[str, Any]]) -> Iterator[_Task]:
        with self._lock:
            known = self._current()
        elsewhere = self._elsewhere(documents, known)
        watched = self._watched(documents, known)
        columns = Columns(documents, {CARRIER, *OWN, *self.survey.cutouts.values()})
        for group in self._groups(known):
            sight = group[0].compiled.sight
            seen = np.array([sight.sees(document["candidate"]) for document in documents], bool)
            alerts = int(seen.sum())
            reads = _union([ready.compiled for ready in group])
            watches = group[0].compiled.watches
            if alerts and (lack := watched.lacks(watches)):
                yield from (_Task(ready, [], alerts, lack=lack) for ready in group)
                continue
            fed, tasks = Fed(documents, objects, elsewhere, self.survey, sight, reads, watched), []
            for ready in group if alerts else ():
                may = seen & ready.compiled.pipeline.sieve.met(columns)
                if watches:
                    may &= watched.matching(watches, ready.compiled.required_lists, len(documents))
                tasks.append(_Task(ready, [fed.document(place) for place in np.flatnonzero(may).tolist()], alerts))
            yield from self._together(tasks)

    def _together(self, tasks: list[_Task]) -> list[_Task]:
        """The tasks, those of filters that have shown to be quick and sound done, all in one go."""
        now = monotonic()
        joined = {
            place: task
            for place, task in enumerate(tasks)
            if task.batch and task.compiled.pipeline.by_batch and task.ready.breaker.joins(now)
        }
        if len(joined) < 2:
            return tasks
        batch = list({id(document): document for task in joined.values() for document in task.batch}.values())
        pipelines, began = [whole(task.compiled.pipeline, "annotations") for task in joined.values()], perf_counter()
        try:
            found = run_together(self.filters, pipelines, batch, self.max_time_ms)
        except DatabaseUnavailable:
            raise
        except DatabaseError as error:
            log.debug("%d filters go one by one: %s", len(joined), error)
            found = None
        ms = 1000 * (perf_counter() - began)
        if found is None or ms > SLOW * self.max_time_ms:  # one of them is at fault: each is to show by itself which
            for task in joined.values():
                task.ready.breaker.doubted()
        if found is None:
            return tasks
        done = {place: task._replace(rows=rows, ms=ms / len(joined)) for (place, task), rows in zip(joined.items(), found, strict=True)}  # fmt: skip
        return [done.get(place, task) for place, task in enumerate(tasks)]

    def _elsewhere(self, documents: list[Row], known: list[_Ready]) -> Mapping[str, list[Companion]]:
        """Objects of other surveys at the places of the batch's, of those surveys that some filter asks for and reads."""
        asking = [ready.compiled for ready in known if ready.compiled.reads.wants(ELSEWHERE)]
        names = {other.survey.name for compiled in asking for other in compiled.sight.others}
        if not names or self.companions is None:
            return {}
        return self.companions.of(self.survey, {each[self.survey.object_id] for each in documents}, names)

    def _watched(self, documents: list[Row], known: list[_Ready]) -> Watched:
        """What the alerts match in the lists that filters declare and read."""
        keys = {key for ready in known for key in ready.compiled.watches}
        return self.watching.of(documents, keys) if keys and self.watching is not None else NOTHING

    def _current(self) -> list[_Ready]:
        """The active filters as they are now; only those that changed are read and compiled again."""
        signatures = {signature["_id"]: signature for signature in self.filters.active(self.survey.alerts)}
        changed = [
            key for key, signature in signatures.items() if key not in self._known or self._known[key].signature != signature
        ]  # fmt: skip
        for document in self.filters.read(changed) if changed else ():
            try:
                compiled = compile_filter(document)
                for problem in compiled.problems:
                    log.error("filter %s: %s", compiled.filter_id, problem)
            except (FilterError, KeyError, TypeError, AttributeError) as error:
                log.error("filter %s can't be run: %s", document.get("filter_id"), error)
                compiled = None
            self._known[document["_id"]] = _Known(signatures[document["_id"]], compiled, Breaker(), Breaker())
        self._known = {key: known for key, known in self._known.items() if key in signatures}
        return [_Ready(each.compiled, each.breaker, each.actions) for each in self._known.values() if each.compiled]

    def _groups(self, known: list[_Ready]) -> list[list[_Ready]]:
        """Filters that can be fed the same documents: that may see the same, and read the same large fields."""
        large = ("cross_matches", *(history.field for history in self.survey.histories), ELSEWHERE, WATCHED)

        def key(ready: _Ready) -> tuple[tuple[Any, ...], list[str]]:
            reads = ready.compiled.reads
            return ready.compiled.sight.key, [name for name in large if reads.wants(name)]

        return [list(group) for _, group in groupby(sorted(known, key=key), key)]

    # one filter

    def _in_one_go(self, task: _Task, result: FilterRun) -> list[Row] | None:
        """What a filter makes of all alerts at once; None where that can't be done, or is to be done later."""
        if task.ready.breaker.slow:
            return None
        return self._rows_together(task.compiled, task.compiled.pipeline, task.batch, "annotations")

    def _after_the_others(self, task: _Task, result: FilterRun) -> list[Row]:
        """What a filter that was put off makes of all alerts at once, if that was not tried yet, or of each by itself."""
        compiled = task.compiled
        rows = None
        if task.ready.breaker.slow:
            rows = self._rows_together(compiled, compiled.pipeline, task.batch, "annotations")
        if rows is None:
            rows = self._rows_one_by_one(compiled, compiled.pipeline, task.batch, result, "annotations")
        return rows

    def _pass(self, task: _Task, rows: list[Row], result: FilterRun) -> None:
        """Note the alerts that have exactly one row, with what is to be done for them."""
        compiled = task.compiled
        passed = single(rows)
        saved, requests = self._actions(task, passed, result)
        autosave = compiled.autosave.request() if compiled.autosave is not None else None
        result.passes += [
            Pass(candid, compiled, row.get("annotations"), autosave if candid in saved else None, requests.get(candid))  # nosec B113  # a dict of follow-up requests
            for candid, row in passed.items()
        ]

    def _actions(self, task: _Task, passed: Iterable[int], result: FilterRun) -> tuple[set[int], dict[int, Row]]:
        """Those of the alerts that passed which are to be autosaved, and the follow-up requests of some of these."""
        breaker, began = task.ready.actions, monotonic()
        if not passed or task.compiled.autosave is None:
            return set(), {}
        own = FilterRun()
        if breaker.is_open(began):
            own.failures[task.compiled.filter_id, f"autosave and follow-up {_left_alone(breaker, began)}"] += 1
            saved, requests = set[int](), dict[int, Row]()
        else:
            saved = self._saved(task, passed, own)
            requests = self._requests(task, saved, own)
            self._trip(breaker, own.failures, False, 1000 * (monotonic() - began))
        result.action_failures.update(own.failures)
        return saved, requests

    def _saved(self, task: _Task, passed: Iterable[int], result: FilterRun) -> set[int]:
        """Those of the alerts that passed which are to be autosaved."""
        autosave = task.compiled.autosave
        if autosave is None:
            return set()
        if autosave.pipeline is None:
            return set(passed)
        return set(self._further(task, autosave.pipeline, set(passed), result))

    def _requests(self, task: _Task, saved: set[int], result: FilterRun) -> dict[int, Row]:
        """The follow-up requests of alerts that are to be autosaved."""
        compiled = task.compiled
        autosave, follow_up = compiled.autosave, compiled.follow_up
        if autosave is None or follow_up is None:
            return {}
        requests = {}
        names = {document[CARRIER]: document[self.survey.object_id] for document in task.batch}
        for candid, answer in self._further(task, follow_up.pipeline, saved, result, "comment", "payload").items():
            try:
                requests[candid] = follow_up.request(names[candid], compiled.group_id, autosave, answer)
            except FilterError as error:
                result.failures[compiled.filter_id, f"auto_followup: {error}"] += 1
        return requests

    def _further(
        self, task: _Task, pipeline: CompiledStages, candids: set[int], result: FilterRun, *fields: str
    ) -> dict[int, Row]:
        """The rows of a further pipeline for some of the alerts."""
        chosen = [document for document in task.batch if document[CARRIER] in candids]
        if not chosen:
            return {}
        rows = self._rows_together(task.compiled, pipeline, chosen, *fields)
        if rows is None:
            rows = self._rows_one_by_one(task.compiled, pipeline, chosen, result, *fields)
        return single(rows)

    def _rows_together(
        self, compiled: CompiledFilter, pipeline: CompiledStages, batch: Batch, *fields: str
    ) -> list[Row] | None:
        """Rows of all alerts at once, within the time that a filter has; None where that can't be done."""
        if pipeline.together is None:
            return None
        deadline, rows, stages = monotonic() + self.max_time_ms / 1000, [], whole(pipeline, *fields)
        try:
            for chunk in chunks(batch):
                left = max(1, int(1000 * (deadline - monotonic())))
                rows += self.filters.run(stages, chunk, left)
        except DatabaseUnavailable:
            raise
        except DatabaseError as error:
            log.debug("filter %s goes alert by alert: %s", compiled.filter_id, error)
            return None
        return rows

    def _rows_one_by_one(
        self, compiled: CompiledFilter, pipeline: CompiledStages, batch: Batch, result: FilterRun, *fields: str
    ) -> list[Row]:
        """Rows of each alert by itself; one that fails is counted and the rest go on, until the filter has had its time."""
        deadline = monotonic() + PATIENCE * self.max_time_ms / 1000
        stages = [*pipeline.alone, only(fields), {"$limit": 2}]
        rows = []
        for done, document in enumerate(batch):
            if monotonic() > deadline:
                result.failures[compiled.filter_id, "too slow one alert at a time"] += len(batch) - done
                break
            try:
                found = self.filters.run(stages, [document], self.max_time_ms)
            except DatabaseUnavailable:
                raise
            except DatabaseError as error:
                result.failures[compiled.filter_id, str(error)[:MAX_REASON]] += 1
                continue
            rows += [{**row, CARRIER: document[CARRIER]} for row in found]
        return rows


def _left_alone(breaker: Breaker, now: float) -> str:
    return f"left alone for {breaker.open_until - now:.0f} s: {breaker.reason}"


def _union(group: list[CompiledFilter]) -> Reads:
    reads = group[0].reads
    for compiled in group[1:]:
        reads = reads | compiled.reads
    return reads
