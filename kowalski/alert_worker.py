"""The chain from packets to outbox, for one batch at a time, inside a dask worker.

A batch is acknowledged to Kafka only after `AlertWorker.process` has returned, when all that its alerts cause is durable. Every
step can be repeated. Each alert names the message that brought it: the same message again takes up what may have been left
undone, a copy of the packet in another message brings its history and nothing else.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from typing import Any

from bson.objectid import ObjectId

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Alert, arrival, read_batch
from kowalski.alerts.drift import DriftWatch
from kowalski.alerts.lightcurve import Arrival, merged
from kowalski.alerts.marks import Marks
from kowalski.alerts.origin import is_message_of, origin_of
from kowalski.alerts.schemas import own_schema, store_of
from kowalski.alerts.survey import Survey, get_survey, known_surveys
from kowalski.alerts.trace import IN_WORKER, begun, noted, spans_of
from kowalski.archive.packets.writer import ArchiveWriter
from kowalski.batch_report import BatchReport, timed
from kowalski.config import ROOT, load_config
from kowalski.crossmatch.linker import Linker
from kowalski.crossmatch.matcher import Matcher, Target
from kowalski.crossmatch.versions import MatchVersions
from kowalski.database.alerts import Alerts
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import connect
from kowalski.database.filter_runs import FilterRuns
from kowalski.database.filters import Filters
from kowalski.database.ledger import Ledger
from kowalski.database.links import Links
from kowalski.database.objects import Objects
from kowalski.database.outbox import Outbox
from kowalski.database.passes import Passes, passes_of
from kowalski.database.processes import process_id
from kowalski.database.provenance import Provenance
from kowalski.database.quarantine import Quarantine
from kowalski.database.skyportal_objects import SkyPortalObjects
from kowalski.errors import DatabaseUnavailable
from kowalski.filters.companions import Companions
from kowalski.filters.figures import FilterFigures
from kowalski.filters.run import FilterRunner
from kowalski.filters.watching import Watching
from kowalski.log import get_logger
from kowalski.ml.registry import load_models
from kowalski.outbox.entries import entries_of
from kowalski.outbox.raw import RawStream
from kowalski.outbox.results import result_entries
from kowalski.outbox.withdrawals import withdraw, withdraw_late, withdrawn_by
from kowalski.provenance.records import scores_record
from kowalski.settings import Config
from kowalski.telemetry import marked, span
from kowalski.transients.stage import TransientStage

log = get_logger(__name__)

#: how often an object is merged anew because somebody else changed it meanwhile
MERGE_ATTEMPTS = 20
#: exit status of a worker without memory, that of a process that the kernel has killed for it
OUT_OF_MEMORY = 137


class AlertWorker:
    """Runs the stages of one survey's chain on batches of packets."""

    def __init__(self, survey: Survey, config: Config):
        database = connect(config.database)
        self.survey = survey.with_topic(config.kafka.topics.get(survey.name))
        self.posting = config.misc.broker
        self.publishing = config.kafka.output.bootstrap_servers is not None
        self.schemas = store_of(survey, config)
        self.drift = DriftWatch(survey, lambda: own_schema(survey, self.schemas))
        self.alerts = Alerts(database, survey)
        self.objects = Objects(database, survey)
        self.quarantine = Quarantine(database, config.broker.inline_quarantine_bytes, config.broker.quarantine_bytes)
        self.outbox = Outbox(database)
        self.passes = Passes(database) if config.tables.enabled else None
        self.ledger = Ledger(database)
        self.posted_objects = SkyPortalObjects(database)
        self.scorer = load_models(config, survey.name)
        self.provenance, self.made_by = Provenance(database), scores_record(self.scorer, survey.name, config.server.version)  # fmt: skip
        self.matcher = Matcher(Catalogs(database), config.database.xmatch.get(survey.name, {}), MatchVersions(database))
        self.linker = Linker(survey, known_surveys(), Catalogs(database), Links(database), config.links.radius)
        filters = Filters(database, connect(config.database, "reader"))
        figures = FilterFigures(FilterRuns(database), survey.name, process_id("worker"))
        output = config.kafka.output
        self.raw = RawStream(survey.name, output) if output.raw else None
        looking = config.transients.enabled and survey.transients is not None
        self.transients = TransientStage(self.survey, config, database, self.outbox) if looking else None
        self._aside = ThreadPoolExecutor(1, "aside")  # alerts are scored and stored while their objects are merged
        self.archive: ArchiveWriter | None = None
        if config.archive.enabled:
            folder = ROOT / config.archive.folder
            self.archive = ArchiveWriter(folder, self.survey, self.schemas, config.archive.segment_bytes)
        self.filters = FilterRunner(
            filters, survey, config.filters.max_time_ms, figures, Companions(database), Watching(database, survey)
        )

    def process(
        self, packets: list[Packet], posting: bool = True, resume: bool = True, context: str | None = None
    ) -> BatchReport:
        """Take a batch through the whole chain; on return everything it causes is stored durably.

        Parameters
        ----------
        posting : whether what passes goes to the outbox, where the settings say so too
        resume : whether a message that comes again may have been left undone; otherwise what is stored is done
        context : the batch's span (`kowalski.telemetry`), if there is one

        Raises
        ------
        DatabaseUnavailable, ArchiveUnavailable, OutputUnavailable : some of it may be stored; the same batch is to come again
        """
        report = BatchReport(
            len(packets), models=self.scorer.versions, context=context, model_problems=self.scorer.problems
        )
        marks = Marks(self.survey)
        batch = self._read(packets, report)
        kept = self.archive.begin(packets, batch) if self.archive else None
        if batch:
            self._process(batch, posting, resume, report, marks)
        if kept:
            with timed(report, "archive"):
                kept.result()
        with timed(report, "ledger"):
            self.ledger.add(marks)
        return report

    def backfill(self, packets: list[Packet]) -> BatchReport:
        """Merge what a batch says of its objects into these, new ones with their matches; its alerts are not stored, nor filtered.

        Raises
        ------
        DatabaseUnavailable : some of it may be stored; the same batch is to come again
        """
        report = BatchReport(received=len(packets))
        batch = self._read(packets, report)
        if batch:
            with timed(report, "objects"):
                objects = self._merge(batch, report)
            with timed(report, "link"):
                self._link(batch, objects)
        return report

    def _read(self, packets: list[Packet], report: BatchReport) -> list[Alert]:
        """The alerts of a batch; what can't be processed is in quarantine."""
        with timed(report, "decode"):
            batch, refusals = read_batch(packets, self.survey, self.schemas, self.drift)
            report.drift, self.drift.packets = self.drift.packets, Counter()
        if refusals:
            self.quarantine.add(self.survey.name, refusals)
            report.quarantined.update(refusal.reason for refusal in refusals)
        return batch

    def _process(self, batch: list[Alert], posting: bool, resume: bool, report: BatchReport, marks: Marks) -> None:
        """The stages, one after the other."""
        with timed(report, "known"):
            new, undone = self._sort_out(batch, resume, marks)
        fresh = list(new.values())
        report.known = len(batch) - len(fresh)
        whole = [alert for alert in fresh if not self._lacks_cutouts(alert)]
        histories = self._detections(whole) if self.scorer.needs_history else []  # as known before
        storing = self._aside.submit(self._store, fresh, whole, histories, report)
        with timed(report, "objects"):
            objects = self._merge(batch, report)
        beaten = [new.pop(candid) for candid in storing.result()]
        report.stored = len(new)
        if beaten:
            undone |= self._sort_out(beaten, True, marks)[1]
        todo = [*new.values(), *undone.values()]
        if self.raw is not None and posting:
            self.raw.begin(todo)
        with timed(report, "link"):
            self._link(todo, objects)
        moments = withdrawn_by(batch, self.survey)
        if moments:
            with timed(report, "outbox"):
                report.withdrawn = withdraw(moments, self.alerts, self.outbox, posting)
        seen = []
        for alert in todo:
            if alert.candid in moments:
                marks.add("withdrawn", alert.packet)
            else:
                seen.append(alert)
        if seen:
            self._filter(seen, objects, report, posting, marks)
            traced = self._aside.submit(self._trace, seen, new)
        if seen and self.transients is not None:
            with timed(report, "transients"):
                report.extragalactic = self.transients.process(seen, objects, posting, datetime.now(UTC))
        if self.raw is not None and posting:
            with timed(report, "raw"):
                self.raw.finish()
        if seen:
            with timed(report, "trace"):
                traced.result()
        report.spans = spans_of((alert.document["trace"] for alert in new.values()), IN_WORKER)

    def _sort_out(self, batch: list[Alert], resume: bool, marks: Marks) -> tuple[dict[int, Alert], dict[int, Alert]]:
        """The new alerts of a batch, by candid, and those that their own message has stored, but may have left undone.

        What is neither was brought by another message, and is marked so.
        """
        known = self.alerts.known([alert.candid for alert in batch])
        new: dict[int, Alert] = {}
        undone: dict[int, Alert] = {}
        for alert in batch:
            alert.document["kafka"] = origin_of(alert.packet)
            stored = known.get(alert.candid)
            if stored is None and alert.candid not in new:
                alert.document |= {"_id": ObjectId(), "trace": begun(alert.packet, alert.jd, self.survey)}
                new[alert.candid] = alert
            elif stored is None or not is_message_of(stored, alert.packet):
                marks.add("known", alert.packet)
            elif resume:
                alert.document |= stored
                undone[alert.candid] = alert
        return new, undone

    def _filter(
        self, batch: list[Alert], objects: dict[str, dict[str, Any]], report: BatchReport, posting: bool, marks: Marks
    ) -> None:
        """Run the filters; what slow ones let through does not keep what the others did from the outbox."""
        photometry: set[str] = set()
        if posting and self.posting:
            with timed(report, "outbox"):
                photometry = self.posted_objects.known({alert.object_id for alert in batch})
        now = datetime.now(UTC)
        packets = {alert.candid: alert.packet for alert in batch}
        parts = self.filters.parts([alert.document for alert in batch], objects)
        while True:
            with timed(report, "filter"):
                run = next(parts, None)
            if run is None:
                return
            report.passed.update(each.filter.filter_id for each in run.passes)
            for each in run.passes:
                marks.add("passed", packets[each.candid])
                if posting and self.posting:
                    marks.add("owed", packets[each.candid])
            for (filter_id, _), alerts in (run.failures + run.skipped).items():
                report.filter_failures[filter_id] += alerts
            if posting:
                with timed(report, "outbox") as here:
                    if self.passes is not None:
                        self.passes.add(list(passes_of(self.survey.name, batch, run.passes, now)))
                    if self.posting:
                        entries = entries_of(self.survey.name, batch, run.passes, photometry, now)
                        report.posted += self.outbox.add(marked(entries, here.context))
                    if self.publishing:
                        results = marked(result_entries(self.survey, batch, run.passes, now), here.context)
                        self.outbox.add(results)
                        withdraw_late(results, self.alerts, self.outbox)
                photometry = set()

    def rematch(self, limit: int = 1000) -> int:
        """Try the failed cross-matches again; returns how many objects have no failed one any more."""
        pending = self.objects.with_failed_matches(limit)
        results = self.matcher.match([_target(document["_id"], document["first_alert"]) for document in pending])
        updates = {document["_id"]: (document.get("version"), results[document["_id"]]) for document in pending}
        conflicts = self.objects.update(updates)
        return sum(not results[key]["matched"]["failed"] for key in updates if key not in conflicts)

    def _match(self, documents: dict[str, dict[str, Any]], stored: dict[str, dict[str, Any]]) -> None:
        """Add the matches to documents of objects: all of them where there are none yet, else what each alert asks for anew."""
        targets = {key: _target(key, document["first_alert"]) for key, document in documents.items()}
        new = [key for key in targets if _needs_match(stored.get(key), documents[key])]
        for key, match in self.matcher.match([targets.pop(key) for key in new]).items():
            documents[key] |= match
        for key, rows in self.matcher.refresh(list(targets.values())).items():
            documents[key]["cross_matches"] = {**stored[key]["cross_matches"], **rows}

    def _link(self, batch: list[Alert], objects: dict[str, dict[str, Any]]) -> None:
        """Link the objects whose first alerts are in a batch with those of the other surveys at their places."""
        first = {alert.object_id: objects[alert.object_id]["first_alert"] for alert in batch}
        candids = {alert.candid for alert in batch}
        self.linker.link([_target(key, place) for key, place in first.items() if place["candid"] in candids])

    def _lacks_cutouts(self, alert: Alert) -> bool:
        return any(self.survey.lacks(alert.document, role) for role in self.survey.cutouts)

    def _store(
        self, alerts: list[Alert], whole: list[Alert], histories: list[list[dict[str, Any]]], report: BatchReport
    ) -> set[int]:
        """Store new alerts, those that have all cutouts with their classifications; the candids of those that others stored meanwhile."""
        with timed(report, "score"):
            stamps = [self.survey.stamps(alert.document) for alert in whole]
            scores = self.scorer.score([alert.candidate for alert in whole], stamps, histories) if whole else []
            made_by = self.provenance.put(self.made_by) if whole else None
            for alert, classifications in zip(whole, scores, strict=True):
                alert.document |= {"classifications": classifications, "provenance": made_by}
            noted(whole if self.scorer.networks else [], "scored")
        with timed(report, "insert"):
            noted(alerts, "stored")  # and anew once it is so
            beaten = self.alerts.insert([alert.document for alert in alerts])
            noted(alerts, "stored")
            return beaten

    def _trace(self, seen: list[Alert], new: Mapping[int, Alert]) -> None:
        """The traces of stored alerts say when all filters had judged them; of new ones, when they were stored as well."""
        fresh = [alert for alert in seen if alert.candid in new]
        earlier = [alert.document["_id"] for alert in seen if alert.candid not in new]
        noted(fresh, "filtered")
        if fresh:
            trace = fresh[0].document["trace"]  # they were stored together
            ids = [alert.document["_id"] for alert in fresh]
            self.alerts.add_to_traces(ids, {name: trace[name] for name in ("stored", "filtered")})
        self.alerts.add_to_traces(earlier, {"filtered": datetime.now(UTC)})

    def _detections(self, alerts: list[Alert]) -> list[list[dict[str, Any]]]:
        """Each alert's object as known before: the packet's history, the stored one, and stored alerts."""
        ids = list({alert.object_id for alert in alerts})
        stored, objects = self.alerts.detections(ids), self.objects.read(ids)
        histories = []
        for alert in alerts:
            points = [*stored.get(alert.object_id, ()), *(other.candidate for other in alerts if other.object_id == alert.object_id)]  # fmt: skip
            for history in self.survey.histories:
                if not history.forced:
                    points += alert.histories[history.field]
                    points += objects.get(alert.object_id, {}).get(history.field, [])
            histories.append(points)
        return histories

    def _merge(self, batch: list[Alert], report: BatchReport) -> dict[str, dict[str, Any]]:
        """Merge what a batch brings into its objects, match those that need it, and return their documents as stored."""
        arrivals: dict[str, list[Arrival]] = {}
        for alert in batch:
            arrivals.setdefault(alert.object_id, []).append(arrival(alert, self.survey))
        done: dict[str, dict[str, Any]] = {}
        todo = set(arrivals)
        for _ in range(MERGE_ATTEMPTS):
            stored = self.objects.read_in_part(todo)
            documents = {key: merged(stored.get(key, {}), arrivals[key], self.survey) for key in todo}
            with timed(report, "match"):
                self._match(documents, stored)
            conflicts = self.objects.put(documents, stored)
            done |= {key: {**stored.get(key, {}), **documents[key]} for key in todo - conflicts}
            todo = conflicts
            if not todo:
                return done
        raise DatabaseUnavailable(f"{len(todo)} objects kept changing under this batch, e.g. {min(todo)}")


def _target(object_id: str, first: dict[str, Any]) -> Target:
    return Target(object_id, first["candid"], first["ra"], first["dec"])


def _needs_match(stored: dict[str, Any] | None, document: dict[str, Any]) -> bool:
    """Whether an object has no match yet, one that failed, or one at another position than that of its first alert."""
    if stored is None or "cross_matches" not in stored:
        return True
    matched = stored.get("matched")
    return matched is not None and (bool(matched["failed"]) or matched["candid"] != document["first_alert"]["candid"])


@cache
def this_worker(survey: str) -> AlertWorker:
    """The one `AlertWorker` of this process for a survey."""
    return AlertWorker(get_survey(survey), load_config())


def process_batch(
    survey: str, packets: list[Packet], posting: bool = True, resume: bool = True, context: str | None = None
) -> BatchReport:
    """The task that the broker submits; a process without memory ends, for that is no fault of its packets."""
    with span("process", context, survey=survey, alerts=len(packets)) as here:
        return _with_memory(lambda: this_worker(survey).process(packets, posting, resume, here.context))


def backfill_batch(survey: str, packets: list[Packet]) -> BatchReport:
    """The task of packets that add to the histories of their objects and nothing else."""
    return _with_memory(lambda: this_worker(survey).backfill(packets))


def _with_memory(work: Callable[[], BatchReport]) -> BatchReport:
    try:
        return work()
    except MemoryError:  # another process takes its place, and the batch goes again as after any worker's death
        os._exit(OUT_OF_MEMORY)


def rematch(survey: str) -> int:
    """The task that retries failed cross-matches."""
    return this_worker(survey).rematch()
