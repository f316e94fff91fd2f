"""Stored objects matched anew with a catalogue: a new one, a replaced one, cut off half way, beside a running chain."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from histories import ZTF
from packets import JD, prv_point, ztf_packets, ztf_record
from worker_harness import CONE, RECIPES, MakeWorker, put_filter, said_by, visits

from kowalski.alerts.coordinates import position
from kowalski.alerts.lightcurve import merged
from kowalski.config import ROOT
from kowalski.crossmatch.rematch import Pace, Rematch, plan, surveys_with
from kowalski.database.catalog_versions import CatalogVersions
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase
from kowalski.database.rematches import Rematches, Standing
from kowalski.errors import ConfigError, DatabaseError, DatabaseUnavailable
from kowalski.settings import Database, Recipe

#: the command line itself, less the making of .venv
CODE = """
import runpy, sys
command_line = runpy.run_path("kowalski.py")
command_line["main"].__globals__["ensure_environment"] = lambda: None
sys.exit(command_line["main"]())
"""
PARSED = {"ZTF": {name: Recipe.model_validate(recipe) for name, recipe in RECIPES.items()}}
CATALOG = "milliquas"
Objects = dict[str, dict[str, Any]]


def rows(numbers: range, **fields: Any) -> list[dict[str, Any]]:
    """Rows of a catalogue, one beside each of some objects of `visits`."""
    return [{"_id": f"Q{n}", "coordinates": position(150.0 + n, 20.0), **fields} for n in numbers]


def objects(database: MongoDatabase) -> Objects:
    return {document["_id"]: document for document in database["ZTF_alerts_aux"].find()}


def rematched(database: MongoDatabase, restart: bool = False) -> Standing:
    """Where it stands when the command has done its work."""
    rematches = Rematches(database)
    (standing,) = plan(CATALOG, ["ZTF"], PARSED, rematches, restart)
    work = Rematch(ZTF, CATALOG, PARSED["ZTF"], rematches)
    *_, last = standing, *work.run(standing, Pace(1e9, lambda seconds: None))
    return work.finish(last)


def without_match(documents: Objects) -> Objects:
    """Objects without what is to change."""
    return {
        key: {name: value for name, value in document.items() if name not in ("matched", "version")}
        | {"cross_matches": {name: found for name, found in document["cross_matches"].items() if name != CATALOG}}
        for key, document in documents.items()
    }


@pytest.fixture
def absent(stocked: MongoDatabase, make_worker: MakeWorker) -> MongoDatabase:
    """Five objects, stored when the catalogue wasn't there."""
    stocked.drop_collection(CATALOG)
    worker = make_worker()
    worker.process(visits())
    assert all(each["matched"]["absent"] == [CATALOG] for each in objects(stocked).values())
    return stocked


def test_a_new_catalogue(absent: MongoDatabase) -> None:
    before = objects(absent)
    Catalogs(absent).replace(CATALOG, rows(range(3)))
    standing = rematched(absent)
    after = objects(absent)
    assert (standing.done, standing.matched, standing.unplaced) == (5, 3, 0)
    assert without_match(after) == without_match(before)
    for number in range(5):
        found = after[f"ZTF23obj{number}"]
        assert [row["_id"] for row in found["cross_matches"][CATALOG]] == ([f"Q{number}"] if number < 3 else [])
        matched, was = found["matched"], before[f"ZTF23obj{number}"]["matched"]
        assert (matched["at"], matched["candid"]) == (was["at"], was["candid"])
        assert (matched["catalogs"], matched["absent"], matched["failed"]) == (["Gaia_EDR3", CATALOG], [], [])
        assert list(matched["made"]) == [CATALOG]
        record = absent["provenance"].find_one({"_id": matched["made_of"][CATALOG]}) or {}
        assert record["catalogs"] == CatalogVersions(absent).current([CATALOG])
        assert matched["versions"] == was["versions"]
        assert standing.begun <= matched["made"][CATALOG] <= standing.finished_at  # type: ignore[operator]


def test_a_replaced_catalogue(absent: MongoDatabase) -> None:
    """Rows that are gone vanish, those that changed change; an object whose match had failed is whole again."""
    Catalogs(absent).replace(CATALOG, rows(range(3), Qpct=1.0))
    rematched(absent)
    absent["ZTF_alerts_aux"].update_one(
        {"_id": "ZTF23obj4"},
        {"$set": {"matched.failed": [CATALOG], "matched.catalogs": ["Gaia_EDR3"]}, "$unset": {f"cross_matches.{CATALOG}": ""}},
    )  # fmt: skip
    Catalogs(absent).replace(CATALOG, rows(range(2, 5), Qpct=2.0))
    first = {key: each["matched"]["made"][CATALOG] for key, each in objects(absent).items()}
    assert rematched(absent).matched == 3
    after = objects(absent)
    assert {key: [(row["_id"], row["Qpct"]) for row in each["cross_matches"][CATALOG]] for key, each in after.items()} == {
        f"ZTF23obj{n}": [(f"Q{n}", 2.0)] if n >= 2 else [] for n in range(5)
    }  # fmt: skip
    assert all(each["matched"]["made"][CATALOG] > first[key] for key, each in after.items())
    assert after["ZTF23obj4"]["matched"]["failed"] == []


def test_filters_see_the_result_and_when_it_was_made(absent: MongoDatabase, make_worker: MakeWorker) -> None:
    Catalogs(absent).replace(CATALOG, rows(range(5)))
    rematched(absent)
    made = objects(absent)["ZTF23obj0"]["matched"]["made"][CATALOG]
    fields = {
        "rows": {"$size": f"$cross_matches.{CATALOG}"},
        "made": {"$toString": f"$matched.made.{CATALOG}"},
        "first": {"$toString": "$matched.made.Gaia_EDR3"},
        "of": {"$ifNull": ["$matched.candid", None]},
    }
    put_filter(
        absent,
        9,
        [
            {"$match": {"$expr": {"$gte": [f"$matched.made.{CATALOG}", {"$toDate": stamp(made)}]}}},
            {"$project": {"annotations": fields}},
        ],
    )
    make_worker().process(ztf_packets([ztf_record(99, "ZTF23obj0", jd=JD + 9, ra=150.0)]))
    (entry,) = absent["outbox"].find({"filter_id": 9, "candid": 99})
    at = objects(absent)["ZTF23obj0"]["matched"]["at"]
    assert entry["annotations"] == {"rows": 1, "made": stamp(made), "first": stamp(at), "of": None}


def stamp(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def test_an_alert_that_comes_meanwhile_loses_nothing(
    absent: MongoDatabase, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is earlier than those known, elsewhere, and brings history: the match is made at its position, the history stays."""
    Catalogs(absent).replace(CATALOG, [*rows(range(5)), {"_id": "there", "coordinates": position(160.0, 30.0)}])
    worker, work = make_worker(), Rematch(ZTF, CATALOG, PARSED["ZTF"], Rematches(absent))
    earlier = ztf_packets(
        [ztf_record(77, "ZTF23obj0", jd=JD - 1, ra=160.0, dec=30.0, prv=[prv_point(JD - 9, candid=76)])]
    )
    later = ztf_packets([ztf_record(78, "ZTF23obj1", jd=JD + 30, ra=151.0, prv=[prv_point(JD + 29, candid=79)])])
    read = work.objects.matches

    def and_then(*arguments: Any) -> list[dict[str, Any]]:
        found = read(*arguments)
        monkeypatch.undo()
        worker.process([*earlier, *later])
        return found

    monkeypatch.setattr(work.objects, "matches", and_then)
    (standing,) = plan(CATALOG, ["ZTF"], PARSED, work.rematches, restart=False)
    assert [each.done for each in work.run(standing, Pace(1e9, lambda seconds: None))] == [5]
    after = objects(absent)
    said = said_by([*visits(), *earlier, *later])
    for key in ("ZTF23obj0", "ZTF23obj1"):
        assert {name: after[key][name] for name in merged({}, said[key], ZTF)} == merged({}, said[key], ZTF)
    assert [row["_id"] for row in after["ZTF23obj0"]["cross_matches"][CATALOG]] == ["there"]
    assert after["ZTF23obj0"]["matched"]["candid"] == 77
    assert [row["_id"] for row in after["ZTF23obj1"]["cross_matches"][CATALOG]] == ["Q1"]
    assert all(CATALOG in each["matched"]["made"] for each in after.values())


def test_a_worker_that_read_before_does_not_undo_it(
    absent: MongoDatabase, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new match stays though a batch is written that had been read before."""
    worker = make_worker(
        xmatch={**RECIPES, "Gaia_EDR3": {**CONE, "latest_by": "_id"}}
    )  # it writes all matches each time
    Catalogs(absent).replace(CATALOG, rows(range(5)))
    read = worker.objects.read_in_part

    def and_then(keys: Any) -> Any:
        found = read(keys)
        monkeypatch.undo()
        rematched(absent)
        return found

    absent["Gaia_EDR3"].delete_many({})
    monkeypatch.setattr(worker.objects, "read_in_part", and_then)
    worker.process(ztf_packets([ztf_record(99, "ZTF23obj0", jd=JD + 9, ra=150.0)]))
    found = objects(absent)["ZTF23obj0"]
    assert ([row["_id"] for row in found["cross_matches"][CATALOG]], found["cross_matches"]["Gaia_EDR3"]) == (
        ["Q0"],
        [],
    )
    assert found["last_packet"]["candid"] == 99


def test_objects_of_version_3(absent: MongoDatabase) -> None:
    """One that nobody matched by now is matched with all catalogues; one of which no first alert is known is left, and counted."""
    aux = absent["ZTF_alerts_aux"]
    aux.update_one({"_id": "ZTF23obj0"}, {"$unset": {"matched": "", "cross_matches.Gaia_EDR3": ""}})
    aux.insert_one({"_id": "ZTF17old", "prv_candidates": [], "cross_matches": {CATALOG: [{"_id": "Q9"}]}})
    Catalogs(absent).replace(CATALOG, rows(range(5)))
    standing = rematched(absent)
    assert (standing.done, standing.matched, standing.unplaced) == (6, 5, 1)
    after = objects(absent)
    assert after["ZTF17old"] == {"_id": "ZTF17old", "prv_candidates": [], "cross_matches": {CATALOG: [{"_id": "Q9"}]}}
    assert {name: len(found) for name, found in after["ZTF23obj0"]["cross_matches"].items()} == {
        "Gaia_EDR3": 1,
        CATALOG: 1,
    }
    assert (after["ZTF23obj0"]["matched"]["candid"], list(after["ZTF23obj0"]["matched"]["made"])) == (1, [CATALOG])


def test_an_interrupted_one_goes_on_for_the_same_catalogue_only(absent: MongoDatabase) -> None:
    Catalogs(absent).replace(CATALOG, rows(range(5)))
    rematches = Rematches(absent)

    def begun(restart: bool = False) -> int:
        (standing,) = plan(CATALOG, ["ZTF"], PARSED, rematches, restart)
        return standing.done

    (standing,) = plan(CATALOG, ["ZTF"], PARSED, rematches, restart=False)
    work = Rematch(ZTF, CATALOG, PARSED["ZTF"], rematches)
    half = next(work.run(standing, Pace(2, lambda seconds: None)))
    assert (half.done, half.after, begun()) == (2, "ZTF23obj1", 2)
    wider = {"ZTF": {CATALOG: PARSED["ZTF"][CATALOG].model_copy(update={"cone_search_radius": 3.0})}}
    assert plan(CATALOG, ["ZTF"], wider, rematches, restart=False)[0].done == 0
    rematches.take([half])
    absent[CATALOG].insert_one({"_id": "more", "coordinates": position(1.0, 2.0)})
    assert begun() == 0
    rematches.take([half])
    assert begun(restart=True) == 0
    rematched(absent)
    assert begun() == 0  # another one that was finished is no reason not to do it again
    absent[CATALOG].delete_one({"_id": "more"})
    with pytest.raises(DatabaseError, match="milliquas changed while"):
        work.finish(rematches.standings(CATALOG)["ZTF"])


def test_of_two_processes_the_later_goes_on(absent: MongoDatabase) -> None:
    Catalogs(absent).replace(CATALOG, rows(range(5)))
    mine, theirs = Rematches(absent), Rematches(absent)
    (standing,) = plan(CATALOG, ["ZTF"], PARSED, mine, restart=False)
    steps = Rematch(ZTF, CATALOG, PARSED["ZTF"], mine).run(standing, Pace(2, lambda seconds: None))
    next(steps)
    (taken,) = plan(CATALOG, ["ZTF"], PARSED, theirs, restart=False)
    assert taken.done == 2
    with pytest.raises(DatabaseError, match="another process matches the objects of ZTF with milliquas"):
        next(steps)


def test_a_catalogue_that_cannot_be_searched_changes_nothing(absent: MongoDatabase) -> None:
    """Nor is it passed over: it goes on from there."""
    absent[CATALOG].insert_many(rows(range(5)))  # without an index
    broken = PARSED["ZTF"] | {CATALOG: Recipe.model_validate({**CONE, "filter": {"$nonsense": 1}})}
    before, rematches = objects(absent), Rematches(absent)
    (standing,) = plan(CATALOG, ["ZTF"], {"ZTF": broken}, rematches, restart=False)
    with pytest.raises(DatabaseError, match="can't be matched with milliquas"):
        next(Rematch(ZTF, CATALOG, broken, rematches).run(standing, Pace(1e9)))
    assert (objects(absent), rematches.standings(CATALOG)["ZTF"].done) == (before, 0)


def test_it_waits_for_a_database_that_is_away(absent: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    Catalogs(absent).replace(CATALOG, rows(range(5)))
    rematches, waited = Rematches(absent), list[float]()
    (standing,) = plan(CATALOG, ["ZTF"], PARSED, rematches, restart=False)
    work = Rematch(ZTF, CATALOG, PARSED["ZTF"], rematches)

    def away(standing: Standing) -> None:
        monkeypatch.undo()
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(rematches, "keep", away)
    (done,) = work.run(standing, Pace(1e9, waited.append))
    assert (done.done, done.matched, len(waited)) == (5, 5, 2)
    first = {each["matched"]["made"][CATALOG] for each in objects(absent).values()}
    assert len(first) == 1  # they were written once


def test_mongodb_rests_as_long_as_it_works() -> None:
    slept: list[float] = []
    pace = Pace(100, slept.append)
    pace.rest(50, 0.1)
    pace.rest(50, 3.0)
    assert slept == [pytest.approx(0.4), 3.0]
    assert (pace.batch, Pace(0.5).batch, Pace(1e6).batch) == (100, 1, 500)


@pytest.mark.parametrize(
    ("catalog", "survey", "said"),
    [
        ("Gaia", None, "database.xmatch names no catalogue Gaia; it names Gaia_EDR3, ZTF_alerts, milliquas"),
        ("milliquas", "PGIR", "database.xmatch of PGIR names no catalogue milliquas; it names ZTF_alerts"),
        ("milliquas", "LSST", "it names none"),
    ],
)
def test_an_unknown_catalogue(catalog: str, survey: str | None, said: str) -> None:
    recipes = PARSED | {"PGIR": {"ZTF_alerts": PARSED["ZTF"]["milliquas"]}}
    with pytest.raises(ConfigError, match=said):
        surveys_with(catalog, recipes, survey)


def test_a_catalogue_that_is_not_there(absent: MongoDatabase) -> None:
    """All its matches would be emptied otherwise."""
    with pytest.raises(ConfigError, match="no collection milliquas: ingest the catalogue first"):
        rematched(absent)


# the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(mongo_settings: Database, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """A function that starts the command."""
    config = tmp_path / "config.yaml"
    database = {**mongo_settings.model_dump(exclude={"xmatch"}), "xmatch": {"ZTF": RECIPES}}
    config.write_text(yaml.safe_dump({"kowalski": {"database": database}}))

    def start(*arguments: str) -> subprocess.Popen[str]:
        call = [sys.executable, "-c", CODE, "rematch", *arguments]
        environment = {**os.environ, "KOWALSKI_CONFIG": str(config)}
        return subprocess.Popen(
            call, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def test_killed_half_way(
    absent: MongoDatabase, command: Callable[..., subprocess.Popen[str]], make_worker: MakeWorker
) -> None:
    """No object is missed, none is matched twice."""
    make_worker().process(
        ztf_packets([ztf_record(10_000 + n, f"ZTF24obj{n:03}", ra=150.0 + n % 5) for n in range(195)])
    )
    Catalogs(absent).replace(CATALOG, rows(range(5)))
    first = command(CATALOG, "--rate", "20")
    deadline = time.monotonic() + 60
    while not 40 <= (absent["rematches"].find_one() or {"done": 0})["done"] < 200:
        assert time.monotonic() < deadline
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    made = {key: each["matched"]["made"] for key, each in objects(absent).items() if "made" in each["matched"]}
    assert 40 <= len(made) < 200
    second = command(CATALOG, "--json")
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    told = {each["survey"]: each for each in json.loads(out)}
    assert {name: (each["done"], each["matched"]) for name, each in told.items()} == {
        "LSST": (0, 0), "ZTF": (200, 200),
    }  # fmt: skip
    assert all(each["finished_at"] for each in told.values())
    after = objects(absent)
    assert len(after) == 200
    assert all([row["_id"] for row in each["cross_matches"][CATALOG]] for each in after.values())
    assert {key: after[key]["matched"]["made"] for key in made} == made
    assert all("made" in each["matched"] for each in after.values())


def test_what_the_command_says(absent: MongoDatabase, command: Callable[..., subprocess.Popen[str]]) -> None:
    Catalogs(absent).replace(CATALOG, rows(range(2)))
    absent["ZTF_alerts_aux"].insert_one({"_id": "ZTF17old", "prv_candidates": [], "cross_matches": {}})
    good = command(CATALOG, "--survey", "ztf", "--restart")
    out, _ = good.communicate(timeout=60)
    assert good.returncode == 1  # one is left
    assert out.startswith("ZTF: 6 objects matched with milliquas, 2 have a row of it; 1 were left out")
    for arguments, said in [
        (("Gaia",), "names no catalogue Gaia; it names "),
        ((CATALOG, "--survey", "HST"), "there is no survey HST"),
        ((CATALOG, "--rate", "0"), "0 is no number of objects/s above 0"),
    ]:
        wrong = command(*arguments)
        _, err = wrong.communicate(timeout=60)
        assert (wrong.returncode != 0, said in err, "Traceback" in err) == (True, True, False), err
