"""Alerts with their objects as the chain hands them to filters, and what came of it."""

from collections.abc import Callable
from typing import Any

from packets import JD, forced_point, prv_point, ztf_alerts, ztf_record

from kowalski.alerts.document import Alert, arrival
from kowalski.alerts.lightcurve import Arrival, merged
from kowalski.alerts.survey import get_survey
from kowalski.database.filters import Filters
from kowalski.filters.results import FilterRun
from kowalski.filters.run import FilterRunner

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


def runner(filters: Filters, max_time_ms: int = 5000) -> FilterRunner:
    """What runs the stored filters."""
    return FilterRunner(filters, ZTF, max_time_ms)


def synthetic(number: int = 12) -> Batch:
    """Made alerts that differ in all that filters look at."""
    return batch_of(
        ztf_alerts(
            [
                ztf_record(
                    100 + n, f"ZTF23{n}", drb=(n % 5) / 4, rb=(n % 7) / 6, programid=1 + n % 3, fid=1 + n % 2, ra=n * 20.0,
                    isdiffpos="tf1"[n % 3], prv=[prv_point(JD - day, candid=n * 50 + day, magpsf=19.0 - day) for day in range(1, n)],
                    forced=[forced_point(JD - day / 2, forcediffimflux=10.0 * day) for day in range(1, n)],
                )
                for n in range(number)
            ]
        )
    )  # fmt: skip
