"""Alerts with their objects as the chain hands them to filters, and what came of it."""

from collections.abc import Callable
from typing import Any

from kowalski.alerts.document import Alert, arrival
from kowalski.alerts.lightcurve import Arrival, merged
from kowalski.alerts.survey import get_survey
from kowalski.filters.results import FilterRun

ZTF = get_survey("ZTF")
ALL = [1, 2, 3]

Documents = list[dict[str, Any]]
Batch = tuple[Documents, dict[str, dict[str, Any]]]
Put = Callable[..., None]


def batch_of(alerts: list[Alert]) -> Batch:
    """Documents of alerts and of their objects."""
    arrivals: dict[str, list[Arrival]] = {}
    for alert in alerts:
        arrivals.setdefault(alert.object_id, []).append(arrival(alert, ZTF))
    objects = {
        name: {"cross_matches": {"Gaia_EDR3": [{"parallax": number % 3}] * (number % 4)}} | merged({}, said, ZTF)
        for number, (name, said) in enumerate(arrivals.items())
    }
    return [alert.document for alert in alerts], objects


def passed(result: FilterRun) -> dict[int, dict[int, Any]]:
    """filter_id -> candid -> annotations."""
    found: dict[int, dict[int, Any]] = {}
    for each in result.passes:
        assert each.candid not in found.setdefault(each.filter.filter_id, {})
        found[each.filter.filter_id][each.candid] = each.annotations
    return found
