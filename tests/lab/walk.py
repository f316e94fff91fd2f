"""Every page of the lab, on an archive of many alerts: how soon it answers, how it looks, and who is kept from using it.

    ./kowalski.py test --browser [--alerts 200000] [--pictures DIR] [--times 20]

Exit status 1: a page took longer than `LONGEST` (95 of 100 times), is wider than its window, or axe-core finds a violation.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from api_harness import Api, start_api
from browser import DESKTOP, PHONE, Browser, open_browser
from night import HOSTILE, ZTF, Observed, observe
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from visitor import Visitor

from benchmarks.stored import store_rows
from kowalski.config import ROOT
from kowalski.local.system import LocalSystem

#: ms in which a page has to be there
LONGEST = 200.0
SIZES = {"desktop": DESKTOP, "phone": PHONE}
THEMES = ("light", "dark")


def pages_of(observed: Observed, asked: str) -> Iterator[tuple[str, str]]:
    """The name of each page, and its address; ``asked`` is that of a query's answer."""
    alerts = observed.database[ZTF.alerts]
    seen = alerts.find_one({"candid": observed.candids[len(observed.candids) // 2]}, {"objectId": 1, "candidate": 1})
    other = alerts.find_one({"candid": {"$lt": 2_000_000_000}}, {"objectId": 1})
    assert seen is not None
    where = seen["candidate"]
    yield "first page", "/lab"
    yield "object", f"/lab/objects/ZTF/{seen['objectId']}"
    if other is not None:
        yield "object without cutouts", f"/lab/objects/ZTF/{other['objectId']}"
    yield "search by position", f"/lab/objects?q={where['ra']:.5f}+{where['dec']:.5f}+5+arcmin"
    yield "search in vain", "/lab/objects?q=ZTF18nothing"
    yield "query", "/lab/query"
    yield "answer", asked
    yield "filters", "/lab/filters"
    yield "filter", "/lab/filters/1"
    yield "filter with a script", f"/lab/filters/{HOSTILE}"
    yield "editor", "/lab/filters/1/edit"
    yield "status", "/lab/status"


def ask(visitor: Visitor) -> str:
    """The address of the answer to a query, with its plot."""
    query = {"kind": "find", "catalog": ZTF.alerts, "filter": '{"candidate.drb": {"$gt": 0.9}}', "limit": "200"}
    shown = '{"objectId": 1, "candid": 1, "candidate.magpsf": 1, "candidate.drb": 1, "classifications": 1}'
    answer = visitor.submit("/lab/query", **query, projection=shown, proof=visitor.proof("/lab/query"))
    return f"{answer.headers['Location']}?x=candidate.magpsf&y=candidate.drb"


def answers(visitor: Visitor, path: str, times: int) -> list[float]:
    """ms that a page took, each time."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        answer = visitor.page(path)
        found.append(1000 * (time.perf_counter() - began))
        found_one = answer.status_code == 303 and answer.headers["Location"].startswith("/lab/objects/")
        if answer.status_code != 200 and not found_one:
            raise SystemExit(f"{path} answered {answer.status_code}: {answer.text[:500]}")
    return found


def look(browser: Browser, name: str, path: str, pictures: Path) -> list[str]:
    """What is wrong with a page in each size and theme; pictures of it."""
    wrong = []
    for size, (width, height) in SIZES.items():
        for theme in THEMES:
            browser.size(width, height)
            browser.driver.add_cookie({"name": "kowalski_theme", "value": theme, "path": "/lab"})
            browser.open(path)
            here = f"{name}, {size}, {theme}"
            wrong += [f"{here}: {each}" for each in browser.violations()]
            if more := browser.overflow():
                wrong.append(f"{here}: {more} pixels wider than its window")
            wrong += [f"{here}: {each}" for each in browser.complaints()]
            browser.picture(pictures / f"{name.replace(' ', '-')}-{size}-{theme}.png")
    return wrong


def fill(observed: Observed, alerts: int) -> None:
    """So many alerts are stored, in every index."""
    missing = alerts - len(observed.candids)
    with Progress() as progress:
        task = progress.add_task(f"storing {missing} alerts", total=missing)
        store_rows(observed.database, ZTF, missing, lambda rows: progress.update(task, advance=rows))


def walk(lab: Api, observed: Observed, options: argparse.Namespace, console: Console) -> int:
    """Every page is timed and looked at; 0 if all are as they should be."""
    options.pictures.mkdir(parents=True, exist_ok=True)
    wrong = []
    table = Table(
        "page", "p50 ms", "p95 ms", title=f"{observed.database[ZTF.alerts].estimated_document_count()} alerts"
    )
    with Visitor(lab) as visitor:
        visitor.log_in()
        pages = dict(pages_of(observed, ask(visitor)))
        for name, path in pages.items():
            visitor.page(path)  # once before, as after a start
            took = answers(visitor, path, options.times)
            p95 = statistics.quantiles(took, n=20)[-1]
            table.add_row(name, f"{statistics.median(took):.0f}", f"{p95:.0f}")
            if p95 > LONGEST:
                wrong.append(f"{name} takes {p95:.0f} ms")
    console.print(table)
    with tempfile.TemporaryDirectory() as profile, open_browser(lab.url, Path(profile)) as browser:
        browser.open("/lab/login")  # cookies are of a page that is open
        wrong += look(browser, "login", "/lab/login", options.pictures)
        browser.log_in()
        for name, path in pages.items():
            console.print(f"looking at {name}")
            wrong += look(browser, name, path, options.pictures)
    for each in wrong:
        console.print(each, highlight=False, soft_wrap=True)
    console.print(f"{len(wrong)} things are wrong; pictures are in {options.pictures}")
    return int(bool(wrong))


def main(arguments: list[str]) -> int:
    """Walk as the command line asks."""
    parser = argparse.ArgumentParser(prog="kowalski.py test --browser", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--alerts", type=int, default=200_000, help="alerts stored (200000)")
    parser.add_argument("--times", type=int, default=20, help="how often each page is asked for (20)")
    parser.add_argument(
        "--pictures",
        type=Path,
        default=ROOT / "data" / "local" / "pictures",
        metavar="DIR",
        help="where pictures go (data/local/pictures)",
    )
    options = parser.parse_args(arguments)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="browser") as folder:
        system = LocalSystem.isolated(Path(folder) / "system")
        try:
            system.start(["mongod"])
            observed = observe(system.config.database)
            fill(observed, options.alerts)
            lab = start_api(Path(folder) / "api", observed.settings, trusted_proxies=["127.0.0.0/8"])
            try:
                lab.wait_ready()
                return walk(lab, observed, options, console)
            finally:
                lab.stop()
        finally:
            system.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
