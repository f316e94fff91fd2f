"""One message for Kafka, and the two ways in which its record is written: with its schema, or with the number of it."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import fastavro
import requests

from kowalski.alerts.wire import HEADER
from kowalski.errors import SourceError
from kowalski.http_source import ask, json_of, require_private

Encode = Callable[[str, Any, Mapping[str, Any]], bytes]
"""(topic, parsed schema, record) -> bytes."""

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class Message(NamedTuple):
    """One message, and the outbox entries that are done when it has arrived."""

    topic: str
    key: str
    value: bytes
    entries: tuple[str, ...]


def included(topic: str, schema: Any, record: Mapping[str, Any]) -> bytes:
    """An Avro object container of one record, as the packets of the surveys are: it carries its schema."""
    file = io.BytesIO()
    fastavro.writer(file, schema, [record])
    return file.getvalue()


class Registered:
    """Confluent's wire format: a zero byte, the schema's number in a registry, the record.

    A topic's schema is registered there under ``<topic>-value`` when it is first used, which changes nothing where it is known.
    """

    def __init__(self, registry: str, login: tuple[str, str] | None = None):
        if login is not None:
            require_private(registry, "kafka.output.registry")
        self._registry = registry.rstrip("/")
        self._numbers: dict[str, int] = {}
        self._session = requests.Session()
        self._session.auth = login

    def __call__(self, topic: str, schema: Any, record: Mapping[str, Any]) -> bytes:
        """The bytes of a record.

        Raises
        ------
        SourceError : the registry refuses the schema, or can't be reached (retriable)
        """
        if topic not in self._numbers:
            self._numbers[topic] = self._register(f"{topic}-value", schema)
        file = io.BytesIO()
        file.write(HEADER.pack(0, self._numbers[topic]))
        fastavro.schemaless_writer(file, schema, record)
        return file.getvalue()

    def _register(self, subject: str, schema: Any) -> int:
        url = f"{self._registry}/subjects/{subject}/versions"
        answer = ask(self._session, "POST", url, data=json.dumps({"schema": schema_text(schema)}), headers={"Content-Type": CONTENT_TYPE})  # fmt: skip
        told = json_of(answer, url)
        if not isinstance(told, dict) or not isinstance(told.get("id"), int):
            raise SourceError(f"{url} answers without the number of the schema", retriable=True)
        return int(told["id"])


def schema_text(schema: Any) -> str:
    """A parsed schema as JSON, without what fastavro has noted in it."""
    return json.dumps(_plain(schema))


def _plain(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if not key.startswith("__")}
    return schema
