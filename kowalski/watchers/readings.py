"""What the API's metrics say at one moment, as a report needs it."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from kowalski.api.services.figures import BROKER
from kowalski.errors import SourceError
from kowalski.http_source import ask, json_of
from kowalski.settings import Config, required

REQUESTS, SECONDS = "kowalski_api_requests", "kowalski_api_request_seconds"
OUTBOX, ALIVE = "kowalski_outbox_entries", "kowalski_program_alive"


class Metrics:
    """Reads the metrics with the administrator's token, without which they are the API's own only."""

    def __init__(self, config: Config):
        self._url = required(config.performance_report.metrics, "performance_report.metrics")
        server = config.server
        password = required(server.admin_password, "server.admin_password")
        self._login = {"username": server.admin_username, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False

    def read(self) -> dict[str, Any]:
        """A reading of now.

        Raises
        ------
        SourceError : the API is not reached, doesn't know us, or has no metrics there
        """
        if "Authorization" not in self._session.headers:
            self._log_in()
        text = self._text()
        if ALIVE not in text:  # the token has expired: the API says what it says to everybody
            self._log_in()
            text = self._text()
        reading = reading_of(text)
        return {"at": datetime.now(UTC), **reading}

    def _text(self) -> str:
        answer = ask(self._session, "GET", self._url)
        if answer.status_code != 200:
            raise SourceError(f"{self._url} is not there (performance_report.metrics)")
        return answer.text

    def _log_in(self) -> None:
        parts = urlsplit(self._url)
        address = f"{parts.scheme}://{parts.netloc}/api/auth"
        self._session.headers.pop("Authorization", None)
        content = json_of(ask(self._session, "POST", address, json=self._login), address)
        if not isinstance(content, dict) or "token" not in content:
            raise SourceError(f"{address} gives no token: is it Kowalski's (performance_report.metrics)?")
        self._session.headers["Authorization"] = content["token"]


def reading_of(text: str) -> dict[str, Any]:
    """What Prometheus' text says.

    Keys
    ----
    brokers : survey -> figures of its brokers (see ``kowalski.api.services.figures.BROKER``)
    outbox : state -> entries
    alive : program -> processes
    requests : answers of the API since its start by the first digit of their status
    seconds : pairs of a bound (s, ascending) and how many answers since the start took no longer

    Raises
    ------
    SourceError : it is no such text
    """
    reading: dict[str, Any] = {"brokers": {}, "outbox": {}, "alive": {}, "requests": {}, "seconds": {}}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                _take(sample, reading)
    except (ValueError, KeyError) as error:
        raise SourceError(f"these are no metrics of Kowalski's: {error}") from None
    reading["seconds"] = [[bound, count] for bound, count in sorted(reading["seconds"].items())]
    return reading


def _take(sample: Sample, reading: dict[str, Any]) -> None:
    name, labels, value = sample.name, sample.labels, sample.value
    if name == f"{REQUESTS}_total":
        _add(reading["requests"], f"{labels['status'][:1]}xx", value)
    elif name == f"{SECONDS}_bucket":
        _add(reading["seconds"], float(labels["le"]), value)
    elif name == OUTBOX:
        _add(reading["outbox"], labels["state"], value)
    elif name == ALIVE:
        _add(reading["alive"], labels["program"], value)
    elif (figure := name.removeprefix("kowalski_broker_")) in BROKER:
        _add(reading["brokers"].setdefault(labels["survey"], {}), figure, value)


def _add(counts: dict[Any, float], name: Any, value: float) -> None:
    counts[name] = counts.get(name, 0.0) + value
