"""What is made of a night's packets and alerts at its end, where they are kept: each of it can be done again."""

from kowalski.database.client import MongoDatabase
from kowalski.log import get_logger
from kowalski.night.dates import night_from
from kowalski.settings import Config

log = get_logger(__name__)


def close_night(survey: str, night: str, config: Config, database: MongoDatabase) -> None:
    """The files of its packets are closed, and its tables are whole.

    Raises
    ------
    KowalskiError : something can't be written now
    """
    if config.archive.enabled:
        from kowalski.archive.packets.keeper import Keeper  # loaded where it is used: pyarrow and fsspec take 80 MB

        if closed := Keeper(config).close(survey, night):
            log.info("%s %s: %d files of packets are closed", survey, night, closed)
    if config.tables.enabled:
        from kowalski.archive.tables.tables import Tables

        rows = Tables(config, database).compact(survey, night_from(night))
        log.info("%s %s: its tables are whole: %s", survey, night, rows or "nothing was stored")
