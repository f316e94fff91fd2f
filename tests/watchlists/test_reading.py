"""Files as they become rows: types of columns, blanks, crowds, and files of every sort."""

import csv
import io

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from stored_watchlists import csv_of, read

from kowalski.errors import WatchlistError
from kowalski.watchlists import rows, tables
from kowalski.watchlists.grids import numbered_pixels


def test_a_column_has_numbers_where_its_first_value_is_one() -> None:
    found, told = read(
        b"objectId,n,f,t,late,none,id:text\n7,1,,x,,,1\n8,2.5,1e-3,3,,nan,2\n9,,inf_,,4,,3\n".replace(b"inf_", b"")
    )
    assert [row["id"] for row in found] == ["7", "8", "9"]
    assert [row["columns"] for row in found] == [
        {"n": 1, "t": "x", "id": "1"},
        {"n": 2.5, "f": 0.001, "t": "3", "id": "2"},
        {"late": 4, "id": "3"},
    ]
    assert told["columns"] == ["n", "f", "t", "late", "none", "id"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_separators_quotes_and_byte_order_marks(delimiter: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([["RA", "Dec", "name"], [1.5, -2, f'two\nlines, a{delimiter} and "quotes"'], [3, 4, "é"]])
    found, _ = read(b"\xef\xbb\xbf" + text.getvalue().encode())
    assert [row["columns"]["name"] for row in found] == [f'two\nlines, a{delimiter} and "quotes"', "é"]
    assert found[0]["coordinates"]["radec_geojson"] == {"type": "Point", "coordinates": [-178.5, -2.0]}


def test_the_pixel_is_that_of_the_rows_radius() -> None:
    found, told = read(b"ra,dec,radius_arcsec\n10,20,\n10,20,100\n10,20,nan\n", radius=5)
    pixels, _ = numbered_pixels(np.full(3, 10.0), np.full(3, 20.0), np.array([5.0, 100.0, 5.0]))
    assert [row["coordinates"]["pixel"] for row in found] == pixels.tolist()
    assert [row["radius"] for row in found] == [5, 100, 5]
    assert told["radii"] == [{"order": 10, "radius": 100.0}, {"order": 16, "radius": 5.0}]


def test_blanks_of_fits(tmp_path: object) -> None:
    table = Table({"objectId": ["a ", "b"], "f": [1.5, np.nan], "t": ["x", ""], "yes": [True, False]})
    table["n"] = MaskedColumn([5, 6], mask=[False, True], dtype="i4")
    stream = io.BytesIO()
    table.write(stream, format="fits")
    found, _ = read(stream.getvalue())
    assert [row["id"] for row in found] == ["a", "b"]
    assert [row["columns"] for row in found] == [{"f": 1.5, "t": "x", "yes": True, "n": 5}, {"yes": False}]


def test_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BLOCK", 7)
    found, told = read(csv_of("ra,dec,n", [(n, 0, n) for n in range(100)]))
    assert [row["_id"]["row"] for row in found] == list(range(1, 101))
    assert [row["columns"]["n"] for row in found] == list(range(100))
    assert told["rows"] == 100
    with pytest.raises(WatchlistError, match="^row 51, column ra: 'x' is no number"):
        read(csv_of("ra,dec", [("x" if n == 50 else n, 0) for n in range(100)]))


def test_rows_that_lie_too_close_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_TOGETHER", 5)
    apart, crowd = [(n, n) for n in range(10)], [(50, 50)] * 6
    with pytest.raises(WatchlistError, match="^row 11, columns ra and dec: 6 rows lie too close together"):
        read(csv_of("ra,dec", [*apart, *crowd]))
    assert len(read(csv_of("ra,dec", [*apart, *crowd[1:]]))[0]) == 15


def test_more_rows_than_a_list_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_ROWS", 10)
    assert read(csv_of("objectId", [(n,) for n in range(10)]))[1]["rows"] == 10
    with pytest.raises(WatchlistError, match="there are more than 10 rows"):
        read(csv_of("objectId", [(n,) for n in range(11)]))
