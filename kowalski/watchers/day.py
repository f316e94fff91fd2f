"""A day (UTC) in figures: what the readings of the metrics and the ledger say of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

import numpy as np

from kowalski.night.ledger import Books

Reading = Mapping[str, Any]

#: columns of the ledger's table
FROM_LEDGER = ("received", "stored", "known", "quarantined", "filtered", "passed", "balance")


class Series(NamedTuple):
    """Values at times, as arrays of the same length."""

    at: list[datetime]
    values: np.ndarray


@dataclass(frozen=True)
class Day:
    """What a report says.

    Attributes
    ----------
    stored : survey -> alerts stored per minute
    lag : survey -> messages in Kafka that were not stored yet
    outbox : state -> messages for SkyPortal
    requests : first digit of the status -> answers of the API per minute
    quantiles : name -> s within which such a share of the answers was given
    durations : upper bound (s) -> answers of the day that took so long, but longer than the bound before
    ledger : rows of survey and what became of its messages, as `FROM_LEDGER`; None: nothing was read that night
    readings : how many there were
    """

    date: date
    stored: dict[str, Series]
    lag: dict[str, Series]
    outbox: dict[str, Series]
    requests: dict[str, Series]
    quantiles: dict[str, Series]
    durations: dict[float, int]
    ledger: list[tuple[str, dict[str, int]]] | None
    readings: int

    @property
    def balance(self) -> int:
        """Messages that are unaccounted for."""
        return sum(row["balance"] for _, row in self.ledger or ())


def bounds(day: date) -> tuple[datetime, datetime]:
    """When a day begins, and when the next one does, UTC."""
    begin = datetime.combine(day, time(), UTC)
    return begin, begin + timedelta(days=1)


def day_of(day: date, readings: Sequence[Reading], books: Books) -> Day:
    """The figures of a day from its readings, in their order, the last one before it first where there is one."""
    begin, _ = bounds(day)
    rising = [(reading["at"], np.array([count for _, count in reading["seconds"]])) for reading in readings]
    limits = [bound for bound, _ in readings[-1]["seconds"]] if readings else []
    spent = [(at, counts) for at, counts in _steps(rising) if len(counts) == len(limits)]
    return Day(
        date=day,
        stored=_rates(readings, lambda reading: _of_brokers(reading, "stored")),
        lag=_levels(readings, begin, lambda reading: _of_brokers(reading, "lag")),
        outbox=_levels(readings, begin, lambda reading: reading["outbox"]),
        requests=_rates(readings, lambda reading: reading["requests"]),
        quantiles={name: _quantiles(spent, limits, share) for name, share in (("median", 0.5), ("95 %", 0.95))},
        durations=_durations(spent, limits),
        ledger=_ledger(books),
        readings=sum(reading["at"] >= begin for reading in readings),
    )


def _of_brokers(reading: Reading, name: str) -> dict[str, float]:
    return {survey: figures[name] for survey, figures in reading["brokers"].items() if name in figures}


def _levels(
    readings: Sequence[Reading], begin: datetime, what: Callable[[Reading], Mapping[str, float]]
) -> dict[str, Series]:
    found: dict[str, list[tuple[datetime, float]]] = {}
    for reading in readings:
        if reading["at"] >= begin:
            for name, value in what(reading).items():
                found.setdefault(name, []).append((reading["at"], value))
    return {name: _series(points) for name, points in sorted(found.items())}


def _rates(readings: Sequence[Reading], what: Callable[[Reading], Mapping[str, float]]) -> dict[str, Series]:
    """Per minute, of what is counted from the start of a program on."""
    names = sorted({name for reading in readings for name in what(reading)})
    rates = {}
    for name in names:
        counts = [(reading["at"], np.array([what(reading)[name]])) for reading in readings if name in what(reading)]
        steps = _steps(counts)
        before = dict(zip([at for at, _ in counts][1:], [at for at, _ in counts], strict=False))
        rates[name] = _series([(at, grown[0] * 60 / (at - before[at]).total_seconds()) for at, grown in steps])
    return rates


def _steps(counts: Sequence[tuple[datetime, np.ndarray]]) -> list[tuple[datetime, np.ndarray]]:
    """By how much counts grew since the time before; those of a program that was started anew begin with 0."""
    steps = []
    for (_, before), (at, now) in zip(counts, counts[1:], strict=False):
        same = before.shape == now.shape and bool(np.all(now >= before))
        steps.append((at, now - before if same else now))
    return steps


def _quantiles(spent: Sequence[tuple[datetime, np.ndarray]], limits: Sequence[float], share: float) -> Series:
    return _series([(at, quantile(counts, limits, share)) for at, counts in spent if len(counts) and counts[-1] > 0])


def quantile(counts: np.ndarray, limits: Sequence[float], share: float) -> float:
    """The value below which a share of the answers lies, as well as counts up to bounds tell: linear between two bounds.

    Parameters
    ----------
    counts : answers up to each bound, ascending; the last is all of them
    limits : the bounds, of which the last is infinite
    """
    wanted = share * counts[-1]
    index = int(np.searchsorted(counts, wanted))
    low, below = (limits[index - 1], counts[index - 1]) if index else (0.0, 0.0)
    if not np.isfinite(limits[index]):
        return low
    return float(low + (limits[index] - low) * (wanted - below) / (counts[index] - below))


def _durations(spent: Sequence[tuple[datetime, np.ndarray]], limits: Sequence[float]) -> dict[float, int]:
    if not spent:
        return {}
    total = np.sum([counts for _, counts in spent], axis=0)
    return {bound: int(count) for bound, count in zip(limits, np.diff(total, prepend=0.0), strict=True)}


def _series(points: Sequence[tuple[datetime, float]]) -> Series:
    return Series([at for at, _ in points], np.array([value for _, value in points], float))


def _ledger(books: Books) -> list[tuple[str, dict[str, int]]] | None:
    """The accounts of each survey together."""
    rows: dict[str, dict[str, int]] = {}
    for account in books.accounts:
        row = rows.setdefault(account.survey, dict.fromkeys(FROM_LEDGER, 0))
        for name in FROM_LEDGER:
            value = getattr(account, name)
            row[name] += sum(value.values()) if isinstance(value, dict) else value
    return sorted(rows.items()) or None
