"""What Prometheus is told of nights under way."""

from prometheus_client import Gauge

UNDER_WAY = Gauge("kowalski_night_under_way", "1 while a night of the survey runs or drains", ["survey"])
BALANCE = Gauge(
    "kowalski_night_ledger_balance",
    "Messages of the night that are unaccounted for, once all else is finished",
    ["survey"],
)
PROBLEMS = Gauge("kowalski_night_problems", "Nights that could not be looked at, or seen on, the last time")
