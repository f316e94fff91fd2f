"""The long form: ``./kowalski.py test --fuzz [--minutes N] [TARGET ...]``, 10 minutes for each target.

Inputs that reach something new are kept under ``data/local/fuzz/TARGET``, those that crash beside them; each run adds a line per target to
``data/local/fuzz/results.jsonl``. A crash that was mended goes into ``tests/fuzz/corpus/TARGET``, which every run begins with.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from .session import CORPUS, ROOT, TARGETS, Outcome, run

FOLDER = ROOT / "data" / "local" / "fuzz"
#: times that a target is begun again after a crash
MOST_TRIES = 40


def main(arguments: list[str] | None = None) -> int:
    """Fuzz the targets named, or all; 0 if none crashed."""
    parser = argparse.ArgumentParser(prog="./kowalski.py test --fuzz", description="Coverage-guided fuzzing.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all unless named")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target (default: 10)")
    parser.add_argument("--seeds", action="store_true", help="only write the targets' seeds into tests/fuzz/corpus")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if asked.seeds:
        for target in asked.targets or TARGETS:
            for name, data in import_module(f"tests.fuzz.{target}").seeds():
                (CORPUS / target / name.replace(" ", "_")).write_bytes(data)
        return 0
    if find_spec("atheris") is None:
        print("atheris is not installed: it has packages for Linux on x86-64 only", file=sys.stderr)
        return 1
    outcomes = [fuzz(target, 60 * asked.minutes, FOLDER) for target in asked.targets or TARGETS]
    return 1 if any(outcome.crashes for outcome in outcomes) else 0


def fuzz(target: str, seconds: float, folder: Path) -> Outcome:
    """Run a target for some time, on over its crashes, and write down what it came to."""
    begin, whole = monotonic(), Outcome(target)
    finds, crashes = folder / target / "corpus", folder / target / "crashes"
    for _ in range(MOST_TRIES):
        left = seconds - (monotonic() - begin)
        if left < 1:
            break
        outcome, said = run(target, finds, crashes, f"-max_total_time={max(1, round(left))}")
        whole.executions += outcome.executions
        whole.coverage, whole.corpus = max(whole.coverage, outcome.coverage), max(whole.corpus, outcome.corpus)
        for path, error in outcome.crashes.items():
            if error in whole.crashes.values():
                Path(path).unlink(missing_ok=True)
                continue
            whole.crashes[path] = error
            Path(f"{path}.txt" if Path(path).exists() else crashes / "last.txt").write_text(said)
            print(f"{target}: {error}\n  again: .venv/bin/python -m tests.fuzz.child {target} {path}", flush=True)
    whole.seconds = round(monotonic() - begin, 1)
    print(whole, flush=True)
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **whole.line()}) + "\n")
    return whole


if __name__ == "__main__":
    sys.exit(main())
