"""An object's page in the lab, by HTTP: what it shows, of whom, and the files that belong to it."""

import csv
import io
import json
from typing import Any

from api_harness import Api
from night import SCRIPT, ZTF, Observed
from visitor import MEMBER, Visitor, leads_to

from kowalski.api.services.passed import HIDDEN
from kowalski.database.links import Link
from kowalski.lab.addresses import object_address


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


def test_what_was_refused_or_comes_from_tables_is_told(
    member: Visitor, passed: dict[str, Any], observed: Observed
) -> None:
    outbox, passes = observed.database["outbox"], observed.database["passes"]
    error = {"status": 400, "message": "<b>no</b> such stream"}
    outbox.update_one({"_id": passed["_id"]}, {"$set": {"state": "failed", "attempts": 3, "error": error}})
    own = {name: passed[name] for name in ("survey", "candid", "objectId", "jd", "passed_at")}
    passes.insert_one(
        own
        | {
            "_id": "x",
            "filter_id": 4242,
            "group_id": 1,
            "fid": "abc123",
            "annotations": {"a": 1.5},
            "permissions": [1],
            "surveys": {},
        }
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
            "surveys": {},
        }
    )
    passes.insert_one(
        own
        | {
            "_id": "w",
            "filter_id": 4646,
            "group_id": 1,
            "fid": "abc123",
            "annotations": {"a": 3.5},
            "permissions": [1],
            "surveys": {"PGIR": True},
        }
    )
    passes.insert_one(own | {"_id": "y", "filter_id": 4343, "group_id": 2, "fid": "abc123", "annotations": {}})
    outbox.insert_one(own | {"_id": f"ZTF:{passed['candid']}:photometry", "kind": "photometry", "state": "pending"})
    try:
        text = member.page(object_address("ZTF", passed["objectId"])).text
        assert "failed</span>, 3 attempts" in text
        assert "400 &lt;b&gt;no&lt;/b&gt; such stream" in text
        assert "Filter 4242" in text
        assert "<dd>1.5</dd>" in text
        assert ("Filter 4444" in text, HIDDEN in text, "<dd>2.5</dd>" in text) == (
            True,
            True,
            False,
        )  # he sees programme 1 alone
        assert ("Filter 4646" in text, "<dd>3.5</dd>" in text) == (True, False)  # nor anything of PGIR
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
