"""Packets out of quarantine through the chain: what leaves it is stored with all that it causes, what is refused again stays."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

from rich.progress import Progress

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import read_batch
from kowalski.alerts.schemas import store_of
from kowalski.alerts.survey import Survey
from kowalski.batch_report import BatchReport
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.quarantine import Quarantine, Selection, key_of
from kowalski.database.quarantine_attempt import Attempt
from kowalski.night.refetch import kafka_of
from kowalski.night.stream import replay_packets
from kowalski.settings import Config


class Fate(NamedTuple):
    """What became of a packet.

    Attributes
    ----------
    outcome : ``known``: the alert was brought by another message; ``left``: its bytes can't be had
    said : why it stays
    """

    key: str
    outcome: Literal["stored", "known", "refused", "left"]
    said: str = ""

    @property
    def stays(self) -> bool:
        """Whether it is in quarantine still."""
        return self.outcome in ("refused", "left")


def replay_chosen(
    survey: Survey, config: Config, chosen: Selection, posting: bool, bar: Progress
) -> tuple[BatchReport, list[Fate]]:
    """Another attempt at the packets chosen of one survey, seen through to its end; in all, and for each.

    Raises
    ------
    StreamError : Kafka can't be reached for a packet that quarantine has no more than the head of; all stay in quarantine then
    """
    database = connect(config.database)
    try:
        attempt = Quarantine(database, config.broker.inline_quarantine_bytes).take(replace(chosen, survey=survey.name))
        reader = _Reader(survey, config)
        with kafka_of(survey, config) as fetch:
            # what failed half way left an alert without what it causes: its message is to be taken up where it was left
            report = replay_packets(survey, config, reader.noted(attempt.packets(fetch)), posting, bar, resume=True)
        attempt.release()
        return report, _fates(attempt, reader.candids, database, survey)
    finally:
        database.client.close()


class _Reader:
    """Passes packets on and notes the candids in them."""

    def __init__(self, survey: Survey, config: Config):
        self.survey, self.schemas = survey, store_of(survey, config)
        self.candids: dict[str, list[int]] = {}

    def noted(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        for packet in packets:
            self.candids[key_of(packet)] = [
                alert.candid for alert in read_batch([packet], self.survey, self.schemas)[0]
            ]
            yield packet


def _fates(attempt: Attempt, candids: dict[str, list[int]], database: MongoDatabase, survey: Survey) -> list[Fate]:
    reasons = attempt.reasons(list(candids))
    stored = Alerts(database, survey).known([candid for each in candids.values() for candid in each])
    brought_by = {candid: _origin(alert.get("kafka") or {}) for candid, alert in stored.items()}
    fates = [Fate(key, "left", why) for key, why in attempt.left.items()]
    for key, found in candids.items():
        if key in reasons:
            fates.append(Fate(key, "refused", f"{reasons[key].reason}: {reasons[key].detail}"))
        else:
            own = any(brought_by.get(candid) == key for candid in found)
            fates.append(Fate(key, "stored" if own else "known"))
    return fates


def _origin(message: dict[str, object]) -> str:
    """The key of the message that brought an alert."""
    return f"{message.get('topic')}:{message.get('partition')}:{message.get('offset')}"
