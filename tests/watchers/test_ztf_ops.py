"""ZTF's exposure log is copied through a server in its place: new rows once, whatever becomes of the connection or the file."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from web_stand_in import Asked, Said, Web, serving

from kowalski.database.client import MongoDatabase
from kowalski.errors import ConfigError, SourceError
from kowalski.settings import ZTFOps
from kowalski.watchers import ztf_ops
from kowalski.watchers.exposures import COLUMNS, exposure_of, is_heading
from kowalski.watchers.ztf_ops import OperationsLog

BEGIN = datetime(2026, 6, 30, 3, 0, 0, tzinfo=UTC)
HEADINGS = "|   UT_START          |Sun|  Exp |Fil|Type| Field |PID|   RA   |  Dec   | Slew | Wait  |  Fileroot\n\n"


def line(number: int, **changes: Any) -> str:
    """A line of the log."""
    values = {
        "utc_start": f"{BEGIN + timedelta(seconds=40 * number):%Y-%m-%dT%H:%M:%S}.25",
        "sun_elevation": -30,
        "exp": 30,
        "filter": 2,
        "type": "targ",
        "field": 700 + number,
        "pid": 1,
        "ra": f"{10 + number / 100:.4f}",
        "dec": "-5.2500",
        "slew": "3.1",
        "wait": "0.00",
        "fileroot": f"ztf_20260630{number:06d}_000700_zr",
        "programpi": "Kulkarni",
        "qcomment": "all-sky",
    } | changes
    text = "".join(str(values[name]).rjust(width) for name, width, _ in COLUMNS)
    assert len(text) == sum(width for _, width, _ in COLUMNS)
    return text + "\n"


class Log:
    """The log on its server; ``ranges``: whether parts of it are given."""

    def __init__(self) -> None:
        self.text = HEADINGS
        self.ranges = True
        self.said: Said | None = None
        self.short = 0
        self.sent: list[int] = []

    def answer(self, asked: Asked) -> Said:
        if asked.headers["Authorization"] != "Basic " + base64.b64encode(b"watcher:secret").decode():
            return Said(401, b"who is it?")
        if self.said:
            return self.said
        content = self.text.encode()
        begin = int((asked.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-")) if self.ranges else 0
        if begin >= len(content):
            return Said(416)
        self.sent.append(len(content) - begin)
        return Said(206 if begin else 200, content[begin:], short=self.short)


@pytest.fixture
def there() -> Log:
    return Log()


@pytest.fixture
def web(there: Log) -> Iterator[Web]:
    with serving(there.answer) as web:
        yield web


@pytest.fixture
def watched(web: Web, mongo: MongoDatabase) -> OperationsLog:
    made = OperationsLog(settings(web), mongo)
    made.exposures.ensure_indexes()
    return made


def settings(web: Web, **changes: Any) -> ZTFOps:
    values = {"url": f"{web.url}/allexp.tbl", "username": "watcher", "password": "secret", "interval": 300} | changes
    return ZTFOps(**values)


def fields(mongo: MongoDatabase) -> list[int]:
    return [row["field"] for row in mongo["ZTF_ops"].find().sort("field", 1)]


def test_a_row_has_every_column(there: Log, watched: OperationsLog, mongo: MongoDatabase) -> None:
    there.text += line(0) + line(1, ra="-99.0000", dec="-99.0000", type="bias", programpi="", qcomment="")
    watched.step()
    first, second = mongo["ZTF_ops"].find({}, {"_id": 0}).sort("field", 1)
    assert first == {
        "utc_start": (BEGIN + timedelta(seconds=0.25)).replace(tzinfo=None),
        "utc_end": (BEGIN + timedelta(seconds=30.25)).replace(tzinfo=None),
        "sun_elevation": -30,
        "exp": 30,
        "filter": 2,
        "type": "targ",
        "field": 700,
        "pid": 1,
        "ra": 10.0,
        "dec": -5.25,
        "slew": 3.1,
        "wait": 0.0,
        "fileroot": "ztf_20260630000000_000700_zr",
        "programpi": "Kulkarni",
        "qcomment": "all-sky",
        "jd_start": pytest.approx(2461221.625 + 0.25 / 86400, abs=1e-8),
        "jd_end": pytest.approx(2461221.625 + 30.25 / 86400, abs=1e-8),
        "coordinates": {
            "radec_str": ["00:40:00.0000", "-05:15:00.000"],
            "radec_geojson": {"type": "Point", "coordinates": [-170.0, -5.25]},
        },
    }
    assert "coordinates" not in second


@pytest.mark.parametrize("ranges", [True, False], ids=["by parts", "whole"])
def test_only_new_rows_are_read(there: Log, watched: OperationsLog, mongo: MongoDatabase, ranges: bool) -> None:
    there.ranges = ranges
    there.text += "".join(line(number) for number in range(50))
    watched.step()
    there.text += line(50) + line(51)[:70]
    watched.step()
    assert fields(mongo) == list(range(700, 751)), "a line that is not ended waits"
    if ranges:
        assert there.sent[1] == ztf_ops.SEEN + len(line(50)) + 70
    there.text = there.text[:-70] + line(51)
    watched.step()
    watched.step()
    assert fields(mongo) == list(range(700, 752))


@pytest.mark.parametrize("ranges", [True, False], ids=["by parts", "whole"])
def test_a_log_that_was_written_anew_is_read_from_its_beginning(
    there: Log, watched: OperationsLog, mongo: MongoDatabase, ranges: bool
) -> None:
    there.ranges = ranges
    there.text += "".join(line(number) for number in range(10))
    watched.step()
    for numbers in (range(20, 33), range(20, 22)):  # longer and other; shorter
        there.text = HEADINGS + "".join(line(number) for number in numbers)
        watched.step()
    assert fields(mongo) == [*range(700, 710), *range(720, 733)]


def test_a_connection_that_breaks_loses_and_doubles_nothing(
    there: Log, watched: OperationsLog, mongo: MongoDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ztf_ops, "LINES", 10)
    monkeypatch.setattr(ztf_ops, "CHUNK", 1000)
    there.text += "".join(line(number) for number in range(100))
    there.short = 5000
    with pytest.raises(SourceError, match="breaks off") as failure:
        watched.step()
    assert failure.value.retriable
    assert 40 <= len(fields(mongo)) < 100
    there.short = 0
    watched.step()
    assert fields(mongo) == list(range(700, 800))
    assert there.sent[1] < there.sent[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"exp": "abc"}, r"column exp \(characters 27 to 32\) is 'abc'"),
        ({"ra": "361.0000"}, "no position in deg"),
        ({"dec": "nan"}, "column dec"),
        ({"utc_start": "2026-13-01T00:00:00"}, "column utc_start"),
        ({"fileroot": ""}, "column fileroot is empty"),
    ],
)
def test_a_bad_line_is_marked_and_the_others_are_stored(
    there: Log, watched: OperationsLog, mongo: MongoDatabase, changes: dict[str, Any], says: str
) -> None:
    there.text += line(0) + line(1, **changes) + line(2)
    watched.step()
    assert fields(mongo) == [700, 702]
    [marked] = watched.progress.read()["refused"]
    with pytest.raises(SourceError, match=says):
        exposure_of(line(1, **changes).rstrip("\n"))
    assert marked.partition(": ")[2]


def test_another_table_is_refused_as_a_whole(there: Log, watched: OperationsLog, mongo: MongoDatabase) -> None:
    there.text += "".join(" " + line(number) for number in range(30))
    with pytest.raises(
        SourceError, match=r"no exposure log as it is known; the first of 30 bad lines: .*column"
    ) as failure:
        watched.step()
    assert not failure.value.retriable
    there.text = "<html>" + "x" * 400_000 + "</html>\n"
    with pytest.raises(SourceError, match="longer than"):
        watched.step()
    assert fields(mongo) == []


def test_what_stands_beyond_the_last_column_is_seen() -> None:
    with pytest.raises(SourceError, match="beyond column 151"):
        exposure_of(line(0).rstrip("\n") + " extra")
    assert exposure_of(line(0).rstrip())["qcomment"] == "all-sky"
    assert is_heading("")
    assert is_heading("|  UT")
    assert not is_heading(line(0))


@pytest.mark.parametrize(
    ("said", "says", "retriable"),
    [
        (Said(503, b"later", {"Retry-After": "7"}), "503", True),
        (Said(404), r"not there \(ztf_ops.url\)", False),
        (Said(403, b"no"), "refuses the credentials", False),
    ],
)
def test_refusals(there: Log, watched: OperationsLog, said: Said, says: str, retriable: bool) -> None:
    there.said = said
    with pytest.raises(SourceError, match=says) as failure:
        watched.step()
    assert failure.value.retriable is retriable
    assert failure.value.wait_s == (7 if retriable else None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"password": None}, "ztf_ops.password are not set"),
        ({"url": "http://site/allexp.tbl"}, "must begin with https://"),
    ],
)
def test_settings_that_can_not_be_right(web: Web, mongo: MongoDatabase, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        OperationsLog(settings(web, **changes), mongo)
