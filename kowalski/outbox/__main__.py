"""Run the poster: ``python -m kowalski.outbox``. Several may run; one is active, the others take over if it dies."""

import signal

from kowalski.config import load_config
from kowalski.database.client import connect
from kowalski.database.leases import Lease
from kowalski.database.outbox import Outbox
from kowalski.database.processes import Processes, process_id
from kowalski.log import get_logger
from kowalski.outbox.output import encoding_of, topics_of
from kowalski.outbox.poster import PROGRAM, Poster
from kowalski.outbox.publisher import ResultPublisher
from kowalski.program import once_available, run_program
from kowalski.settings import Config
from kowalski.skyportal.client import SkyPortal
from kowalski.skyportal.delivery import Delivery

log = get_logger(__name__)


def make_poster(config: Config) -> Poster:
    """The poster of these settings, with the indexes it needs."""
    database = connect(config.database)
    outbox, processes = Outbox(database), Processes(database)
    once_available(outbox.ensure_indexes)
    once_available(processes.ensure_indexes)
    lease = Lease(database, PROGRAM, process_id(PROGRAM), config.outbox.lease)
    delivery = Delivery(SkyPortal(config.skyportal, config.server.version), database, config.skyportal.bands)
    output = config.kafka.output
    publisher = None
    if output.bootstrap_servers:
        publisher = ResultPublisher(
            outbox, output.bootstrap_servers, output.options, encoding_of(output), topics_of(output)
        )
    return Poster(outbox, lease, processes, delivery, config.outbox, publisher)


def main() -> None:
    """Post until SIGTERM or SIGINT."""
    config = load_config()
    poster = make_poster(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: poster.stop())
    if not config.misc.broker:
        log.info("misc.broker is false: what passes filters is counted, and not sent")
    elif config.skyportal.token is None:
        log.warning("skyportal.token is not set: what passes filters waits in the outbox")
    log.info("posting to %s", config.skyportal.url)
    poster.run()


if __name__ == "__main__":
    run_program(PROGRAM, main)
