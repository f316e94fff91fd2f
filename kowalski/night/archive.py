"""A folder or tarball of packets, or a night of the packet archive, through the chain: what a killed replay has done is not done again, and nothing of it is missed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.progress import Progress

from kowalski.alerts.batches import Batch
from kowalski.alerts.decode import Packet
from kowalski.alerts.survey import Survey
from kowalski.batch_report import BatchReport
from kowalski.database.archive_replays import ArchiveReplays
from kowalski.database.client import connect
from kowalski.database.quarantine import Quarantine, Selection
from kowalski.dispatcher import Dispatcher
from kowalski.errors import StreamError
from kowalski.night.packets import Archive
from kowalski.night.stream import batches_done
from kowalski.settings import Config


@dataclass(frozen=True, slots=True)
class Purpose:
    """What packets of an archive are for.

    Attributes
    ----------
    posting : what passes filters goes to the outbox
    history_only : they add to the histories of their objects, and nothing else is stored of them
    """

    posting: bool = True
    history_only: bool = False

    def __str__(self) -> str:
        return "history" if self.history_only else "all" if self.posting else "all but posting"


class Place:
    """How many of an archive's packets, from its begin on, are done without a gap."""

    def __init__(self, done: int):
        self._after, self._pending = done, dict[int, int]()

    def noted(self, packets: Iterable[tuple[int, Packet]]) -> Iterator[Packet]:
        """The packets of some that are numbered, each of which is under way from then on."""
        for number, packet in packets:
            self._pending[id(packet)] = number  # it lives on in its batch until that is finished
            self._after = number + 1
            yield packet

    def finished(self, batches: Iterable[Batch]) -> None:
        """All that these batches cause is stored."""
        for packet in (packet for batch in batches for packet in batch.packets):
            self._pending.pop(id(packet), None)

    @property
    def done(self) -> int:
        """The number of the first packet that isn't done."""
        return min(self._pending.values(), default=self._after)


def replay_archive(
    survey: Survey, config: Config, archive: Archive, purpose: Purpose, bar: Progress
) -> tuple[BatchReport, int]:
    """Packets of an archive through the chain; what became of them, and how many an interrupted replay had done before.

    What can't be read is in the archive's ``problems``, once all else is done.

    Raises
    ------
    StreamError : there is no packet in it
    """
    database = connect(config.database)
    try:
        replays = ArchiveReplays(database, survey, archive.identity(), str(purpose))
        before = replays.interrupted_at()
        replays.keep(before or 0)
        resume = before is not None  # that one may have left what it stored without what this causes
        dispatcher = Dispatcher(survey.name, config, purpose.posting, resume, purpose.history_only)
        place = Place(before or 0)
        attempt = Quarantine(database, config.broker.inline_quarantine_bytes).take(
            Selection(survey.name, keys=tuple(archive.refused()))
        )
        task = bar.add_task(survey.name, total=archive.total, alerts=0)
        for batches in batches_done(dispatcher, place.noted(archive.numbered(before or 0))):
            if batches:
                place.finished(batches)
                replays.keep(place.done)
            bar.update(task, completed=archive.seen, alerts=dispatcher.report.received)
        dispatcher.close()
        attempt.release()  # what was refused when it came, and is stored now
        replays.end()
        return dispatcher.report, before or 0
    except StreamError:
        replays.end()
        raise
    finally:
        database.client.close()
