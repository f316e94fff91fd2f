"""Objects in the lab, as somebody looks at them."""

from pathlib import Path
from typing import Any

import pytest
from api_harness import Api, wait_until
from browser import LOOKS, Browser
from night import HOSTILE, SCRIPT, ZTF, Observed
from others import observe_others
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.keys import Keys

from kowalski.lab.addresses import object_address

#: finds an element in the shadows that Bokeh draws in
DEEP = """
const look = (node, selector) => node.querySelector(selector)
  || [...node.querySelectorAll('*')].reduce((found, each) => found || (each.shadowRoot && look(each.shadowRoot, selector)), null);
"""
EVIL = "<img src=x onerror=\"document.title='id'\">"


@pytest.fixture(scope="module")
def rich(observed: Observed) -> dict[str, Any]:
    """The newest alert of the object with the most alerts that passed the hostile filter."""
    chosen = [{"$match": {"filter_id": HOSTILE}}, {"$group": {"_id": "$objectId", "n": {"$sum": 1}, "candids": {"$push": "$candid"}}}, {"$sort": {"n": -1, "_id": 1}}, {"$limit": 1}]  # fmt: skip
    (found,) = observed.database["outbox"].aggregate(chosen)
    return {"object": found["_id"], "candids": sorted(found["candids"])}


@pytest.fixture
def at_object(browser: Browser, rich: dict[str, Any]) -> Browser:
    """Somebody has looked for an object and is at its page."""
    browser.log_in()
    browser.find("[name=q]").send_keys(rich["object"].lower())
    browser.press("form[role=search] button")
    return browser


def drawn(browser: Browser) -> bool:
    """Whether the light curve has a canvas with a size."""
    return bool(
        browser.run(
            DEEP
            + "const canvas = look(document.querySelector('figure.curve'), 'canvas'); return canvas && canvas.width > 100"
        )
    )


def axes(browser: Browser) -> list[Any]:
    """The label of the y-axis, and the ends of the x-axis in MJD, as the dates and as the other axis say."""
    return list(
        browser.run("""
        const plot = Bokeh.documents.at(-1).roots()[0], mjd = (ms) => ms / 86400000 + 40587;
        const label = plot.left[0].axis_label, above = plot.extra_x_ranges.get ? plot.extra_x_ranges.get('mjd') : plot.extra_x_ranges.mjd;
        return [label, mjd(plot.x_range.start), mjd(plot.x_range.end), above.start, above.end]""")
    )


def test_the_page_of_an_object_is_all_there(at_object: Browser, rich: dict[str, Any]) -> None:
    assert at_object.driver.title.startswith(rich["object"])
    wait_until(lambda: at_object.run("return [...document.images].every(each => each.complete)"))
    assert at_object.run("return [...document.images].map(each => each.naturalWidth)") == [168] * 3
    assert all(each.get_attribute("alt") for each in at_object.find_all("img"))
    assert drawn(at_object)
    assert SCRIPT in at_object.text()


def test_magnitudes_become_fluxes(at_object: Browser) -> None:
    assert "magnitude" in axes(at_object)[0]
    at_object.find("#scale input[value=flux]").click()
    at_object.settled()
    wait_until(lambda: "flux" in axes(at_object)[0])
    assert drawn(at_object)


def test_both_axes_of_time_say_the_same_however_it_is_zoomed(at_object: Browser) -> None:
    _, first, last, *above = axes(at_object)
    assert above == pytest.approx([first, last], abs=1e-6)
    figure = at_object.find("figure.curve")
    at_object.run("arguments[0].scrollIntoView({block: 'center'})", figure)
    ActionChains(at_object.driver).move_to_element(figure).click_and_hold().move_by_offset(150, 60).release().perform()
    wait_until(lambda: axes(at_object)[1] != first)
    _, first, last, *above = axes(at_object)
    assert above == pytest.approx([first, last], abs=1e-6)


def test_a_click_on_a_band_hides_it_and_another_shows_it_again(at_object: Browser) -> None:
    def visible() -> Any:
        return at_object.run("return Bokeh.documents.at(-1).roots()[0].renderers.map(each => each.visible)")

    def click() -> None:
        place = at_object.run(f"""{DEEP} const legend = look(document.querySelector('figure.curve'), '.bk-Legend');
            legend.scrollIntoView({{block: 'center'}}); const box = legend.getBoundingClientRect();
            return [Math.round(box.left + 25), Math.round(box.top + box.height / 2)]""")
        mouse = ActionBuilder(at_object.driver)
        mouse.pointer_action.move_to_location(*place).click()
        mouse.perform()

    assert all(visible())
    click()
    wait_until(lambda: not all(visible()))
    assert any(visible())
    click()
    wait_until(lambda: all(visible()))


def test_the_theme_changes_the_plot_too(at_object: Browser) -> None:
    def paper() -> Any:
        """None while it is drawn anew."""
        return at_object.run("return Bokeh.documents.at(-1)?.roots()[0]?.background_fill_color ?? null")

    before = paper()
    assert before is not None
    at_object.find("#theme").click()
    wait_until(lambda: paper() not in (None, before))


def test_by_keys_alone_to_another_alert_and_the_points(at_object: Browser, rich: dict[str, Any]) -> None:
    def press(*keys: str) -> None:
        ActionChains(at_object.driver).send_keys(*keys).perform()

    def focus() -> Any:
        return at_object.run("const at = document.activeElement; return at.name || at.textContent.trim().slice(0, 20)")

    press(Keys.TAB)
    assert focus() == "To the content"
    press(Keys.ENTER)
    for _ in range(15):
        press(Keys.TAB)
        if focus() == "candid":
            break
    assert focus() == "candid"
    press(Keys.ARROW_DOWN, Keys.TAB, Keys.ENTER)
    wait_until(lambda: f"candid={rich['candids'][-2]}" in at_object.driver.current_url)
    at_object.settled()
    assert str(rich["candids"][-2]) in at_object.find("img").get_attribute("src")
    for _ in range(60):
        press(Keys.TAB)
        if str(focus()).startswith("The light curve as a"):
            break
    press(Keys.ENTER)
    wait_until(lambda: at_object.find(".tall tbody tr").is_displayed())


@LOOKS
def test_everybody_can_use_the_pages_of_objects(
    browser: Browser, rich: dict[str, Any], size: tuple[int, int], theme: str
) -> None:
    browser.size(*size)
    browser.log_in()
    browser.driver.add_cookie({"name": "kowalski_theme", "value": theme, "path": "/lab"})
    for path in ("/lab", "/lab/objects?q=ZTF1", "/lab/objects?q=nothing", object_address("ZTF", rich["object"])):
        browser.size(*size)
        browser.open(path)
        browser.run("document.querySelectorAll('details').forEach(each => { each.open = true })")
        assert (browser.violations(), browser.overflow()) == ([], 0), path


def test_scripts_in_packets_and_catalogues_do_not_run(browser: Browser, observed: Observed) -> None:
    alert = observed.database[ZTF.alerts].find_one({}, sort=[("candid", 1)])
    del alert["_id"]
    place = {"radec_str": alert["coordinates"]["radec_str"], "distance_arcsec": 0.1}
    match = {"_id": EVIL, EVIL: EVIL, "coordinates": place}
    observed.database[ZTF.alerts].insert_one(alert | {"objectId": EVIL, "candid": 79})
    observed.database[ZTF.aux].insert_one({"_id": EVIL, "cross_matches": {EVIL: [match]}, "prv_candidates": []})
    try:
        browser.log_in()
        browser.open(object_address("ZTF", EVIL))
        assert browser.text("h1").startswith(EVIL)
        assert browser.text("#matches ~ *").count(EVIL) >= 2
        assert drawn(browser)
        assert browser.driver.title == f"{EVIL} · Kowalski"
    finally:
        observed.database[ZTF.alerts].delete_one({"candid": 79})
        observed.database[ZTF.aux].delete_one({"_id": EVIL})


def test_real_alerts_of_all_other_surveys(browser: Browser, lab: Api, observed: Observed, test_data: Path) -> None:
    stored = observe_others(observed, test_data)
    browser.log_in()
    for survey, alerts in stored.items():
        object_id, candid = alerts[0]
        browser.open(object_address(survey, object_id, candid))
        assert browser.text("h1").startswith(object_id)
        wait_until(lambda: browser.run("return [...document.images].every(each => each.complete)"))
        assert all(browser.run("return [...document.images].map(each => each.naturalWidth)")), survey
        assert len(browser.find_all("img")) == 3, survey
        assert drawn(browser), survey
