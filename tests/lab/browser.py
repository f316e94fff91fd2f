"""A real browser, without a screen: what tests of the lab see and press."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from api_harness import ADMIN, PASSWORD, wait_until
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

#: it looks for nothing on the net and keeps nothing
OPTIONS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-device-scale-factor=1",
]  # fmt: skip
DESKTOP, PHONE = (1280, 900), (390, 844)
#: each page is looked at in both sizes and both themes; `./kowalski.py test --browser` looks at all four of them together
LOOKS = pytest.mark.parametrize(
    ("size", "theme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"]
)


class Browser:
    """Chromium at an API's lab."""

    def __init__(self, driver: webdriver.Chrome, url: str):
        self.driver, self.url = driver, url

    def open(self, path: str) -> None:
        """A page is there, its scripts run, its plots drawn."""
        self.driver.get(self.url + path)
        self.settled()

    def settled(self) -> None:
        """Return when the page and its plots are there."""
        wait_until(lambda: self.run("return document.readyState === 'complete' && !document.querySelector('figure[data-plot]:not([data-drawn])')"))  # fmt: skip

    def log_in(self, username: str = ADMIN, password: str = PASSWORD) -> None:
        """The login is filled in and sent."""
        self.open("/lab/login")
        self.find("[name=username]").send_keys(username)
        self.find("[name=password]").send_keys(password)
        self.press("form.narrow button")

    def press(self, selector: str) -> None:
        """A button or link is pressed that leads to another page, which is there on return."""
        old = self.find("html")
        self.find(selector).click()
        wait_until(lambda: self._is_gone(old))
        self.settled()

    def find(self, selector: str) -> WebElement:
        """The first element that a CSS selector finds."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "main") -> str:
        return str(self.find(selector).text)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script says."""
        return self.driver.execute_script(script, *arguments)

    def size(self, width: int, height: int) -> None:
        """The page has so many CSS pixels, also fewer than a window may have."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        height = min(self.run("return document.documentElement.scrollHeight"), 6000)
        width = self.run("return window.innerWidth")
        self.size(width, height)
        self.driver.save_screenshot(str(path))

    def violations(self) -> list[str]:
        """What axe-core finds that keeps people from using the page."""
        self.driver.execute_script(axe())
        found = self.driver.execute_async_script("axe.run().then(arguments[0])")
        return [
            f"{each['id']}: {each['help']}: {node['html'][:160]}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def complaints(self) -> list[str]:
        """What the browser had to say against the pages since it was asked last: scripts or styles refused, errors."""
        return [each["message"] for each in self.driver.get_log("browser") if each["level"] == "SEVERE"]

    def overflow(self) -> int:
        """CSS pixels by which the page is wider than its window."""
        return int(self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def _is_gone(self, element: WebElement) -> bool:
        """Whether another page has come in place of the one that an element was of."""
        try:
            self.run("return arguments[0].isConnected", element)
        except WebDriverException:  # stale, or, in the midst of it, not of the document
            return True
        return False


def axe() -> str:
    """axe-core's program."""
    spec = find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core is not here: pip install --no-deps axe-playwright-python==0.1.8")
    return (Path(spec.origin).parent / "axe.min.js").read_text()


@contextmanager
def open_browser(url: str, folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, closed at the end; skips the test where there is none."""
    chromedriver, chromium = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if not chromedriver or not chromium:
        pytest.skip("no Chromium with chromedriver is here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in [*OPTIONS, f"--user-data-dir={folder}", f"--window-size={DESKTOP[0]},{DESKTOP[1]}"]:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    driver.set_script_timeout(60)
    try:
        yield Browser(driver, url)
    finally:
        driver.quit()
