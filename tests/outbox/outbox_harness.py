"""A night of alerts stored as the chain stores them, and the receiver in SkyPortal's place."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from aiohttp import web

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.document import Alert, arrival
from kowalski.alerts.lightcurve import merged
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase
from kowalski.database.objects import Objects
from kowalski.database.outbox import FOLLOW_UP, SKYPORTAL, Entry, Outbox, Target, candidate_id, photometry_id
from kowalski.filters.actions import Autosave, read_follow_up
from kowalski.local.ports import free_ports
from kowalski.outbox.poster import by_alert
from kowalski.settings import SkyPortal as SkyPortalSettings
from kowalski.skyportal.delivery import Delivery
from tools.skyportal_receiver import app_of, options_of

GROUP, FILTERS = 1, (1, 2)
#: what a filter that autosaves asks for
SAVE = {"comment": "Saved by a filter", "ignore_group_ids": [], "saver_id": 42}


def until(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    """What the condition returns once it is true."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, "in vain"
        time.sleep(0.02)
    return value


@dataclass
class Night:
    """Alerts stored as the chain stores them, and outbox entries for them."""

    database: MongoDatabase
    outbox: Outbox
    alerts: dict[str, list[Alert]] = field(default_factory=dict)

    def store(self, batch: Iterable[Alert]) -> None:
        """Alerts and aux documents."""
        for alert in batch:
            self.alerts.setdefault(alert.object_id, []).append(alert)
        for alerts in self.alerts.values():
            alerts.sort(key=lambda alert: (alert.jd, alert.candid))
        Alerts(self.database, SURVEY).insert([alert.document for alerts in self.alerts.values() for alert in alerts])
        Objects(self.database, SURVEY).create(
            [
                {"_id": key, **merged({}, [arrival(alert, SURVEY) for alert in alerts], SURVEY)}
                for key, alerts in self.alerts.items()
            ]
        )

    @property
    def longest(self) -> list[Alert]:
        """The alerts of the object that has most of them."""
        return max(self.alerts.values(), key=len)

    @property
    def firsts(self) -> list[Alert]:
        """The first alert of every object."""
        return [alerts[0] for alerts in self.alerts.values()]

    def candidates(self, alert: Alert, filters: Iterable[int] = FILTERS, **changes: Any) -> list[Entry]:
        """Entries of an alert that passed filters; those of even number update their annotations."""
        common = _entry(alert)  # all of an alert carry the same time
        return [
            {
                **common,
                "_id": candidate_id("ZTF", alert.candid, number),
                "kind": "candidate",
                "filter_id": number,
                "group_id": GROUP,
                "fid": "abcdef",
                "permissions": [1, 2, 3],
                "annotations": {"jd": alert.jd, "mag": alert.candidate["magpsf"], "rate": float("nan")},
                "update_annotations": number % 2 == 0,
                "autosave": None,
                "auto_followup": None,
                **changes,
            }
            for number in filters
        ]

    def photometry(self, alert: Alert) -> list[Entry]:
        """The entry that asks for an alert's photometry alone."""
        return [{**_entry(alert), "_id": photometry_id("ZTF", alert.candid), "kind": "photometry"}]

    def states(self) -> dict[str, str]:
        """State of every entry."""
        return {one["_id"]: one["state"] for one in self.database["outbox"].find()}

    def states_of(self, alert: Alert) -> set[str]:
        """States of an alert's entries."""
        return set(self.database["outbox"].distinct("state", {"candid": alert.candid}))


def _entry(alert: Alert) -> Entry:
    now = datetime.now(UTC)
    kafka = {"topic": "ztf", "partition": 0, "offset": 0, "timestamp": now}
    return {
        "survey": "ZTF",
        "candid": alert.candid,
        "objectId": alert.object_id,
        "jd": alert.jd,
        "passed_at": now,
        "kafka": kafka,
    }


def follow_up_request(
    alert: Alert, group: int = GROUP, answer: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """A follow-up request as a filter's pass carries it."""
    stored = {
        "active": True, "pipeline": [{"$match": {}}], "allocation_id": 5, "comment": "triggered",
        "payload": {"observation_type": "IFU", "priority": 2}, **changes,
    }  # fmt: skip
    read = read_follow_up(stored)
    assert read is not None
    return read.request(alert.object_id, group, Autosave(), answer or {})


def always() -> bool:
    return True


def send(delivery: Delivery, night: Night, entries: list[Entry], may_continue: Callable[[], bool] = always) -> None:
    """Put entries into the outbox and send what is pending of their object, then its follow-up."""
    night.outbox.add(entries)
    for lane in (SKYPORTAL, FOLLOW_UP):
        for alert in by_alert(night.outbox.pending_of(Target("ZTF", entries[0]["objectId"], lane))):
            delivery.send(alert, may_continue)


class Receiver:
    """tools/skyportal_receiver.py, served by a thread of this process."""

    def __init__(self, store: Path):
        self.port = free_ports(1)[0]
        self._store = store
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop

    def start(self, *arguments: str) -> "Receiver":
        """It answers."""
        own = ["--port", str(self.port), "--store", str(self._store), "--group", f"{GROUP}:1-9"]
        app, ready = app_of(options_of([*own, *arguments])), threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, args=(app, ready), daemon=True)
        self._thread.start()
        assert ready.wait(30)
        return self

    def _serve(self, app: web.Application, ready: threading.Event) -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", self.port).start())
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    def kill(self) -> None:
        """It is gone, whatever it had in hand."""
        if self._thread:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._thread = None

    def received(self, path: str = "") -> dict[str, Any]:
        """What it has got, in all or of an object."""
        content: dict[str, Any] = requests.get(f"http://127.0.0.1:{self.port}/_received{path}", timeout=5).json()
        return content

    def messages(self) -> list[tuple[str, str]]:
        """Method and path of what it was sent, in order."""
        messages = self.received("?messages=true")["messages"]
        return [(one["method"], one["path"].removeprefix("/api/")) for one in messages]

    def settings(self, **changes: Any) -> SkyPortalSettings:
        """How to reach it."""
        usual = {
            "protocol": "http",
            "host": "127.0.0.1",
            "port": self.port,
            "ca_file": None,
            "token": "local",
            "timeout": 5.0,
        }
        limits = {
            "photometry_timeout": 15.0,
            "followup_timeout": 30.0,
            "requests_per_second": 5.0,
            "burst": 10,
            "bands": {},
        }
        return SkyPortalSettings(**{**usual, **limits, **changes})
