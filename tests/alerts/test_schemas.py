"""Schemas by number: from a registry that may fail, stall or not have it, from a folder, and then for ever."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kowalski.alert_broker_lsst import SURVEY, schema_file
from kowalski.alerts import schemas as module
from kowalski.alerts.drift import fields_of
from kowalski.alerts.schemas import SchemaStore, own_schema, read_schema, store_of
from kowalski.alerts.survey import get_survey
from kowalski.config import build, settings_tree
from kowalski.errors import ConfigError, PacketError
from kowalski.ml.fetch import copy_schemas
from kowalski.settings import SchemaSource

SCHEMA = {"type": "record", "name": "alert", "namespace": "lsst.v10_0", "fields": [{"name": "id", "type": "long"}]}


class Registry:
    """A schema registry on this machine, which does as its ``mood`` says."""

    def __init__(self) -> None:
        self.known: dict[int, Any] = {1000: SCHEMA}
        self.mood: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.asked: list[str] = []
        self.released = threading.Event()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                if registry.mood is not None:
                    registry.mood(self)
                    return
                number = int(self.path.rpartition("/")[2])
                if number in registry.known:
                    answer(self, 200, {"schema": json.dumps(registry.known[number])})
                else:
                    answer(self, 404, {"error_code": 40403, "message": "Schema not found"})

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


def answer(handler: BaseHTTPRequestHandler, status: int, content: Any) -> None:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    yield made
    made.close()


def store(folder: Path, registry: Registry | str | None) -> SchemaStore:
    url = registry.url if isinstance(registry, Registry) else registry
    return SchemaStore(SchemaSource(registry=url, folder=str(folder)), schema_file)


def refused(schemas: SchemaStore, number: int = 1000) -> PacketError:
    with pytest.raises(PacketError) as error:
        schemas(number)
    return error.value


def put(folder: Path, number: int = 1000, schema: Any = SCHEMA) -> None:
    path = folder / schema_file(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema))


def test_the_registry_is_asked_once_and_its_schema_kept(registry: Registry, tmp_path: Path) -> None:
    schemas = store(tmp_path, registry)
    assert schemas(1000)["name"] == "lsst.v10_0.alert"
    assert schemas(1000) is schemas(1000)
    assert registry.asked == ["/schemas/ids/1000"]
    assert json.loads((tmp_path / "10/0/lsst.v10_0.alert.avsc").read_text()) == SCHEMA
    assert [path.name for path in (tmp_path / "10/0").iterdir()] == ["lsst.v10_0.alert.avsc"]
    registry.mood = lambda handler: answer(handler, 500, {})
    assert schemas(1000)["name"] == store(tmp_path, registry)(1000)["name"]


MOODS: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "500": lambda handler: answer(handler, 500, {}),
    "401": lambda handler: answer(handler, 401, {}),
    "no JSON": lambda handler: answer(handler, 200, b"<html>"),
    "another JSON": lambda handler: answer(handler, 200, ["schema"]),
    "a schema that is no text": lambda handler: answer(handler, 200, {"schema": SCHEMA}),
    "closes the connection": lambda handler: handler.connection.close(),
}


@pytest.mark.parametrize("mood", MOODS)
def test_the_folder_stands_in_for_a_registry_that_fails(registry: Registry, tmp_path: Path, mood: str) -> None:
    registry.mood = MOODS[mood]
    schemas = store(tmp_path, registry)
    error = refused(schemas)
    assert error.reason == "schema_unreachable"
    assert "the registry" in error.detail
    assert "10/0/lsst.v10_0.alert.avsc is not in its folder" in error.detail
    refused(schemas, 1001)
    assert len(registry.asked) == 1, "it is left alone for a while"
    put(tmp_path)
    assert schemas(1000)["name"] == "lsst.v10_0.alert"


@pytest.mark.parametrize("trickle", [False, True])
def test_a_registry_that_stalls(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trickle: bool
) -> None:
    def mood(handler: BaseHTTPRequestHandler) -> None:
        if trickle:
            handler.send_response(200)
            handler.end_headers()
        while not registry.released.wait(0.02) and trickle:
            try:
                handler.wfile.write(b" " * (1 << 16))
            except OSError:
                return
        registry.released.wait()

    monkeypatch.setattr(module, "PATIENCE", 0.2)
    registry.mood = mood
    put(tmp_path)
    assert store(tmp_path, registry)(1000)["name"] == "lsst.v10_0.alert"
    assert refused(store(tmp_path / "other", registry)).reason == "schema_unreachable"


def test_a_registry_that_is_not_there(registry: Registry, tmp_path: Path) -> None:
    registry.close()
    put(tmp_path)
    assert store(tmp_path, registry)(1000)["name"] == "lsst.v10_0.alert"
    error = refused(store(tmp_path, f"http://user:hidden@127.0.0.1:{registry.server.server_port}"), 1001)
    assert error.reason == "schema_unreachable"
    assert "hidden" not in error.detail


def test_a_number_that_the_registry_does_not_have(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_OF_UNKNOWN", 0.0)
    schemas = store(tmp_path, registry)
    error = refused(schemas, 1101)
    assert (error.reason, "the registry has none" in error.detail) == ("unknown_schema", True)
    assert schemas(1000)["name"] == "lsst.v10_0.alert"
    registry.known[1101] = {**SCHEMA, "namespace": "lsst.v11_1"}
    assert schemas(1101)["name"] == "lsst.v11_1.alert"


def test_an_unknown_number_is_not_asked_for_with_each_message(registry: Registry, tmp_path: Path) -> None:
    schemas = store(tmp_path, registry)
    for _ in range(5):
        refused(schemas, 1101)
    assert registry.asked == ["/schemas/ids/1101"]
    put(tmp_path, 1101)
    assert schemas(1101)["name"] == "lsst.v10_0.alert", "the folder is looked at each time"


def test_without_a_registry(tmp_path: Path) -> None:
    schemas = store(tmp_path, None)
    error = refused(schemas)
    assert (error.reason, "no registry is set" in error.detail) == ("unknown_schema", True)
    put(tmp_path)
    assert schemas(1000)["name"] == "lsst.v10_0.alert"
    shutil.rmtree(tmp_path)
    assert schemas(1000)["name"] == "lsst.v10_0.alert"


@pytest.mark.parametrize("text", ["", "{", '{"type": "record"}', '["null", "nothing"]', '{"type": "lsst.missing"}'])
def test_what_is_no_schema(registry: Registry, tmp_path: Path, text: str) -> None:
    put(tmp_path, schema=text)
    assert refused(store(tmp_path, None)).reason == "schema"
    registry.mood = lambda handler: answer(handler, 200, {"schema": text})
    assert refused(store(tmp_path / "empty", registry)).reason == "schema"
    assert not (tmp_path / "empty").exists(), "it is not kept"


def test_a_folder_that_can_not_be_written(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "10").write_text("a file where a folder should be")
    assert store(tmp_path, registry)(1000)["name"] == "lsst.v10_0.alert"


def test_many_threads_ask_once(registry: Registry, tmp_path: Path) -> None:
    schemas, found = store(tmp_path, registry), []
    threads = [threading.Thread(target=lambda: found.append(schemas(1000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len({id(each) for each in found}), len(registry.asked)) == (8, 1, 1)


def test_records_in_several_files_are_put_together(test_data: Path, tmp_path: Path) -> None:
    assert copy_schemas("LSST", tmp_path, test_data) == 7
    schema = store(tmp_path, None)(1000)
    kinds = fields_of(schema)
    assert (len(kinds), kinds["prvDiaSources[].diaSourceId"]) == (398, {"integer"})
    (tmp_path / "10/0/lsst.v10_0.diaForcedSource.avsc").unlink()
    assert "diaForcedSource" in refused(store(tmp_path, None)).detail


def test_schemas_are_copied_from_anywhere_below_a_folder(tmp_path: Path) -> None:
    put(tmp_path / "from" / "deep" / "lsst_schemas")
    put(tmp_path / "from" / "other_schemas")
    (tmp_path / "from" / "deep" / "lsst_schemas" / "read.me").touch()
    assert copy_schemas("LSST", tmp_path / "to", tmp_path / "from") == 1
    assert read_schema(tmp_path / "to" / schema_file(1000))["name"] == "lsst.v10_0.alert"


def test_the_store_of_a_survey(tmp_path: Path) -> None:
    tree = settings_tree([], {})
    tree["schemas"]["LSST"]["folder"] = str(tmp_path)
    schemas = store_of(SURVEY, build(tree))
    assert own_schema(SURVEY, schemas) is None
    put(tmp_path)
    assert own_schema(SURVEY, schemas)["name"] == "lsst.v10_0.alert"
    ztf = get_survey("ZTF")
    assert own_schema(ztf, store_of(ztf, build(tree)))["name"] == "ztf.alert"
    with pytest.raises(PacketError, match="unknown_schema"):
        store_of(ztf, build(tree))(1000)
    tree["schemas"] = {}
    with pytest.raises(ConfigError, match=r"schemas\.LSST"):
        store_of(SURVEY, build(tree))
