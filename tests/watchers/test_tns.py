"""TNS is copied through a server in its place: credentials, pages, quotas, times in UTC, and where it goes on after an end."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from web_stand_in import Asked, Said, Web, serving

from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase
from kowalski.database.watching import TnsObjects
from kowalski.errors import ConfigError, SourceError
from kowalski.settings import TNS
from kowalski.watchers import tns_client
from kowalski.watchers.tns import Mirror
from kowalski.watchers.tns_client import document_of

NOW = "Wed, 01 Jul 2026 12:00:00 GMT"


def reply(number: int, **changes: Any) -> dict[str, Any]:
    """What TNS says of an object."""
    return {
        "objid": number,
        "objname": f"2026a{number}",
        "name_prefix": "SN",
        "ra": "10:00:00.0",
        "dec": "+10:00:00.0",
        "radeg": 150.0 + number / 1000,
        "decdeg": 10.0,
        "discoverydate": "2026-06-30 23:30:00.500",
        "redshift": None,
        "object_type": {"id": 3, "name": "SN Ia"},
    } | changes


class Tns:
    """TNS with some objects; it refuses what it would refuse, and counts what it is asked."""

    def __init__(self) -> None:
        self.objects: dict[int, dict[str, Any]] = {}
        self.refusals: list[Said] = []
        self.headers: dict[str, str] = {}
        self.searches: list[dict[str, str]] = []
        self.names: list[str] = []

    def answer(self, asked: Asked) -> Said:
        if self.refusals:
            return self.refusals.pop(0)
        form = parse_qs(asked.body.decode())
        marker = asked.headers["User-Agent"].removeprefix("tns_marker")
        if form["api_key"] != ["secret"] or json.loads(marker) != {"tns_id": 7, "type": "bot", "name": "kowalski"}:
            return Said(401, b'{"id_code": 401, "id_message": "Unauthorized"}')
        question = json.loads(form["data"][0])
        if asked.path == "/api/get/search":
            return self._said(self._found(question))
        self.names.append(question["objname"])
        found = [each for each in self.objects.values() if each["objname"] == question["objname"]]
        return self._said({"reply": found[0]}) if found else Said(404, b'{"id_code": 404}')

    def _found(self, question: dict[str, str]) -> Any:
        self.searches.append(question)
        size, page = int(question["num_page"]), int(question["page"])
        rows = [{"objname": each["objname"], "prefix": "SN", "objid": each["objid"]} for each in self.objects.values()]
        return {"total": len(rows), "reply": rows[page * size : (page + 1) * size]}

    def _said(self, data: Any) -> Said:
        content = {"id_code": 200, "id_message": "OK", "data": data}
        return Said(200, json.dumps(content).encode(), self.headers | {"Date": NOW})


@pytest.fixture
def there() -> Tns:
    return Tns()


@pytest.fixture
def web(there: Tns) -> Iterator[Web]:
    with serving(there.answer) as web:
        yield web


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would be slept; nobody does."""
    slept: list[float] = []
    monkeypatch.setattr(tns_client, "sleep", slept.append)
    return slept


def mirror(web: Web, mongo: MongoDatabase, **changes: Any) -> Mirror:
    settings = {"url": web.url, "bot_id": 7, "bot_name": "kowalski", "api_key": "secret", "interval": 240} | changes
    made = Mirror(TNS(**settings), mongo)
    made.objects.ensure_indexes()
    return made


def test_objects_are_stored_as_a_catalogue_has_them(there: Tns, web: Web, mongo: MongoDatabase) -> None:
    there.objects = {number: reply(number) for number in (1, 2)}
    mirror(web, mongo).step()
    stored = mongo["TNS"].find_one({"_id": 1})
    assert stored is not None
    assert (stored["name"], stored["ra"], stored["dec"]) == ("SN 2026a1", 150.001, 10.0)
    assert stored["coordinates"]["radec_geojson"]["coordinates"] == [150.001 - 180, 10.0]
    assert stored["coordinates"]["healpix_16"]
    assert stored["discovery_date"] == stored["discoverydate"]
    at = stored["discovery_date"].replace(tzinfo=UTC)
    assert at == datetime(2026, 6, 30, 23, 30, 0, 500_000, UTC), "whatever this machine's zone is"
    assert stored["discovery_date_(ut)"] == "2026-06-30 23:30:00.500"
    assert stored["object_type"] == {"id": 3, "name": "SN Ia"}
    assert set(mongo["TNS"].index_information()) == {
        "_id_",
        "radec__id",
        "discovery_date",
        "objname",
        "healpix_16",
        "healpix_9",
    }
    [found] = Catalogs(mongo).cones("TNS", [(150.002, 10.0)], 1e-6, {}, {})
    assert [row["_id"] for row in found] == [2]


def test_all_pages_are_read(there: Tns, web: Web, mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tns_client, "PAGE", 3)
    there.objects = {number: reply(number) for number in range(7)}
    mirror(web, mongo).step()
    assert [search["page"] for search in there.searches] == ["0", "1", "2"]
    assert mongo["TNS"].count_documents({}) == 7
    assert len(there.names) == 7


def test_pages_without_a_total_end_too(
    there: Tns, web: Web, mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tns_client, "PAGE", 3)
    there.objects = {number: reply(number) for number in range(6)}
    found = there._found
    monkeypatch.setattr(there, "_found", lambda question: found(question)["reply"])
    mirror(web, mongo).step()
    assert [search["page"] for search in there.searches] == ["0", "1", "2"]
    assert mongo["TNS"].count_documents({}) == 6


def test_the_next_search_goes_on_where_the_last_one_began(there: Tns, web: Web, mongo: MongoDatabase) -> None:
    first = mirror(web, mongo)
    first.step()
    mirror(web, mongo).step()
    assert there.searches[1]["public_timestamp"] == "2026-07-01 11:59:00", "by TNS's clock, a minute earlier"


def test_everything_from_year_1_goes_on_after_an_end(
    there: Tns, web: Web, mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tns_client, "PAGE", 2)
    there.objects = {number: reply(number) for number in range(6)}
    cut = mirror(web, mongo)
    cut.from_the_beginning()
    seen = there._found
    monkeypatch.setattr(there, "_found", lambda question: seen(question) if question["page"] != "2" else "broken")
    with pytest.raises(SourceError, match="no list of objects"):
        cut.step()
    monkeypatch.setattr(there, "_found", seen)
    again = mirror(web, mongo)
    again.from_the_beginning()
    again.step()
    assert [search["page"] for search in there.searches] == ["0", "1", "2"], (
        "pages that were read are not asked for again"
    )
    assert {search["public_timestamp"] for search in there.searches} == {"0001-01-01 00:00:00"}
    assert mongo["TNS"].count_documents({}) == 6
    assert sorted(there.names) == sorted({*there.names}), "none is asked for twice"


def test_what_was_noted_is_asked_for_after_an_end(there: Tns, web: Web, mongo: MongoDatabase) -> None:
    there.objects = {number: reply(number) for number in range(3)}
    cut = mirror(web, mongo)
    cut.search()
    there.refusals = [Said(503, b"busy")]
    with pytest.raises(SourceError):
        cut._store(*cut.objects.wanted())  # type: ignore[misc]
    there.objects[9] = reply(9)
    mirror(web, mongo).step()
    assert mongo["TNS"].count_documents({}) == 4
    assert TnsObjects(mongo).waiting() == 0


def test_a_changed_object_replaces_what_was_known(there: Tns, web: Web, mongo: MongoDatabase) -> None:
    there.objects = {1: reply(1)}
    mirror(web, mongo).step()
    there.objects = {1: reply(1, redshift=0.1, object_type=None)}
    mirror(web, mongo).step()
    stored = mongo["TNS"].find_one({})
    assert stored is not None
    assert (stored["redshift"], stored["object_type"]) == (0.1, None)


def test_quotas_are_kept(there: Tns, web: Web, mongo: MongoDatabase, naps: list[float]) -> None:
    there.objects = {1: reply(1)}
    there.headers = {"x-rate-limit-limit": "100", "x-rate-limit-remaining": "0", "x-rate-limit-reset": "42"}
    mirror(web, mongo).step()
    assert naps == [pytest.approx(42, abs=2)], "before the object is asked for, after the search"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [({"x-rate-limit-reset": "17"}, 17), ({"Retry-After": "21"}, 21), ({"x-rate-limit-reset": "soon"}, 60), ({}, 60)],
)
def test_too_many_requests_say_how_long_to_wait(
    there: Tns, web: Web, mongo: MongoDatabase, headers: dict[str, str], wait: float
) -> None:
    there.refusals = [Said(429, b"", headers)]
    with pytest.raises(SourceError, match="429") as failure:
        mirror(web, mongo).step()
    assert failure.value.retriable
    assert failure.value.wait_s == pytest.approx(wait, abs=2)


def test_a_reset_may_be_a_time() -> None:
    assert tns_client._reset(str(time.time() + 30)) == pytest.approx(30, abs=2)


def test_wrong_credentials_are_named(there: Tns, web: Web, mongo: MongoDatabase) -> None:
    with pytest.raises(SourceError, match=r"refuses the credentials.*tns\.api_key") as failure:
        mirror(web, mongo, api_key="wrong").step()
    assert not failure.value.retriable
    assert "wrong" not in str(failure.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"api_key": None}, r"tns\.api_key not set"),
        ({"bot_id": None, "bot_name": None}, r"tns\.bot_id, tns\.bot_name not set"),
        ({"url": "http://www.wis-tns.org"}, "must begin with https://"),
    ],
)
def test_settings_that_can_not_be_right(web: Web, mongo: MongoDatabase, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        mirror(web, mongo, **changes)


@pytest.mark.parametrize(
    "body", [b"<html>maintenance</html>", b"[]", b'{"data": "x"}', b'{"data": [{"objname": "2026a"}]}']
)
def test_answers_that_are_none_are_asked_for_again(there: Tns, web: Web, mongo: MongoDatabase, body: bytes) -> None:
    there.refusals = [Said(200, body)]
    with pytest.raises(SourceError) as failure:
        mirror(web, mongo).step()
    assert failure.value.retriable


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"radeg": "x"}, "could not convert"),
        ({"radeg": None}, "NoneType"),
        ({"radeg": float("nan")}, "no position"),
        ({"radeg": 361}, "no position"),
        ({"decdeg": -91}, "no position"),
        ({"discoverydate": "yesterday"}, "Invalid isoformat"),
    ],
)
def test_an_object_that_is_none_is_marked_and_the_others_are_stored(
    there: Tns, web: Web, mongo: MongoDatabase, changes: dict[str, Any], says: str
) -> None:
    there.objects = {1: reply(1), 2: reply(2, **changes), 3: reply(3)}
    mirror(web, mongo).step()
    assert sorted(row["_id"] for row in mongo["TNS"].find()) == [1, 3]
    [marked] = mongo["tns_to_do"].find()
    assert says in marked["refused"]
    mirror(web, mongo).objects.want({2: "2026a2"})
    there.objects[2] = reply(2)
    mirror(web, mongo).step()
    assert mongo["TNS"].count_documents({}) == 3, "once TNS says that it changed"


def test_an_object_that_is_gone_is_removed(there: Tns, web: Web, mongo: MongoDatabase) -> None:
    there.objects = {1: reply(1)}
    watched = mirror(web, mongo)
    watched.step()
    there.objects = {}
    watched.objects.want({1: "2026a1"})
    watched.step()
    assert mongo["TNS"].count_documents({}) == 0
    assert watched.objects.wanted() is None


def test_right_ascension_of_360_is_0() -> None:
    document = document_of(reply(1, radeg=360.0))
    assert document["ra"] == 0
    assert document["coordinates"]["radec_geojson"]["coordinates"] == [-180, 10.0]
    assert document["discovery_date"].tzinfo is UTC


def test_a_long_list_does_not_keep_it_from_searching(there: Tns, web: Web, mongo: MongoDatabase) -> None:
    there.objects = {number: reply(number) for number in range(4)}
    watched = mirror(web, mongo, interval=1e-9)
    watched.objects.want({number: f"2026a{number}" for number in range(4)})
    found, there._found = there._found, lambda question: found(question)["reply"] and []  # type: ignore[method-assign]
    watched.step()
    assert len(there.searches) == 5, "before each of them"
    assert mongo["TNS"].count_documents({}) == 4
