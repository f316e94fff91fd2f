"""Schemas by the numbers that messages name: from a schema registry, else from a folder, and then for ever.

A number stands for one schema for good. What the registry gave is kept in the folder, so that it is there when the registry isn't.
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests
from fastavro.repository.base import SchemaRepositoryError
from fastavro.schema import SchemaParseException, UnknownType, load_schema

from kowalski.alerts.decode import parsed
from kowalski.alerts.document import no_schemas
from kowalski.alerts.survey import Survey
from kowalski.alerts.wire import Schemas
from kowalski.config import ROOT
from kowalski.errors import ConfigError, PacketError, SchemaError
from kowalski.log import get_logger
from kowalski.settings import Config, SchemaSource

log = get_logger(__name__)

#: where the project's own schemas lie
SCHEMAS = ROOT / "data" / "schemas"
#: s that the registry is given for a whole answer
PATIENCE = 5.0
#: s until a registry that failed is asked again, and one that works for a number that it didn't have; the folder is looked at each time
REST, REST_OF_UNKNOWN = 30.0, 5.0
#: numbers without a schema that are remembered, so that garbage for numbers fills nothing
MAX_REMEMBERED = 1000
#: bytes of an answer; a schema with its parts has some 100 kB
MAX_ANSWER = 8 << 20


class RegistryDown(SchemaError):
    """The registry gives no answer, or none that makes sense."""


class SchemaStore:
    """The schemas of one survey; no message is ever read with another than the one that it names.

    Parameters
    ----------
    source : where they come from
    file_of : number -> place of its file in the folder
    """

    def __init__(self, source: SchemaSource, file_of: Callable[[int], str]):
        self.folder = ROOT / source.folder
        self.registry = source.registry.rstrip("/") if source.registry else None
        self._file_of = file_of
        self._known: dict[int, Any] = {}
        self._texts: dict[int, str] = {}
        self._said: set[int] = set()
        self._absent: dict[int, float] = {}
        self._down: tuple[float, str] = (0.0, "")
        self._lock = threading.Lock()

    def __call__(self, number: int) -> Any:
        """The parsed schema of a number.

        Raises
        ------
        PacketError : ``unknown_schema``: there is none; ``schema_unreachable``: the registry may have it, but can't be asked, and the
            folder hasn't; ``schema``: what is there is no schema
        """
        schema = self._known.get(number)
        if schema is not None:
            return schema
        with self._lock:  # of several threads that need it one asks
            if number not in self._known:
                try:
                    text = self._look_for(number)
                    self._known[number], self._texts[number] = parsed(text), text
                except PacketError as error:
                    self._say_once(number, error)
                    raise
            return self._known[number]

    def text(self, number: int) -> str:
        """The same schema as it was published, whole; raises as a call does."""
        self(number)
        return self._texts[number]

    def path(self, number: int) -> Path:
        """The file of a schema; parts that it names lie beside it."""
        return self.folder / self._file_of(number)

    def _look_for(self, number: int) -> str:
        try:
            if (text := self._registered(number)) is not None:
                parsed(text)
                self._keep(number, text)
                return text
            reason, problem = "unknown_schema", "the registry has none" if self.registry else "no registry is set"
        except RegistryDown as error:
            reason, problem = "schema_unreachable", str(error)
        path = self.path(number)
        if path.is_file():
            return schema_text(path)
        raise PacketError(
            reason, f"schema {number}: {problem}, and {path.relative_to(self.folder)} is not in its folder"
        )

    def _say_once(self, number: int, error: PacketError) -> None:
        if number not in self._said and len(self._said) < MAX_REMEMBERED:
            self._said.add(number)
            log.error("%s; messages that name it go to quarantine, until it is there", error)

    # the registry

    def _registered(self, number: int) -> str | None:
        """The registry's schema; None: it has none, or there is no registry."""
        if self.registry is None or time.monotonic() < self._absent.get(number, 0.0):
            return None
        until, problem = self._down
        if time.monotonic() < until:
            raise RegistryDown(problem)
        try:
            text = self._ask(f"{self.registry}/schemas/ids/{number}")
        except (requests.RequestException, RegistryDown) as error:
            reason = str(error) if isinstance(error, RegistryDown) else f"can't be reached ({type(error).__name__})"
            self._down = (time.monotonic() + REST, f"the registry {reason}")
            log.warning("%s: for %.0f s schemas come from %s", self._down[1], REST, self.folder)
            raise RegistryDown(self._down[1]) from None
        if text is None:
            if len(self._absent) >= MAX_REMEMBERED:
                self._absent.clear()
            self._absent[number] = time.monotonic() + REST_OF_UNKNOWN
        return text

    def _ask(self, url: str) -> str | None:
        deadline = time.monotonic() + PATIENCE
        headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        with requests.get(url, headers=headers, stream=True, timeout=PATIENCE) as answer:
            if answer.status_code == 404:
                return None
            if answer.status_code != 200:
                raise RegistryDown(f"answers {answer.status_code}")
            content = b""
            for chunk in answer.iter_content(1 << 16):
                content += chunk
                if time.monotonic() > deadline or len(content) > MAX_ANSWER:
                    raise RegistryDown("doesn't come to an end")
        try:
            text = json.loads(content)["schema"]
        except (ValueError, KeyError, TypeError):
            raise RegistryDown("answers without a schema") from None
        if not isinstance(text, str):
            raise RegistryDown("answers without a schema")
        return text

    def _keep(self, number: int, text: str) -> None:
        """Put the registry's schema where it is found without it, whole or not at all."""
        path = self.path(number)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(text)
            os.replace(partial, path)
        except OSError as error:
            log.warning("schema %d can't be kept in %s: %s", number, path, error)


def store_of(survey: Survey, config: Config) -> Schemas:
    """What gives the schemas that a survey's messages name; nothing, where all bring theirs along.

    Raises
    ------
    ConfigError : the settings don't say where they come from
    """
    if survey.schemas is None:
        return no_schemas
    if survey.name not in config.schemas:
        raise ConfigError(f"there is no schemas.{survey.name} in the settings")
    return SchemaStore(config.schemas[survey.name], survey.schemas.file)


def own_schema(survey: Survey, schemas: Schemas) -> Any | None:
    """The parsed schema that a survey's module was written for: of ``data/schemas``, or the one with its number; None: it isn't here."""
    text = own_text(survey, schemas)
    return None if text is None else parsed(text)


def own_text(survey: Survey, schemas: Schemas) -> str | None:
    """The same as JSON, whole, with its explanations and defaults."""
    if survey.schemas is not None:
        try:
            return text_of(schemas, survey.schemas.own)
        except PacketError:
            return None
    files = sorted(SCHEMAS.glob(f"{survey.name.lower()}_alert*.avsc"))
    return files[-1].read_text() if files else None


def text_of(schemas: Schemas, number: int) -> str:
    """The JSON of a number's schema; raises as ``schemas`` does."""
    return schemas.text(number) if isinstance(schemas, SchemaStore) else json_of(schemas(number))


def json_of(schema: Any) -> str:
    """A parsed schema as JSON, without fastavro's notes on it."""
    noted = isinstance(schema, dict)
    return json.dumps({key: value for key, value in schema.items() if not key.startswith("__")} if noted else schema)


def read_schema(path: Path) -> Any:
    """The parsed schema in a file, with the types that it names from files beside it, called by their full names.

    Raises
    ------
    PacketError : ``schema``
    """
    return parsed(schema_text(path))


def schema_text(path: Path) -> str:
    """The JSON of that schema, with all its parts; raises as `read_schema`."""
    try:
        with suppress(PacketError):  # it may have parts in other files
            text = path.read_text()
            parsed(text)
            return text
        schema: Any = load_schema(str(path))
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        SchemaRepositoryError,
        SchemaParseException,
        UnknownType,
    ) as error:
        raise PacketError("schema", f"{path.name}: {type(error).__name__}: {error}") from None
    return json_of(schema)
