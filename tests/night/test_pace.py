"""Packets at the pace of their alerts: when each is due, by a clock that the test sets, and where their times come from."""

import io
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from packets import encode, packet, real_files, ztf_record

from kowalski.alerts.survey import get_survey
from kowalski.archive.packets.writer import ArchiveWriter
from kowalski.config import build, merge, settings_tree
from kowalski.errors import StreamError
from kowalski.night.moments import jd_reader, of_archive, of_files, of_tarball, survey_of, without_jd
from kowalski.night.pace import Moment, Pace, in_order, speed_from
from kowalski.settings import Config

JD = 2460000.5
SECOND = 1 / 86_400


class SetClock:
    """A clock that goes on by what is waited for, and by what the test says."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds


def at(*seconds: float | None) -> list[Moment]:
    """Moments so many seconds after the begin of the night, named by their places."""
    return [
        Moment(str(number), partial(bytes, 1), None if each is None else JD + each * SECOND)
        for number, each in enumerate(seconds)
    ]


@pytest.mark.parametrize(("speed", "waits"), [(1.0, [40.0, 2.5]), (10.0, [4.0, 0.25])])
def test_intervals(speed: float, waits: list[float]) -> None:
    """Those of one exposure come together."""
    clock = SetClock()
    given = [(moment.name, clock.now() - 1000) for moment in Pace(speed, clock).paced(at(0, 40, 40, 42.5, 0))]
    assert [name for name, _ in given] == ["0", "4", "1", "2", "3"]
    assert [when for _, when in given] == pytest.approx([0, 0, waits[0], waits[0], sum(waits)], abs=1e-4)
    assert clock.waits == pytest.approx(waits, abs=1e-4)


def test_who_is_slow_catches_up() -> None:
    """Time that sending takes is not added to the intervals."""
    clock = SetClock()
    pace = Pace(1.0, clock)
    for moment in pace.paced(at(0, 10, 20, 60)):
        if moment.name == "1":
            clock.time += 25
    assert clock.waits == pytest.approx([10, 25], abs=1e-4)
    assert pace.behind == pytest.approx(15, abs=1e-4)


def test_packets_without_a_time_come_with_the_one_before_them() -> None:
    assert [(moment.name, round((jd - JD) / SECOND, 3)) for jd, moment in in_order(at(None, 5, None, 2, None))] == [
        ("3", 2.0), ("4", 2.0), ("0", 5.0), ("1", 5.0), ("2", 5.0),
    ]  # fmt: skip
    assert [jd for jd, _ in in_order(at(None, None))] == [0.0, 0.0]
    assert list(Pace(1.0, SetClock()).paced([])) == []


@pytest.mark.parametrize(("text", "speed"), [("real", 1.0), ("x10", 10.0), ("x0.5", 0.5)])
def test_speeds(text: str, speed: float) -> None:
    assert speed_from(text) == speed


@pytest.mark.parametrize("text", ["", "10", "x", "x0", "x-1", "xnan", "xinf", "Real"])
def test_no_speeds(text: str) -> None:
    with pytest.raises(ValueError, match=r"real|could not convert"):
        speed_from(text)


# where they come from


@pytest.fixture
def config() -> Config:
    return build(merge(settings_tree([], {}), {"kafka": {"topics": {"PGIR": "gattini_[ab]"}}}))


def seen(moments: Iterator[Moment]) -> list[tuple[bytes, float | None]]:
    return [(moment.read(), moment.jd) for moment in list(moments)]


def test_of_a_folder_a_tarball_and_the_archive(tmp_path: Path, config: Config) -> None:
    """The same packets with the same times, in the order in which they lie there; a broken one has none."""
    ztf = get_survey("ZTF")
    data = [encode(ztf_record(number, jd=JD + number)) for number in (3, 1, 2)] + [b"broken"]
    expected = [(data[0], JD + 3), (data[1], JD + 1), (data[2], JD + 2), (data[3], None)]
    for number, each in enumerate(data):
        (tmp_path / f"{number}.avro").write_bytes(each)
    with tarfile.open(tmp_path / "night.tar.gz", "w:gz") as tar:
        for number, each in enumerate(data):
            info = tarfile.TarInfo(f"{number}.avro")
            info.size = len(each)
            tar.addfile(info, io.BytesIO(each))
    jd_of = jd_reader(ztf, config)
    assert seen(of_files(sorted(tmp_path.glob("*.avro")), jd_of)) == expected
    assert seen(of_tarball(tmp_path / "night.tar.gz", jd_of)) == expected
    assert seen(of_tarball(tmp_path / "night.tar.gz")) == [(each, None) for each in data]
    assert [jd for _, jd in seen(of_files(sorted(tmp_path.glob("*.avro")), without_jd))] == [None] * 4
    writer = ArchiveWriter(tmp_path / "archive", ztf, lambda number: None, 1 << 28)
    writer.keep([packet(each, number) for number, each in enumerate(data)], [])
    assert seen(of_archive(tmp_path / "archive", ztf, "20230101")) == expected
    with pytest.raises(
        StreamError, match="holds no packets of ZTF of the night 20230102; nights that it has: 20230101"
    ):
        list(of_archive(tmp_path / "archive", ztf, "20230102"))


def test_a_tarball_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(3):
            info = tarfile.TarInfo(f"{number}.avro")
            info.size = 3000
            tar.addfile(info, io.BytesIO(bytes(3000)))
    path.write_bytes(path.read_bytes()[:5000])
    found: list[Moment] = []
    with pytest.raises(StreamError, match="can't be read as a tarball"):
        found.extend(of_tarball(path))
    assert len(found) == 1


def test_the_times_of_real_packets(test_data: Path, config: Config) -> None:
    for name in ("ZTF", "PGIR", "WNTR", "TURBO"):
        moments = list(of_files(real_files(test_data, name.lower()), jd_reader(get_survey(name), config)))
        assert all(moment.jd is not None and moment.jd > 2_450_000 for moment in moments), name


@pytest.mark.parametrize(
    ("topic", "survey"),
    [("ztf_20240301_programid2", "ZTF"), ("lsst-alerts", "LSST"), ("winter_20240301", "WNTR"), ("gattini_a", "PGIR")],
)
def test_the_survey_of_a_topic(topic: str, survey: str, config: Config) -> None:
    assert survey_of(topic, config).name == survey


@pytest.mark.parametrize("topic", ["mine", "ztf_today_programid1", "pgir_20240301"])
def test_topics_of_nobody(topic: str, config: Config) -> None:
    with pytest.raises(StreamError, match=f"{topic} is a topic of no survey: add --survey"):
        survey_of(topic, config)
