"""A soak: alerts at a steady rate for long, one fault a minute; memory stays flat and the books close.

    ./kowalski.py test --soak [--minutes 60] [--rate 20] [--seed N] [--plot FILE]

Exit status 1: something was lost or doubled, or a program's memory grew by more than `MOST_GROWTH`.
"""

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from faults.faults import FAULTS, Round
from faults.hurt import AWAY, HurtSystem, Unsettled
from faults.memory import MemoryWatch, draw, growth
from faults.nights import SELECTIVE, Night, make_night
from faults.rounds import RESULTS
from kowalski.config import ROOT
from kowalski.errors import KowalskiError
from kowalski.simulation.publish import Publisher

#: share by which a program's memory may stand higher in the second half than in the first
MOST_GROWTH = 0.2
#: what keeps all that it gets, in SkyPortal's place
HOARDER = "skyportal-receiver"
#: s of a fault at most, so that the chain catches up before the next
LONGEST_HOLD = 8.0
#: faults that would publish a night again, or whose wait for a quiet system never ends under a steady stream; and SkyPortal's stand-in
#: takes minutes to read again all that it ever got
LEFT_OUT = {"night_twice", "more_partitions", "clock_jumps", "poster_hangs", "kill_skyportal_receiver"}
NAMES = sorted(name for name, fault in FAULTS.items() if fault.soon_over and name not in LEFT_OUT)


class Soak:
    """A night a minute, streamed evenly, a fault in each; nights are checked as soon as they are done with."""

    def __init__(self, hurt: HurtSystem, rate: float, seed: int, console: Console):
        self.hurt, self.rate, self.seed, self.console = hurt, rate, seed, console
        self.began = time.monotonic()
        self.alerts = 0
        self.faults: list[tuple[float, str]] = []
        self.lost: list[str] = []
        self.doubled: list[str] = []
        self._open: deque[tuple[int, Night]] = deque()

    def run(self, minutes: int) -> None:
        """Stream for so long, then wait until all is done and right."""
        chance = random.Random(self.seed)
        with ProcessPoolExecutor(1) as makers, self.hurt.publisher() as publisher:
            ahead = [self._made(makers, number) for number in range(min(2, minutes))]
            for number in range(minutes):
                night = ahead.pop(0).result()
                if number + 2 < minutes:
                    ahead.append(self._made(makers, number + 2))
                name = chance.choice(NAMES)
                self._minute(number, night, publisher, name, chance)
                self._close(patience=0)
        self.hurt.recover()
        self._close(patience=600)
        self.hurt.wait(self.hurt.settled, "all done", 600)
        self.lost += self.hurt.open_books()
        if self.hurt.stored() != self.alerts:
            self.doubled.append(f"{self.hurt.stored()} alerts are stored instead of {self.alerts}")

    def _made(self, makers: ProcessPoolExecutor, number: int) -> "Future[Night]":
        return makers.submit(make_night, number, self.seed, round(60 * self.rate), SELECTIVE)

    def _minute(self, number: int, night: Night, publisher: Publisher, name: str, chance: random.Random) -> None:
        """One night goes out evenly, while a fault is done beside it."""
        round_ = Round(self.hurt, night, random.Random(f"{self.seed}:{number}"), publisher)
        beside = threading.Thread(target=self._hurt, args=(name, round_, chance.uniform(2, 30)), name=name)
        beside.start()
        due = time.monotonic()
        for place, packet in enumerate(night.messages):
            time.sleep(max(0.0, due - time.monotonic()))
            due += 60 / len(night.messages)
            publisher.send(self.hurt.topic, packet, f"packet {place} of night {number}")
        beside.join()
        self.alerts += len(night.candids)
        self._open.append((number, night))

    def _hurt(self, name: str, round_: Round, wait_s: float) -> None:
        time.sleep(wait_s)
        self.faults.append(((time.monotonic() - self.began) / 60, name))
        try:
            with FAULTS[name].does(round_):
                time.sleep(min(round_.chance.uniform(*FAULTS[name].holds), LONGEST_HOLD))
            self.hurt.recover()
        except (Unsettled, KowalskiError) as error:
            self.lost.append(f"{name} does not heal: {error}")

    def _close(self, patience: float) -> None:
        """The nights that are done with are checked and forgotten, the oldest first; 0: only those that are now.

        Raises
        ------
        Unsettled : one was not done with in time
        """
        while self._open:
            number, night = self._open[0]
            if patience:
                self.hurt.wait(partial(self.hurt.done_with, night), f"night {number} done with", patience)
            elif not self._is_done(night):
                break
            lost, doubled = self.hurt.findings(night)
            self.lost += lost
            self.doubled += doubled
            self._open.popleft()
        self._say()

    def _is_done(self, night: Night) -> bool:
        try:
            return self.hurt.done_with(night)
        except AWAY:
            return False

    def _say(self) -> None:
        said = (
            f"{self.alerts} alerts, {len(self._open)} nights open, {len(self.lost)} lost, {len(self.doubled)} doubled"
        )
        last = self.faults[-1][1] if self.faults else ""
        self.console.print(
            f"{(time.monotonic() - self.began) / 60:5.1f} min  {last:26} {said}", highlight=False, soft_wrap=True
        )


def main(arguments: list[str]) -> int:
    """Soak as the command line asks."""
    parser = argparse.ArgumentParser(prog="kowalski.py test --soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=int, default=60, help="how long (60)")
    parser.add_argument("--rate", type=float, default=20.0, help="alerts/s (20)")
    parser.add_argument("--seed", type=int, default=1, help="draws alerts, faults and moments (1)")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "soak.svg", metavar="FILE", help="docs/soak.svg")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped all the same
    console = Console()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="soak", dir=RESULTS.parent) as folder,
        HurtSystem(Path(folder), small_disk=False, filters=SELECTIVE) as hurt,
        MemoryWatch(hurt.system) as watch,
    ):
        soak = Soak(hurt, options.rate, options.seed, console)
        try:
            soak.run(options.minutes)
        except (Unsettled, KowalskiError) as error:
            soak.lost.append(str(error))
    title = f"{options.minutes} minutes at {options.rate:g} alerts/s, one fault a minute"
    draw(watch.samples, soak.faults, title, options.plot)
    return _verdict(soak, watch, console)


def _verdict(soak: Soak, watch: MemoryWatch, console: Console) -> int:
    """The figures, printed; 0 if nothing was lost or doubled and memory is flat."""
    table = Table("program", "MB at the end", "growth", title="Memory")
    for name, samples in sorted(watch.samples.items()):
        table.add_row(name, f"{samples[-1][1]:.0f}", f"{growth(samples):+.1%}")
    console.print(table)
    for what in (*soak.lost[:10], *soak.doubled[:10]):
        console.print(what, highlight=False, soft_wrap=True)
    console.print(
        f"{soak.alerts} alerts, {len(soak.faults)} faults: {len(soak.lost)} lost, {len(soak.doubled)} doubled"
    )
    grown = [name for name, samples in watch.samples.items() if name != HOARDER and growth(samples) > MOST_GROWTH]
    return int(bool(soak.lost or soak.doubled or grown))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
