"""The tables of all surveys: brought up to date as the night goes, made whole at its end."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import BinaryIO, Protocol

from prometheus_client import Counter

from kowalski.alerts.schemas import own_schema, store_of
from kowalski.alerts.survey import enabled_surveys, get_survey
from kowalski.archive.tables.appending import Appending
from kowalski.archive.tables.columns import TABLES, Table, tables_of
from kowalski.archive.tables.compaction import Compaction
from kowalski.archive.tables.known import Known
from kowalski.archive.tables.rows import Rows
from kowalski.archive.tables.store import Partition, Size, Store
from kowalski.archive.tables.turn import turn_of
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.tabled import Tabled
from kowalski.errors import KowalskiError, SchemaError
from kowalski.log import get_logger
from kowalski.settings import Config

log = get_logger(__name__)

APPENDED = Counter("kowalski_tables_rows_appended", "Rows appended to the tables")


class Loader(Protocol):
    """Who takes whole nights elsewhere."""

    def load(self, partition: Partition, file: BinaryIO) -> str:
        """A night's file is there; what is to be said of it."""


class Tables:
    """All tables of a configuration.

    Parameters
    ----------
    database : as the writer sees it; None: the configuration's
    """

    def __init__(self, config: Config, database: MongoDatabase | None = None):
        self.config, self.database = config, connect(config.database) if database is None else database
        self.store = Store(config.tables.folder)
        self.surveys = enabled_surveys(config.enabled)
        self._known = Known(self.store)
        self._appending: dict[str, Appending] = {}

    def append(self) -> dict[str, int]:
        """Add what is new of each enabled survey; how many rows by table. One survey's failure is raised when the others are done.

        Raises
        ------
        DatabaseUnavailable, TableError, SchemaError : the same can be done again
        """
        added: dict[str, int] = {}
        failure: KowalskiError | None = None
        for name in self.surveys:
            try:
                with turn_of(self.database) as turn:
                    found = self._appending_of(name).step(turn)
            except KowalskiError as error:
                failure = failure or error
                continue
            APPENDED.inc(sum(found.values()))
            added = {table: added.get(table, 0) + rows for table, rows in found.items()}
        self._known.forget()
        if failure:
            raise failure
        return added

    def compact(self, survey: str, night: date, tell: Callable[[str], None] = log.info) -> dict[str, int]:
        """Make the tables of a night of a survey whole, exact and sorted, then load them where that is set; how many rows by table.

        Can be killed at any moment and done again. Where MongoDB and the files have nothing of the night, nothing is made.

        Raises
        ------
        DatabaseUnavailable, TableError, SchemaError, SourceError : the same can be done again
        """
        tables, rows, tabled = self._parts(survey)
        with turn_of(self.database) as turn:
            counts = Compaction(tables, rows, tabled, self.store, night, tell).run(turn)
        settings = self.config.tables.bigquery
        if counts and settings.project is not None:
            from kowalski.archive.tables.bigquery import BigQuery  # takes 1 s

            self.load(BigQuery.of(settings), survey, night, tell)
        return counts

    def load(self, loader: Loader, survey: str, night: date, tell: Callable[[str], None] = log.info) -> None:
        """A night's whole tables are in BigQuery."""
        for name in TABLES:
            partition = Partition(name, get_survey(survey).name, f"{night:%Y%m%d}")
            for path in self.store.files(partition):
                with self.store.reading(path) as file:
                    tell(f"{partition.path}: {loader.load(partition, file)}")

    def sizes(self) -> Iterator[tuple[Partition, Size]]:
        """What is there."""
        for partition in self.store.partitions():
            yield partition, self.store.size(partition)

    def close(self) -> None:
        """End the connections."""
        self.database.client.close()

    def _appending_of(self, name: str) -> Appending:
        if name not in self._appending:
            self._appending[name] = Appending(*self._parts(name), self.store, self._known, self.config.tables.settled)
        return self._appending[name]

    def _parts(self, name: str) -> tuple[dict[str, Table], Rows, Tabled]:
        survey, cutouts = get_survey(name), self.config.tables.cutouts
        survey = survey.with_topic(self.config.kafka.topics.get(survey.name))
        survey = survey.with_bands(self.config.skyportal.bands.get(survey.name, {}))
        schema = own_schema(survey, store_of(survey, self.config))
        if schema is None:
            raise SchemaError(
                f"{survey.name}: its schema is not here, without which its tables have no columns: "
                f"see schemas.{survey.name} in the settings"
            )
        tables = tables_of(survey, schema, cutouts)
        return tables, Rows(survey, tables["points"].kind, cutouts), Tabled(self.database, survey, cutouts)
