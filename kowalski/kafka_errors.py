"""What librdkafka reports of its connections: said once a minute, and remembered, as its calls only say that time is over."""

import re
import time

from confluent_kafka import KafkaError

from kowalski.log import get_logger

log = get_logger(__name__)

#: what somebody has to see to; single brokers come and go
SERIOUS = (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL)
#: s until the same is said again; librdkafka tries, and reports, 20 times a second
REST = 60.0


class Reports:
    """An ``error_cb`` for one client of Kafka; ``who`` names it in the log."""

    def __init__(self, who: str = "kafka"):
        self.who = who
        self._said: dict[str, float] = {}
        self._last = (0.0, "")

    def __call__(self, error: KafkaError) -> None:
        if not (error.fatal() or error.code() in SERIOUS):
            return
        text = re.sub(r" \(after \d+ms in state .*", "", error.str())
        now = time.monotonic()
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # which follows from the others, and tells less
            self._last = (now, text)
        if now > self._said.get(text, 0.0):
            self._said[text] = now + REST
            log.warning("%s: %s", self.who, text)

    def since(self, moment: float) -> str | None:
        """The last report after a moment (of the monotonic clock) that says why there is no connection."""
        when, text = self._last
        return text if when > moment else None
