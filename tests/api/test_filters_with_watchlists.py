"""Filters that declare watchlists, over HTTP: on real alerts, from files, and explained, tried and replayed."""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filters_harness import POST, ZTF, Room, alerts, room, running

from kowalski.alerts.document import Alert
from kowalski.config import ROOT
from kowalski.database.client import connect
from kowalski.database.filters import Filters
from kowalski.errors import WatchlistError
from kowalski.filters.files import read_filter_file
from kowalski.filters.run import FilterRunner
from kowalski.filters.watching import Watching
from kowalski.local import watchlists as command
from kowalski.local.filter_files import pushed
from kowalski.local.watchlists import RemoteWatchlists

__all__ = ["alerts", "room", "running"]

HAS = {"$match": {"watchlists.mine.0": {"$exists": True}}}
SHOWS = {"$project": {"annotations": {"n": {"$arrayElemAt": ["$watchlists.mine.n", 0]}}}}
DAYS = {"start": "2018-01-01", "end": "2030-01-01"}


@pytest.fixture
def lists(room: Room) -> RemoteWatchlists:
    for name in ("watchlists", "watchlist_rows"):
        room.database[name].delete_many({})
    return RemoteWatchlists(room.api.url, room.tokens["member"])


def of_positions(some: list[Alert]) -> Any:
    """A list with the places of some alerts."""
    rows = [f"{each.candidate['ra']},{each.candidate['dec']},{number}\n" for number, each in enumerate(some)]
    return iter([b"ra,dec,n\n", *(row.encode() for row in rows)])


def near(alert: Alert, others: list[Alert]) -> bool:
    """Whether an alert is within 2 arcsec of some others, for alerts far from the poles."""
    return any(
        abs(alert.candidate["dec"] - other.candidate["dec"]) < 2 / 3600
        and abs(alert.candidate["ra"] - other.candidate["ra"]) < 4 / 3600
        for other in others
    )


def test_the_chain_trials_replays_and_explanations_agree(
    room: Room, lists: RemoteWatchlists, alerts: list[Alert]
) -> None:
    chosen = [alerts[0], alerts[7]]
    lists.put("mine", 1, of_positions(chosen))
    stored = room.good("POST", "/api/filters", {**POST, "pipeline": [HAS, SHOWS], "watchlists": ["mine"]}, "member")
    assert "pipeline test for filter id 1 successful" in stored["message"]
    expected = sorted(
        alert.candid for alert in alerts if near(alert, chosen) and alert.candidate["programid"] in (1, 2)
    )
    assert len(expected) >= 1
    reader = connect(room.settings, "reader")
    runner = FilterRunner(Filters(room.database, reader), ZTF, 10_000, watching=Watching(room.database, ZTF))
    objects = {each["_id"]: each for each in room.database["ZTF_alerts_aux"].find()}
    run = runner.run([alert.document for alert in alerts], objects)
    reader.client.close()
    assert sorted(each.candid for each in run.passes) == expected
    assert {each.annotations["n"] for each in run.passes} <= {0, 1}
    replayed = room.good("POST", "/api/filters/1/replay", DAYS, "member")["data"]
    assert sorted(each["candid"] for each in replayed["candidates"]) == expected
    ids = sorted({alert.object_id for alert in alerts})
    tried = room.good("POST", "/api/filters/1/test", {"object_ids": ids}, "member")["data"]
    assert len(tried) == len(expected)
    (told,) = room.good("POST", "/api/filters/1/explain", {"candid": expected[0]}, "member")["data"]
    assert told["passed"] is True
    other = next(alert for alert in alerts if alert.candid not in expected and alert.candidate["programid"] in (1, 2))
    (told,) = room.good("POST", "/api/filters/1/explain", {"candid": other.candid}, "member")["data"]
    assert (told["passed"], told["stages"][0]["out"]) == (False, 0)
    assert told["stages"][0]["rejected_by"][0]["clause"] == {"watchlists.mine.0": {"$exists": True}}


def test_lists_are_declared_by_name_or_id_and_must_be_the_groups(room: Room, lists: RemoteWatchlists) -> None:
    lists.put("mine", 1, iter([b"objectId\nx\n"]))
    list_id = lists.find("mine", 1)["id"]
    body = {**POST, "pipeline": [HAS]}
    room.good("POST", "/api/filters", {**body, "watchlists": [list_id, "mine"]}, "member")
    assert room.good("GET", "/api/filters/1")["data"]["watchlists"] == ["mine"]
    said = room.refused("POST", "/api/filters", {**body, "watchlists": ["yours"]}, "member")
    assert said == "watchlists: group 1 has no yours; it has mine"
    said = room.refused("POST", "/api/filters", {**body, "filter_id": 2}, "member")
    assert said == "watchlists: the pipeline reads mine, which the filter does not declare: add it to watchlists"
    said = room.refused(
        "POST", "/api/filters", {**body, "filter_id": 2, "group_id": 2, "watchlists": ["mine"]}, "other"
    )
    assert said == "watchlists: group 2 has no mine; it has none"
    with pytest.raises(WatchlistError, match="filter 1 declares watchlist mine"):
        lists.call("DELETE", f"/api/watchlists/{list_id}")


def test_a_version_keeps_what_is_declared_unless_it_says_otherwise(room: Room, lists: RemoteWatchlists) -> None:
    lists.put("mine", 1, iter([b"objectId\nx\n"]))
    room.good("POST", "/api/filters", {**POST, "pipeline": [HAS], "watchlists": ["mine"]}, "member")
    room.good("POST", "/api/filters", {**POST, "pipeline": [HAS, SHOWS]}, "member")
    assert room.good("GET", "/api/filters/1")["data"]["watchlists"] == ["mine"]
    assert "does not declare" in room.refused(
        "POST", "/api/filters", {**POST, "pipeline": [HAS], "watchlists": []}, "member"
    )


def arguments(*given: str) -> Any:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(given)


def test_the_command(room: Room, lists: RemoteWatchlists, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "list.csv"
    file.write_text("ra,dec,z\n1,2,0.5\n")
    more = ["--url", room.api.url, "--token", room.tokens["member"]]

    def told(*given: str) -> tuple[int, str]:
        code = command.run(arguments(*given, *more))
        return code, capsys.readouterr().out

    code, said = told("put", "mine", str(file))
    assert (code, "to make it, say whose it is with --group" in said) == (1, True)
    code, said = told("put", "mine", str(file), "--group", "1", "--radius", "7")
    assert (code, "added watchlist mine with 1 rows" in said) == (0, True)
    file.write_text("ra,dec,z\n1,2,0.5\n3,4,\n")
    code, said = told("put", "mine", str(file))
    assert (code, "replaced watchlist mine with 2 rows" in said) == (0, True)
    assert "2 positions within 7 arcsec, by member" in told("list")[1]
    assert "row 1, ra 1.0, dec 2, z 0.5" in told("show", "mine")[1].replace("2.0", "2")
    file.write_text("ra,dec,z\n1,91,0.5\n")
    code, said = told("put", "mine", str(file))
    assert (code, "row 1, column dec: 91 must be from -90 to 90" in said) == (1, True)
    assert told("put", "mine", str(tmp_path / "absent"))[0] == 1
    assert told("delete", "mine") == (0, "removed watchlist mine\n")
    code, said = told("delete", "mine")
    assert (code, "there is no watchlist mine" in said) == (1, True)
    assert command.run(arguments("list", "--url", "http://127.0.0.1:1", "--token", "x")) == 1
    assert "does not answer as a Kowalski does" in capsys.readouterr().out


SECTION = (ROOT / "docs" / "watchlists.md").read_text()


def test_the_page_on_watchlists(room: Room, lists: RemoteWatchlists, tmp_path: Path) -> None:
    """Its commands work as they stand there, and its filter is one that declares what they made."""
    scripts = re.findall(r"^```sh\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    (filter_file,) = re.findall(r"^```yaml\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    for name in ("kowalski.py", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    script = f"TOKEN={room.tokens['member']}\n" + "".join(scripts)
    script = script.replace("./kowalski.py watchlist", f"{sys.executable} kowalski.py watchlist")
    script = script.replace("--token", f"--url {room.api.url} --token").replace("http://localhost:4000", room.api.url)
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "added watchlist galaxies with 2 rows" in done.stdout
    assert "row 2, ra 210.8024, dec 54.349, z 0.0008, name M101" in done.stdout
    assert [(each["name"], each["rows"]) for each in lists.all()] == [("galaxies", 2), ("sky", 1)]
    (tmp_path / "galaxies.yaml").write_text(filter_file)
    file = read_filter_file(tmp_path / "galaxies.yaml")
    assert file.compiled().pipeline.by_batch
    assert "saved new filter version" in pushed(file, room.api.url, room.tokens["member"])
