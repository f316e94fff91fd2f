"""Which message brought an alert."""

from typing import Any

from bson.int64 import Int64

from kowalski.alerts.decode import Packet


def origin_of(packet: Packet) -> dict[str, Any]:
    """The message that brought an alert."""
    return {
        "topic": packet.topic,
        "partition": packet.partition,
        "offset": Int64(packet.offset),
        "timestamp": packet.timestamp,
    }


def is_message_of(stored: dict[str, Any], packet: Packet) -> bool:
    """Whether that message brought a stored alert."""
    origin = stored.get("kafka") or {}
    coordinates = (origin.get("topic"), origin.get("partition"), origin.get("offset"))
    return coordinates == (packet.topic, packet.partition, packet.offset)
