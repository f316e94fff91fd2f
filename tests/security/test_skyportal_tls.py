"""SkyPortal by https with a certificate of a CA of its own: believed where the settings name it, and nowhere else."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from authority import Authority

from kowalski.alert_broker_ztf import SURVEY
from kowalski.config import build, isolated_tree, merge
from kowalski.errors import ConfigError, SkyPortalError
from kowalski.skyportal.client import SkyPortal

TOKEN = "3f1c-of-a-test"


@pytest.fixture(scope="module")
def marshal(ours: Authority) -> Iterator[tuple[int, list[str | None]]]:
    """The port of a server that answers as SkyPortal does, by https as localhost, and the tokens that it was shown."""
    shown: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["Authorization"])
            body = b'{"status": "success", "data": [{"id": 7}]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.pair("skyportal", "localhost"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_address[1], shown
    server.shutdown()
    server.server_close()


def client(port: int, **changes: Any) -> SkyPortal:
    usual = {"protocol": "https", "host": "localhost", "port": port, "token": TOKEN}
    return SkyPortal(build(merge(isolated_tree(), {"skyportal": usual | changes})).skyportal, "4")


def test_its_own_ca_is_believed(marshal: tuple[int, list[str | None]], ours: Authority) -> None:
    port, shown = marshal
    assert client(port, ca_file=str(ours.ca)).instrument_id(SURVEY) == 7
    assert shown[-1] == f"token {TOKEN}"


@pytest.mark.parametrize("wrong", ["another CA", "another host name", "the public CAs"])
def test_the_token_is_told_to_nobody_else(
    marshal: tuple[int, list[str | None]], ours: Authority, theirs: Authority, wrong: str
) -> None:
    (port, shown), changes = marshal, {"ca_file": str(ours.ca)}
    changes |= {"another CA": {"ca_file": str(theirs.ca)}, "another host name": {"host": "127.0.0.1"}}.get(wrong, {"ca_file": None})  # fmt: skip
    before = len(shown)
    with pytest.raises(SkyPortalError, match=r"certificate.*skyportal\.ca_file") as caught:
        client(port, **changes).instrument_id(SURVEY)
    assert caught.value.retriable
    assert not caught.value.sent
    assert len(shown) == before
    assert TOKEN not in str(caught.value)


def test_a_file_of_no_use_ends_the_start() -> None:
    with pytest.raises(ConfigError, match=r"skyportal\.ca_file: /nowhere\.pem: No such file"):
        client(1, ca_file="/nowhere.pem")
