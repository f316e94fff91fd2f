"""Watchlists over HTTP: uploads that come whole or not at all, and who may change them."""

import gzip
import io
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psutil
import pytest
import requests
from api_harness import ADMIN, Api, start_api, wait_until
from astropy.coordinates import Angle, Latitude, Longitude
from astropy.table import Table
from filters_harness import Room, room, running
from mocpy import MOC

from kowalski.database.client import connect
from kowalski.settings import Database

__all__ = ["room", "running"]

CSV = b"ra,dec,z,name\n10,20,0.1,first\n359.9,-90,,second\n"
LISTS = "/api/watchlists"


@pytest.fixture(autouse=True)
def no_lists(room: Room) -> None:
    for name in ("watchlists", "watchlist_rows"):
        room.database[name].delete_many({})


def send(
    room: Room, data: Any, name: str = "mine", who: str = "member", group: int = 1, path: str = LISTS, method: str = "POST", **query: Any
) -> requests.Response:  # fmt: skip
    told = ({"name": name, "group_id": group} if method == "POST" else {}) | query
    headers = {"Authorization": room.tokens[who], "Content-Type": "text/csv"}
    return requests.request(method, room.api.url + path, params=told, data=data, headers=headers, timeout=300)


def made(answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


def refused(room: Room, answer: requests.Response) -> str:
    """What is said of an upload of which nothing is left."""
    assert answer.status_code == 400, answer.text
    assert room.good("GET", LISTS)["data"] == []
    assert room.database["watchlist_rows"].count_documents({}) == 0
    assert room.database["watchlists"].count_documents({}) == 0
    return str(answer.json()["message"])


def fits_of(table: Table) -> bytes:
    stream = io.BytesIO()
    table.write(stream, format="fits")
    return stream.getvalue()


def moc_file(tmp_path: Any) -> bytes:
    moc = MOC.from_cone(lon=Longitude(10, "deg"), lat=Latitude(20, "deg"), radius=Angle(3, "deg"), max_depth=11)
    moc.save(tmp_path / "moc.fits", "fits")
    return bytes((tmp_path / "moc.fits").read_bytes())


def test_a_list_is_made_shown_replaced_and_removed(room: Room) -> None:
    first = made(send(room, CSV, radius=3))
    assert (first["kind"], first["rows"], first["columns"], first["radius"]) == ("positions", 2, ["z", "name"], 3)
    assert (first["made_by"], first["group_id"], first["name"]) == ("member", 1, "mine")
    path = f"{LISTS}/{first['id']}"
    shown = room.good("GET", path, who="member")["data"]
    assert shown["first"] == [
        {"row": 1, "ra": 10.0, "dec": 20.0, "z": 0.1, "name": "first"},
        {"row": 2, "ra": pytest.approx(359.9), "dec": -90.0, "name": "second"},
    ]
    assert room.good("GET", f"{path}?skip=1&limit=1")["data"]["first"][0]["row"] == 2
    assert [each["id"] for each in room.good("GET", f"{LISTS}?group_id=1&name=mine")["data"]] == [first["id"]]
    again = send(room, CSV)
    assert (again.status_code, again.json()["message"]) == (409, "group 1 has a watchlist mine: PUT replaces it")
    second = made(send(room, b"objectId\nZTF1\n", path=path, method="PUT"))
    assert (second["id"], second["kind"], second["rows"], second["radius"]) == (first["id"], "objects", 1, 3)
    assert second["version"] != first["version"]
    wait_until(lambda: room.database["watchlist_rows"].count_documents({}) == 1)
    assert room.good("DELETE", path, who="member")["message"] == "removed watchlist mine"
    assert room.database["watchlist_rows"].count_documents({}) == room.database["watchlists"].count_documents({}) == 0


def test_forms_gzip_fits_and_mocs(room: Room, tmp_path: Any) -> None:
    headers = {"Authorization": room.tokens["member"]}
    form = {"name": "form", "group_id": "1", "radius": "5"}
    answer = requests.post(room.api.url + LISTS, data=form, files={"file": ("x.csv", CSV)}, headers=headers, timeout=60)
    assert (made(answer)["name"], made(answer)["radius"]) == ("form", 5)
    table = Table({"objectId": ["ZTF1", "ZTF2"], "DEC": [1.0, np.nan], "n": np.array([3, 4], "i2"), "RA": [0.0, 1.0]})
    assert made(send(room, gzip.compress(fits_of(table)), "fits", kind="objects"))["rows"] == 2
    (row,) = room.good("GET", f"{LISTS}/{room.good('GET', LISTS + '?name=fits')['data'][0]['id']}?skip=1")["data"][
        "first"
    ]
    assert row == {"row": 2, "id": "ZTF2", "n": 4, "RA": 1.0}
    assert made(send(room, moc_file(tmp_path), "region"))["kind"] == "region"
    assert made(send(room, b"5/12-14 6/99", "text"))["kind"] == "region"
    assert made(send(room, b'{"5": [12, 13]}', "json"))["rows"] == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty: its first line must name the columns"),
        (b"ra,dec\n", "there are no rows"),
        (b"a,b\n1,2\n", "there is no column objectId, and none ra and dec: the columns are a, b"),
        (b"ra,b\n1,2\n", "there is no column objectId, and none ra and dec: the columns are ra, b"),
        (b"ra,dec,objectId\n1,2,x\n", "say kind=objects or kind=positions"),
        (b"ra,dec\n1,2\n10:20:30,2\n", "row 2, column ra: '10:20:30' is no number: it must be one, at least 0 and less"),
        (b"ra,dec\n1,2\n360,2\n", "row 2, column ra: 360 must be at least 0 and less than 360 (deg): correct it"),
        (b"ra,dec\n1,90.0001\n", "row 1, column dec: 90.0001 must be from -90 to 90 (deg): correct it"),
        (b"ra,dec\n1,nan\n", "row 1, column dec: it is empty"),
        (b"ra,dec,radius_arcsec\n1,2,3601\n", "row 1, column radius_arcsec: 3601 must be above 0, and 3600 (arcsec) at most"),
        (b"ra,dec,z\n1,2,3\n1,2,\n1,2,abc\n", "row 3, column z: 'abc' is no number, as others are: correct it, or call the column z:text"),
        (b"objectId,z\nx,1\ny,2\nx,3\n", "rows 1 and 3 have the same id 'x': leave one of them out"),
        (b"ra,dec,id\n1,2,7\n3,4,7\n", "rows 1 and 2 have the same id 7"),
        (b"objectId,z\nx,1\n,2\n", "row 2, column objectId: it is empty: leave the row out"),
        (b"ra,dec,z\n1,2,3\n1,2", "row 2 has 2 values, not 3 as the first line has names: is the file whole?"),
        (b'ra,dec,z\n1,2,"3', "after row 0 the file is no CSV"),
        (b"ra,dec,ra\n1,2,3\n", "there are 2 columns 'ra'"),
        (b"ra,dec,a.b\n1,2,3\n", "column 3 is called 'a.b': give it a name"),
        (b"ra,dec,\n1,2,3\n", "column 3 is called ''"),
        (b"ra,dec,z\n1,2," + b"x" * 9000, "row 1 has 9"),
        (b"ra,dec\n\xff,2\n", "after row 0 the file is not UTF-8"),
        (b"5/12-", "the MOC can't be read"),
        (b'{"5": [1,', "the MOC can't be read"),
        (b"{}", "the MOC is empty"),
        (b"SIMPLE  = nonsense", "the file has no whole header"),
        (gzip.compress(CSV, mtime=0)[:30], "the gzipped file is broken: it is not whole, send it again"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_left(room: Room, data: bytes, said: str) -> None:
    assert said in refused(room, send(room, data))


def test_half_a_fits_file(room: Room, tmp_path: Any) -> None:
    rng = np.random.default_rng(1)
    whole = fits_of(Table({"ra": rng.uniform(0, 360, 9000), "dec": rng.uniform(-90, 90, 9000)}))
    assert "the FITS file ends in row 4" in refused(room, send(room, whole[: len(whole) // 2]))
    moc = moc_file(tmp_path)
    assert "is not whole, send it again" in refused(room, send(room, moc[: len(moc) - 2880]))
    table = Table({"ra": [1.0, 360.0], "dec": [1.0, 2.0]})
    assert "row 2, column ra: 360.0 must be" in refused(room, send(room, fits_of(table)))
    table = Table({"ra": [1.0, 3.0], "dec": ["a", "b"]})
    assert "row 1, column dec: 'a' is no number" in refused(room, send(room, fits_of(table)))
    table = Table({"ra": [1.0], "dec": [1.0], "flux": [[1.0, 2.0]]})
    assert "column flux has '2D' a row, not one number or text: leave it out" in refused(
        room, send(room, fits_of(table))
    )


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"name": "1st"}, "name"),
        ({"name": "a.b"}, "name"),
        ({"radius": 3601}, "radius"),
        ({"radius": 0}, "radius"),
        ({"kind": "stars"}, "kind"),
        ({"kind": "region"}, "the MOC can't be read"),
        ({"kind": "objects"}, "there is no column objectId"),
        ({"group": 7}, "you are not in group 7"),
    ],
)
def test_what_is_said_of_the_list_is_checked(room: Room, query: dict[str, Any], said: str) -> None:
    assert said in refused(room, send(room, CSV, **query))


def test_lists_are_their_groups(room: Room) -> None:
    path = f"{LISTS}/{made(send(room, CSV))['id']}"
    assert [each["name"] for each in room.good("GET", LISTS, who="public")["data"]] == ["mine"]
    assert room.good("GET", LISTS, who="other")["data"] == []
    assert "not found" in room.refused("GET", path, who="other")
    assert "not found" in room.refused("DELETE", path, who="other")
    assert send(room, CSV, who="other", path=path, method="PUT").status_code == 400
    assert "is no id of a watchlist" in room.refused("GET", f"{LISTS}/mine")
    made(send(room, CSV, who="other", group=2))
    assert len(room.good("GET", LISTS, who=ADMIN)["data"]) == 2
    for collection in ("watchlists", "watchlist_rows"):
        query = {"query_type": "find", "query": {"catalog": collection, "filter": {}}}
        assert "Protected collection" in room.refused("POST", "/api/queries", query, who="member")


def test_a_list_that_a_filter_declares_stays(room: Room) -> None:
    path = f"{LISTS}/{made(send(room, CSV))['id']}"
    room.database["filters"].insert_one({"filter_id": 9, "group_id": 1, "watchlists": ["mine"]})
    assert "filter 9 declares watchlist mine" in room.refused("DELETE", path, who="member")


def rows(number: int, start: int = 0) -> Iterator[bytes]:
    """A CSV file of many rows, as it is made."""
    yield b"ra,dec,z,name\n"
    rng = np.random.default_rng(start)
    for first in range(0, number, 1000):
        ra, dec = rng.uniform(0, 360, 1000), np.degrees(np.arcsin(rng.uniform(-1, 1, 1000)))
        yield "".join(
            f"{a},{d},{n / 7},source {n}\n" for n, a, d in zip(range(first, first + 1000), ra, dec, strict=True)
        ).encode()


def test_twenty_thousand_rows(room: Room) -> None:
    assert made(send(room, rows(20_000)))["rows"] == room.database["watchlist_rows"].count_documents({}) == 20_000


def test_nothing_is_seen_before_all_of_it_is_there(room: Room) -> None:
    """And what was there stays until then: of a file that is wrong in its last row nothing changes."""
    first = made(send(room, CSV))
    path, seen = f"{LISTS}/{first['id']}", []

    def slowly() -> Iterator[bytes]:
        yield from rows(10_000)
        wait_until(lambda: room.database["watchlist_rows"].count_documents({}) > 2000)
        seen.append(room.good("GET", path)["data"]["version"])
        yield b"360,1,1,wrong\n"

    answer = send(room, slowly(), path=path, method="PUT")
    assert (answer.status_code, "row 10001, column ra: 360" in answer.json()["message"]) == (400, True)
    assert seen == [first["version"]]
    assert room.good("GET", path)["data"]["version"] == first["version"]
    assert room.database["watchlist_rows"].count_documents({}) == 2


def test_a_client_that_goes_away(room: Room) -> None:
    body = b"".join(rows(10_000))
    head = f"POST {LISTS}?name=mine&group_id=1 HTTP/1.1\r\nHost: x\r\nAuthorization: {room.tokens['member']}\r\nContent-Length: {2 * len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", room.api.port)) as connection:
        connection.sendall(head.encode() + body)
        wait_until(lambda: room.database["watchlist_rows"].count_documents({}) > 0)
    wait_until(lambda: room.database["watchlists"].count_documents({}) == 0)
    assert room.database["watchlist_rows"].count_documents({}) == 0


def test_what_a_killed_upload_leaves_goes_with_the_next(
    fresh_database: Callable[[], Database], another_api: Callable[..., Api], tmp_path: Any
) -> None:
    settings = fresh_database()
    database = connect(settings)
    api = start_api(tmp_path, settings)
    api.wait_ready()
    token = api.log_in().json()["token"]

    def until_killed() -> Iterator[bytes]:
        yield from rows(10_000)
        wait_until(lambda: database["watchlist_rows"].count_documents({}) > 2000)
        for process in [*psutil.Process(api.process.pid).children(recursive=True), psutil.Process(api.process.pid)]:
            process.kill()

    query, headers = {"name": "mine", "group_id": 1}, {"Authorization": token}
    with pytest.raises(requests.ConnectionError):
        requests.post(api.url + LISTS, params=query, data=until_killed(), headers=headers, timeout=60)
    api.process.wait(60)
    (mark,) = database["watchlists"].find()
    assert (mark["version"], len(mark["uploads"])) == (None, 1)
    left = database["watchlist_rows"].count_documents({})
    assert left > 2000

    again = another_api(settings)
    again.wait_ready()
    headers = {"Authorization": again.log_in().json()["token"]}
    assert requests.get(again.url + LISTS, headers=headers, timeout=30).json()["data"] == []
    answer = requests.post(again.url + LISTS, params=query, data=CSV, headers=headers, timeout=60)
    assert made(answer)["rows"] == 2
    # what the killed process sent last, MongoDB may have stored after it was gone
    assert database["watchlist_rows"].count_documents({}) >= left + 2, (
        "an upload may live, until nothing is heard of it"
    )
    database["watchlists"].update_one({}, {"$set": {"uploads.0.at": datetime(2020, 1, 1, tzinfo=UTC)}})
    requests.post(again.url + LISTS, params=query | {"name": "next"}, data=CSV, headers=headers, timeout=60)
    wait_until(lambda: database["watchlist_rows"].count_documents({}) == 4)
    wait_until(lambda: not any(each["uploads"] or each["gone"] for each in database["watchlists"].find()))
    assert database["watchlists"].count_documents({"version": None}) == 0
    database.client.close()


def test_two_uploads_of_a_list_at_once(room: Room) -> None:
    """Of two that make it one is refused; the rows are those of one file, whole."""
    second: list[requests.Response] = []

    def meanwhile() -> Iterator[bytes]:
        yield from rows(3000)
        second.append(send(room, CSV))
        yield b"1,2,3,last\n"

    first = send(room, meanwhile())
    assert [second[0].status_code, first.status_code] == [200, 409]
    wait_until(lambda: room.database["watchlist_rows"].count_documents({}) == 2)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([("name", (None, "mine"))], "the form has no file"),
        ([("file", ("x.csv", CSV)), ("name", (None, "mine"))], "name"),
        ([("name", (None, "mine")), ("group_id", (None, "1")), ("file", ("x", CSV)), ("kind", (None, "region"))], "the form has something behind its file"),
        ([("name", (None, "x" * 20_000)), ("group_id", (None, "1")), ("file", ("x", CSV))], "the form's field name has more than 10000 bytes"),
    ],
)  # fmt: skip
def test_forms_that_are_wrong(room: Room, fields: Any, said: str) -> None:
    headers = {"Authorization": room.tokens["member"]}
    assert said in refused(room, requests.post(room.api.url + LISTS, files=fields, headers=headers, timeout=60))


def test_half_a_form(room: Room) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + CSV
    headers = {"Authorization": room.tokens["member"], "Content-Type": "multipart/form-data; boundary=x"}
    query = {"name": "mine", "group_id": "1"}
    answer = requests.post(room.api.url + LISTS, params=query, data=body, headers=headers, timeout=60)
    assert "not whole" in refused(room, answer)
