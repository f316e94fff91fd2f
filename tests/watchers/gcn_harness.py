"""The stream of notices as tests make it, and notices as they are published."""

import base64
import json
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from kowalski.alerts.coordinates import position
from kowalski.database.client import MongoDatabase

VOEVENT = """<?xml version="1.0"?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" ivorn="ivo://nasa.gsfc.gcn/{ivorn}" version="2.0" role="observation">
<Who><Date>2026-01-01T00:00:00</Date></Who><What>{params}</What>
<WhereWhen><ObsDataLocation><ObservationLocation><AstroCoords><Time><TimeInstant><ISOTime>2026-02-03T04:05:06.7</ISOTime></TimeInstant></Time>
<Position2D><Value2><C1>{ra}</C1><C2>{dec}</C2></Value2><Error2Radius>{error}</Error2Radius></Position2D>
</AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>{citations}</voe:VOEvent>"""


def voevent(ivorn: str, ra: float, dec: float, error: float, citations: str = "", **params: Any) -> bytes:
    """A VOEvent with a position."""
    told = "".join(f'<Param name="{name}" value="{value}"/>' for name, value in params.items())
    return VOEVENT.format(ivorn=ivorn, ra=ra, dec=dec, error=error, params=told, citations=citations).encode()


def gwalert(
    event: str, sky_map: bytes | None, kind: str = "PRELIMINARY", created: str = "2026-05-18T12:59:15Z"
) -> bytes:
    """A notice of a gravitational wave, its sky map inside; None: a retraction."""
    told: dict[str, Any] = {
        "superevent_id": event,
        "alert_type": kind,
        "time_created": created,
        "urls": {},
        "external_coinc": None,
    }
    inner = {"time": "2026-05-18T12:59:08.167Z", "far": 1e-9, "instruments": ["H1", "L1"], "group": "CBC"}
    told["event"] = None if sky_map is None else inner | {"skymap": base64.b64encode(sky_map).decode()}
    return json.dumps(told).encode()


class Gcn:
    """Topics, a watcher, and what it stores."""

    def __init__(self, address: str, prefix: str, mongo: MongoDatabase, start: Callable[[], subprocess.Popen[bytes]]):
        self.address, self.prefix, self.mongo, self._start = address, prefix, mongo, start
        self.producer = Producer({"bootstrap.servers": address, "message.max.bytes": 20_000_000})
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start a watcher."""
        self.started.append(self._start())
        return self.started[-1]

    def send(self, topic: str, content: bytes) -> None:
        """A notice is in Kafka."""
        self.producer.produce(self.prefix + topic, content)
        assert self.producer.flush(20) == 0

    def create(self, *topics: str) -> None:
        """Topics are there."""
        client = AdminClient({"bootstrap.servers": self.address})
        made = client.create_topics([NewTopic(self.prefix + each, 1) for each in topics])
        for each in made.values():
            each.result(20)

    def committed(self, topic: str) -> int:
        """How far notices are acknowledged."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": self.prefix})
        try:
            (place,) = consumer.committed([TopicPartition(self.prefix + topic, 0)], timeout=20)
            return int(place.offset)
        finally:
            consumer.close()

    def event(self, name: str) -> dict[str, Any] | None:
        """An event as it is stored."""
        return self.mongo["gcn_events"].find_one({"_id": name})

    def close(self) -> None:
        """No watcher is left."""
        for process in self.started:
            process.kill()
            process.wait()


def until(condition: Callable[[], Any], timeout: float = 130) -> Any:
    """What a condition gives once that is true."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
    return found


def julian_date(days_ago: float) -> float:
    return datetime.now(UTC).timestamp() / 86_400 + 2_440_587.5 - days_ago


def alerts_at(ra: np.ndarray, dec: np.ndarray, jd: np.ndarray, first_candid: int = 0) -> list[dict[str, Any]]:
    """Alerts of ZTF's, every third of them of the partnership's programme."""
    return [
        {
            "objectId": f"ZTF26a{number:06d}",
            "candid": first_candid + number,
            "candidate": {"jd": float(jd[number]), "programid": 2 if number % 3 == 0 else 1},
            "coordinates": position(float(ra[number]), float(dec[number])),
        }
        for number in range(ra.size)
    ]
