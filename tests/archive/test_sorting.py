"""Rows in any order become one sorted file, however many runs they take."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kowalski.archive.tables.sorting import Sorter

SCHEMA = pa.schema([("objectId", pa.string()), ("jd", pa.float64()), ("n", pa.int64())])


@pytest.mark.parametrize(("rows", "run"), [(0, 10), (7, 10), (10, 10), (95, 10), (100, 7)])
def test_all_rows_in_order_whatever_the_runs(tmp_path: Path, rows: int, run: int) -> None:
    chance = random.Random(rows)
    made = [{"objectId": chance.choice("abc"), "jd": chance.choice([1.0, 2.0, None]), "n": n} for n in range(rows)]
    sorter = Sorter(SCHEMA, ["objectId", "jd", "n"], tmp_path / "runs", run=run, group=8)
    shuffled = chance.sample(made, len(made))
    for first in range(0, rows, 4):
        sorter.add(pa.Table.from_pylist(shuffled[first : first + 4], SCHEMA))
    sorter.write(tmp_path / "sorted.parquet")
    expected = sorted(made, key=lambda row: (row["objectId"], row["jd"] is None, row["jd"] or 0, row["n"]))
    assert pq.read_table(tmp_path / "sorted.parquet").to_pylist() == expected
    assert sorter.rows == rows
    if rows >= 10:
        assert pq.read_metadata(tmp_path / "sorted.parquet").num_row_groups == -(-rows // 8)


def test_columns_that_a_table_lacks_are_null(tmp_path: Path) -> None:
    sorter = Sorter(SCHEMA, ["objectId"], tmp_path / "runs")
    sorter.add(pa.table({"objectId": ["b"]}))
    sorter.add(pa.table({"n": [1], "objectId": ["a"]}))
    sorter.write(tmp_path / "sorted.parquet")
    found = pq.read_table(tmp_path / "sorted.parquet").to_pylist()
    assert found == [{"objectId": "a", "jd": None, "n": 1}, {"objectId": "b", "jd": None, "n": None}]
