"""Objects of different surveys at the same place are linked, whichever comes first, each pair once."""

from collections.abc import Iterable
from typing import Any

import pytest
from packets import packet
from surveys_harness import MakeWorker

from kowalski.alerts.coordinates import position
from kowalski.alerts.decode import Packet
from kowalski.alerts.survey import get_survey
from kowalski.crossmatch.linker import Linker
from kowalski.crossmatch.matcher import Target
from kowalski.database.catalogs import Catalogs
from kowalski.database.client import MongoDatabase
from kowalski.database.links import COLLECTION, Link, Links
from kowalski.simulation.night import simulate
from kowalski.simulation.reshape import reshaped

ZTF, PGIR = get_survey("ZTF"), get_survey("PGIR")


def of(survey: Any, packets: Iterable[Any]) -> list[Packet]:
    return [
        packet(each.data, number, f"night_of_{survey.name}") for number, each in enumerate(reshaped(packets, survey))
    ]


@pytest.fixture
def made() -> list[Any]:
    return list(simulate(30, objects=12, seed=8))


def pairs(mongo: MongoDatabase) -> set[tuple[str, str]]:
    found = [tuple(document["objects"]) for document in mongo[COLLECTION].find()]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("order", [(ZTF, PGIR), (PGIR, ZTF)], ids=["ZTF first", "PGIR first"])
def test_objects_are_linked_both_ways_whichever_comes_first(
    make_worker: MakeWorker, mongo: MongoDatabase, made: list[Any], order: tuple[Any, Any]
) -> None:
    for survey in order:
        worker = make_worker(survey)
        worker.linker.links.ensure_indexes()
        worker.process(of(survey, made))
        worker.process(of(survey, made[:20]))
    ids = {each.object_id for each in made}
    assert pairs(mongo) == {(f"PGIR:PGIR{each.removeprefix('ZTF')}", f"ZTF:{each}") for each in ids}
    one = min(ids)
    other = f"PGIR{one.removeprefix('ZTF')}"
    (link,) = Links(mongo).of(ZTF, [one])
    assert (link.other_survey, link.other_id) == ("PGIR", other)
    (back,) = Links(mongo).of(PGIR, [other])
    assert (back.other_survey, back.other_id, back.distance) == ("ZTF", one, link.distance)


def test_what_a_worker_left_undone_is_linked_when_its_message_comes_again(
    make_worker: MakeWorker, mongo: MongoDatabase, made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_worker(PGIR).process(of(PGIR, made))
    worker = make_worker(ZTF)

    def dies(*_: Any) -> int:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Linker, "link", dies)
        with pytest.raises(RuntimeError):
            worker.process(of(ZTF, made))
    assert pairs(mongo) == set()
    worker.process(of(ZTF, made))
    assert len(pairs(mongo)) == 12


def test_only_what_lies_within_the_radius_is_linked(mongo: MongoDatabase) -> None:
    """Around the pole and across RA 0 as well; an object counts once, however many alerts it has."""
    places = {"a": (10.0, 20.0), "b": (10.0, 20.0 + 1.4 / 3600), "c": (10.0, 20.0 + 1.6 / 3600), "zero": (359.9999, -30.0), "pole": (123.0, 89.9999)}  # fmt: skip
    mongo[PGIR.alerts].insert_many(
        {"objectId": name, "candid": 10 * place + number, "coordinates": position(ra, dec)}
        for place, (name, (ra, dec)) in enumerate(places.items())
        for number in range(3)
    )
    linker = Linker(ZTF, [ZTF, PGIR], Catalogs(mongo), Links(mongo), 1.5)
    targets = [Target("here", 1, 10.0, 20.0), Target("zero", 2, 0.0001, -30.0), Target("pole", 3, 303.0, 89.9999)]
    assert linker.link(targets) == linker.link(targets) == 4
    found = {(link.object_id, link.other_id): link.distance for link in Links(mongo).of(ZTF, ["here", "zero", "pole"])}
    assert found == {
        ("here", "a"): 0.0,
        ("here", "b"): pytest.approx(1.4, abs=0.002),
        ("zero", "zero"): pytest.approx(0.6235, abs=0.002),
        ("pole", "pole"): pytest.approx(0.72, abs=0.002),
    }


def test_a_link_seen_from_its_ends() -> None:
    link = Link("ZTF", "ZTF20a", "LSST", "123", 0.5)
    document = link.document()
    assert document["_id"] == "LSST:123 ZTF:ZTF20a" == Link("LSST", "123", "ZTF", "ZTF20a", 0.5).document()["_id"]
    assert Link.seen_from("LSST:123", document) == Link("LSST", "123", "ZTF", "ZTF20a", 0.5)
