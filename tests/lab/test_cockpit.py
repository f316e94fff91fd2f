"""The cockpit: what it says of how things stand, to whom, and that it goes on saying it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from accounts_harness import call
from api_harness import Api, wait_until
from browser import LOOKS, Browser
from night import TOPIC, Observed
from visitor import Visitor

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Refusal
from kowalski.bins import bin_of
from kowalski.database.filter_runs import FilterRuns, Night
from kowalski.database.latencies import LatencyCounts, Slot, slot_of
from kowalski.database.ledger import Ledger, Stand
from kowalski.database.processes import Processes
from kowalski.database.quarantine import Quarantine
from kowalski.night.ledger import books_of

BROKER: dict[str, Any] = {
    "reading": "^ztf_.*", "partitions": 2, "lag": 1234, "lags": [{"topic": TOPIC, "partition": 0, "messages": 1234}], "models": {"braai": "d6_m9"}, "under_way": 128, "workers": 2, "received": 5000, "stored": 4900, "known": 100, "posted": 7,
    "withdrawn": 0, "quarantined": {"truncated": 3}, "passed": {"1": 11, "2": 4}, "seconds": {"decode": 5.0, "score": 10.0}, "model_problems": {},
}  # fmt: skip


@pytest.fixture
def broker(observed: Observed) -> Iterator[Processes]:
    """A broker that says how it does; told anew, as it would, by each test."""
    processes = Processes(observed.database)
    processes.beat("alert-broker", "ZTF", **BROKER)
    yield processes
    processes.leave("alert-broker", "ZTF")


def events(visitor: Visitor) -> Iterator[dict[str, str]]:
    """The parts of the page that each event of a new stream brings."""
    headers = {"Accept": "text/event-stream"}
    with visitor.get(visitor.lab.url + "/lab/status/events", headers=headers, stream=True, timeout=60) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        for line in stream.iter_lines():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])["parts"]


def first_event(visitor: Visitor) -> dict[str, str]:
    """All parts, as a stream begins with them."""
    return next(events(visitor))


def told(visitor: Visitor, part: str, *texts: str) -> None:
    """Return when a part of the page says all of this; how things stand is read anew every second."""
    for _, parts in zip(range(40), events(visitor), strict=False):
        if all(text in parts.get(part, "") for text in texts):
            return
    raise AssertionError(f"{part} never said {texts}")


def test_it_is_for_the_admin_alone(lab: Api, visitor: Visitor) -> None:
    call(lab, "POST", "/api/users", {"username": "onlooker", "password": "reads a lot"})
    visitor.log_in("onlooker", "reads a lot")
    for path in ("/lab/status", "/lab/status/events"):
        assert visitor.page(path).status_code == 403
    assert 'href="/lab/status"' not in visitor.page("/lab").text
    call(lab, "DELETE", "/api/users/onlooker")


def test_what_a_broker_says(admin: Visitor, broker: Processes) -> None:
    told(admin, "surveys", "1,234", "128", "5,000", "4,900", "150")
    told(admin, "models", "braai d6_m9")
    told(admin, "stages", "ZTF: 3.0 ms an alert")
    told(admin, "programs", "reads ^ztf_.*")


def test_the_page_has_the_same_as_the_stream(admin: Visitor, broker: Processes) -> None:
    text = admin.page("/lab/status").text
    assert all(
        " ".join(html.split())[:200] in " ".join(text.split())
        for name, html in first_event(admin).items()
        if name != "programs"
    )


def test_throughput_and_latency_are_of_what_was_counted(admin: Visitor, broker: Processes, observed: Observed) -> None:
    counts = LatencyCounts(observed.database)
    slot = Slot("ZTF", slot_of(datetime.now(UTC) - timedelta(seconds=25)))
    counts.add({slot: {"received_stored": {bin_of(0.1): 600}, "emitted_delivered": {bin_of(2.0): 5}}})
    told(admin, "surveys", '<td class="n">10.0</td>')
    told(admin, "latency", "received → stored", "emitted → delivered", '<td class="n">600</td>')
    line = admin.get(lab_plot(admin), headers={"Accept": "application/json"}, timeout=30).text
    assert '"ZTF"' in line
    assert "60.0" in line
    observed.database["latencies"].delete_many({})


def lab_plot(visitor: Visitor) -> str:
    return visitor.lab.url + "/lab/status/throughput.json?theme=dark"


def test_streams_and_what_was_passed_over(admin: Visitor, observed: Observed) -> None:
    Ledger(observed.database).stand("ZTF", {(TOPIC, 0): Stand(150, 175)})
    told(admin, "streams", TOPIC, '<td class="n">25</td>')
    observed.database["ledger_streams"].delete_many({})


def test_the_books_of_the_last_night(admin: Visitor, observed: Observed) -> None:
    books = books_of("20240101", observed.database, {})
    assert (books.balance, books.total()["received"]) == (0, 150)
    told(
        admin,
        "ledger",
        "Night 20240101: balance",
        ">0</strong>, every message is accounted for",
        "<dt>received</dt><dd>150</dd>",
    )


def test_quarantine_is_counted_by_reason(admin: Visitor, observed: Observed) -> None:
    packet = Packet(b"x" * 2000, TOPIC, 0, 999, datetime.now(UTC))
    Quarantine(observed.database, 1000, 10_000_000).add("ZTF", [Refusal(packet, "truncated", "no end")])
    told(admin, "quarantine", "1 packets, 2.0 kB", "truncated")
    observed.database["quarantine"].delete_many({})


def test_a_filter_that_is_left_alone_is_an_alarm(admin: Visitor, observed: Observed) -> None:
    now = datetime.now(UTC)
    night = Night({"runs": 1}, {}, now, {"reason": "<b>slow</b>", "at": now}, now + timedelta(minutes=5))
    FilterRuns(observed.database).add("worker:a", "ZTF", {(77, "abcdef", f"{now:%Y-%m-%d}"): night})
    told(admin, "alarms", "filter 77 is left alone until", "&lt;b&gt;slow&lt;/b&gt;")
    observed.database["filter_runs"].delete_many({"filter_id": 77})


def test_messages_that_were_refused_are_an_alarm(admin: Visitor, observed: Observed) -> None:
    entry = observed.database["outbox"].find_one({"state": "pending"})
    assert entry is not None
    observed.database["outbox"].update_one({"_id": entry["_id"]}, {"$set": {"state": "failed"}})
    told(admin, "alarms", "1 messages of lane skyportal were refused")
    observed.database["outbox"].update_one({"_id": entry["_id"]}, {"$set": {"state": "pending"}})


def test_a_stream_ends_with_the_session(lab: Api, admin: Visitor) -> None:
    with admin.get(lab.url + "/lab/status/events", stream=True, timeout=60) as stream:
        lines = stream.iter_lines()
        next(lines)
        call(lab, "PUT", "/api/users/admin", {"revoke_tokens": True})
        for _ in lines:
            pass  # ends, or the client's time is up
    lab.token = lab.log_in().json()["token"]


def test_a_server_that_stops_does_not_wait_for_who_watches(observed: Observed, another_lab: Any) -> None:
    lab = another_lab()
    with Visitor(lab) as visitor:
        visitor.log_in()
        with visitor.get(lab.url + "/lab/status/events", stream=True, timeout=60) as stream:
            next(stream.iter_lines())
            lab.process.terminate()
            assert lab.process.wait(30) == 0


# in a browser


def test_it_goes_on_as_one_looks(browser: Browser, broker: Processes) -> None:
    browser.log_in()
    browser.open("/lab/status")
    broker.beat("alert-broker", "ZTF", **BROKER | {"lags": [{"topic": TOPIC, "partition": 0, "messages": 77_777}]})
    wait_until(lambda: "77,777" in browser.text("#part-surveys"))
    browser.find("#pause").click()
    assert browser.text("#pause") == "Go on"
    beats = browser.run("return document.getElementById('live').dataset.beats")
    browser.find("#pause").click()
    wait_until(lambda: browser.run("return document.getElementById('live').dataset.beats") != beats)


@LOOKS
def test_everybody_can_use_it(
    browser: Browser, broker: Processes, size: tuple[int, int], theme: str, tmp_path: Path
) -> None:
    browser.size(*size)
    browser.open("/lab/login")
    browser.driver.add_cookie({"name": "kowalski_theme", "value": theme, "path": "/lab"})
    browser.log_in()
    browser.open("/lab/status")
    assert (browser.violations(), browser.overflow()) == ([], 0)
    browser.picture(tmp_path / f"status-{theme}-{size[0]}.png")
