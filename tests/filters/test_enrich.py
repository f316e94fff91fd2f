"""The enriched alert: as it was known at its time, and as its group may see it."""

from typing import Any

import pytest
from packets import CUTOUTS, JD, forced_point, prv_point, ztf_alerts, ztf_record

from kowalski.alerts import parts
from kowalski.alerts.document import arrival
from kowalski.alerts.lightcurve import merged
from kowalski.alerts.survey import get_survey
from kowalski.filters import enrich
from kowalski.filters.compile import CARRIER, EVERYTHING, Reads, fields_read
from kowalski.filters.enrich import enriched
from kowalski.filters.sight import Sight

ZTF = get_survey("ZTF")
ALL = (1, 2, 3)
Record = dict[str, Any]


def stored(*records: Record) -> tuple[list[Record], Record]:
    """Documents of an object's alerts and of the object."""
    alerts = ztf_alerts(list(records))
    aux = merged({}, [arrival(alert, ZTF) for alert in alerts], ZTF)
    return [alert.document for alert in alerts], aux | {"cross_matches": {"Gaia_EDR3": [{"_id": 1}]}}


def seen(*records: Record, permissions: tuple[int, ...] = ALL, reads: Reads = EVERYTHING) -> Record:
    """The first of an object's alerts as a filter sees it."""
    documents, aux = stored(*records)
    return enriched(documents[0], aux, Sight(ZTF, permissions), reads)


def jds(document: Record, history: str) -> list[float]:
    return [point["jd"] - JD for point in document[history]]


def test_an_alert_has_its_matches_and_history_and_no_cutouts() -> None:
    document = seen(ztf_record(5, prv=[prv_point(JD - 1)], forced=[forced_point(JD - 2)]))
    assert not set(CUTOUTS) & document.keys()
    assert document["cross_matches"] == {"Gaia_EDR3": [{"_id": 1}]}
    assert (jds(document, "prv_candidates"), jds(document, "fp_hists")) == ([-1], [-2])
    assert document[CARRIER] == document["candid"] == 5
    assert {"objectId", "candidate", "classifications", "coordinates", "schemavsn", "publisher"} <= document.keys()


def test_the_stored_document_stays_as_it_was() -> None:
    documents, aux = stored(ztf_record())
    before = dict(documents[0])
    enriched(documents[0], aux, Sight(ZTF, ALL), Reads(frozenset(), False))
    assert documents[0] == before


@pytest.mark.parametrize(
    ("programid", "permissions", "may"),
    [(1, (1,), True), (2, (1,), False), (3, ALL, True), (1, (), False), (0, ALL, False)],
)
def test_who_may_see_an_alert(programid: int, permissions: tuple[int, ...], may: bool) -> None:
    (alert,) = ztf_alerts([ztf_record(programid=programid)])
    assert Sight(ZTF, permissions).sees(alert.candidate) is may


def test_points_of_other_programmes_are_not_shown() -> None:
    record = ztf_record(
        prv=[prv_point(JD - programid, programid=programid) for programid in ALL],
        forced=[forced_point(JD - programid, programid=programid) for programid in ALL],
    )
    document = seen(record, permissions=(1, 3))
    assert jds(document, "prv_candidates") == jds(document, "fp_hists") == [-3, -1]


def test_a_year_of_history_is_shown() -> None:
    days = (364.9, 365.0, 366.0, 1.0)
    record = ztf_record(prv=[prv_point(JD - day) for day in days], forced=[forced_point(JD - day) for day in days])
    document = seen(record)
    assert jds(document, "prv_candidates") == jds(document, "fp_hists") == pytest.approx([-364.9, -1])


@pytest.mark.parametrize(("procstatus", "shown"), [("0", True), ("61", False), ("0,61", False), (None, False)])
def test_forced_points_that_were_processed_without_fault(procstatus: str | None, shown: bool) -> None:
    assert bool(seen(ztf_record(forced=[forced_point(JD - 1, procstatus=procstatus)]))["fp_hists"]) is shown


@pytest.mark.parametrize(
    ("first", "shown"),
    [
        ({"ndethist": 1}, True),
        ({"ndethist": 5, "jdstarthist": JD - 10}, True),
        ({"ndethist": 5, "jdstarthist": JD - 40}, False),
    ],
)
def test_forced_photometry_of_objects_that_are_not_young(first: Record, shown: bool) -> None:
    """By the object's earliest alert, as the reference stored it or not; a later alert's own numbers do not count."""
    earliest = ztf_record(1, jd=JD - 5, **first)
    later = ztf_record(2, forced=[forced_point(JD - 1)], ndethist=9, jdstarthist=JD - 300)
    assert bool(seen(later, earliest)["fp_hists"]) is shown
    assert bool(seen(later, earliest)["prv_candidates"]) is False


def test_only_what_was_known_at_the_alerts_time_is_shown() -> None:
    alert = ztf_record(1, prv=[prv_point(JD - 1)], forced=[forced_point(JD - 1, forcediffimflux=1.0)], magpsf=19.0)
    later = ztf_record(
        2,
        jd=JD + 3,
        prv=[prv_point(JD - 1), prv_point(JD - 2), prv_point(JD, candid=1)],
        forced=[forced_point(JD - 1, forcediffimflux=2.0), forced_point(JD + 1)],
        magpsf=15.0,
    )
    now = seen(alert, later)
    assert (jds(now, "prv_candidates"), jds(now, "fp_hists")) == ([-1], [-1])
    assert now["fp_hists"][0]["forcediffimflux"] == 1.0
    then = seen(later, alert)
    assert jds(then, "prv_candidates") == [-2, -1, 0]
    assert [point["forcediffimflux"] for point in then["fp_hists"]] == [2.0, 100.0]


def test_an_object_that_is_not_there_yet() -> None:
    (alert,) = ztf_alerts([ztf_record()])
    document = enriched(alert.document, {}, Sight(ZTF, ALL), EVERYTHING)
    assert (document["cross_matches"], document["prv_candidates"], document["fp_hists"]) == ({}, [], [])


def test_only_what_is_read_is_fed() -> None:
    record = ztf_record(prv=[prv_point(JD - 1)], forced=[forced_point(JD - 2)])
    document = seen(record, reads=fields_read([{"$match": {"candidate.drb": 1, "fp_hists.snr": 1}}]))
    assert set(document["candidate"]) == {"drb"}
    assert "fp_hists" in document
    assert not {"prv_candidates", "cross_matches"} & document.keys()
    assert set(seen(record)["candidate"]) == set(record["candidate"])


def test_of_a_very_long_history_the_newest_points_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever list they are of, and of those alone that were known at the alert's time."""
    monkeypatch.setattr(parts, "FIT", 5)
    monkeypatch.setattr(enrich, "FED", 1000)
    days = range(1, 20)
    record = ztf_record(
        1, prv=[prv_point(JD - day - 0.5) for day in days], forced=[forced_point(JD - day) for day in days]
    )
    shown = seen(record, ztf_record(2, jd=JD + 9, prv=[prv_point(JD + day) for day in range(9)]))
    shown_days = sorted(-jd for jd in jds(shown, "prv_candidates") + jds(shown, "fp_hists"))
    assert 2 < len(shown_days) < 10
    assert shown_days == pytest.approx([1 + place / 2 for place in range(len(shown_days))])
