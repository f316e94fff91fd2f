"""The client: what each answer means, when to wait, and what is remembered."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

from kowalski.alert_broker_ztf import SURVEY
from kowalski.errors import SkyPortalError
from kowalski.local.ports import free_ports
from kowalski.settings import SkyPortal as Settings
from kowalski.skyportal import client as client_module
from kowalski.skyportal import health as health_module
from kowalski.skyportal.client import SkyPortal
from kowalski.skyportal.health import FIRST_PAUSE, LONGEST_PAUSE, PATIENCE, Health
from kowalski.skyportal.throttle import Throttle

CONSTANT = replace(SURVEY, name="WNTR", program_field=None, instrument="WINTER", streams={None: "WINTER"})


class Scripted(NamedTuple):
    """An answer that the server is to give."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = {}
    delay: float = 0.0


def success(data: Any = None) -> Scripted:
    return Scripted(200, {"status": "success", "data": data, "version": "1.4.0"})


def refusal(status: int, message: str = "no") -> Scripted:
    return Scripted(status, {"status": "error", "message": message, "data": {}})


class Server:
    """Gives the answers it was told, in order, the last one for ever; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Scripted] = [success()]
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.asked.append((self.command, self.path, dict(self.headers), json.loads(raw) if raw else None))
                answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                time.sleep(answer.delay)
                body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_POST = do_PUT = handle_any

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def connect(port: int, **changes: Any) -> SkyPortal:
    usual = {"protocol": "http", "host": "127.0.0.1", "port": port, "ca_file": None, "token": "uuid", "timeout": 0.5}
    limits = {"photometry_timeout": 0.5, "followup_timeout": 0.5, "requests_per_second": 5.0, "burst": 10, "bands": {}}
    return SkyPortal(Settings(**{**usual, **limits, **changes}), "4.0")


@pytest.fixture
def client(server: Server) -> SkyPortal:
    return connect(server.port)


def error_of(call: Callable[[], Any]) -> SkyPortalError:
    with pytest.raises(SkyPortalError) as caught:
        call()
    return caught.value


def test_requests_say_who_asks(server: Server, client: SkyPortal) -> None:
    server.answers = [success({"ids": [1]})]
    assert client.post_candidate({"id": "ZTF1"}) == [1]
    ((method, path, headers, body),) = server.asked
    assert (method, path, body) == ("POST", "/api/candidates", {"id": "ZTF1"})
    assert headers["Authorization"] == "token uuid"
    assert headers["User-Agent"] == "Kowalski v4.0"


@pytest.mark.parametrize(
    ("answer", "retriable"),
    [
        (refusal(400), False),
        (refusal(404), False),
        (refusal(405), False),
        (refusal(401), True),
        (refusal(403), True),
        (refusal(429), True),
        (refusal(500), True),
        (refusal(503), True),
        (Scripted(502, b"<html>bad gateway</html>"), True),
        (Scripted(200, b"<html>maintenance</html>"), True),
        (Scripted(200, {"maintenance": True}), True),
        (Scripted(404, b"404 page not found"), True),
        (Scripted(413, b"<html>too large</html>"), False),
        (Scripted(301, b"", {"Location": "https://elsewhere/"}), True),
        (Scripted(200, {"status": "error", "message": "no"}), False),
    ],
)
def test_each_answer_says_whether_to_try_again(
    server: Server, client: SkyPortal, answer: Scripted, retriable: bool
) -> None:
    server.answers = [answer]
    error = error_of(lambda: client.post_thumbnail({}))
    assert (error.status, error.retriable) == (answer.status, retriable)
    assert len(server.asked) == 1


def test_a_success_without_its_data_is_none(server: Server, client: SkyPortal) -> None:
    """What stands in SkyPortal's place may say "success" too: nothing is taken as done or absent, or remembered."""
    server.answers = [success(None)]
    calls: list[Callable[[], Any]] = [
        lambda: client.post_candidate({}),
        lambda: client.post_source({}),
        lambda: client.candidacies("ZTF1"),
        lambda: client.annotations("ZTF1"),
        lambda: client.groups_of("ZTF1"),
        lambda: client.thumbnails("ZTF1"),
        lambda: client.group(1, 2),
        lambda: client.stream_ids(SURVEY),
    ]
    assert [error_of(call).retriable for call in calls[:4]] == [True] * 4
    again = connect(server.port)  # which is not waiting for SkyPortal to recover
    assert [error_of(call).retriable for call in calls[4:]] == [True] * 4
    assert error_of(lambda: again.group(1, 2)).retriable


def test_no_answer_can_be_tried_again(server: Server, client: SkyPortal) -> None:
    server.answers = [success()._replace(delay=1.0)]
    late = error_of(lambda: client.post_thumbnail({}))
    nobody = error_of(lambda: connect(free_ports(1)[0]).post_thumbnail({}))
    assert [(one.status, one.retriable) for one in (late, nobody)] == [(None, True)] * 2
    assert [one.sent for one in (late, nobody)] == [True, False], "whether the request may have arrived"


def test_photometry_may_take_longer(server: Server) -> None:
    server.answers = [success({"ids": []})._replace(delay=0.8)]
    connect(server.port, photometry_timeout=5.0).put_photometry({}, overwrite=True)
    assert server.asked[0][1] == "/api/photometry?duplicate_ignore_flux=true&overwrite_flux=true"


def test_what_is_no_json_never_leaves_and_is_not_tried_again(server: Server, client: SkyPortal) -> None:
    assert not error_of(lambda: client.post_thumbnail({"x": float("nan")})).retriable
    assert server.asked == []


def test_without_a_token_nothing_is_asked(server: Server) -> None:
    error = error_of(lambda: connect(server.port, token=None).post_thumbnail({}))
    assert error.retriable
    assert "skyportal.token" in str(error)
    assert server.asked == []


@pytest.mark.parametrize("as_date", [False, True])
def test_a_wish_to_wait_is_respected(server: Server, client: SkyPortal, as_date: bool) -> None:
    wait = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True) if as_date else "30"
    server.answers = [refusal(429)._replace(headers={"Retry-After": wait})]
    error_of(lambda: client.post_thumbnail({}))
    assert 20 < client.health.pause_s() <= 30
    assert error_of(lambda: client.post_thumbnail({})).retriable
    assert len(server.asked) == 1


def test_an_object_is_known_as_candidate_or_source(server: Server, client: SkyPortal) -> None:
    missing = Scripted(404, b"")
    server.answers = [missing, missing, missing, Scripted(200, b""), Scripted(200, b"")]
    assert [client.knows("a"), client.knows("b"), client.knows("c")] == [False, True, True]
    assert [path for _, path, _, _ in server.asked][-3:] == ["/api/candidates/b", "/api/sources/b", "/api/candidates/c"]
    server.answers = [Scripted(500, b"")]
    assert error_of(lambda: client.knows("d")).retriable


def test_a_group_is_remembered_for_a_while_and_its_absence_is_not(
    server: Server, client: SkyPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = {"id": 7, "name": "group", "filters": [{"id": 3, "name": "SNe"}]}
    server.answers = [refusal(400), success(group)]
    error_of(lambda: client.group(7, 3))
    assert [client.group(7, 3), client.group(7, 3)] == [group, group]
    assert len(server.asked) == 2
    assert server.asked[0][1] == "/api/groups/7?includeGroupUsers=False"
    grown = {**group, "filters": [*group["filters"], {"id": 4, "name": "AGN"}]}
    server.answers = [success(grown)]
    assert [client.group(7, 4), client.group(7, 3), client.group(7, 4)] == [grown] * 3
    assert len(server.asked) == 3
    monkeypatch.setattr(client_module, "GROUP_TTL", -1.0)
    client.group(8, 3)
    client.group(8, 3)
    assert len(server.asked) == 5


def test_instrument_and_streams_are_found_by_name(server: Server, client: SkyPortal) -> None:
    server.answers = [success([]), success([{"id": 5, "name": "ZTF"}])]
    missing = error_of(lambda: client.instrument_id(SURVEY))
    assert (missing.retriable, client.instrument_id(SURVEY)) == (True, 5)
    names = [*dict.fromkeys(SURVEY.streams.values()), "not ZTF Public", "WNTR first", "winter last"]
    streams = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    server.answers = [success(streams[1:]), success(streams)]
    assert "ZTF Public" in str(error_of(lambda: client.stream_ids(SURVEY)))
    assert sorted(client.stream_ids(SURVEY).values()) == [1, 2, 3]
    assert client.stream_ids(CONSTANT) == {"WINTER": 6}


def test_a_foreign_annotation_is_never_ours_to_change(server: Server, client: SkyPortal) -> None:
    server.answers = [refusal(403)]
    error = error_of(lambda: client.put_annotation("ZTF1", {"id": 4, "author_id": 2}, {"data": {}}))
    assert (error.status, error.retriable) == (403, False)
    assert server.asked[0][3] == {"data": {}, "author_id": 2}


def test_pages_end_where_the_list_does(server: Server, client: SkyPortal) -> None:
    page = {"candidates": [{"id": "a"}], "totalMatches": 1000, "queryID": "q"}
    server.answers = [success(page), success({**page, "candidates": [{"id": "b"}]})]
    now = datetime.now(UTC)
    assert list(client.candidates_between(now - timedelta(days=1), now)) == [["a"], ["b"]]
    assert "pageNumber=2" in server.asked[1][1]
    assert "queryID=q" in server.asked[1][1]


def test_sources_are_listed_by_when_they_were_saved(server: Server, client: SkyPortal) -> None:
    server.answers = [success({"sources": [{"id": "a"}], "totalMatches": 1})]
    end = datetime(2024, 1, 2, tzinfo=UTC)
    assert list(client.sources_between(end - timedelta(days=1), end)) == [["a"]]
    path = unquote(server.asked[0][1])
    assert path.startswith("/api/sources?")
    assert "savedAfter=2024-01-01T00:00:00" in path
    assert "savedBefore=2024-01-02T00:00:00" in path


def test_a_list_of_requests_that_breaks_off_is_none(server: Server, client: SkyPortal) -> None:
    """To trust it would be to trigger a telescope twice."""
    one = {"id": 1, "obj_id": "a"}
    page = {"followup_requests": [one], "totalMatches": 3}
    server.answers = [
        success(page),
        success({**page, "followup_requests": [{**one, "id": 2}, {**one, "obj_id": "ab"}]}),
    ]
    assert [each["id"] for each in client.follow_up_requests("a")] == [1, 2]
    for second in ({**page, "followup_requests": []}, None, {}):
        server.answers = [success(page), success(second)]
        assert error_of(lambda: client.follow_up_requests("a")).retriable
    server.answers = [success({})]
    assert error_of(lambda: list(client.sources_between(datetime.now(UTC), datetime.now(UTC)))).retriable


def test_who_waits_for_the_rate_limit_respects_a_wish_to_wait(
    server: Server, client: SkyPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That SkyPortal told another thread meanwhile."""
    monkeypatch.setattr(client._throttle, "wait", lambda: client.health.hold(30))
    assert error_of(lambda: client.post_thumbnail({})).retriable
    assert server.asked == []


def test_candidacies_carry_utc(server: Server, client: SkyPortal) -> None:
    passed = [{"filter_id": 1, "passing_alert_id": 5, "passed_at": "2024-01-02T03:04:05"}]
    server.answers = [success({"passing_alerts": passed}), refusal(400)]
    (one,) = client.candidacies("a")
    assert one == (1, 5, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert client.candidacies("b") == []


def test_the_rate_stays_below_the_limit() -> None:
    throttle = Throttle(per_second=100.0, burst=5)
    began = time.monotonic()
    for _ in range(25):
        throttle.wait()
    assert time.monotonic() - began >= 0.19
    unlimited = Throttle(None)
    began = time.monotonic()
    for _ in range(1000):
        unlimited.wait()
    assert time.monotonic() - began < 0.1


def test_failures_in_a_row_make_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(health_module.time, "monotonic", lambda: clock[0])
    health, pauses = Health(), []
    for _ in range(PATIENCE - 1):
        health.failed()
    assert not health.ailing()
    for _ in range(12):
        health.failed()
        health.failed()  # of a thread that asked before the pause began
        assert health.ailing()
        pauses.append(health.pause_s())
        clock[0] += pauses[-1]
    assert pauses[0] == pytest.approx(FIRST_PAUSE, rel=0.3)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE, rel=0.3)
    health.worked()
    assert not health.ailing()
