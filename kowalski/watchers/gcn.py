"""Watch the General Coordinates Network: ``python -m kowalski.watchers.gcn``.

Each notice's sky map is stored with its contours and cells, and the recent alerts that lie in it are written into a document of
``gcn_events``; then the notice is acknowledged to Kafka. What can't be read stays in ``quarantine_gcn`` with the reason. Sky maps are
read by astropy, mocpy, astropy_healpix and cdshealpix, and not by ligo.skymap: that would bring lalsuite, zarr, healpy, shapely and some
twenty more packages, for what the published layers say in closed form.
"""

import asyncio
import contextlib
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from kowalski.alerts.survey import enabled_surveys, get_survey
from kowalski.config import load_config
from kowalski.database.client import connect
from kowalski.database.gcn import GcnEvents, Message
from kowalski.database.processes import Processes
from kowalski.database.skymaps import Skymaps
from kowalski.errors import ConfigError, DatabaseError, DatabaseUnavailable, SkymapError
from kowalski.kafka_errors import Reports
from kowalski.log import get_logger
from kowalski.program import run_program
from kowalski.settings import Config
from kowalski.skymaps.fetch import NotNow, NotThere
from kowalski.skymaps.keeping import Keeper, stored_moment
from kowalski.watchers.gcn_alerts import alerts_within
from kowalski.watchers.gcn_notices import EventNotice, read_notice
from kowalski.watchers.programs import WATCHERS

log = get_logger(__name__)

PROGRAM = WATCHERS["gcn"]
#: s between signs of life, that Kafka is waited for, and until MongoDB is tried again
BEAT_INTERVAL, POLL_TIMEOUT, RETRY_DELAY = 2.0, 0.5, 1.0
#: s after which a map that could not be fetched is tried again: so often, each time after twice as long
FIRST_RETRY, RETRIES = 30.0, 10


class GcnWatcher:
    """Takes notices one after the other, and sees each through before the next."""

    def __init__(self, config: Config):
        self.config, self.gcn = config, config.gcn
        self.surveys = [get_survey(name) for name in enabled_surveys(config.enabled)]
        self.events = GcnEvents(config.database)
        self.skymaps = Skymaps(config.database)
        self.keeper = Keeper(self.skymaps, config.skymaps.hosts)
        self.processes = Processes(connect(config.database))
        self.stopping = False
        self.handled = self.refused = 0
        try:
            self.consumer = Consumer(consumer_settings(config))
        except KafkaException as error:
            raise ConfigError(f"gcn: {error.args[0].str()}") from None

    def stop(self) -> None:
        """Make `run` return after the notice that is under way; safe to call from a signal handler."""
        self.stopping = True

    async def run(self) -> None:
        """Watch until told to stop."""
        await self._prepare()
        self.consumer.subscribe([pattern_of(topic) for topic in self.gcn.topics])
        beating = asyncio.create_task(self._beat())
        log.info("watching %s", ", ".join(self.gcn.topics))
        try:
            while not self.stopping:
                try:
                    await self._turn()
                except DatabaseUnavailable as error:
                    log.warning("%s: no notice is acknowledged until it can be stored", error)
                    await asyncio.sleep(RETRY_DELAY)
        finally:
            beating.cancel()
            await asyncio.to_thread(self.consumer.close)
            self.events.close()
            self.skymaps.close()

    async def _prepare(self) -> None:
        while not self.stopping:
            try:
                await self.events.ensure_indexes()
                await self.skymaps.ensure_indexes()
                await asyncio.to_thread(self.processes.ensure_indexes)
                return
            except DatabaseUnavailable as error:
                log.warning("waiting for MongoDB: %s", error)
                await asyncio.sleep(RETRY_DELAY)

    async def _turn(self) -> None:
        """One notice of the stream, or what else is due while there is none."""
        received = await asyncio.to_thread(self.consumer.poll, POLL_TIMEOUT)
        if received is None:
            await self._try_again()
            await self._refresh()
        elif error := received.error():
            if error.code() not in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART):
                log.warning("gcn: %s", error.str())
        else:
            message = _message(received)
            try:
                await self.handle(message)
            except DatabaseUnavailable:
                with contextlib.suppress(KafkaException):  # of a partition that is another watcher's now
                    self.consumer.seek(TopicPartition(message.topic, message.partition, message.offset))
                raise
            await self._commit(message)

    async def _commit(self, message: Message) -> None:
        position = TopicPartition(message.topic, message.partition, message.offset + 1)
        try:
            await asyncio.to_thread(self.consumer.commit, offsets=[position], asynchronous=False)
        except KafkaException as error:  # it comes again, and changes nothing then
            log.warning("gcn: not acknowledged: %s", error.args[0].str())

    async def handle(self, message: Message, attempts: int = 0) -> None:
        """A notice is stored with what follows from it, or kept with the reason why it can't be.

        Raises
        ------
        DatabaseUnavailable : try again
        """
        begun = time.monotonic()
        try:
            notice = await asyncio.to_thread(read_notice, message.content)
            found = await self._store(message, notice, late=attempts > 0)
        except (NotNow, NotThere, RuntimeError) as error:  # the last: the process that draws was killed
            self.refused += 1
            wait = FIRST_RETRY * 2**attempts
            again = datetime.now(UTC) + timedelta(seconds=wait) if attempts < RETRIES else None
            log.warning("%s: %s; %s", message.key, error, "tried again later" if again else "given up")
            await self.events.refuse(message, str(error), again)
        except DatabaseUnavailable:
            raise
        except (SkymapError, DatabaseError) as error:
            self.refused += 1
            log.warning("%s: %s", message.key, error)
            await self.events.refuse(message, str(error))
        else:
            self.handled += 1
            await self.events.accept(message)
            log.info("%s: %s, %d alerts, %.1f s", message.key, notice.event, found, time.monotonic() - begun)

    async def _store(self, message: Message, notice: EventNotice, late: bool) -> int:
        """The event has the notice, its map and the alerts therein; how many."""
        about: dict[str, Any] = {"kind": notice.kind}
        known = {key: value for key, value in notice.known.items() if value not in (None, [])}
        if "dateobs" in known:
            known["dateobs"] = stored_moment(known["dateobs"])
        known |= {"retracted": notice.retracts, "test": notice.test}
        if notice.retracts:
            await self.events.note(notice.event, message, about, known, late)
            return 0
        aliases = notice.known["aliases"] or [notice.event]
        kept = await self.keeper.add({**notice.known, "aliases": aliases}, notice.sources, list(self.gcn.contours))
        name, map_id = kept.document["localization_name"], kept.document["_id"]
        about["localization_name"] = name
        known |= {"localization_name": name, "skymap": map_id}
        event = await self.events.note(notice.event, message, about, known, late)
        return await self._search(event) if event.get("skymap") == map_id else 0

    async def _search(self, event: dict[str, Any]) -> int:
        """The alerts in an event's map are written into it; how many."""
        skymap = await self.skymaps.find(None, {"_id": event["skymap"]}, {"cells": 1})
        if skymap is None:
            raise SkymapError("the sky map was removed while alerts were looked for")
        level = self.gcn.credible_level
        cells = await self.keeper.cells(skymap, level)
        noticed = event["noticed_at"].replace(tzinfo=UTC)
        alerts, searched = await alerts_within(self.events, self.surveys, cells, level, noticed, self.gcn.days)
        await self.events.put_alerts(event["_id"], event["skymap"], alerts, searched)
        return len(alerts)

    async def _try_again(self) -> None:
        if (due := await self.events.due()) is not None:
            await self.handle(*due)

    async def _refresh(self) -> None:
        """The alerts of the event that was looked at longest ago are looked for again: some were taken since."""
        event = await self.events.next_to_refresh(self.gcn.days, self.gcn.refresh_interval)
        if event is None:
            return
        try:
            await self._search(event)
        except SkymapError as error:
            log.warning("%s: %s", event["_id"], error)
            await self.events.note_failure(event["_id"], str(error))

    async def _beat(self) -> None:
        """Say every 2 s that this program is alive, and in the end that it goes."""
        try:
            while True:
                with contextlib.suppress(DatabaseUnavailable):
                    await asyncio.to_thread(self.processes.beat, PROGRAM, handled=self.handled, refused=self.refused)
                await asyncio.sleep(BEAT_INTERVAL)
        finally:
            with contextlib.suppress(DatabaseUnavailable):
                self.processes.leave(PROGRAM)


def consumer_settings(config: Config) -> dict[str, Any]:
    """librdkafka's settings for the stream: ours, OAuth's where there is a client id, then those of ``gcn.options``."""
    gcn = config.gcn
    settings: dict[str, Any] = {
        "bootstrap.servers": gcn.bootstrap_servers,
        "group.id": gcn.group,
        "auto.offset.reset": gcn.auto_offset_reset,
        "enable.auto.commit": False,
        "allow.auto.create.topics": False,
        "topic.metadata.refresh.interval.ms": int(config.kafka.metadata_refresh * 1000),
        "session.timeout.ms": 10_000,  # after which a watcher that was killed is no longer waited for
        "max.poll.interval.ms": 900_000,  # maps may take minutes to fetch and to draw
        "fetch.message.max.bytes": 8_388_608,
        "receive.message.max.bytes": 100_000_000,
        "queued.max.messages.kbytes": 16_384,
        "log_level": 0,
        "error_cb": Reports("gcn"),
    }
    if gcn.client_id is not None:
        settings |= {
            "security.protocol": "sasl_ssl",
            "sasl.mechanisms": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": gcn.client_id,
            "sasl.oauthbearer.client.secret": gcn.client_secret,
            "sasl.oauthbearer.token.endpoint.url": gcn.oauth_url,
        }
    return settings | gcn.options


def _message(received: KafkaMessage) -> Message:
    place = received.topic() or "", received.partition() or 0, received.offset() or 0
    return Message(*place, received.value() or b"")


def pattern_of(topic: str) -> str:
    """A topic as it is subscribed to; one with a * at its end stands for all that begin so."""
    if not topic.endswith("*"):
        return topic
    return "^" + topic[:-1].replace(".", r"\.") + ".*"


def main() -> None:
    """Watch until SIGTERM or SIGINT."""
    config = load_config()
    if not config.gcn.enabled:
        raise ConfigError("gcn.enabled is false: set it, and gcn.client_id and gcn.client_secret, in config.yaml")

    async def watch() -> None:
        watcher = GcnWatcher(config)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, watcher.stop)
        await watcher.run()

    asyncio.run(watch())


if __name__ == "__main__":
    run_program(PROGRAM, main)
