"""Nights' ledgers over the API."""

from datetime import UTC, datetime

import pytest
import requests
from api_harness import Api

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.decode import Packet
from kowalski.alerts.marks import Marks
from kowalski.database.client import MongoDatabase
from kowalski.database.indexes import create_indexes
from kowalski.database.ledger import KAFKA_INDEX, Ledger


@pytest.fixture
def night(stored: MongoDatabase) -> str:
    """A night of three copies of alerts, and one message that is lost."""
    marks = Marks(SURVEY)
    for offset in range(4):
        packet = Packet(b"", "ztf_19990101_programid1", 0, offset, datetime(1999, 1, 1, tzinfo=UTC))
        marks.add("acknowledged", packet)
        if offset != 2:
            marks.add("known", packet)
    create_indexes(stored["ZTF_alerts"], [KAFKA_INDEX])
    Ledger(stored).add(marks)
    return "19990101"


@pytest.mark.parametrize("form", ["19990101", "1999-01-01"])
def test_a_night(api: Api, night: str, form: str) -> None:
    found = api.get(f"/api/nights/{form}").json()["data"]
    assert (found["night"], found["balance"], found["total"]["known"]) == (night, 1, 3)
    [account] = found["accounts"]
    assert (account["survey"], account["partition"], account["missing"]) == ("ZTF", 0, [[2, 2]])
    assert night in api.get("/api/nights").json()["data"]


@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("20010101", "nothing of the night 20010101 was read"),
        ("soon", "soon is not a night: give YYYYMMDD or YYYY-MM-DD"),
    ],
)
def test_no_night(api: Api, date: str, said: str) -> None:
    answer = api.get(f"/api/nights/{date}")
    assert (answer.status_code, answer.json()["message"]) == (400, said)


def test_nights_are_for_users(api: Api, night: str) -> None:
    assert requests.get(f"{api.url}/api/nights/{night}", timeout=30).status_code == 401
