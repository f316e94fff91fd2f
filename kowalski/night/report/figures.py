"""A night in figures: what the alerts, the ledger, the filters and the conductor's own notes say of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from kowalski.alerts.survey import get_survey
from kowalski.alerts.times import SECONDS
from kowalski.database.client import MongoDatabase
from kowalski.database.night_alerts import NightAlerts, Stored
from kowalski.database.nights import Night, Nights
from kowalski.night.darkness import Darkness, darkness
from kowalski.night.dates import night_from
from kowalski.night.ledger import Account, Books, books_of
from kowalski.settings import Config


class Passes(NamedTuple):
    """How often a version of a filter ran on alerts, and let them through."""

    filter_id: int
    fid: str
    alerts: int
    passed: int


@dataclass(frozen=True)
class SurveyNight:
    """One survey's night.

    Attributes
    ----------
    survey : its key
    dark : when it was dark there; None: the survey names no site
    exposed, received, stored : Unix times of each alert, s, shape (n,): exposure, arrival in Kafka, storage
    scores : model -> shape (m,)
    samples : what the conductor noted: at, messages, lag, workers
    """

    survey: str
    dark: Darkness | None
    exposed: np.ndarray
    received: np.ndarray
    stored: np.ndarray
    scores: Mapping[str, np.ndarray]
    passes: Sequence[Passes] = ()
    samples: Sequence[Mapping[str, Any]] = ()
    accounts: Sequence[Account] = ()
    conducted: Night | None = None

    @property
    def quarantined(self) -> dict[str, int]:
        """Reason -> packets."""
        counts: dict[str, int] = {}
        for account in self.accounts:
            for reason, number in account.quarantined.items():
                counts[reason] = counts.get(reason, 0) + number
        return counts

    def latency(self, begins: str) -> np.ndarray:
        """s from ``exposed`` or ``received`` until storage, of each alert, shape (n,)."""
        spent: np.ndarray = self.stored - getattr(self, begins)
        return np.maximum(spent, 0.0)


@dataclass(frozen=True)
class NightFigures:
    """A night of all surveys that have one of that date."""

    night: str
    books: Books
    surveys: Sequence[SurveyNight] = field(default_factory=tuple)


def figures_of(night: str, database: MongoDatabase, config: Config) -> NightFigures:
    """The figures of a night (YYYYMMDD)."""
    nights = Nights(database)
    books = books_of(night, database, config.kafka.topics)
    conducted = {each.survey: each for each in nights.on(night)}
    samples = nights.samples(night)
    surveys = []
    for name in sorted({account.survey for account in books.accounts} | conducted.keys()):
        survey = get_survey(name).with_topic(config.kafka.topics.get(name))
        accounts = [account for account in books.accounts if account.survey == name]
        noons = survey.noons_around(night_from(night))
        dark = darkness(survey.site, noons, config.night.dark_below) if survey.site else None
        reader = NightAlerts(database, survey)
        alerts = reader.read([account.topic for account in accounts], noons) if accounts else ()
        surveys.append(
            SurveyNight(
                name,
                dark,
                **_arrays(alerts),
                passes=_passes(reader, conducted.get(name), noons),
                samples=[each for each in samples if each["survey"] == name],
                accounts=accounts,
                conducted=conducted.get(name),
            )
        )
    return NightFigures(night, books, surveys)


def _arrays(alerts: Iterable[Stored]) -> dict[str, Any]:
    times: list[tuple[float, float, float]] = []
    scores: dict[str, list[float]] = {}
    for alert in alerts:
        times.append((alert.exposed.timestamp(), alert.emitted.timestamp(), alert.stored.timestamp()))
        for model, score in alert.scores.items():
            scores.setdefault(model, []).append(score)
    columns = np.array(times).reshape(-1, 3).T
    by_model = {model: np.array(values) for model, values in sorted(scores.items())}
    return {"exposed": columns[0], "received": columns[1], "stored": columns[2], "scores": by_model}


def _passes(reader: NightAlerts, night: Night | None, noons: tuple[datetime, datetime]) -> list[Passes]:
    """What filters let through while the night was under way."""
    since, until = (night.steps[0]["at"], night.since) if night else noons
    return [Passes(*each) for each in reader.passes(since, until)]


def duration(seconds: float) -> str:
    """A span of time in the largest unit of which it has two."""
    for unit, length in (("d", SECONDS), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
