"""Fits in processes of their own: SALT2 takes a core for most of a second, and what a fit does to its process ends there."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from kowalski.transients.host import Host
from kowalski.transients.photometry import Photometry
from kowalski.transients_section import Salt2

#: of each of these processes
_fitter: list[Any] = []


class FitPool:
    """So many processes that fit, started when the first fit is asked for.

    ``BrokenProcessPool`` of a fit's future says that a process died, with it or beside it; `renew` starts others.
    """

    def __init__(self, folder: Path, settings: Salt2):
        self._folder, self._settings = folder, settings
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, photometry: Photometry, host: Host | None) -> "Future[dict[str, Any]]":
        """A fit (`Salt2Fitter.fit`)."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # threads of our own would be half there in a fork
            arguments = (self._folder, self._settings)
            self._pool = ProcessPoolExecutor(self._settings.processes, context, _begin, arguments)
        return self._pool.submit(_fit, photometry, host)

    def renew(self) -> None:
        """The processes are gone; the next fit starts others."""
        pool, self._pool = self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(folder: Path, settings: Salt2) -> None:
    """Be ready to fit; the end of our parent is ours, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for our parent
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    from kowalski.transients.salt2 import Salt2Fitter  # takes 2 s and 100 MB, which our parent need not have

    _fitter.append(Salt2Fitter(folder, settings))


def _fit(photometry: Photometry, host: Host | None) -> dict[str, Any]:
    found: dict[str, Any] = _fitter[0].fit(photometry, host)
    return found
