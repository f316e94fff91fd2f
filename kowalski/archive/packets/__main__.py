"""Keep the packet archive: ``python -m kowalski.archive.packets``, one on each machine whose workers write to a folder of its own."""

import socket

from kowalski.archive.packets.keeper import PROGRAM, Keeper
from kowalski.config import load_config
from kowalski.database.client import connect
from kowalski.program import run_program
from kowalski.watchers.watch import Watch, stop_on_signals

#: s between looks
INTERVAL = 5.0


def main() -> None:
    """Keep until SIGTERM or SIGINT."""
    stop_on_signals()
    config = load_config()
    keeper = Keeper(config)
    watch = Watch(PROGRAM, connect(config.database), lease=f"{PROGRAM}:{socket.gethostname()}")

    def step() -> None:
        keeper.step()
        watch.figures |= keeper.show()

    watch.run(step, INTERVAL)


if __name__ == "__main__":
    run_program(PROGRAM, main)
