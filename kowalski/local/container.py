"""python -m kowalski.local.container: the programs of one image under supervisord, as the container's first process.

Which programs, ``KOWALSKI_ROLE`` says. Told to stop (SIGTERM) it stops them in their order, and ends.
"""

import signal
import sys
import time
from pathlib import Path
from types import FrameType

from kowalski.config import load_config
from kowalski.local.system import LocalSystem
from kowalski.log import get_logger
from kowalski.ml.fetch import fetch_models
from kowalski.program import run_program

log = get_logger(__name__)

#: touched as long as all programs do their work; the images' health check looks at its age
READY = "ready"
#: s between two looks at them
INTERVAL = 5.0


def main() -> None:
    """Run this container's programs until told to stop."""
    run_program("container", body, metrics=False)


def body() -> None:
    """Start the programs, watch them, stop them."""
    signal.signal(signal.SIGTERM, _stop)
    system = LocalSystem.of_container()
    if any(program.name.startswith("dask-cluster") for program in system.programs):
        _fetch_missing_models()
    try:
        system.start(progress=lambda line: log.info("%s", line))
        while True:
            look(system, system.folder / READY)
            time.sleep(INTERVAL)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        log.info("stopping")
        system.stop()


def look(system: LocalSystem, ready: Path) -> None:
    """``ready`` is touched if all programs do their work; else the log says which don't."""
    waiting = [f"{each['program']} ({each['state']})" for each in system.status() if not each["ready"]]
    if waiting:
        log.warning("not ready: %s", ", ".join(waiting))
    else:
        ready.touch()


def _fetch_missing_models() -> None:
    """The published weights are there, or the log says why not: the chain works without them, and scores nothing."""
    for outcome in fetch_models(load_config().ml):
        if outcome.state == "fetched":
            log.info("model %s of %s: fetched", outcome.name, outcome.survey)
        elif outcome.state == "failed":
            log.warning(
                "no weights (./kowalski.py models --from DIR copies them from a folder): model %s of %s: %s",
                outcome.name, outcome.survey, outcome.detail,
            )  # fmt: skip
            return  # the next would fail likewise, each after a while


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
