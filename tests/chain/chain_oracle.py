"""What a night must leave behind, calculated one packet at a time."""

from typing import Any

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import arrival, read_batch
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.survey import Survey


def expected_objects(packets: list[bytes], survey: Survey) -> dict[str, dict[str, Any]]:
    """The light-curve part of each object's document, from all of its packets at once in the order of their candids."""
    arrivals: dict[str, list[Any]] = {}
    for data in packets:
        [alert], refused = read_batch([Packet(data)], survey)
        assert not refused
        arrivals.setdefault(alert.object_id, []).append(arrival(alert, survey))
    return {
        object_id: merged({}, sorted(those, key=lambda one: one.source), survey)
        for object_id, those in arrivals.items()
    }
