"""The lab in a browser that runs no scripts: all of it but plots, completion and what is live."""

from collections.abc import Iterator

import pytest
from api_harness import ADMIN, PASSWORD, wait_until
from browser import Browser
from night import ALERTS, HOSTILE, Observed

NIGHT = "01/01/2024"


class Still:
    """A browser without scripts, and how one goes through pages with it."""

    def __init__(self, browser: Browser):
        self.browser = browser
        self.find, self.find_all, self.text, self.run = browser.find, browser.find_all, browser.text, browser.run

    def go(self, path: str) -> None:
        self.browser.driver.get(self.browser.url + path)

    def press(self, selector: str, leads_to: str) -> None:
        """A button is pressed, and the page has what it leads to."""
        self.find(selector).click()
        wait_until(lambda: self.find_all(leads_to))

    def undrawn(self, selector: str) -> bool:
        """Whether the place of a plot says why there is none."""
        return "JavaScript" in str(
            self.run("return getComputedStyle(arguments[0], '::before').content", self.find(selector))
        )


@pytest.fixture
def still(browser: Browser) -> Iterator[Still]:
    """The admin is logged in."""
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    still = Still(browser)
    still.go("/lab/login")
    still.find("[name=username]").send_keys(ADMIN)
    still.find("[name=password]").send_keys(PASSWORD)
    still.press("form.narrow button", "form[role=search]")
    yield still
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_an_object_is_found_and_its_light_curve_is_a_table(still: Still, observed: Observed) -> None:
    entry = observed.database["outbox"].find_one({"filter_id": HOSTILE})
    assert entry is not None
    still.find("[name=q]").send_keys(entry["objectId"])
    still.press("form[role=search] button", ".cutouts img")
    assert still.undrawn("figure.curve")
    assert not still.find("#scale").is_displayed()
    still.find("section[aria-labelledby=curve] summary").click()
    wait_until(lambda: still.find("section[aria-labelledby=curve] tbody tr").is_displayed())


def test_a_query_has_its_table_and_its_files(still: Still) -> None:
    still.go("/lab/query?kind=find&catalog=ZTF_alerts&limit=5&projection={%22candidate.magpsf%22:1}")
    still.press("button.main", ".rows tbody tr")
    assert len(still.find_all(".rows tbody tr")) == 5
    still.press("form.axes button", "figure.plot")
    assert still.undrawn("figure.plot")


def test_a_filter_is_replayed_and_one_of_its_alerts_explained(still: Still) -> None:
    still.go(f"/lab/filters/{HOSTILE}/edit")
    still.find("[name=night]").send_keys(NIGHT)
    still.press("[formaction$='/replay']", "#result .examples button")
    assert f"of {ALERTS} alerts" in still.text("#result h2")
    chosen = still.text("#result .examples button")
    still.press("#result .examples button", "#result .explanation")
    assert still.text("#result .explanation h2").split() == [chosen, "passes"]
    assert still.find("input[name=alert]").get_attribute("value") == chosen


def test_the_cockpit_stands_as_it_was_when_it_was_loaded(still: Still) -> None:
    still.go("/lab/status")
    assert still.undrawn("#throughput")
    assert len(still.find_all("section[data-part]")) == 11
