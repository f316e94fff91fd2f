"""A MongoDB that wants TLS and a certificate of ours, reached by the settings; what is wrong is said in one line."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority

from kowalski.config import build, in_container, isolated_tree, merge
from kowalski.database.async_client import connect_async
from kowalski.database.client import connect, translated
from kowalski.database.replica_set import prepare
from kowalski.errors import ConfigError, DatabaseUnavailable
from kowalski.local.mongod import mongod_command
from kowalski.local.ports import free_ports
from kowalski.local.secrets import make_missing
from kowalski.local.system import LocalSystem
from kowalski.settings import Database


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, ours: Authority) -> Iterator[Database]:
    """Settings of a mongod that has a certificate for localhost and asks for one of the same CA."""
    if in_container():
        pytest.skip("the images have no mongod")
    folder, (port,) = tmp_path_factory.mktemp("mongod"), free_ports(1)
    tls = {"tls": True, "tls_ca_file": str(ours.ca), "tls_certificate_key_file": str(ours.pair("client"))}
    tree = merge(isolated_tree(), {"database": {"host": "localhost", "port": port, **tls}})
    make_missing(tree)
    settings = build(tree).database
    command = mongod_command(folder, port, "rs0", 0.25)
    command += ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(ours.pair("mongod", "localhost"))]
    command += ["--tlsCAFile", str(ours.ca)]
    with (folder / "log").open("w") as log:
        child = [sys.executable, "-m", "kowalski.local.child", str(os.getpid()), *command]
        process = subprocess.Popen(child, stdout=log, stderr=log)
    try:
        prepare(settings, timeout=60)
        yield settings
    finally:
        process.kill()
        process.wait()


def ping(settings: Database) -> None:
    """MongoDB answers the writer."""
    database = connect(settings)
    try:
        with translated("look"):
            database.command("ping")
    finally:
        database.client.close()


def test_both_kinds_of_clients_get_in(guarded: Database) -> None:
    writer, reader = connect(guarded), connect(guarded, "reader")
    writer["stars"].insert_one({"_id": 1})
    assert reader["stars"].find_one() == {"_id": 1}

    async def found() -> Any:
        client = connect_async(guarded, "reader")
        try:
            return await client[guarded.db]["stars"].find_one()
        finally:
            client.close()

    assert asyncio.run(found()) == {"_id": 1}
    for each in (writer, reader):
        each.client.close()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tls_ca_file": "theirs"}, "certificate verify failed"),
        ({"host": "127.0.0.1"}, "IP address mismatch"),
        ({"tls_certificate_key_file": None}, "tls_certificate_key_file"),
        ({"tls": False, "tls_ca_file": None, "tls_certificate_key_file": None}, r"database\.tls"),
    ],
    ids=["another CA", "another host name", "no certificate of ours", "in the clear"],
)
def test_what_does_not_fit_is_refused(
    guarded: Database, theirs: Authority, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], told: str
) -> None:
    monkeypatch.setattr("kowalski.database.client.PATIENCE_MS", 500)
    if changes.get("tls_ca_file"):
        changes = {"tls_ca_file": str(theirs.ca)}
    with pytest.raises(DatabaseUnavailable, match=told) as caught:
        ping(guarded.model_copy(update={**changes, "replica_set": None}))
    assert str(guarded.password) not in str(caught.value)


@pytest.mark.parametrize("setting", ["tls_ca_file", "tls_certificate_key_file"])
def test_files_of_no_use_are_named(guarded: Database, ours: Authority, tmp_path: Path, setting: str) -> None:
    (tmp_path / "empty.pem").write_text("")
    for path, told in (("/nowhere.pem", "No such file"), (str(tmp_path / "empty.pem"), "PEM")):
        with pytest.raises(ConfigError, match=rf"database\.{setting}: {path}: .*{told}"):
            connect(guarded.model_copy(update={setting: path}))


def test_files_without_tls_are_a_mistake(ours: Authority) -> None:
    with pytest.raises(ConfigError, match=r"database: .*tls is false") as caught:
        build(merge(isolated_tree(), {"database": {"tls_ca_file": str(ours.ca), "password": "hush"}}))
    assert "hush" not in str(caught.value)


def test_the_mongod_of_local_mode_has_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"database\.tls is true"):
        LocalSystem.isolated(tmp_path, {"database": {"tls": True}})
