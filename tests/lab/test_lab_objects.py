"""Objects in the lab, by HTTP: the search and the first page, who sees what there, and what it costs."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from api_harness import Api, wait_until
from night import ZTF, Observed
from visitor import MEMBER, STRANGER, Visitor, leads_to

from kowalski.alerts.coordinates import position
from kowalski.api.services.passed import LAST
from kowalski.database.client import connect
from kowalski.lab.addresses import object_address

EVIL = "<script>document.title='id'</script>"


@pytest.fixture(scope="module")
def hidden(observed: Observed) -> Iterator[dict[str, Any]]:
    """An alert of a programme that only the admin sees."""
    alert = observed.database[ZTF.alerts].find_one({}, sort=[("candid", 1)])
    del alert["_id"]
    alert |= {"objectId": "ZTF99hidden", "candid": 77, "candidate": alert["candidate"] | {"programid": 2, "candid": 77}}
    observed.database[ZTF.alerts].insert_one(alert)
    yield alert
    observed.database[ZTF.alerts].delete_one({"candid": 77})


def said(visitor: Visitor, question: str) -> str:
    return visitor.get(f"{visitor.lab.url}/lab/objects", params={"q": question}, timeout=30).text


# the search


def test_an_object_by_id_candid_and_place(admin: Visitor, passed: dict[str, Any], observed: Observed) -> None:
    object_id, candid = passed["objectId"], passed["candid"]
    alert = observed.database[ZTF.alerts].find_one({"candid": candid})
    ra, dec = alert["candidate"]["ra"], alert["candidate"]["dec"]
    right, declination = alert["coordinates"]["radec_str"]
    home = object_address("ZTF", object_id)
    for question in (object_id, object_id.lower(), object_id.upper(), f"https://x.org/source/{object_id}"):
        assert leads_to(admin, question) == home
    assert leads_to(admin, str(candid)) == f"{home}?candid={candid}"
    for place in (
        f"{ra} {dec}",
        f"{ra:.5f}, {dec:+.5f} 2 arcsec",
        f"{right} {declination}",
        f'{right} {declination} 3"',
    ):
        assert leads_to(admin, place) == home


def test_a_name_of_tns_leads_to_what_lies_there(admin: Visitor, passed: dict[str, Any], observed: Observed) -> None:
    candidate = observed.database[ZTF.alerts].find_one({"candid": passed["candid"]})["candidate"]
    ra, dec = candidate["ra"], candidate["dec"] + 1 / 3600
    row = {
        "_id": 1,
        "name": "SN 2024abc",
        "objname": "2024abc",
        "ra": ra,
        "dec": dec,
        "object_type": {"name": "SN Ia"},
        "redshift": 0.031,
    }
    observed.database["TNS"].insert_one(row | {"coordinates": position(ra, dec)})
    try:
        address = leads_to(admin, "sn2024abc")
        assert address == object_address("ZTF", passed["objectId"])
        assert "SN 2024abc, SN Ia, z = 0.031" in admin.page(address).text
        assert "which is not in the archive" in said(admin, "SN 2024abd")
    finally:
        observed.database["TNS"].drop()


def test_several_are_listed_the_nearest_first(admin: Visitor, observed: Observed) -> None:
    alerts = observed.database[ZTF.alerts]
    alert = alerts.find_one({}, {"_id": 0})
    assert alert is not None
    middle = alert["candidate"]
    for number, arcsec in enumerate((40.0, 3.0)):
        candidate = middle | {"dec": middle["dec"] + arcsec / 3600, "candid": 80 + number}
        coordinates = position(candidate["ra"], candidate["dec"])
        alerts.insert_one(alert | {"objectId": f"ZTF99near{number}", "candid": 80 + number, "candidate": candidate, "coordinates": coordinates})  # fmt: skip
    try:
        text = said(admin, f"{middle['ra']} {middle['dec']} 1 arcmin")
    finally:
        alerts.delete_many({"candid": {"$in": [80, 81]}})
    distances = [float(each) for each in re.findall(r'</td><td>ZTF</td><td class="n">([\d.]+)</td>', text)]
    assert text.index("ZTF99near1") < text.index("ZTF99near0")
    assert (len(distances) >= 3, distances) == (True, sorted(distances))
    assert said(admin, "ZTF1").count('href="/lab/objects/ztf/ZTF1') > 3


def test_nothing_says_what_was_tried_and_how_to_write_it(admin: Visitor) -> None:
    text = said(admin, "ZTF99nothing")
    assert "an object with the id ZTF99nothing" in text
    assert "How to write it" in text
    assert "up to 5 arcmin" in said(admin, "10 10 6 arcmin")
    assert "&lt;b&gt;" in said(admin, "<b>")
    assert "<b>" not in said(admin, "<b>")


def test_hidden_objects_are_as_if_there_were_none(
    admin: Visitor, lab: Api, users: dict[str, str], hidden: dict[str, Any]
) -> None:
    page = object_address("ZTF", hidden["objectId"])
    assert leads_to(admin, hidden["objectId"]) == page
    assert admin.page(page).status_code == 200
    files = (f"{page}/lightcurve.json", f"{page}/lightcurve.csv", "/lab/cutouts/ztf/77/science/png")
    assert {admin.page(path).status_code for path in files} == {200}
    with Visitor(lab) as other:
        other.log_in(STRANGER, users[STRANGER])
        for question in (hidden["objectId"], "77"):
            assert "Nothing found" in said(other, question)
        answer, none = other.page(page), other.page(object_address("ZTF", "ZTF99nowhere"))
        assert (answer.status_code, none.status_code) == (404, 404)
        assert answer.text.replace("ZTF99hidden", "ZTF99nowhere") == none.text
        assert {other.page(path).status_code for path in files} == {400}


# who sees what


def test_filters_and_messages_are_those_of_ones_groups(lab: Api, users: dict[str, str], passed: dict[str, Any]) -> None:
    page = object_address("ZTF", passed["objectId"])
    for name, sees in ((MEMBER, True), (STRANGER, False)):
        with Visitor(lab) as visitor:
            visitor.log_in(name, users[name])
            text = visitor.page(page).text
            assert ("Filter 9" in text) is sees
            assert ("candidate of filter 9" in text) is sees
            home = visitor.page("/lab").text
            assert ("/lab/objects/ztf/ZTF" in home, "No alert has passed" in home) == (sees, not sees)


@pytest.mark.parametrize("path", ["/lab/objects", "/lab/objects/none/x", "/lab/objects/ztf/" + "x" * 300, "/lab/objects/ztf/x?candid=1e9"])  # fmt: skip
def test_addresses_that_are_none(admin: Visitor, path: str) -> None:
    answer = admin.page(path)
    assert answer.headers.get("Location", "/lab") == "/lab"  # of the search for nothing; not to the login
    assert answer.status_code in (303, 400, 404)


def test_an_object_and_a_row_that_hold_scripts_are_text(admin: Visitor, observed: Observed) -> None:
    alert = observed.database[ZTF.alerts].find_one({}, sort=[("candid", 1)])
    del alert["_id"]
    match = {
        "_id": EVIL,
        EVIL: EVIL,
        "coordinates": {"radec_str": alert["coordinates"]["radec_str"], "distance_arcsec": 0.1},
    }
    aux = {"_id": EVIL, "cross_matches": {EVIL: [match]}, "prv_candidates": []}
    observed.database[ZTF.alerts].insert_one(alert | {"objectId": EVIL, "candid": 78})
    observed.database[ZTF.aux].insert_one(aux)
    try:
        page = leads_to(admin, "78").split("?")[0]
        for path in (page, f"/lab/objects?q={EVIL.replace('/', '%2F')}"):
            text = admin.get(admin.lab.url + path, timeout=30).text
            assert "&lt;script&gt;document.title=&#39;id&#39;" in text
            assert "<script>document" not in text
        assert admin.page(f"{page}/lightcurve.csv").status_code == 200
    finally:
        observed.database[ZTF.alerts].delete_one({"candid": 78})
        observed.database[ZTF.aux].delete_one({"_id": EVIL})


# the first page


def test_the_first_page_counts_what_one_sees(
    admin: Visitor, lab: Api, users: dict[str, str], observed: Observed
) -> None:
    def counted(visitor: Visitor) -> list[str]:
        return re.findall(r'<td>ZTF</td><td class="n">([\d,]+)</td><td>2024', visitor.page("/lab").text)

    wait_until(lambda: counted(admin))
    assert int(counted(admin)[0]) >= len(observed.candids)
    with Visitor(lab) as other:
        other.log_in(STRANGER, users[STRANGER])
        wait_until(lambda: counted(other))
        public = observed.database[ZTF.alerts].count_documents({"candidate.programid": 1})
        assert counted(other) == [str(public)]


def test_ones_own_are_found_among_many_passes_of_others(
    member: Visitor, passed: dict[str, Any], observed: Observed
) -> None:
    outbox = observed.database["outbox"]
    entry = passed | {"filter_id": 4545, "group_id": 2, "passed_at": datetime(2100, 1, 1, tzinfo=UTC)}
    outbox.insert_many([entry | {"_id": f"ZTF:{number}:4545", "candid": number} for number in range(LAST + 1)])
    try:
        assert "/lab/objects/ztf/ZTF" in member.page("/lab").text
    finally:
        outbox.delete_many({"filter_id": 4545})


# what it costs


@pytest.fixture
def asked(observed: Observed) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """A function that tells what MongoDB was asked since it was called last, as its profiler notes it."""
    database = connect(observed.settings, "admin")
    database.command("profile", 2)

    def look() -> list[dict[str, Any]]:
        ours = {
            "op": {"$ne": "getmore"},
            "command.comment": "kowalski",
        }  # that is how the driver learns that there is no more
        found = list(database["system.profile"].find(ours))
        database.command("profile", 0)
        database["system.profile"].drop()
        database.command("profile", 2)
        return found

    yield look
    database.command("profile", 0)
    database["system.profile"].drop()
    database.client.close()


@pytest.mark.parametrize("name", [None, MEMBER])
def test_pages_are_read_in_few_steps_and_none_reads_a_collection(
    visitor: Visitor,
    users: dict[str, str],
    passed: dict[str, Any],
    asked: Callable[[], list[dict[str, Any]]],
    name: str | None,
) -> None:
    visitor.log_in(*((name, users[name]) if name else ()))
    page = object_address("ZTF", passed["objectId"])
    most = {page: 12, f"{page}/lightcurve.json": 4, "/lab/objects?q=ZTF99none": 15, f"/lab/objects?q={passed['candid']}": 15, "/lab/objects?q=10+10": 5}  # fmt: skip
    for path, steps in most.items():
        asked()
        assert visitor.page(path).status_code in (200, 303)
        found = asked()
        plans = [(each["op"], each["ns"].partition(".")[2], each.get("planSummary")) for each in found]
        assert 0 < len(found) <= steps, plans
        assert [plan for plan in plans if str(plan[2]).startswith("COLLSCAN")] == [], path
        assert max(each.get("docsExamined", 0) for each in found) <= 50, plans


def test_the_first_page_looks_at_what_came_last_alone(
    visitor: Visitor, users: dict[str, str], asked: Callable[[], list[dict[str, Any]]]
) -> None:
    visitor.log_in(MEMBER, users[MEMBER])
    wait_until(lambda: "being counted" not in visitor.page("/lab").text)
    asked()
    assert visitor.page("/lab").status_code == 200
    assert sum(each.get("docsExamined", 0) for each in asked()) <= 2 * LAST + 3 * 10
