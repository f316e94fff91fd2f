"""Requests for fits and what comes of them: one document per object, whoever asks, takes and dies."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.int64 import Int64
from emptied import mongo_settings, shared_settings

from kowalski.database.client import MongoDatabase
from kowalski.database.fits import COLLECTION, Fits, Request

__all__ = ["mongo_settings", "shared_settings"]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FOUND = {"model": "salt2", "version": "2.4", "x1": 0.5, "reason": None, "parameters": ["$x1"]}


@pytest.fixture
def fits(mongo: MongoDatabase) -> Fits:
    fits = Fits(mongo)
    fits.ensure_indexes()
    return fits


def request(candid: int = 7, jd: float = 10.5, object_id: str = "ZTF1", **fields: Any) -> Request:
    return Request(
        "ZTF", object_id, candid, jd, {"topic": "t", "partition": 0, "offset": 1}, **{"publish": True} | fields
    )


def stored(fits: Fits, object_id: str = "ZTF1") -> dict[str, Any]:
    found = fits.of("ZTF", object_id)
    assert found is not None
    return found


def test_a_request_is_taken_and_answered(fits: Fits) -> None:
    fits.request([request()], NOW)
    asked = stored(fits)
    assert (asked["_id"], asked["survey"], asked["objectId"], asked["candid"], asked["jd"], asked["requested_at"]) == (
        "ZTF:ZTF1", "ZTF", "ZTF1", 7, 10.5, NOW
    )  # fmt: skip
    assert isinstance(asked["candid"], Int64)
    assert fits.counts() == {"made": 0, "skipped": 0, "waiting": 1}
    taken = fits.take("me", 60)
    assert taken == request(attempts=1)
    assert fits.take("another", 60) is None
    fits.store(taken, FOUND)
    done = stored(fits)
    assert {name: done[name] for name in FOUND} == FOUND
    assert (done["candid"], done["jd"], "wanted" in done, "taken" in done) == (7, 10.5, False, False)
    assert abs(done["made_at"] - datetime.now(UTC)) < timedelta(minutes=1)
    assert fits.counts() == {"made": 1, "skipped": 0, "waiting": 0}
    assert fits.take("me", 60) is None


def test_what_comes_again_or_late_asks_for_nothing(fits: Fits) -> None:
    fits.request([request(7, 10.5)], NOW)
    taken = fits.take("me", 60)
    assert taken is not None
    fits.store(taken, FOUND)
    before = stored(fits)
    fits.request([request(7, 10.5), request(3, 9.5), request(6, 10.5)], NOW + timedelta(days=1))
    assert stored(fits) == before
    fits.request([request(8, 11.5)], NOW + timedelta(days=1))
    assert fits.take("me", 60) == request(8, 11.5, attempts=1)


def test_the_latest_alert_counts_and_keeps_its_place(fits: Fits) -> None:
    fits.request([request(7, 10.5)], NOW)
    fits.request([request(object_id="ZTF2")], NOW + timedelta(seconds=1))
    fits.request([request(8, 11.5), request(9, 12.5)], NOW + timedelta(seconds=2))
    assert [fits.take("me", 60) for _ in range(3)] == [request(9, 12.5, attempts=1), request(object_id="ZTF2", attempts=1), None]  # fmt: skip


def test_what_is_asked_while_a_fit_is_made_waits_on(fits: Fits) -> None:
    fits.request([request(7, 10.5)], NOW)
    first = fits.take("me", 60)
    assert first is not None
    fits.request([request(8, 11.5)], NOW)
    second = fits.take("another", 60)
    assert second == request(8, 11.5, attempts=1)
    fits.store(first, FOUND)
    assert (stored(fits)["candid"], "wanted" in stored(fits)) == (7, True)
    fits.store(second, FOUND | {"x1": 0.7})
    fits.store(first, FOUND)  # late
    assert (stored(fits)["candid"], stored(fits)["x1"], "wanted" in stored(fits)) == (8, 0.7, False)


def test_who_dies_leaves_it_to_others(fits: Fits) -> None:
    fits.request([request()], NOW)
    assert fits.take("dead", 0) is not None
    assert fits.take("next", 60) == request(attempts=2)
    fits.give_back("dead")
    assert fits.take("me", 60) is None
    fits.give_back("next")
    assert fits.take("me", 60) == request(attempts=2)  # as if it had not been taken
    fits.release("me")
    assert fits.take("me", 60) == request(attempts=3)


def test_skipped_ones_are_counted_apart(fits: Fits) -> None:
    for number, reason in enumerate([None, "too few points", "too few bands"]):
        fits.request([request(object_id=f"ZTF{number}")], NOW)
        taken = fits.take("me", 60)
        assert taken is not None
        fits.store(taken, FOUND | {"reason": reason})
    fits.request([request(object_id="waits")], NOW)
    assert fits.counts() == {"made": 1, "skipped": 2, "waiting": 1}
    assert fits.of("ZTF", "nobody") is None


def test_names_may_have_any_characters(fits: Fits, mongo: MongoDatabase) -> None:
    odd = Request("ZTF", "$candid", 7, 1.0, {"topic": "$t"}, True)
    fits.request([odd], NOW)
    taken = fits.take("me", 60)
    assert taken == odd._replace(attempts=1)
    assert mongo[COLLECTION].count_documents({"objectId": "$candid"}) == 1
