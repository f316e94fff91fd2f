"""This commit against the one before, stage by stage: ``python -m benchmarks.compare [--with COMMIT] [--rounds 3]``.

Both are measured in turns on the same machine. What else goes on there only ever adds to the CPU that a round takes, at times a third, so
the best round of each counts. It fails only if that of this one takes over a fifth more, and still does after three times as many rounds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from kowalski.config import ROOT

#: CPU, in that of the other commit, from which on this one counts as slower
SLOWER = 1.2
#: how many times the rounds are gone through before a commit is called slower
PATIENCE = 3

Figures = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, say what was found, and whether this commit is slower: the exit status."""
    parser = argparse.ArgumentParser(description="compare the speed of this commit with that of another one")
    parser.add_argument(
        "--with", dest="other", default="HEAD~1", metavar="COMMIT", help="the other one (default HEAD~1)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often both are measured (default 3)")
    given = parser.parse_args(arguments)
    with checked_out(given.other) as there:
        if there is None:
            print(f"{given.other} can't be measured: it is not in this clone, or has no benchmarks/stages.py")
            return 0
        ours: list[Figures] = []
        theirs: list[Figures] = []
        while len(ours) < given.rounds or (len(ours) < PATIENCE * given.rounds and verdict(ours, theirs)[1]):
            for tree, figures in _turns(len(ours), (ROOT, ours), (there, theirs)):
                try:
                    figures.append(measured(tree))
                except subprocess.CalledProcessError:
                    if tree == ROOT:
                        raise
                    print(f"{given.other} can't be measured: it does not run here, as said above")
                    return 0
            print(
                f"round {len(ours)}: {cpu_of(ours[-1]):.2f} and {cpu_of(theirs[-1]):.2f} CPU ms per alert", flush=True
            )
    print("\n".join(table(ours)))
    ratio, slower = verdict(ours, theirs)
    print(f"{ratio:.2f} of the CPU of {given.other}" + (f": over {SLOWER}, this is slower" if slower else ""))
    return int(slower)


@contextmanager
def checked_out(commit: str) -> Iterator[Path | None]:
    """A working tree of another commit, beside this one; None where it can't be measured."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        if _git("worktree", "add", "--detach", str(tree), commit).returncode:
            yield None
            return
        try:
            for name in ("onnx", "ztf"):  # what was fetched and converted here
                if (here := ROOT / "models" / name).exists():
                    (tree / "models" / name).symlink_to(here)
            yield tree if (tree / "benchmarks" / "stages.py").exists() else None
        finally:
            _git("worktree", "remove", "--force", str(tree))


def measured(tree: Path) -> Figures:
    """What `benchmarks.stages` says of a tree."""
    command = [sys.executable, "-m", "benchmarks.stages"]
    done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def cpu_of(figures: Figures) -> float:
    """CPU ms per alert of all processes."""
    return float(sum(figures["cpu_ms_per_alert"].values()))


def verdict(ours: Sequence[Figures], theirs: Sequence[Figures]) -> tuple[float, bool]:
    """CPU of this commit in that of the other, by the best rounds; whether that is slower."""
    ratio = min(map(cpu_of, ours)) / min(map(cpu_of, theirs))
    return ratio, ratio > SLOWER


def table(rounds: Sequence[Figures]) -> Iterator[str]:
    """The stages of this commit beside their floors, a line each, by the medians of the rounds."""
    yield f"{'stage':10} {'ms':>7} {'floor':>7} {'ratio':>6}   (ms of time, and CPU of what can't be spared, per alert)"
    for stage in rounds[0]["floor_ms_by_stage"]:
        ms, floor = (median(each[name].get(stage, 0.0) for each in rounds) for name in ("stage_ms_per_alert", "floor_ms_by_stage"))  # fmt: skip
        yield f"{stage:10} {ms:7.3f} {floor:7.3f} {_ratio(ms, floor)}"
    cpu, floor = median(map(cpu_of, rounds)), median(each["floor_ms_per_alert"] for each in rounds)
    yield f"{'CPU':10} {cpu:7.3f} {floor:7.3f} {_ratio(cpu, floor)}"


def _turns(number: int, *both: tuple[Path, list[Figures]]) -> tuple[tuple[Path, list[Figures]], ...]:
    """Both, and who is first changes from round to round."""
    return both[::-1] if number % 2 else both


def _ratio(ms: float, floor: float) -> str:
    return f"{ms / floor:6.2f}" if floor else f"{'-':>6}"


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
