"""The gallery of docs/filters: each filter, through the validator, the compiler and MongoDB, on a simulated night with its catalogues."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from stored_watchlists import csv_of, put

from kowalski.alert_worker import AlertWorker
from kowalski.alerts.decode import Packet
from kowalski.alerts.survey import get_survey
from kowalski.config import ROOT, build, settings_tree
from kowalski.database.client import connect
from kowalski.documentation.gallery import filter_files
from kowalski.filters.files import FilterFile, read_filter_file
from kowalski.filters.run import FilterRunner
from kowalski.filters.watching import Watching
from kowalski.settings import Database
from kowalski.simulation.catalogs import catalogs
from kowalski.simulation.night import simulate
from kowalski.watchlists.matching import ListKey

ZTF = get_survey("ZTF")
SEED, ALERTS = 5, 900
FILES = {path.stem: path for path in filter_files()}
#: what a filter must be good at: kinds of objects of which it lets none through, and one that most of its passes are of
NEVER = {
    "supernovae": {"variable", "asteroid", "bogus"},
    "rising": {"variable", "asteroid"},
    "nuclear": {"variable", "asteroid"},
    "nearby_galaxies": {"variable", "asteroid"},
    "blue": {"variable"},
    "static": {"asteroid"},
    "variables": {"supernova", "asteroid", "nuclear"},
    "fast": {"variable", "asteroid"},
    "agn": {"supernova", "asteroid", "variable"},
}
MOSTLY = {
    "supernovae": "supernova",
    "rising": "supernova",
    "nuclear": "nuclear",
    "nearby_galaxies": "supernova",
    "variables": "variable",
    "fast": "supernova",
    "agn": "nuclear",
}


class Night(NamedTuple):
    """What is stored of a simulated night, what runs filters on it, and the truth of each alert."""

    database: Any
    worker: AlertWorker
    documents: list[dict[str, Any]]
    objects: dict[str, dict[str, Any]]
    kinds: dict[int, str]


@pytest.fixture(scope="module")
def night(fresh_database: Callable[[], Database]) -> Iterator[Night]:
    """A night of 900 alerts, scored and matched with the catalogues of its sky; the places of ten objects are watched."""
    settings = fresh_database()
    tree = settings_tree([], {})
    tree["ml"] |= {"backend": "onnx", "allow_stand_ins": True}
    database = connect(settings)
    for name, rows in catalogs(SEED, ALERTS // 3).items():
        database[name].create_index([("coordinates.radec_geojson", "2dsphere")])
        if rows:
            database[name].insert_many(rows)
    made = list(simulate(ALERTS, seed=SEED))
    worker = AlertWorker(ZTF, build(tree).model_copy(update={"database": settings}))
    for room in (worker.alerts, worker.objects, worker.quarantine, worker.outbox):
        room.ensure_indexes()
    for first in range(0, ALERTS, 100):
        batch = [Packet(each.data, "gallery", 0, first + place) for place, each in enumerate(made[first : first + 100])]
        report = worker.process(batch)
        assert (report.stored, dict(report.quarantined)) == (len(batch), {})
    documents = list(database[ZTF.alerts].find({}, dict.fromkeys(ZTF.cutouts.values(), 0)))
    places = [
        [each["candidate"]["ra"], each["candidate"]["dec"], f"target {n}"] for n, each in enumerate(documents[::90])
    ]
    put(database, ListKey(1, "targets"), csv_of("ra,dec,name", places), radius=5)
    objects = {each["_id"]: each for each in database[ZTF.aux].find()}
    yield Night(database, worker, documents, objects, {each.candid: each.kind for each in made})
    database.client.close()
    worker.alerts.collection.database.client.close()
    worker.filters.filters.reader.client.close()


def test_there_are_enough() -> None:
    files = [read_filter_file(path) for path in FILES.values()]
    assert len(files) >= 8
    assert len({file.filter_id for file in files}) == len(files)


@pytest.mark.parametrize("name", FILES)
def test_each_is_shown_and_explained(name: str) -> None:
    text = (ROOT / "docs" / "gallery.md").read_text()
    before, mark, after = text.partition(f"<!-- generated: filter {name} -->")
    assert mark, "docs/gallery.md does not show it"
    assert f"](filters/{name}.yaml)" in before.rpartition("\n## ")[2]
    assert len(before.rpartition("\n## ")[2].split()) > 30, "nor tell what it is for"
    # each stage that lets through or keeps out has its reason beside it
    lines = FILES[name].read_text().splitlines()
    cuts = [place for place, line in enumerate(lines) if line.startswith("  - $match:")]
    reasons = [line for line in lines if line.strip().startswith("#")]
    assert len(reasons) > len(cuts) / 2


@pytest.mark.parametrize("name", FILES)
def test_each_lets_some_through_and_keeps_others_out(night: Night, name: str) -> None:
    file: FilterFile = read_filter_file(FILES[name])
    assert file.compiled().pipeline.by_batch
    night.worker.filters.filters.put(file.stored())
    try:
        watching = Watching(night.database, ZTF)
        runner = FilterRunner(night.worker.filters.filters, ZTF, 60_000, watching=watching)
        run = runner.run(night.documents, night.objects)
    finally:
        night.database.filters.delete_many({})
    assert not run.failures
    passed = [night.kinds[each.candid] for each in run.passes]
    print(name, len(passed), {kind: passed.count(kind) for kind in set(passed)})
    assert 0 < len(passed) < 0.6 * ALERTS
    assert set(passed) & NEVER.get(name, set()) == set()
    if name in MOSTLY:
        assert passed.count(MOSTLY[name]) > len(passed) / 2
    for each in run.passes:
        assert each.annotations
        assert None not in each.annotations.values(), each.annotations


def test_the_watched_are_those_of_the_list(night: Night) -> None:
    file = read_filter_file(FILES["watched"])
    night.worker.filters.filters.put(file.stored())
    try:
        runner = FilterRunner(night.worker.filters.filters, ZTF, 60_000, watching=Watching(night.database, ZTF))
        run = runner.run(night.documents, night.objects)
    finally:
        night.database.filters.delete_many({})
    assert {each.annotations["target"] for each in run.passes} <= {f"target {n}" for n in range(10)}
    assert all(each.annotations["arcsec"] <= 5 for each in run.passes)
