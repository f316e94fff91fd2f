"""Who gets into the lab, and what a browser keeps of it."""

import pytest
from api_harness import Api
from browser import LOOKS, Browser
from visitor import Visitor

from kowalski.api.services.personal_tokens import LAB, LAB_MOST


def test_a_page_asks_who_comes_and_then_goes_where_he_wanted(visitor: Visitor) -> None:
    asked = visitor.page("/lab?q=ZTF18abc&x=1")
    assert (asked.status_code, asked.headers["Location"]) == (
        303,
        "/lab/login?next=%2Flab%3Fq%3DZTF18abc%26x%3D1",
    )
    form = visitor.page(asked.headers["Location"])
    assert 'name="next" value="/lab?q=ZTF18abc&amp;x=1"' in form.text
    answer = visitor.log_in(next="/lab?q=ZTF18abc&x=1")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/lab?q=ZTF18abc&x=1")
    assert visitor.page("/lab").status_code == 200


@pytest.mark.parametrize("elsewhere", ["https://example.org/", "//example.org", "/labs", "/lab\\@example.org", "/api", "/lab/\r\nX: 1"])  # fmt: skip
def test_the_login_leads_nowhere_but_into_the_lab(visitor: Visitor, elsewhere: str) -> None:
    assert visitor.log_in(next=elsewhere).headers["Location"] == "/lab"


def test_the_cookie_is_for_no_script_and_no_other_site(visitor: Visitor) -> None:
    said = visitor.log_in().headers["Set-Cookie"]
    session = next(each for each in said.split(", kowalski") if "lab=" in each)
    assert "HttpOnly" in session
    assert "SameSite=Lax" in session
    assert "Path=/lab" in session
    assert "Secure" not in session  # it came by plain HTTP


def test_a_trusted_proxy_that_speaks_tls_makes_cookies_secure(visitor: Visitor) -> None:
    headers = {"X-Forwarded-Proto": "https"}
    said = visitor.get(visitor.lab.url + "/lab/login", headers=headers, timeout=30).headers["Set-Cookie"]
    assert "Secure" in said


def test_a_wrong_password_is_told_and_not_kept(visitor: Visitor) -> None:
    answer = visitor.log_in(password="no")
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert "kowalski_lab" not in visitor.cookies
    assert 'value="no"' not in answer.text


@pytest.mark.parametrize("path", ["/lab/login", "/lab/logout"])
def test_a_form_of_another_site_does_nothing(visitor: Visitor, path: str) -> None:
    visitor.log_in()
    answer = visitor.submit(path, username="admin", password="x", proof="0" * 64)
    assert answer.status_code == 403
    assert visitor.page("/lab").status_code == 200


def test_the_proof_of_a_visitor_is_none_for_who_is_logged_in(visitor: Visitor) -> None:
    """Another site of the same host may have set the cookie that it is made of."""
    with Visitor(visitor.lab) as other:
        proof = other.proof()
        cookie = other.cookies["kowalski_visitor"]
    visitor.log_in()
    visitor.cookies.set("kowalski_visitor", cookie, domain="127.0.0.1", path="/lab")
    assert visitor.submit("/lab/query/forget", proof=proof).status_code == 403
    assert visitor.submit("/lab/query/forget", proof=visitor.proof("/lab")).status_code == 303


def test_who_logs_out_is_out(visitor: Visitor) -> None:
    visitor.log_in()
    answer = visitor.submit("/lab/logout", proof=visitor.proof("/lab"))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/lab/login")
    assert visitor.page("/lab").status_code == 303


def test_the_token_of_who_logged_out_holds_no_more_and_that_of_another_browser_does(lab: Api, visitor: Visitor) -> None:
    with Visitor(lab) as other:
        other.log_in()
        visitor.log_in()
        token = visitor.cookies["kowalski_lab"]
        visitor.submit("/lab/logout", proof=visitor.proof("/lab"))
        visitor.cookies.set("kowalski_lab", token, path="/lab")
        assert visitor.page("/lab").status_code == 303
        assert other.page("/lab").status_code == 200


def test_of_a_users_browsers_the_newest_stay_logged_in(lab: Api) -> None:
    first = Visitor(lab)
    first.log_in()
    for _ in range(LAB_MOST):
        with Visitor(lab) as other:
            other.log_in()
            assert other.page("/lab").status_code == 200
    assert first.page("/lab").status_code == 303
    named = [token for token in lab.get("/api/tokens").json()["data"] if token["name"] == LAB]
    assert len(named) == LAB_MOST
    assert all(token["expires_at"] for token in named)
    first.close()


def test_the_token_of_a_cookie_opens_the_lab_alone(lab: Api, visitor: Visitor) -> None:
    visitor.log_in()
    assert visitor.get(lab.url + "/api/surveys", timeout=30).status_code == 401


def test_a_token_that_does_not_hold_leads_to_the_login_and_is_forgotten(visitor: Visitor) -> None:
    visitor.cookies.set("kowalski_lab", "nonsense", path="/lab")
    answer = visitor.page("/lab")
    assert answer.status_code == 303
    assert "Max-Age=0" in answer.headers["Set-Cookie"]


def test_every_page_says_what_may_run(visitor: Visitor) -> None:
    for path in ("/lab/login", "/lab/nowhere"):
        headers = visitor.page(path).headers
        assert "script-src 'self';" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_an_address_that_is_none(visitor: Visitor) -> None:
    answer = visitor.page("/lab/nowhere/at/all")
    assert answer.status_code == 404
    assert "There is no such page." in answer.text


def test_files_are_kept_for_good_and_none_lies_outside(visitor: Visitor) -> None:
    page = visitor.page("/lab/login").text
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    style = visitor.page(address)
    assert (style.status_code, style.headers["Content-Type"]) == (200, "text/css")
    assert "immutable" in style.headers["Cache-Control"]
    other = visitor.page(address.replace(address.split("/")[3], "0" * 12))  # of a server of another version
    assert (other.status_code, other.headers["Cache-Control"]) == (200, "no-store")
    for name in ("..%2Flogin.html", "%2e%2e%2fcookies.py", "nothing.css", "..%2f..%2f..%2fconfig.yaml"):
        assert visitor.page(f"/lab/assets/0/{name}").status_code == 404


# in a browser


def test_logging_in_and_out(browser: Browser) -> None:
    browser.log_in()
    assert browser.text("h1") == "Find an object"
    browser.press(".account form button")
    assert browser.text("h1") == "Log in"


@LOOKS
def test_everybody_can_use_the_login_and_the_first_page(browser: Browser, size: tuple[int, int], theme: str) -> None:
    browser.size(*size)
    browser.open("/lab/login")
    browser.driver.add_cookie({"name": "kowalski_theme", "value": theme, "path": "/lab"})
    browser.open("/lab/login")
    assert (browser.violations(), browser.overflow()) == ([], 0)
    browser.log_in()
    assert (browser.violations(), browser.overflow()) == ([], 0)


def test_the_theme_is_chosen_and_stays(browser: Browser) -> None:
    browser.open("/lab/login")
    before = browser.run("return getComputedStyle(document.body.parentElement).backgroundColor")
    browser.find("#theme").click()
    chosen = browser.run("return getComputedStyle(document.body.parentElement).backgroundColor")
    assert chosen != before
    browser.open("/lab/login")
    assert browser.run("return getComputedStyle(document.body.parentElement).backgroundColor") == chosen
