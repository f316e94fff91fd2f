"""One run of a target in a process of its own, and what it came to."""

import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
CORPUS = Path(__file__).parent / "corpus"
TARGETS = ("packet", "stamp", "query", "filter", "sieve", "settings")
#: runs a command as a child of its own: libFuzzer takes the most memory that its process ever had, which one that is started by a large
#: process inherits from that
BY_A_CHILD = (sys.executable, "-c", "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))")
#: bytes of an input, s that one may take, MB that the process may hold; a packet that may be unfolded takes a GB
LIMITS = ("-max_len=65536", "-timeout=20", "-rss_limit_mb=3000")


@dataclass
class Outcome:
    """What running a target came to; ``crashes``: file of the input -> the error, in a line."""

    target: str
    seconds: float = 0.0
    executions: int = 0
    coverage: int = 0
    corpus: int = 0
    crashes: dict[str, str] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.target:9s} {self.executions:9d} executions in {self.seconds:5.0f} s, coverage {self.coverage}, "
            f"corpus {self.corpus}, crashes {len(self.crashes)}"
        )


def run(target: str, finds: Path, crashes: Path, *arguments: str) -> tuple[Outcome, str]:
    """Run a target until it crashes or is done; inputs that reach something new are kept in ``finds``, and what was said."""
    for folder in (finds, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    places = (str(finds), str(CORPUS / target), f"-artifact_prefix={crashes}/")
    command = [sys.executable, "-m", "tests.fuzz.child", target, *places, *LIMITS, "-print_final_stats=1", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("KOWALSKI_")}
    done = subprocess.run(
        [*BY_A_CHILD, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return _read(target, done.stderr + done.stdout, done.returncode), done.stderr


def _read(target: str, said: str, status: int) -> Outcome:
    states = re.findall(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: \d+ corp: (\d+)", said, re.MULTILINE)
    executions, coverage, corpus = map(int, states[-1]) if states else (0, 0, 0)
    counted = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    outcome = Outcome(target, executions=int(counted[1]) if counted else executions, coverage=coverage, corpus=corpus)
    if status != 0:
        written = re.search(r"Test unit written to (.*)$", said, re.MULTILINE)
        outcome.crashes[written[1] if written else "no input"] = _error(said)
    return outcome


def _error(said: str) -> str:
    """The error in a line: Python's own, or libFuzzer's word for it."""
    traceback = re.search(r"Uncaught Python exception: ===\n(.*?)(?:\n==\d+==|\Z)", said, re.DOTALL)
    if traceback:
        lines = [line.strip() for line in traceback[1].splitlines() if line.strip()]
        places = [line for line in lines if line.startswith('File "')]
        last = places[-1].removeprefix(f'File "{ROOT}/') if places else ""
        error = next((line for line in lines if not line.startswith(("Traceback", "File"))), lines[0] if lines else "?")
        return f"{error[:200]} ({last[:120]})"
    fault = re.search(r"^==\d+== ?ERROR: libFuzzer: (.*)$", said, re.MULTILINE)
    return fault[1] if fault else said.strip().splitlines()[-1][:200] if said.strip() else "it died without a word"
