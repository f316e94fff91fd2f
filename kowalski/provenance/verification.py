"""A stored alert made again of its packet, by the same code as in its night, and what of it differs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kowalski.alerts.document import Alert, arrival
from kowalski.alerts.lightcurve import known_at, merged
from kowalski.alerts.points import plain
from kowalski.alerts.schemas import store_of
from kowalski.alerts.survey import Survey, known_surveys
from kowalski.archive.packets.reading import PacketArchive
from kowalski.config import ROOT
from kowalski.crossmatch.matcher import Matcher, Target
from kowalski.database.alerts import Alerts
from kowalski.database.catalog_versions import CatalogVersions
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.filters import Filters
from kowalski.database.objects import Objects
from kowalski.database.provenance import Provenance
from kowalski.database.verified import Verified
from kowalski.errors import FilterError, VerifyError
from kowalski.filters.companions import Companions
from kowalski.filters.definition import compile_filter
from kowalski.filters.results import FilterRun
from kowalski.filters.run import FilterRunner
from kowalski.filters.watching import Watching
from kowalski.ml.registry import load_models
from kowalski.ml.scorer import Scorer
from kowalski.provenance.comparing import DIFFERS, NOT_CHECKED, Row, counted
from kowalski.provenance.documents import document_rows, point_rows
from kowalski.provenance.matches import likely_matches, match_rows, versions_now
from kowalski.provenance.passes import Recorded, entry_rows, pass_rows, versions_of
from kowalski.provenance.records import references_of, scores_record
from kowalski.provenance.records import versions_of as catalog_versions_of
from kowalski.provenance.scores import most_likely, score_rows
from kowalski.provenance.sources import Source, source_of
from kowalski.settings import Config

Document = dict[str, Any]


@dataclass
class Verification:
    """What verifying an alert gave; ``rows`` in the order of the chain."""

    survey: str
    candid: int
    object_id: str
    rows: list[Row]
    remarks: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """0: all that could be checked is the same; 1: something differs; 2: nothing does, but something can't be checked here."""
        counts = counted(self.rows)
        return 1 if counts[DIFFERS] else 2 if counts[NOT_CHECKED] else 0

    def as_dict(self) -> Document:
        """For programs."""
        about = {"survey": self.survey, "candid": self.candid, "objectId": self.object_id, "status": self.status}
        return {**about, "counts": counted(self.rows), "remarks": self.remarks, "rows": [each.as_dict() for each in self.rows]}  # fmt: skip


class RecordedFilters(Filters):
    """Versions of filters in place of those that are active: a document each, under an ``_id`` of its own."""

    def __init__(self, database: MongoDatabase, reader: MongoDatabase, documents: list[Document]):
        super().__init__(database, reader)
        self._documents = {each["_id"]: each for each in documents}

    def active(self, catalog: str) -> list[Document]:
        """All of them."""
        return [{"_id": key} for key in self._documents]

    def read(self, ids: list[Any]) -> list[Document]:
        """Some of them."""
        return [self._documents[key] for key in ids]


class Verifier:
    """Verifies alerts with what is installed, configured and stored here; it writes nothing but what versions of catalogues are seen."""

    def __init__(self, config: Config, archive: PacketArchive | None = None):
        self.config = config
        self.database, self.reader = connect(config.database), connect(config.database, "reader")
        self.archive = archive or PacketArchive(ROOT / config.archive.folder)
        self._scorers: dict[str, Scorer] = {}

    def close(self) -> None:
        """End the connections."""
        self.database.client.close()
        self.reader.client.close()

    def find(self, candid: int, survey: Survey | None = None) -> tuple[Survey, Document]:
        """The stored alert of a number, and its survey.

        Raises
        ------
        VerifyError : there is none, or several surveys have one
        """
        among = [survey] if survey else known_surveys()
        found = [(each, alert) for each in among if (alert := Alerts(self.database, each).one(candid)) is not None]
        if len(found) > 1:
            raise VerifyError(f"candid {candid} is one of {' and one of '.join(each.name for each, _ in found)}: add --survey")  # fmt: skip
        if not found:
            kept = self.archive.find(candid, survey.name if survey else None)
            where = f"{survey.alerts} has" if survey else "no survey has"
            hint = "its packet is archived: ./kowalski.py quarantine may hold it, and replay --from archive brings it" if kept else "no packet of it is archived either"  # fmt: skip
            raise VerifyError(f"{where} {'no' if survey else 'an'} alert {candid}; {hint}")
        return found[0]

    def verify(self, candid: int, survey: Survey | None = None) -> Verification:
        """Everything that an alert has caused, beside what it would cause again.

        Raises
        ------
        VerifyError : it can't be found, or there is no packet to verify it with
        """
        survey, stored = self.find(candid, survey)
        survey = survey.with_topic(self.config.kafka.topics.get(survey.name))
        object_id = stored[survey.object_id]
        aux = Objects(self.database, survey).read([object_id]).get(object_id)
        if aux is None:
            raise VerifyError(f"{survey.aux} has no object {object_id}, whose alert {candid} is stored: its packet was not taken to its end; replay it")  # fmt: skip
        source = source_of(stored, aux, survey, self.archive, store_of(survey, self.config))
        return _Verifying(self, survey, stored, aux, source).whole()

    def scorer(self, survey: Survey) -> Scorer:
        """The networks of a survey, loaded once."""
        if survey.name not in self._scorers:
            self._scorers[survey.name] = load_models(self.config, survey.name)
        return self._scorers[survey.name]


class _Verifying:
    """One alert on its way through all sections."""

    def __init__(self, verifier: Verifier, survey: Survey, stored: Document, aux: Document, source: Source):
        self.verifier, self.survey, self.stored, self.aux, self.source = verifier, survey, stored, aux, source
        self.config, self.database = verifier.config, verifier.database
        self.alert: Alert = source.alert
        self.provenance, self.catalogs = Provenance(self.database), CatalogVersions(self.database)
        self.recipes = self.config.database.xmatch.get(survey.name, {})

    def whole(self) -> Verification:
        rows: list[Row] = []
        remarks = [self.source.remark]
        if self.source.archived:
            rows += document_rows(self.stored, self.alert.document)
        rows += self._scores()
        rows += self._matches()
        if self.source.archived:
            rows += point_rows(self.alert, self.aux, self.survey)
        rows += self._filters(remarks)
        return Verification(self.survey.name, self.alert.candid, self.alert.object_id, rows, remarks)

    # scores

    @cached_property
    def _made_scores(self) -> tuple[dict[str, Any], Mapping[str, str]]:
        """The scores of the packet, and why some networks have none."""
        scorer = self.verifier.scorer(self.survey)
        if any(self.survey.lacks(self.alert.document, role) for role in self.survey.cutouts):
            return {}, scorer.problems
        histories = [self._detections()] if scorer.needs_history else []
        return scorer.score([self.alert.candidate], [self.survey.stamps(self.alert.document)], histories)[0], scorer.problems  # fmt: skip

    def _detections(self) -> list[Document]:
        """The object's detections as the networks were told of them: those known by the alert's time."""
        alerts = Alerts(self.database, self.survey).detections([self.alert.object_id])
        points = [*alerts.get(self.alert.object_id, ()), self.alert.candidate]
        for history in self.survey.histories:
            if not history.forced:
                points += self.alert.histories[history.field]
                points += [plain(point) for point in known_at(self.aux, history, self.alert.jd)[0]]
        return points

    @cached_property
    def _recorded_scores(self) -> tuple[str | None, Document | None, Document]:
        """What the alert names, the record of that name, and that of what is installed here."""
        reference = self.stored.get("provenance")
        recorded = self.provenance.read([reference]).get(reference) if reference else None
        here = scores_record(self.verifier.scorer(self.survey), self.survey.name, self.config.server.version)
        return reference, recorded, here

    def _scores(self) -> Iterator[Row]:
        made, problems = self._made_scores
        yield from score_rows(self.stored.get("classifications") or {}, made, *self._recorded_scores, problems)

    # matches

    @cached_property
    def _versions(self) -> tuple[dict[str, tuple[str, str]], dict[str, tuple[str, str]]]:
        """The versions of catalogues that are recorded, and those that there are."""
        matched = self.aux.get("matched") or {}
        then = catalog_versions_of(matched, self.provenance.read(references_of(matched)))
        return then, versions_now(self.catalogs.current(self.recipes), self.recipes)

    @cached_property
    def _made_matches(self) -> Document:
        first = self.aux.get("first_alert") or arrival(self.alert, self.survey).first_alert
        target = Target(self.alert.object_id, first["candid"], first["ra"], first["dec"])
        return Matcher(Catalogs(self.database), self.recipes).match([target])[target.object_id]

    def _matches(self) -> Iterator[Row]:
        then, now = self._versions
        told = self.catalogs.read({version for version, _ in (*then.values(), *now.values())})
        yield from match_rows(self.aux, self._made_matches, self.recipes, then, now, told)

    # filters

    def _filters(self, remarks: list[str]) -> Iterator[Row]:
        verified = Verified(self.database, self.survey)
        passes, entries = verified.passes(self.alert.candid), verified.entries(self.alert.candid)
        ran = verified.ran(self.stored)
        documents, lost = self._versions_to_run(versions_of(passes, entries).keys() | ran)
        recorded = Recorded(passes, entries, ran, lost)
        for kind in sorted({each["kind"] for each in entries} & {"extragalactic", "fit"}):
            remarks.append(f"the outbox has an entry of kind {kind}, which is not made again here")
        run = self._run(documents)
        yield from pass_rows(recorded, run)
        self.alert.document |= {"kafka": self.stored.get("kafka"), "classifications": self._likely_scores}
        if "kafka" in self.stored:
            yield from entry_rows(self.alert, self.survey, recorded, run, self.config.misc.broker)

    @property
    def _likely_scores(self) -> Document:
        _, recorded, here = self._recorded_scores
        return most_likely(self.stored.get("classifications") or {}, self._made_scores[0], recorded, here)

    def _versions_to_run(self, keys: set[tuple[int, str]]) -> tuple[list[Document], dict[tuple[int, str], str]]:
        """The documents of versions of filters, each as if it were active, and why others can't be run."""
        documents, lost = list[Document](), dict[tuple[int, str], str]()
        stored = Verified(self.database, self.survey).filters({filter_id for filter_id, _ in keys})
        for filter_id, fid in keys:
            document = stored.get(filter_id)
            try:
                if document is None:
                    raise FilterError(f"there is no filter {filter_id} any more")
                compile_filter(document, fid)
                documents.append({**document, "_id": f"{filter_id}:{fid}", "active_fid": fid})
            except (FilterError, KeyError, TypeError, AttributeError) as error:
                lost[filter_id, fid] = str(error)
        return documents, lost

    def _run(self, documents: list[Document]) -> FilterRun:
        """What versions of filters make of the alert, with its object as it was known then."""
        filters = RecordedFilters(self.database, self.verifier.reader, documents)
        companions, watching = Companions(self.database), Watching(self.database, self.survey)
        runner = FilterRunner(filters, self.survey, self.config.filters.max_time_ms, None, companions, watching)
        then, now = self._versions
        aux = {**self.aux, "cross_matches": likely_matches(self.aux, self._made_matches, then, now)}
        if self.source.archived:
            aux |= merged(self.aux, [arrival(self.alert, self.survey)], self.survey)
        document = {**self.stored, **self.alert.document, "classifications": self._likely_scores}
        return runner.run([document], {self.alert.object_id: aux})
