"""The MongoDB of the settings for commands that need it and nothing else: in local mode started for as long as they take."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from kowalski.config import ROOT, in_container, load_config
from kowalski.errors import LocalError
from kowalski.local.bars import working
from kowalski.local.secrets import write_missing
from kowalski.local.system import RUNS, LocalSystem
from kowalski.settings import Config


@contextmanager
def settings_with_mongodb(alone: bool = False) -> Iterator[Config]:
    """The settings, whose MongoDB answers: the one of `up` if it runs, else started for now, elsewhere somebody else's work.

    Raises
    ------
    LocalError : ``alone``, and other programs of this folder run
    """
    if in_container() or os.environ.get("KOWALSKI_CONFIG"):
        yield load_config()
        return
    write_missing(ROOT / "config.yaml", [ROOT / "config.local.yaml", ROOT / "config.yaml"])
    system = LocalSystem.live()
    running = {name for name, state in system.supervisor.states().items() if state["statename"] in RUNS}
    if alone and running - {"mongod", "kafka"}:
        raise LocalError(
            "Kowalski is up: ./kowalski.py down stops it, and the MongoDB is then started for this command"
        )
    try:
        with working("starting MongoDB"):
            system.start(["mongod"])
        yield system.config
    finally:
        if not running:
            with working("stopping MongoDB"):
                system.stop()
