"""Simulated packets: true to the schema, the same for the same seed, consistent among themselves."""

import gzip
import hashlib
import io
import json
from collections import defaultdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import psutil
import pytest
from astropy.io import fits

from kowalski.alert_broker_ztf import SURVEY
from kowalski.alerts.batches import Packet
from kowalski.alerts.document import read_batch
from kowalski.simulation import catalogs, night, sky, sources
from kowalski.simulation.encoding import SCHEMA_FILE
from kowalski.simulation.night import paced, simulate
from kowalski.simulation.tracking import SimulatedPacket

SCHEMA = fastavro.parse_schema(json.loads(SCHEMA_FILE.read_text()))


@pytest.fixture(scope="module")
def packets() -> list[SimulatedPacket]:
    return list(simulate(300, 100))


@pytest.fixture(scope="module")
def records(packets: list[SimulatedPacket]) -> list[dict[str, Any]]:
    return [record_of(packet.data) for packet in packets]


def record_of(data: bytes) -> dict[str, Any]:
    [record] = fastavro.reader(io.BytesIO(data))
    assert isinstance(record, dict)
    return record


def test_packets_fit_the_schema_that_they_carry(packets: list[SimulatedPacket], records: list[dict[str, Any]]) -> None:
    for packet, record in zip(packets, records, strict=True):
        fastavro.validation.validate(record, SCHEMA)
        again = io.BytesIO()
        fastavro.schemaless_writer(again, SCHEMA, record)
        assert again.getvalue() in packet.data
    sizes = [len(packet.data) for packet in packets]
    assert 55_000 < min(sizes) < max(sizes) < 95_000


def test_real_packets_can_be_written_with_the_schema(test_data: Path) -> None:
    files = sorted((test_data / "ztf_alerts" / "20231012").glob("*.avro"))
    assert files
    for file in files:
        record = record_of(file.read_bytes())
        body = io.BytesIO()
        fastavro.schemaless_writer(body, SCHEMA, record)
        body.seek(0)
        assert fastavro.schemaless_reader(body, SCHEMA, None) == record


def test_real_packets_have_no_field_that_simulated_ones_lack(test_data: Path, records: list[dict[str, Any]]) -> None:
    real = record_of(next((test_data / "ztf_alerts" / "20231012").glob("*.avro")).read_bytes())
    ours = next(record for record in records if record["fp_hists"])
    assert ours.keys() == real.keys()
    assert ours["candidate"].keys() == real["candidate"].keys()
    missing = {name for name in real["candidate"] if all(record["candidate"][name] is None for record in records)}
    assert not missing
    assert ours["prv_candidates"][0].keys() == real["prv_candidates"][0].keys()
    assert ours["fp_hists"][0].keys() == real["fp_hists"][0].keys()


def test_the_broker_refuses_none(packets: list[SimulatedPacket]) -> None:
    alerts, refusals = read_batch(
        [Packet(packet.data, "topic", 0, 0, datetime.now(UTC)) for packet in packets[:60]], SURVEY
    )
    assert refusals == []
    assert [alert.candid for alert in alerts] == [packet.candid for packet in packets[:60]]


def test_the_same_seed_gives_the_same_bytes() -> None:
    def digest(**arguments: Any) -> str:
        return hashlib.sha256(b"".join(packet.data for packet in simulate(40, 15, **arguments))).hexdigest()

    assert digest(seed=3) == digest(seed=3)
    assert len({digest(seed=3), digest(seed=4), digest(seed=3, night="20240102")}) == 3


def test_numbers_asked_for_are_kept(packets: list[SimulatedPacket]) -> None:
    assert len(packets) == 300
    assert len({packet.object_id for packet in packets}) == 100
    assert len({packet.candid for packet in packets}) == 300
    assert [packet.candid for packet in packets] == sorted(packet.candid for packet in packets)
    assert {packet.programid for packet in packets} == {1, 2, 3}
    assert {packet.kind for packet in packets} == {"supernova", "nuclear", "variable", "asteroid", "bogus"}


@pytest.mark.parametrize(("n", "objects"), [(1, 1), (2, 1), (7, 5), (30, 30), (40, 2)])
def test_small_nights_work_too(n: int, objects: int) -> None:
    made = list(simulate(n, objects))
    assert (len(made), len({packet.object_id for packet in made})) == (n, objects)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n": 5, "objects": 9}, "9 objects can't give 5 alerts"),
        ({"n": 0}, "1 objects can't give 0 alerts"),
        ({"n": 100_000, "objects": 1}, "a night holds 39000"),
        ({"n": 5, "night": "2024-01-01"}, "does not match format"),
        ({"n": 5, "night": "20170101"}, "before ZTF's first"),
    ],
)
def test_what_no_night_holds_is_refused_at_once(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        simulate(**arguments)


def test_ids_follow_ztf(packets: list[SimulatedPacket], records: list[dict[str, Any]]) -> None:
    for packet, record in zip(packets, records, strict=True):
        candidate = record["candidate"]
        nid, fraction = divmod(candidate["pid"] // 10_000, 100_000)
        assert record["candid"] == candidate["candid"] == packet.candid
        assert packet.candid // 1_000_000 == candidate["pid"]
        assert candidate["jd"] == packet.jd == round(2457754.5 + nid + fraction * 1e-5, 7)
        assert nid == candidate["nid"] == 2556
        assert candidate["pid"] // 100 % 100 == candidate["rcid"]
        assert len(record["objectId"]) == 12
        assert 0 <= candidate["ra"] < 360
        assert candidate["isdiffpos"] in ("t", "f")


def test_stamps_are_images_with_the_detection_in_the_middle(
    packets: list[SimulatedPacket], records: list[dict[str, Any]]
) -> None:
    for packet, record in zip(packets[:60], records, strict=False):
        for role in ("Science", "Template", "Difference"):
            with fits.open(io.BytesIO(gzip.decompress(record[f"cutout{role}"]["stampData"]))) as file:
                image = file[0].data
                assert image.shape == (63, 63)
                assert image.dtype == ">f4"
                assert file[0].header["BITPIX"] == -32
        assert f"candid{packet.candid}_pid{record['candidate']['pid']}_targ" in record["cutoutScience"]["fileName"]
        if packet.kind != "bogus":
            assert image[29:34, 29:34].mean() > 3 * image.std() / 5


def test_a_detection_is_in_the_history_of_all_later_packets(
    packets: list[SimulatedPacket], records: list[dict[str, Any]]
) -> None:
    by_object: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        by_object[record["objectId"]].append(record)
    assert max(map(len, by_object.values())) > 2
    for series in by_object.values():
        for earlier, later in zip(series, series[1:], strict=False):
            points = {point["candid"]: point for point in later["prv_candidates"]}
            point = points[earlier["candid"]]
            # As in real packets, a history point has no solar-system match, and its image's full path.
            own = [name for name in point if name[:2] != "ss" and name != "pdiffimfilename"]
            assert [point[name] for name in own] == [earlier["candidate"][name] for name in own]
            assert point["pdiffimfilename"].endswith(earlier["candidate"]["pdiffimfilename"] + ".fz")
            assert later["prv_candidates"][: len(earlier["prv_candidates"])] == earlier["prv_candidates"]
            assert later["candidate"]["ndethist"] == earlier["candidate"]["ndethist"] + 1
            assert later["candidate"]["jdstarthist"] == earlier["candidate"]["jdstarthist"]
            assert later["fp_hists"] == earlier["fp_hists"]


def test_histories_are_before_the_alert_and_have_upper_limits(records: list[dict[str, Any]]) -> None:
    limits = 0
    for record in records:
        jd = record["candidate"]["jd"]
        times = [point["jd"] for point in record["prv_candidates"]]
        assert times == sorted(set(times))
        assert jd - 31 < times[0] < times[-1] < jd
        assert all(point["jd"] < int(jd) for point in record["fp_hists"] or [])
        limits += sum(point["candid"] is None and point["diffmaglim"] > 0 for point in record["prv_candidates"])
    assert limits > len(records)
    assert 0.3 < np.mean([record["fp_hists"] is not None for record in records]) < 0.95


def test_asteroids_are_named_and_seen_once(packets: list[SimulatedPacket], records: list[dict[str, Any]]) -> None:
    for packet, record in zip(packets, records, strict=True):
        candidate = record["candidate"]
        if packet.kind == "asteroid":
            assert candidate["ssdistnr"] >= 0
            assert candidate["ssnamenr"].isdigit()
            assert candidate["ndethist"] == 1
        else:
            assert (candidate["ssdistnr"], candidate["ssnamenr"]) == (-999.0, "null")


def test_memory_does_not_grow_with_the_night(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (night, sky, sources, catalogs):
        monkeypatch.setattr(module, "FIELD_OBJECTS", 20)
    process, packets = psutil.Process(), simulate(100_000, 50_000)
    sizes = []
    for _ in range(3):
        assert sum(1 for _ in islice(packets, 500)) == 500
        sizes.append(process.memory_info().rss)
    assert sizes[2] - sizes[1] < 10 << 20


def test_pacing_keeps_visits_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(night.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(night.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    visits = [SimulatedPacket(i, "ZTF24aaaaaaa", float(i // 3), 1, "bogus", b"") for i in range(9)]
    assert [now[0] for _ in paced(visits, burst=40)] == [0, 0, 0, 40, 40, 40, 80, 80, 80]
    now[0] = 0.0
    assert [now[0] for _ in paced(visits, rate=2)] == [i / 2 for i in range(9)]
    now[0] = 0.0
    assert [now[0] for _ in paced(visits)] == [0] * 9
