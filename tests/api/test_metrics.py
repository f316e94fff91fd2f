"""Metrics in Prometheus' format, of all workers together."""

import re

import requests
from api_harness import Api, wait_until
from prometheus_client.parser import text_string_to_metric_families

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import Refusal
from kowalski.database.client import MongoDatabase
from kowalski.database.processes import Processes
from kowalski.database.quarantine import Quarantine
from kowalski.database.quarantine_room import HEAD
from kowalski.documentation.metrics import metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(api: Api, token: str | None = None) -> Samples:
    headers = {"Authorization": token} if token else {}
    answer = requests.get(f"{api.url}/metrics", headers=headers, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


def test_requests_are_counted_by_route_over_all_workers(api: Api) -> None:
    route = ("kowalski_api_requests_total", (("method", "GET"), ("route", "/api/users/{username}"), ("status", "400")))
    finds = ("kowalski_api_queries_total", (("query_type", "find"),))
    before = scraped(api)
    for number in range(12):
        requests.get(f"{api.url}/api/users/nobody{number}", headers={"Authorization": api.token}, timeout=30)
        api.data("find", {"catalog": "Stars"})
    wait_until(lambda: scraped(api).get(route, 0) == before.get(route, 0) + 12)
    after = scraped(api)
    assert after[finds] == before.get(finds, 0) + 12
    taken = ("kowalski_api_request_seconds_count", (("route", "/api/queries"),))
    assert after[taken] >= before.get(taken, 0) + 12
    assert not any("nobody" in str(labels) for _, labels in after)
    unknown = ("kowalski_api_requests_total", (("method", "GET"), ("route", "none"), ("status", "404")))
    requests.get(f"{api.url}/no/such/path", timeout=30)
    wait_until(lambda: scraped(api).get(unknown, 0) > before.get(unknown, 0))


def test_the_admin_sees_the_whole_system(api: Api, stored: MongoDatabase) -> None:
    Processes(stored).beat("alert-broker", "ZTF", lag=42, stored=7)
    quarantine = Quarantine(stored, 1000, 100_000)
    quarantine.add("ZTF", [Refusal(Packet(bytes(size), "t", 0, size), "empty", "") for size in (60, 200_000)])
    lag = ("kowalski_broker_lag", (("survey", "ZTF"),))
    try:
        scraped(api, api.token)
        seen = scraped(api, api.token)
        assert seen[lag] == 42, "however often it is asked"
        assert seen["kowalski_program_alive", (("program", "alert-broker"), ("survey", "ZTF"))] == 1
        assert seen["kowalski_outbox_entries", (("state", "pending"),)] == stored["outbox"].count_documents(
            {"state": "pending"}
        )
        assert seen["kowalski_quarantine_packets", ()] == 2
        assert seen["kowalski_quarantine_truncated", ()] == 1
        assert seen["kowalski_quarantine_held_bytes", ()] == 60 + HEAD
        assert seen["kowalski_quarantine_max_bytes", ()] == 10 << 30
        documented = {each.name for each in metrics()}
        told = {re.sub(r"_(?:total|created|bucket|count|sum)$", "", name) for name, _ in seen if name.startswith("kowalski_")}  # fmt: skip
        assert told - documented == set()
        assert not any(name.startswith("kowalski_broker") for name, _ in scraped(api))
        assert lag not in scraped(api, "nonsense")
    finally:
        Processes(stored).leave("alert-broker", "ZTF")
        quarantine.collection.drop()
