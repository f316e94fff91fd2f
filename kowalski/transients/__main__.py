"""Fit what is asked for: ``python -m kowalski.transients``. Several may run, they share the work."""

import os
import signal

from kowalski.config import load_config
from kowalski.database.client import connect
from kowalski.log import get_logger
from kowalski.program import run_program
from kowalski.transients.fitting import Fitting
from kowalski.transients.programs import FITTER

log = get_logger(__name__)


def main() -> None:
    """Fit until SIGTERM or SIGINT."""
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # of the processes that fit: one core each
    config = load_config()
    fitting = Fitting(connect(config.database), config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: fitting.stopping.set())
    log.info("fitting with the files in %s", config.transients.salt2.folder)
    fitting.run()


if __name__ == "__main__":
    run_program(FITTER, main)
