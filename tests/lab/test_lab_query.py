"""The query page: forms, answers, files, what was asked before, and the same query elsewhere."""

import csv
import html
import io
import json
import os
import re
import subprocess
import sys
from typing import Any
from urllib.parse import urlencode

import pyarrow.parquet as pq
import pytest
import requests
from api_harness import Api, wait_until
from browser import LOOKS, Browser
from night import ALERTS, SCRIPT, Observed
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from visitor import Visitor

BRIGHT = '{"candidate.magpsf": {"$lt": 18}}'
FIELDS = '{"_id": 0, "candid": 1, "objectId": 1, "candidate.magpsf": 1, "candidate.jd": 1}'
FIND = {"kind": "find", "catalog": "ZTF_alerts", "filter": BRIGHT, "projection": FIELDS, "sort": "-candidate.jd"}


@pytest.fixture(scope="module")
def partner(lab: Api) -> str:
    """A user who sees the public alerts only."""
    lab.post("/api/users", {"username": "reader", "password": "x", "permissions": {"ZTF": [1]}})
    return "reader"


def ask(visitor: Visitor, **fields: str) -> str:
    """Where a query's answer is."""
    answer = visitor.submit("/lab/query", proof=visitor.proof("/lab/query"), **fields)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def refused(visitor: Visitor, **fields: str) -> str:
    """The page of a query that is wrong."""
    answer = visitor.submit("/lab/query", proof=visitor.proof("/lab/query"), **fields)
    if answer.status_code == 303:
        answer = visitor.page(answer.headers["Location"])
    assert answer.status_code == 400
    return html.unescape(answer.text)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def shown(page: str, name: str) -> str:
    """A call that a page shows."""
    found = re.search(rf'<pre id="code-{name}"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert found
    return html.unescape(found[1])


def test_a_form_shows_only_the_fields_of_its_kind(admin: Visitor) -> None:
    for kind, here, absent in (
        ("find", ["filter", "projection", "sort", "limit"], ["pipeline", "radec"]),
        ("aggregate", ["pipeline"], ["filter", "radec"]),
        ("cone_search", ["radec", "radius", "filter"], ["pipeline", "command"]),
        ("info", ["command"], ["filter", "limit"]),
    ):
        page = admin.page(f"/lab/query?kind={kind}").text
        assert all(f'name="{name}"' in page for name in here)
        assert not any(f'name="{name}"' in page for name in absent)
    assert 'value="ZTF_alerts"' not in page
    assert "<option>ZTF_alerts</option>" in page


def test_an_address_fills_a_form(admin: Visitor) -> None:
    page = admin.page("/lab/query?" + urlencode(FIND)).text
    assert html.escape(BRIGHT, quote=True).replace("&quot;", "&#34;") in page
    assert "<option selected>ZTF_alerts</option>" in page


def test_documents_are_a_table(admin: Visitor, observed: Observed) -> None:
    page = admin.page(ask(admin, **FIND)).text
    expected = observed.database["ZTF_alerts"].count_documents(json.loads(BRIGHT))
    assert f"{expected} rows." in page
    assert ">candidate.magpsf</th>" in page
    first = observed.database["ZTF_alerts"].find_one(json.loads(BRIGHT), sort=[("candidate.jd", -1)])
    assert first is not None
    assert f'<a href="/lab/objects/ztf/{first["objectId"]}">{first["candid"]}</a>' in page


def test_python_and_dates_are_read_as_by_the_api(admin: Visitor, observed: Observed) -> None:
    fields = FIND | {"filter": "{'candidate.drb': {'$gt': 0.5}, 'candidate.isdiffpos': {'$ne': None}}", "limit": "3"}
    assert "3 rows." in admin.page(ask(admin, **fields)).text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"filter": '{"candid": }'}, "filter: neither JSON nor a Python literal: Expecting value: line 1 column 12"),
        ({"filter": "[1]"}, "Unsupported filter specification"),
        ({"limit": "many"}, "limit: 'many' is no whole number"),
        ({"filter": '{"$where": "1"}'}, "forbidden operators: $where"),
        ({"filter": '{"candid": {"$gt": {"$foo": 1}}}'}, "$foo"),
        ({"max_time_ms": "999999999"}, "max_time_ms must be int <="),
        ({"kind": "drop"}, "'drop' is no kind of query"),
        ({"kind": "aggregate", "pipeline": '[{"$out": "x"}]'}, "forbidden stages: $out"),
    ],
)
def test_what_is_wrong_stands_beside_what_was_typed(admin: Visitor, fields: dict[str, str], said: str) -> None:
    page = refused(admin, **FIND | {"comment": "mine"} | fields)
    assert said in page
    typed = next(value for name, value in fields.items() if name != "kind") if fields != {"kind": "drop"} else "find"
    assert typed in page


def test_what_a_user_may_not_read_is_not_offered_and_not_given(
    lab: Api, visitor: Visitor, partner: str, observed: Observed
) -> None:
    visitor.log_in(partner, "x")
    observed.database["PGIR_alerts"].insert_one({"candid": 1, "objectId": "PGIR1", "candidate": {"jd": 1.0}})
    try:
        page = visitor.page("/lab/query").text
    finally:
        observed.database["PGIR_alerts"].drop()
    assert "<option>ZTF_alerts</option>" in page
    for closed in ("users", "filters", "lab_queries", "PGIR_alerts"):
        assert f"<option>{closed}</option>" not in page
    assert "Protected collection: lab_queries" in refused(visitor, kind="find", catalog="lab_queries")
    mine = visitor.page(ask(visitor, kind="count_documents", catalog="ZTF_alerts")).text
    token = lab.log_in(partner, "x").json()["token"]
    seen = lab.ask("count_documents", {"catalog": "ZTF_alerts", "filter": {}}, token=token).json()["data"]
    assert 0 < seen < ALERTS
    assert f'<p class="figure" role="status">{seen}</p>' in mine


def test_every_kind_answers(admin: Visitor, observed: Observed) -> None:
    alert = observed.database["ZTF_alerts"].find_one({})
    assert alert is not None
    candidate = alert["candidate"]
    here = f"{candidate['ra']} {candidate['dec']}"
    for fields, said in (
        ({"kind": "find_one", "catalog": "ZTF_alerts", "filter": f'{{"candid": {alert["candid"]}}}'}, "bytes"),
        ({"kind": "aggregate", "catalog": "ZTF_alerts", "pipeline": '[{"$count": "n"}]'}, str(ALERTS)),
        ({"kind": "cone_search", "catalog": "ZTF_alerts", "radec": here, "radius": "2", "unit": "arcsec"}, str(alert["candid"])),
        ({"kind": "near", "catalog": "ZTF_alerts", "radec": here, "max_distance": "2", "unit": "arcsec", "limit": "1"}, str(alert["candid"])),
        ({"kind": "estimated_document_count", "catalog": "ZTF_alerts"}, str(ALERTS)),
        ({"kind": "info", "command": "catalog_names"}, "<li>ZTF_alerts</li>"),
        ({"kind": "info", "command": "index_info", "catalog": "ZTF_alerts"}, "candidate.jd"),
        ({"kind": "find", "catalog": "ZTF_alerts", "filter": '{"candid": 1}'}, "Nothing was found."),
    ):  # fmt: skip
        page = admin.page(ask(admin, **fields))
        assert (page.status_code, said in page.text) == (200, True), (fields, page.text)
    missing = refused(admin, kind="skymap", catalog="ZTF_alerts", dateobs="2024-01-01T00:00:00", localization_name="x")
    assert 'role="alert"' in missing


def test_a_large_answer_is_cut(admin: Visitor, observed: Observed) -> None:
    pipeline = [{"$limit": 1}, {"$project": {"n": {"$range": [0, 30_000]}}}, {"$unwind": "$n"}]
    page = admin.page(ask(admin, kind="aggregate", catalog="ZTF_alerts", pipeline=json.dumps(pipeline))).text
    assert re.search(r"Showing 200 of more than [\d,]+ rows", page)
    assert page.count("<tr>") == 201
    pipeline[1:] = [{"$project": {"n": {"$range": [0, 300]}}}, {"$unwind": "$n"}]
    page = admin.page(ask(admin, kind="aggregate", catalog="ZTF_alerts", pipeline=json.dumps(pipeline))).text
    assert "Showing 200 of 300 rows" in page


def test_files_have_all_rows(admin: Visitor, observed: Observed) -> None:
    run = ask(admin, **FIND)
    expected = observed.database["ZTF_alerts"].find(json.loads(BRIGHT)).sort("candidate.jd", -1)
    candids = [each["candid"] for each in expected]
    text = admin.page(f"{run}/rows.csv")
    assert text.headers["Content-Type"].startswith("text/csv")
    assert sorted(int(row["candid"]) for row in rows(text.text)) == sorted(candids)
    table = pq.read_table(io.BytesIO(admin.page(f"{run}/rows.parquet").content))
    assert sorted(table["candid"].to_pylist()) == sorted(candids)


def test_no_cell_is_a_formula(admin: Visitor) -> None:
    stage = {
        "$project": {
            "_id": 0,
            "a": {"$literal": "=cmd|' /C calc'!A0"},
            "b": {"$literal": -1.5},
            "c": {"$literal": ["-x"]},
        }
    }
    run = ask(admin, kind="aggregate", catalog="ZTF_alerts", pipeline=json.dumps([{"$limit": 1}, stage]))
    assert rows(admin.page(f"{run}/rows.csv").text) == [{"a": "'=cmd|' /C calc'!A0", "b": "-1.5", "c": '["-x"]'}]


def test_columns_of_a_file_are_those_of_all_rows(admin: Visitor) -> None:
    branch = {"$cond": [{"$eq": ["$n", 900]}, 1, "$$REMOVE"]}
    pipeline = [
        {"$limit": 1},
        {"$project": {"_id": 0, "n": {"$range": [0, 1000]}}},
        {"$unwind": "$n"},
        {"$set": {"late.one": branch}},
    ]
    run = ask(admin, kind="aggregate", catalog="ZTF_alerts", pipeline=json.dumps(pipeline))
    found = rows(admin.page(f"{run}/rows.csv").text)
    assert (len(found), found[900]["late.one"], found[0]["late.one"]) == (1000, "1", "")


def test_what_was_asked_is_kept_once_and_for_him_alone(admin: Visitor, lab: Api, partner: str) -> None:
    run = ask(admin, **FIND | {"comment": "bright ones"})
    assert ask(admin, **FIND | {"comment": "bright ones"}) == run
    assert admin.page("/lab/query").text.count(f'href="{run}"') == 1
    with Visitor(lab) as other:
        other.log_in(partner, "x")
        assert other.page(run).status_code == 400
        assert run not in other.page("/lab/query").text
        assert other.page(f"{run}/rows.csv").status_code == 400
        other.submit(f"{run}/forget", proof=other.proof("/lab/query"))
    assert admin.page(run).status_code == 200
    admin.submit(f"{run}/forget", proof=admin.proof("/lab/query"))
    assert admin.page(run).status_code == 400


def test_only_so_many_are_kept_and_all_can_be_forgotten(lab: Api, observed: Observed) -> None:
    lab.post("/api/users", {"username": "busy", "password": "x"})
    with Visitor(lab) as busy:
        busy.log_in("busy", "x")
        proof = busy.proof("/lab/query")
        for number in range(103):
            busy.submit("/lab/query", proof=proof, kind="count_documents", catalog="ZTF_alerts", comment=str(number))
        kept = {each["fields"]["comment"] for each in observed.database["lab_queries"].find({"user": "busy"})}
        assert kept == {str(number) for number in range(3, 103)}
        busy.submit("/lab/query/forget", proof=proof)
        assert observed.database["lab_queries"].count_documents({"user": "busy"}) == 0
        ask(busy, kind="count_documents", catalog="ZTF_alerts")
    requests.delete(f"{lab.url}/api/users/busy", headers={"Authorization": lab.token}, timeout=30)
    assert observed.database["lab_queries"].count_documents({"user": "busy"}) == 0


def test_what_users_and_packets_write_stays_text(admin: Visitor) -> None:
    stage = {
        "$project": {"_id": 0, SCRIPT.replace(".", ""): {"$literal": SCRIPT}, "objectId": {"$literal": '"><script>'}}
    }
    pipeline = json.dumps([{"$limit": 1}, stage])
    run = ask(admin, kind="aggregate", catalog="ZTF_alerts", pipeline=pipeline, comment=SCRIPT)
    wrong = admin.submit("/lab/query", proof=admin.proof("/lab/query"), kind="find", filter=SCRIPT, comment=SCRIPT)
    for page in (admin.page(run), admin.page("/lab/query"), wrong):
        assert "<script>document" not in page.text
        assert "&lt;script&gt;document" in page.text


def test_the_calls_that_are_shown_give_the_same_rows(admin: Visitor, lab: Api) -> None:
    run = ask(admin, **FIND | {"comment": "O'Neill's \"stars\" $HOME `id`", "limit": "5"})
    page = admin.page(run).text
    expected = [row["candid"] for row in rows(admin.page(f"{run}/rows.csv").text)]
    token: dict[str, str] = {"KOWALSKI_TOKEN": lab.token}
    said = subprocess.run(["bash", "-c", shown(page, "curl")], env=os.environ | token, capture_output=True, check=True)
    by_curl = [str(row["candid"]) for row in json.loads(said.stdout)["data"]]
    program = shown(page, "penquins") + "\nimport json\nprint('DATA', json.dumps(data))\n"
    said = subprocess.run([sys.executable, "-c", program], env=os.environ | token, capture_output=True, check=True)
    by_penquins: list[dict[str, Any]] = json.loads(said.stdout.decode().split("DATA ")[1])
    assert len(expected) == 5
    assert by_curl == expected
    assert [str(row["candid"]) for row in by_penquins] == expected


def test_plots_are_told_as_bokeh_wants_them(admin: Visitor) -> None:
    run = ask(admin, **FIND)
    for more in ("y=candidate.magpsf", "", "logx=true&logy=true", "y=candidate.magpsf&logx=true&theme=dark"):
        item = admin.get(f"{admin.lab.url}{run}/plot.json?x=candidate.jd&{more}", timeout=30).json()
        assert item["root_id"]
    wrong = admin.get(f"{admin.lab.url}{run}/plot.json?x=objectId", headers={"Accept": "application/json"}, timeout=30)
    assert (wrong.status_code, wrong.json()["message"]) == (400, "no row has a number in objectId")


def test_only_the_labs_own_form_asks(admin: Visitor) -> None:
    assert admin.submit("/lab/query", proof="0" * 64, **FIND).status_code == 403


# in a browser


def test_asking_plotting_and_repeating(browser: Browser) -> None:
    browser.log_in()
    browser.open("/lab/query?" + urlencode(FIND))
    browser.press("form.ask button.main")
    assert "rows." in browser.text("section")
    browser.run(
        "document.querySelector('[name=y]').value = 'candidate.magpsf'; document.querySelector('[name=x]').value = 'candidate.jd'"
    )
    browser.press("form.axes button")
    assert browser.find("figure.plot").get_attribute("data-drawn") == "light"
    browser.find("#theme").click()
    wait_until(lambda: browser.find_all("figure.plot[data-drawn=dark]"))
    browser.press(".history li:first-child a")
    assert browser.find("[name=filter]").get_attribute("value") == BRIGHT


def test_all_of_it_goes_by_keys_alone(browser: Browser) -> None:
    def press(*keys: str) -> None:
        ActionChains(browser.driver).send_keys(*keys).perform()

    def go_to(selector: str) -> None:
        for _ in range(60):
            press(Keys.TAB)
            if browser.run("return document.activeElement.matches(arguments[0])", selector):
                return
        raise AssertionError(f"no way to {selector} by Tab")

    browser.log_in()
    browser.open("/lab/query?kind=find&catalog=ZTF_alerts")
    go_to(".skip")
    press(Keys.ENTER)
    go_to("[name=filter]")
    press(Keys.BACKSPACE, Keys.DELETE, Keys.BACKSPACE, Keys.DELETE, BRIGHT)  # what stood there: {}
    go_to("[name=projection]")
    press(FIELDS)
    go_to("form.ask button.main")
    press(Keys.ENTER)
    wait_until(lambda: browser.find_all("form.axes button"))
    go_to(".files a[href$=csv]")
    go_to("form.axes button")
    press(Keys.ENTER)
    wait_until(lambda: browser.find_all("figure[data-drawn=light]"))
    go_to(".past")
    press(Keys.ENTER)
    go_to("[data-copy=code-curl]")


@LOOKS
def test_everybody_can_use_the_query_page(browser: Browser, admin: Visitor, size: tuple[int, int], theme: str) -> None:
    run = ask(admin, **FIND)
    cone = ask(admin, kind="cone_search", catalog="ZTF_alerts", radec="150 2", radius="2", unit="arcsec")
    browser.size(*size)
    browser.log_in()
    browser.driver.add_cookie({"name": "kowalski_theme", "value": theme, "path": "/lab"})
    for path in ("/lab/query?kind=near", "/lab/query?kind=aggregate", cone, run, f"{run}?x=candidate.magpsf"):
        browser.open(path)
        assert (browser.violations(), browser.overflow()) == ([], 0)
