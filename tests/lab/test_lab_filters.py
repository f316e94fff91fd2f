"""The filter pages: the list, one filter, its versions, and the editor that checks, explains, replays and saves."""

import html
import json
import re
from typing import Any

import pytest
from api_harness import Api, wait_until
from browser import LOOKS, Browser
from night import ALERTS, HOSTILE, SCRIPT, Observed
from selenium.webdriver.common.keys import Keys
from visitor import Visitor

from kowalski.lab.filters.versions import side_by_side
from kowalski.local.demo_filters import DEMO_FILTERS

NIGHT = "2024-01-01"
BRIGHT: list[dict[str, Any]] = [
    {"$match": {"candidate.drb": {"$gt": 0.5}}},
    {"$match": {"candidate.magpsf": {"$lt": 18}}},
]


@pytest.fixture(scope="module")
def member(lab: Api) -> str:
    """A member of group 7 who sees the public alerts."""
    lab.post("/api/users", {"username": "member7", "password": "x", "groups": [7], "permissions": {"ZTF": [1]}})
    return "member7"


@pytest.fixture
def filter_id(observed: Observed) -> int:
    """A filter of group 1 with two versions, the second active."""
    old, new = json.dumps(BRIGHT), json.dumps([BRIGHT[0], {"$match": {"candidate.magpsf": {"$lt": 19}}}])
    version = DEMO_FILTERS[0]["fv"][0]
    document = {key: value for key, value in DEMO_FILTERS[0].items() if key != "_id"} | {
        "filter_id": 55,
        "active_fid": "newnew",
        "fv": [version | {"fid": "oldold", "pipeline": old}, version | {"fid": "newnew", "pipeline": new}],
    }
    observed.database["filters"].replace_one({"filter_id": 55}, document, upsert=True)
    return 55


def draft(**fields: Any) -> dict[str, str]:
    """The fields of the editor's form."""
    told = {"filter_id": "1", "group_id": "1", "catalog": "ZTF_alerts", "pipeline": json.dumps(BRIGHT), "night": NIGHT}
    return told | {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}


def asked(visitor: Visitor, path: str, **fields: Any) -> Any:
    """What a script of the editor is told."""
    headers = {"Accept": "application/json", "X-Kowalski-Proof": visitor.proof("/lab/filters/new")}
    answer = visitor.post(f"{visitor.lab.url}/lab/filters/{path}", draft(**fields), headers=headers, timeout=120)
    return answer.json()


# the list, and one filter


def test_the_list_has_what_the_user_may_see(admin: Visitor, lab: Api, member: str, observed: Observed) -> None:
    page = admin.page("/lab/filters").text
    for number in (1, 2, 3, HOSTILE):
        assert f'<a href="/lab/filters/{number}">{number}</a>' in page
    runs = observed.database["filter_runs"].find_one({"filter_id": 1})
    assert runs is not None
    assert re.search(rf"<td class=\"n\">{runs['passed']}</td>", page)
    with Visitor(lab) as other:
        other.log_in(member, "x")
        assert "Your groups have no filters yet." in other.page("/lab/filters").text
        for path in ("/lab/filters/1", "/lab/filters/1/edit"):
            answer = other.page(path)
            assert (answer.status_code, "Filter id 1 not found" in answer.text) == (400, True)


def test_one_filter_tells_how_it_does(admin: Visitor, observed: Observed) -> None:
    page = admin.page("/lab/filters/1").text
    runs = observed.database["filter_runs"].find_one({"filter_id": 1})
    assert runs is not None
    assert f'<td class="whole">{runs["night"]}</td>' in page
    assert '<code>demo01</code> <span class="good">active</span>' in page


def test_versions_side_by_side(admin: Visitor, filter_id: int) -> None:
    page = html.unescape(admin.page(f"/lab/filters/{filter_id}?a=oldold&b=newnew").text)
    assert '<del>        "$lt": 18</del>' in page
    assert '<ins>        "$lt": 19</ins>' in page
    same = admin.page(f"/lab/filters/{filter_id}?a=oldold&b=oldold").text
    assert "These two are the same." in same


def test_equal_lines_far_from_differences_are_left_out() -> None:
    before = [str(number) for number in range(30)]
    after = [*before[:15], "new", *before[16:29]]
    lines = side_by_side("\n".join(before), "\n".join(after))
    assert [line.kind for line in lines] == [
        "gap",
        *["equal"] * 3,
        "replace",
        *["equal"] * 3,
        "gap",
        *["equal"] * 3,
        "delete",
    ]
    assert lines[4] == ("replace", 16, "15", 16, "new")
    assert (lines[-1].left, lines[-1].right_number) == ("29", None)


def test_pausing_activating_and_what_goes_with_it(admin: Visitor, filter_id: int, observed: Observed) -> None:
    def stored() -> dict[str, Any]:
        return observed.database["filters"].find_one({"filter_id": filter_id}) or {}

    path, proof = f"/lab/filters/{filter_id}", admin.proof(f"/lab/filters/{filter_id}")
    assert admin.submit(path, proof=proof, active="false").headers["Location"] == path
    assert stored()["active"] is False
    assert '<span class="quiet">paused</span>' in admin.page(path).text
    admin.submit(path, proof=proof, active="true")
    admin.submit(path, proof=proof, active_fid="oldold")
    assert (stored()["active"], stored()["active_fid"]) == (True, "oldold")
    admin.submit(path, proof=proof, autosave='{"active": true, "comment": "x"}', update_annotations="false")
    assert (stored()["autosave"], stored()["update_annotations"]) == ({"active": True, "comment": "x"}, False)
    for fields, said in (
        ({"active_fid": "nothere"}, "filter version fid not in filter.fv"),
        ({"autosave": '{"nonsense": 1}'}, "contains invalid keys"),
        ({"autosave": "{"}, "autosave: not valid JSON"),
    ):
        answer = admin.submit(path, proof=proof, **fields)
        assert (answer.status_code, said in answer.text) == (400, True), answer.text
    assert admin.submit(path, proof="0" * 64, active="false").status_code == 403


# the editor's services


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        ('[{"$match": {"candidate.drb": {"$gt": 0.5}}}', {"ok": False, "line": 1}),
        ([BRIGHT[0], {"$match": {"a": {"$gtt": 1}}}], {"ok": False, "stage": 2, "path": "$match.a.$gtt"}),
        ([BRIGHT[0], {"$lookup": {"from": "users"}}], {"ok": False, "stage": 2, "path": "$lookup"}),
        (
            [{"$set": {"b": 1}}, {"$set": {"a": {"$divide": ["$candidate.jd", 0]}}}],
            {"ok": False, "stage": 2, "path": "$set"},
        ),
        ([], {"ok": False, "message": "pipeline must contain at least one stage"}),
        (BRIGHT, {"ok": True}),
    ],
)
def test_what_is_typed_is_checked_as_if_it_were_posted(admin: Visitor, lab: Api, observed: Observed, pipeline: Any, expected: dict[str, Any]) -> None:  # fmt: skip
    before = list(observed.database["filters"].find())
    told = asked(admin, "check", pipeline=pipeline)
    assert told | expected == told
    if not told["ok"]:
        body = {"filter_id": 1, "group_id": 1, "catalog": "ZTF_alerts", "pipeline": pipeline}
        posted = lab.post("/api/filters", body)
        assert (posted.status_code, posted.json()["message"]) == (400, told["message"])
    assert list(observed.database["filters"].find()) == before


def test_names_are_those_of_the_schema_and_of_alerts(admin: Visitor) -> None:
    told = asked(admin, "fields")
    names = dict(told["fields"])
    assert {
        "candidate.magpsf",
        "candidate.drb",
        "prv_candidates.magpsf",
        "classifications.braai",
        "cross_matches",
    } <= names.keys()
    assert any(name.startswith("cross_matches.CLU_20190625.") for name in names)
    assert (names["candidate.magpsf"], names["candidate.candid"]) == ("number", "integer")
    assert not any(name.startswith(("cutout", "kafka", "_candid")) for name in names)
    assert {"$match", "$filter"} <= set(told["operators"])


def test_a_draft_is_explained(admin: Visitor, observed: Observed) -> None:
    faint = observed.database["ZTF_alerts"].find_one({"candidate.magpsf": {"$gt": 18}, "candidate.drb": {"$gt": 0.5}})
    assert faint is not None
    told = asked(admin, "explain", alert=str(faint["candid"]))["html"]
    assert "does not pass" in told
    assert f"candidate.magpsf is {faint['candidate']['magpsf']!r}, not" in html.unescape(told)
    assert f'<a href="/lab/objects/ztf/{faint["objectId"]}">' in told
    assert asked(admin, "explain", alert="1")["message"].startswith("there is no alert 1 in ZTF_alerts")
    assert "Which alert?" in asked(admin, "explain")["message"]
    page = admin.submit(
        "/lab/filters/explain", proof=admin.proof("/lab/filters/new"), **draft(alert=str(faint["candid"]))
    )
    assert (page.status_code, "does not pass" in page.text, "<textarea" in page.text) == (200, True, True)


def test_a_draft_is_replayed(admin: Visitor, observed: Observed) -> None:
    alerts = observed.database["ZTF_alerts"]
    drb = alerts.count_documents({"candidate.drb": {"$gt": 0.5}})
    both = alerts.count_documents({"candidate.drb": {"$gt": 0.5}, "candidate.magpsf": {"$lt": 18}})
    night = day_of(observed)
    assert asked(admin, "count", night=night) == {"alerts": ALERTS}
    told = asked(admin, "replay", night=night, compared="true")["html"]
    assert f"{both} of {ALERTS} alerts of {night} pass" in told
    left = re.findall(r'<td class="n">([\d,–]+)</td><td><progress', told)
    assert left == [str(ALERTS), str(drb), str(both)]
    assert "The active version <code>demo01</code> passes" in told
    plots = [html.unescape(each) for each in re.findall(r'data-plot="([^"]+)"', told)]
    assert len(plots) == 2
    for address in plots:
        counts = re.search(r"counts=([^&]+)", address)
        assert counts is not None
        assert sum(map(int, counts[1].split("%2C"))) == both
        assert admin.get(admin.lab.url + address, timeout=30).json()["root_id"]
    assert asked(admin, "replay", night="someday")["message"].startswith("Which night?")
    assert "is no field" in asked(admin, "replay", night=night, field="$where")["message"]


def test_alerts_that_go_one_by_one_are_counted_too(admin: Visitor, observed: Observed) -> None:
    drb = observed.database["ZTF_alerts"].count_documents({"candidate.drb": {"$gt": 0.5}})
    stages = [BRIGHT[0], {"$unwind": "$prv_candidates"}, {"$group": {"_id": "$objectId", "n": {"$sum": 1}}}]
    told = asked(admin, "replay", night=day_of(observed), pipeline=stages)["html"]
    left = [int(each) for each in re.findall(r'<td class="n">([\d,–]+)</td><td><progress', told)]
    assert left[:2] == [ALERTS, drb]
    assert 0 < left[3] == left[2] <= drb
    assert f"{left[3]} of {ALERTS} alerts" in told


def test_rights_are_those_of_the_api(lab: Api, member: str, observed: Observed) -> None:
    hidden = observed.database["ZTF_alerts"].find_one({"candidate.programid": {"$ne": 1}})
    assert hidden is not None
    own = {"filter_id": "", "group_id": "7", "permissions": "1,2,3", "new": "true"}
    with Visitor(lab) as other:
        other.log_in(member, "x")
        assert "you are not in group 1" in asked(other, "explain", alert=str(hidden["candid"]))["message"]
        assert "Filter id 1 not found" in asked(other, "explain", group_id="7", alert=str(hidden["candid"]))["message"]
        assert "you are not in group 1" in asked(other, "explain", **own | {"group_id": "1"}, alert="1")["message"]
        assert asked(other, "check", **own | {"permissions": "1"})["ok"] is True
        assert "permissions: you may not see" in asked(other, "check", **own)["message"]
        assert "that you may see" in asked(other, "explain", **own, alert=str(hidden["candid"]))["message"]
        seen = observed.database["ZTF_alerts"].count_documents({"candidate.programid": 1})
        assert asked(other, "count", **own, night=day_of(observed)) == {"alerts": seen}
        assert f"of {seen} alerts" in asked(other, "replay", **own, night=day_of(observed))["html"]


def test_saving_makes_a_version_and_a_new_filter(admin: Visitor, filter_id: int, observed: Observed) -> None:
    pipeline = [*BRIGHT, {"$project": {"annotations": {"magpsf": "$candidate.magpsf"}}}]
    answer = admin.submit(
        "/lab/filters/save", proof=admin.proof("/lab/filters/new"), **draft(filter_id=str(filter_id), pipeline=pipeline)
    )
    assert answer.headers["Location"] == f"/lab/filters/{filter_id}"
    stored = observed.database["filters"].find_one({"filter_id": filter_id}) or {}
    assert (len(stored["fv"]), stored["fv"][2]["fid"]) == (3, stored["active_fid"])
    assert stored["permissions"] == [1, 2, 3]
    fresh = draft(filter_id="77", group_id="7", permissions="1, 2", new="true", pipeline=pipeline)
    observed.database["filters"].delete_one({"filter_id": 77})
    assert admin.submit("/lab/filters/save", proof=admin.proof("/lab/filters/new"), **fresh).status_code == 303
    stored = observed.database["filters"].find_one({"filter_id": 77}) or {}
    assert (stored["group_id"], stored["permissions"]) == (7, [1, 2])
    again = admin.submit("/lab/filters/save", proof=admin.proof("/lab/filters/new"), **fresh)
    assert (again.status_code, "there is a filter 77 already" in again.text) == (400, True)
    wrong = admin.submit(
        "/lab/filters/save", proof=admin.proof("/lab/filters/new"), **draft(pipeline='[{"$mutch": {"kept": 1}}]')
    )
    assert (wrong.status_code, "forbidden stages: $mutch" in wrong.text, "kept" in wrong.text) == (400, True, True)
    observed.database["filters"].delete_one({"filter_id": 77})


def test_scripts_in_filters_and_packets_stay_text(admin: Visitor, observed: Observed) -> None:
    alert = observed.database["ZTF_alerts"].find_one({"candidate.drb": {"$gt": 0.5}})
    assert alert is not None
    closing = f'[{{"$match": {{"</textarea>{SCRIPT}": 1}}}}]'
    told = [
        admin.page(f"/lab/filters/{HOSTILE}/edit").text,
        admin.page(f"/lab/filters/{HOSTILE}?a=h05711&b=h05711").text,
        admin.submit("/lab/filters/save", proof=admin.proof("/lab/filters/new"), **draft(pipeline=closing + "]")).text,
        asked(admin, "explain", pipeline=[{"$project": {"annotations": {"host": {"$literal": SCRIPT}}}}], alert=str(alert["candid"]))["html"],
        asked(admin, "explain", pipeline=json.loads(closing), alert=str(alert["candid"]))["html"],
    ]  # fmt: skip
    assert not any("<script>document" in text for text in told)
    assert "&lt;script&gt;document" in told[3]


def day_of(observed: Observed) -> str:
    """The night of the alerts."""
    from kowalski.api.services.replays import night_of

    newest = observed.database["ZTF_alerts"].find_one(sort=[("candidate.jd", -1)])
    assert newest is not None
    return night_of(newest["candidate"]["jd"])


def test_a_filter_that_was_removed_meanwhile_is_not_made_anew(
    admin: Visitor, filter_id: int, observed: Observed
) -> None:
    proof = admin.proof(f"/lab/filters/{filter_id}/edit")
    observed.database["filters"].delete_one({"filter_id": filter_id})
    answer = admin.submit("/lab/filters/save", proof=proof, **draft(filter_id=str(filter_id)))
    assert (answer.status_code, f"Filter id {filter_id} not found" in answer.text) == (400, True)
    assert observed.database["filters"].find_one({"filter_id": filter_id}) is None


# in a browser


def can_be_saved(browser: Browser) -> bool:
    """Whether the check says so; one for which there was no time is asked for again."""
    if "time limit" in browser.text("#check"):
        browser.run("document.getElementById('pipeline').dispatchEvent(new Event('input', {bubbles: true}))")
    return "It can be saved" in browser.text("#check")


def test_writing_a_filter_from_idea_to_version(browser: Browser, filter_id: int, observed: Observed) -> None:
    browser.log_in()
    browser.open(f"/lab/filters/{filter_id}/edit?fid=oldold")
    wait_until(lambda: can_be_saved(browser))
    wait_until(lambda: browser.find_all("#numbers option"))
    area = browser.find("#pipeline")
    area.send_keys(Keys.CONTROL, "a")
    area.send_keys('[{"$match": {"candidate.magp')
    wait_until(lambda: browser.find_all(".options li"))
    area.send_keys(Keys.ARROW_DOWN)
    active = area.get_attribute("aria-activedescendant")
    assert browser.text(f"#{active}").startswith("candidate.magpsf")
    area.send_keys(Keys.ENTER)
    assert area.get_attribute("value") == '[{"$match": {"candidate.magpsf'
    area.send_keys('": {"$ltt": 18.5}}}]')
    wait_until(lambda: "Stage 1, $match.candidate.magpsf.$ltt" in browser.text("#check"))
    assert area.get_attribute("aria-invalid") == "true"
    area.send_keys(Keys.END, *[Keys.ARROW_LEFT] * 11, Keys.BACKSPACE)
    wait_until(lambda: can_be_saved(browser))
    assert area.get_attribute("value") == '[{"$match": {"candidate.magpsf": {"$lt": 18.5}}}]'
    alert = browser.find("[name=alert]")
    alert.clear()
    alert.send_keys(str(observed.candids[0]), Keys.ENTER)
    wait_until(lambda: str(observed.candids[0]) in browser.text("#result"))
    browser.find("[formaction$='/replay']").send_keys(Keys.SPACE)
    wait_until(lambda: len(browser.find_all("#result figure[data-drawn=light]")) == 2)
    assert f"of {ALERTS} alerts" in browser.text("#result h2")
    assert browser.violations() == []
    browser.press(".write button.main")
    assert browser.text("h1") == f"Filter {filter_id}"
    browser.press("button[form=compare]")
    assert browser.find_all(".diff ins")


@LOOKS
def test_everybody_can_use_the_filter_pages(
    browser: Browser, filter_id: int, size: tuple[int, int], theme: str
) -> None:
    browser.size(*size)
    browser.log_in()
    browser.driver.add_cookie({"name": "kowalski_theme", "value": theme, "path": "/lab"})
    for path in (
        "/lab/filters",
        f"/lab/filters/{filter_id}?a=oldold&b=newnew",
        "/lab/filters/new",
        "/lab/filters/1/edit",
    ):
        browser.open(path)
        assert (path, browser.violations(), browser.overflow()) == (path, [], 0)
    wait_until(lambda: browser.find_all("#numbers option"))
    area = browser.find("#pipeline")
    area.send_keys(Keys.CONTROL, Keys.HOME)
    area.send_keys("candidate.")
    wait_until(lambda: browser.find_all(".options li"))
    area.send_keys(Keys.ARROW_DOWN)
    assert (browser.violations(), browser.overflow()) == ([], 0)
