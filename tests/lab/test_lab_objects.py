"""Objects in the lab, by HTTP: the search, pages, plots and files, and who sees what of them."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from api_harness import Api, wait_until
from night import HOSTILE, SCRIPT, ZTF, Observed
from visitor import Visitor

from kowalski.alerts.coordinates import position
from kowalski.api.services.passed import HIDDEN, LAST
from kowalski.database.client import connect
from kowalski.database.links import Link
from kowalski.lab.addresses import object_address

STRANGER, MEMBER = "stranger", "member"
EVIL = "<script>document.title='id'</script>"


@pytest.fixture(scope="module")
def users(lab: Api) -> dict[str, str]:
    """One who sees public alerts of ZTF, and one who is in the filters' group as well; name -> password."""
    rights: dict[str, Any] = {
        STRANGER: {"permissions": {"ZTF": [1]}},
        MEMBER: {"permissions": {"ZTF": [1]}, "groups": [1]},
    }
    for name, given in rights.items():
        body = {"username": name, "password": f"{name} has one", "email": f"{name}@example.org"} | given
        assert lab.post("/api/users", body).status_code == 200
    return {name: f"{name} has one" for name in rights}


@pytest.fixture
def admin(visitor: Visitor) -> Visitor:
    visitor.log_in()
    return visitor


@pytest.fixture
def member(visitor: Visitor, users: dict[str, str]) -> Visitor:
    visitor.log_in(MEMBER, users[MEMBER])
    return visitor


@pytest.fixture
def stranger(visitor: Visitor, users: dict[str, str]) -> Visitor:
    visitor.log_in(STRANGER, users[STRANGER])
    return visitor


@pytest.fixture(scope="module")
def passed(observed: Observed) -> dict[str, Any]:
    """The newest entry of the outbox for the hostile filter of the public alerts of an object that has several."""
    public = [row["candid"] for row in observed.database[ZTF.alerts].find({"candidate.programid": 1}, {"candid": 1})]
    chosen = {"filter_id": HOSTILE, "candid": {"$in": public}}
    entries = list(observed.database["outbox"].find(chosen, sort=[("candid", -1)]))
    often = Counter(entry["objectId"] for entry in entries).most_common(1)[0][0]
    return next(entry for entry in entries if entry["objectId"] == often)


@pytest.fixture(scope="module")
def hidden(observed: Observed) -> Iterator[dict[str, Any]]:
    """An alert of a programme that only the admin sees."""
    alert = observed.database[ZTF.alerts].find_one({}, sort=[("candid", 1)])
    del alert["_id"]
    alert |= {"objectId": "ZTF99hidden", "candid": 77, "candidate": alert["candidate"] | {"programid": 2, "candid": 77}}
    observed.database[ZTF.alerts].insert_one(alert)
    yield alert
    observed.database[ZTF.alerts].delete_one({"candid": 77})


def leads_to(visitor: Visitor, question: str) -> str:
    """Where a search leads that finds one object."""
    answer = visitor.get(f"{visitor.lab.url}/lab/objects", params={"q": question}, allow_redirects=False, timeout=30)
    assert answer.status_code == 303, re.sub(r"<[^>]+>", " ", answer.text)
    return answer.headers["Location"]


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
    found = [
        row["candidate"] for row in observed.database[ZTF.alerts].find({}, {"candidate.ra": 1, "candidate.dec": 1})
    ]
    middle = found[0]
    text = said(admin, f"{middle['ra']} {middle['dec']} 5 arcmin")
    begun = said(admin, "ZTF1")
    assert begun.count('href="/lab/objects/ztf/ZTF1') > 3
    if "objects</h1>" in text:
        distances = [float(each) for each in re.findall(r'</td><td>ZTF</td><td class="n">([\d.]+)</td>', text)]
        assert distances == sorted(distances)


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


# pages


def test_a_page_says_what_the_api_says(admin: Visitor, lab: Api, passed: dict[str, Any]) -> None:
    object_id = passed["objectId"]
    api = lab.get(f"/api/objects/ztf/{object_id}").json()["data"]
    text = admin.page(object_address("ZTF", object_id)).text
    assert f"{api['ra']:.6f} {api['dec']:+.6f}" in text
    for alert in api["alerts"]:
        assert f'<option value="{alert["candid"]}"' in text
    for model, score in api["classifications"]["scores"].items():
        assert model.endswith("_version") or f"{score:.3f}</td>" in text
    for name, rows in api["cross_matches"].items():
        assert bool(rows) is (f"Rows of {name}" in text)
    assert text.count("Filter 9") == 1
    assert "candidate of filter 9" in text
    assert "&lt;script&gt;document.title=&#39;taken&#39;&lt;/script&gt;" in text
    assert SCRIPT not in text


def test_another_alert_is_chosen_and_one_of_another_object_is_none(
    admin: Visitor, passed: dict[str, Any], observed: Observed
) -> None:
    candids = sorted(row["candid"] for row in observed.database[ZTF.alerts].find({"objectId": passed["objectId"]}))
    text = admin.page(object_address("ZTF", passed["objectId"], candids[0])).text
    assert f"/lab/cutouts/ztf/{candids[0]}/science/png" in text
    assert f'<option value="{candids[0]}" selected>' in text
    other = next(candid for candid in observed.candids if candid not in candids)
    assert admin.page(object_address("ZTF", passed["objectId"], other)).status_code == 404


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


def test_what_was_refused_or_comes_from_tables_is_told(
    member: Visitor, passed: dict[str, Any], observed: Observed
) -> None:
    outbox, passes = observed.database["outbox"], observed.database["passes"]
    error = {"status": 400, "message": "<b>no</b> such stream"}
    outbox.update_one({"_id": passed["_id"]}, {"$set": {"state": "failed", "attempts": 3, "error": error}})
    own = {name: passed[name] for name in ("survey", "candid", "objectId", "jd", "passed_at")}
    passes.insert_one(
        own
        | {"_id": "x", "filter_id": 4242, "group_id": 1, "fid": "abc123", "annotations": {"a": 1.5}, "permissions": [1]}
    )
    passes.insert_one(
        own
        | {
            "_id": "z",
            "filter_id": 4444,
            "group_id": 1,
            "fid": "abc123",
            "annotations": {"a": 2.5},
            "permissions": [1, 2],
        }
    )
    passes.insert_one(own | {"_id": "y", "filter_id": 4343, "group_id": 2, "fid": "abc123", "annotations": {}})
    outbox.insert_one(own | {"_id": f"ZTF:{passed['candid']}:photometry", "kind": "photometry", "state": "pending"})
    try:
        text = member.page(object_address("ZTF", passed["objectId"])).text
        assert "failed</span>, 3 attempts" in text
        assert "400 &lt;b&gt;no&lt;/b&gt; such stream" in text
        assert "Filter 4242" in text
        assert "1.5000" in text
        assert ("Filter 4444" in text, HIDDEN in text, "2.5000" in text) == (
            True,
            True,
            False,
        )  # he sees programme 1 alone
        assert "Filter 4343" not in text
        assert "<td>photometry" not in text
    finally:
        outbox.update_one({"_id": passed["_id"]}, {"$set": {"state": "pending", "attempts": 0, "error": None}})
        outbox.delete_one({"_id": f"ZTF:{passed['candid']}:photometry"})
        passes.drop()


def test_the_way_and_the_making_of_an_alert_are_shown_where_it_tells_them(
    admin: Visitor, passed: dict[str, Any], observed: Observed
) -> None:
    page = object_address("ZTF", passed["objectId"], passed["candid"])
    alerts, chosen = observed.database[ZTF.alerts], {"candid": passed["candid"]}
    told = alerts.find_one(chosen, {"_id": 0, "trace": 1, "provenance": 1})
    made_by = observed.database["provenance"].find_one({"_id": told["provenance"]})
    text = admin.page(page).text
    assert "On its way" in text
    assert text.index("<td>scored</td>") < text.index("<td>stored</td>") < text.index("<td>filtered</td>")
    assert f'title="{made_by["networks"]["braai"]["sha256"]}"' in text
    assert f"with {made_by['backend']['name']} {made_by['backend']['version']}" in text
    assert "Versions of" in text
    alerts.update_one(chosen, {"$unset": dict.fromkeys(told, 1)})
    try:
        text = admin.page(page).text
        assert ("On its way" in text, "with these weights" in text) == (False, False)
    finally:
        alerts.update_one(chosen, {"$set": told})


def test_the_plot_and_the_table_have_the_points_of_the_api(admin: Visitor, lab: Api, passed: dict[str, Any]) -> None:
    page = object_address("ZTF", passed["objectId"])
    rows = list(csv.DictReader(io.StringIO(admin.page(f"{page}/lightcurve.csv").text)))
    points = lab.get(f"/api/objects/ztf/{passed['objectId']}").json()["data"]["light_curve"]
    detections = {str(point["candid"]) for point in points if point["kind"] == "detection" and point.get("candid")}
    assert {row["candid"] for row in rows if row["kind"] in ("detection", "negative") and row["candid"]} == detections
    for y in ("mag", "flux"):
        plot = admin.page(f"{page}/lightcurve.json?y={y}&theme=dark")
        assert plot.headers["Content-Type"].startswith("application/json")
        assert all(candid in plot.text for candid in detections)
        json.loads(plot.text)
    assert admin.page(f"{page}/lightcurve.json?y=no").status_code == 400


def test_cutouts_are_those_of_the_api(admin: Visitor, lab: Api, passed: dict[str, Any]) -> None:
    for role in ("science", "template", "difference"):
        for kind in ("png", "fits"):
            path = f"ztf/{passed['candid']}/{role}/{kind}"
            own, api = admin.page(f"/lab/cutouts/{path}"), lab.get(f"/api/cutouts/{path}")  # fmt: skip
            assert own.status_code == api.status_code == 200
            assert own.content == api.content
            assert own.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/lab/objects", "/lab/objects/none/x", "/lab/objects/ztf/" + "x" * 300, "/lab/objects/ztf/x?candid=1e9"])  # fmt: skip
def test_addresses_that_are_none(admin: Visitor, path: str) -> None:
    assert admin.page(path).status_code in (303, 400, 404)


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


# what belongs to it


def test_a_linked_object_and_the_fit_are_shown_to_who_may_see_them(
    lab: Api, users: dict[str, str], passed: dict[str, Any], observed: Observed
) -> None:
    alert = observed.database[ZTF.alerts].find_one({"candid": passed["candid"]})
    names = ("jd", "ra", "dec", "magpsf", "sigmapsf", "isdiffpos")
    other = {
        "objectId": "313",
        "candid": 314,
        "candidate": {name: alert["candidate"][name] for name in names} | {"fid": 1},
    }
    link = Link("ZTF", passed["objectId"], "PGIR", "313", 0.42)
    curve = {"mjd": [60310.0, 60311.0], "bands": {"ztfr": [100.0, 150.0], "ztfg": [90.0, 140.0]}}
    fit = {"_id": f"ZTF:{passed['objectId']}", "made_at": passed["passed_at"], "rights": {"ZTF": [1], "PGIR": None}}
    fit |= {"z": 0.05, "z_source": "NED", "x1": 0.1, "c": 0.2, "chi2": 10.0, "ndof": 9, "points": 14, "curve": curve}
    observed.database["PGIR_alerts"].insert_one(other)
    observed.database["object_links"].insert_one(link.document())
    observed.database["fits"].insert_one(fit)
    page = object_address("ZTF", passed["objectId"])
    try:
        for name, sees in ((None, True), (MEMBER, False)):
            with Visitor(lab) as visitor:
                visitor.log_in(*((name, users[name]) if name else ()))
                text, plot = visitor.page(page).text, visitor.page(f"{page}/lightcurve.json").text
                assert ("Also in PGIR" in text, 'href="/lab/objects/pgir/313"' in text, "0.42″ away" in text) == (
                    sees,
                ) * 3
                assert ("SALT2: z = 0.050 (NED)" in text) is sees
                assert ("PGIR cspjs" in plot, '"name":"Line"' in plot.replace(" ", "")) == (sees, sees)
                assert ("points that you may not see" in text) is not sees
                assert visitor.page("/lab/objects/pgir/313").status_code == (200 if sees else 404)
    finally:
        for collection in ("PGIR_alerts", "object_links", "fits"):
            observed.database[collection].drop()


def test_an_object_with_a_history_and_no_alert_has_a_page(admin: Visitor, observed: Observed) -> None:
    point = {
        "candid": 99,
        "jd": 2460310.7,
        "ra": 15.5,
        "dec": -20.25,
        "magpsf": 18.25,
        "sigmapsf": 0.1,
        "fid": 2,
        "programid": 1,
    }
    observed.database[ZTF.aux].insert_one({"_id": "ZTF98onlyold", "prv_candidates": [point | {"isdiffpos": "t"}]})
    try:
        page = leads_to(admin, "ZTF98onlyold")
        text = admin.page(page).text
        assert "There is no alert of this object that you may see" in text
        assert "15.500000 -20.250000" in text
        assert "18.25 ± 0.10 ztfr" in text
        assert "ZTF ztfr, detection" in admin.page(f"{page}/lightcurve.json").text
    finally:
        observed.database[ZTF.aux].delete_one({"_id": "ZTF98onlyold"})
