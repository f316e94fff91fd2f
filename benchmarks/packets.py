"""Packets to measure with, each of a new object: simulated, or a few real ones re-stamped."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.restamp import restamped
from kowalski.alerts.survey import Survey
from kowalski.simulation.night import simulate
from kowalski.simulation.reshape import reshaped

SEED = 7


def packets_of_tonight(survey: Survey, number: int, folder: Path | None = None) -> Iterator[bytes]:
    """So many packets of as many objects, of the night that is now; made of a folder's packets where one is given."""
    now = datetime.now(UTC)
    if folder:
        return restamped(folder, survey, number, now.timestamp() / 86400 + 2440587.5)
    night = simulate(number, objects=number, seed=SEED, night=f"{now:%Y%m%d}")
    return (alert.data for alert in reshaped(night, survey))
