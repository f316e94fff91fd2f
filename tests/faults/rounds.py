"""Rounds of faults: a small night each, a fault drawn by the seed at a moment drawn by the seed, and the books closed after it.

    ./kowalski.py test --faults [--rounds 200] [--seed N] [--only FAULT] [--alerts 150] [--minutes M]

The same command again with the same seed goes on after the rounds that are done. Exit status 1: something was lost or doubled.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from faults.faults import FAULTS, Round
from faults.hurt import HurtSystem, Unsettled
from faults.nights import Night, make_night
from kowalski.config import ROOT
from kowalski.errors import KowalskiError

RESULTS = ROOT / "data" / "local" / "faults" / "results.jsonl"
#: rounds after which a system is made anew, so that its disk stays small
ROUNDS_OF_A_SYSTEM = 25


@dataclass
class Result:
    """What became of a round.

    Attributes
    ----------
    published, stored : alerts when the fault struck
    held_s : s that it lasted
    lost, doubled : what was found wrong, in words
    skipped : why the fault can't be done here
    """

    round: int
    fault: str
    seed: int
    alerts: int = 0
    published: int = 0
    stored: int = 0
    held_s: float = 0.0
    seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    skipped: str | None = None

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.skipped:
            return f"not here: {self.skipped}"
        return f"{len(self.lost)} LOST, {len(self.doubled)} DOUBLED" if self.lost or self.doubled else "nothing lost"


def drawn(seed: int, only: str | None = None) -> Iterator[str]:
    """The fault of each round: all of them in a random order, then again in another."""
    chance = random.Random(seed)
    while True:
        names = [only] if only else sorted(FAULTS)
        chance.shuffle(names)
        yield from names


def play(hurt: HurtSystem, name: str, number: int, seed: int, alerts: int, longest_hold: float = 60) -> Result:
    """One round: half of a night, the fault, the other half; then everything has to settle and be right.

    Parameters
    ----------
    longest_hold : s that the fault may last at most
    """
    result, fault = Result(number, name, seed, alerts), FAULTS[name]
    if reason := fault.why_not(hurt):
        result.skipped, result.alerts = reason, 0
        return result
    chance = random.Random(f"{seed}:{number}:{name}")
    night = make_night(number, seed, alerts)
    result.published = chance.randrange(10, 3 * len(night.messages) // 4)
    result.stored = chance.randrange(result.published // 2)
    result.held_s = min(round(chance.uniform(*fault.holds), 1), longest_hold)
    began = time.monotonic()
    try:
        _stream(hurt, night, chance, result)
        hurt.recover()
        hurt.wait(hurt.settled, "the night done")
        result.lost, result.doubled = hurt.findings(night)
        result.lost += hurt.open_books()
        hurt.expected += len(night.candids)
        if not result.lost and not result.doubled and hurt.stored() != hurt.expected:
            result.doubled = [f"{hurt.stored()} alerts are stored instead of {hurt.expected}"]
    except (Unsettled, KowalskiError) as error:
        result.lost = [f"not settled: {error}"]
    result.seconds = round(time.monotonic() - began, 1)
    return result


def _stream(hurt: HurtSystem, night: Night, chance: random.Random, result: Result) -> None:
    """A night goes to Kafka, the fault among it."""
    messages = [(packet, f"packet {number}") for number, packet in enumerate(night.messages)]
    with hurt.publisher() as publisher:
        for packet, name in messages[: result.published]:
            publisher.send(hurt.topic, packet, name)
        publisher.flush()
        hurt.wait(lambda: hurt.stored() >= hurt.expected + result.stored, "the night begun")
        with FAULTS[result.fault].does(Round(hurt, night, chance, publisher)):
            until = time.monotonic() + result.held_s
            for packet, name in messages[result.published :]:
                publisher.send(hurt.topic, packet, name)
            time.sleep(max(0.0, until - time.monotonic()))


# the long run ----------------------------------------------------------------------------------------------------


def run(rounds: int, seed: int, only: str | None, alerts: int, results: Path, minutes: float, console: Console) -> int:
    """Play the rounds that are not done yet; 1 if any round of this seed lost or doubled something."""
    until = time.monotonic() + 60 * minutes
    results.parent.mkdir(parents=True, exist_ok=True)
    done = {one["round"]: one for one in read(results) if one["seed"] == seed and one["only"] == only}
    commit = _commit()
    console.print(f"seed {seed}: {rounds} rounds, {len(done)} of them done before; results go to {results}")
    with ExitStack() as stack:
        hurt: HurtSystem | None = None
        for number, name in zip(range(rounds), drawn(seed, only), strict=False):
            if number in done and done[number]["fault"] == name:
                continue
            if time.monotonic() > until:
                break
            if hurt is None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="faults", dir=results.parent))
                hurt = stack.enter_context(HurtSystem(Path(folder)))
            result = play(hurt, name, number, seed, alerts)
            console.print(f"{number + 1:4} {_line(result)}", highlight=False, soft_wrap=True)
            done[number] = {**asdict(result), "only": only, "commit": commit}
            with results.open("a") as file:
                file.write(json.dumps(done[number]) + "\n")
            if result.lost or result.doubled or number % ROUNDS_OF_A_SYSTEM == ROUNDS_OF_A_SYSTEM - 1:
                stack.close()
                hurt = None
    played = [done[number] for number in sorted(done) if number < rounds]
    console.print(table_of(played))
    console.print(summary_of(played), soft_wrap=True)
    return int(any(one["lost"] or one["doubled"] for one in played))


def read(results: Path) -> list[dict[str, Any]]:
    """The results of a file; none where there is no file."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _line(result: Result) -> str:
    when = f"at {result.stored} stored of {result.published} published, for {result.held_s:g} s"
    found = "".join(f"\n       {what}" for what in (*result.lost[:10], *result.doubled[:10]))
    return f"{result.fault:26} {when:52} {result.verdict}, {result.seconds:g} s{found}"


def table_of(results: Iterable[dict[str, Any]]) -> Table:
    """Rounds, alerts and what was lost, by fault."""
    table = Table("fault", "rounds", "not here", "alerts", "lost", "doubled", "longest, s", title="Faults")
    by_fault: dict[str, list[dict[str, Any]]] = {}
    for one in results:
        by_fault.setdefault(one["fault"], []).append(one)
    for name, those in sorted(by_fault.items()):
        table.add_row(name, *map(str, _figures(those)))
    return table


def _figures(those: list[dict[str, Any]]) -> list[Any]:
    played = [one for one in those if not one["skipped"]]
    counts = [sum(len(one[what]) for one in played) for what in ("lost", "doubled")]
    longest = max((one["seconds"] for one in played), default=0)
    return [len(played), len(those) - len(played), sum(one["alerts"] for one in played), *counts, longest]


def summary_of(results: list[dict[str, Any]]) -> str:
    """All of it in one line."""
    rounds, skipped, alerts, lost, doubled, _ = _figures(results)
    kinds = len({one["fault"] for one in results if not one["skipped"]})
    return f"{rounds} rounds of {kinds} faults ({skipped} not possible here), {alerts} alerts: {lost} lost, {doubled} doubled"


def _commit() -> str:
    result = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip
    return result.stdout.strip() or "unknown"


def main(arguments: list[str]) -> int:
    """Play rounds as the command line asks."""
    parser = argparse.ArgumentParser(prog="kowalski.py test --faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="rounds in all, those done before included (200)")
    parser.add_argument("--seed", type=int, help="draws faults and moments; drawn and printed if not given")
    parser.add_argument("--only", choices=sorted(FAULTS), metavar="FAULT", help=", ".join(sorted(FAULTS)))
    parser.add_argument("--alerts", type=int, default=150, help="alerts of a round (150)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="where results are appended")
    parser.add_argument("--minutes", type=float, default=inf, help="begin no round after so many minutes")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped all the same
    seed = random.SystemRandom().randrange(1, 1000) if options.seed is None else options.seed
    return run(options.rounds, seed, options.only, options.alerts, options.results, options.minutes, Console())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
