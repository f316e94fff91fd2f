"""Simulated catalogues: their rows lie where the alerts are."""

import io
import json
from pathlib import Path

import fastavro
import numpy as np
import pytest

from kowalski.alerts.coordinates import separation
from kowalski.config import load_config
from kowalski.simulation.catalogs import NAMES, Row, catalogs, write_catalogs
from kowalski.simulation.night import simulate


@pytest.fixture(scope="module")
def tables() -> dict[str, list[Row]]:
    return catalogs(seed=5, objects=150)


def test_rows_have_what_the_cross_match_projects(tables: dict[str, list[Row]]) -> None:
    recipes = load_config().database.xmatch["ZTF"]
    for name, rows in tables.items():
        assert rows, name
        projected = {key.split(".")[0] for key, shown in recipes[name].projection.items() if shown}
        assert projected <= rows[0].keys()
        assert len({row["_id"] for row in rows}) == len(rows)
        for row in rows:
            assert row["coordinates"]["radec_geojson"]["coordinates"] == [row["ra"] - 180.0, row["dec"]]


def test_alerts_hit_them(tables: dict[str, list[Row]]) -> None:
    expected = {"variable": "Gaia_EDR3", "nuclear": "PS1_STRM", "supernova": "PS1_STRM"}
    hits: dict[str, list[bool]] = {kind: [] for kind in expected}
    places = {
        name: (np.array([row["ra"] for row in rows]), np.array([row["dec"] for row in rows]))
        for name, rows in tables.items()
    }
    for packet in simulate(150, 150, seed=5, night="20240315"):
        if packet.kind in expected:
            [record] = fastavro.reader(io.BytesIO(packet.data))
            assert isinstance(record, dict)
            candidate = record["candidate"]
            near = separation(candidate["ra"], candidate["dec"], *places[expected[packet.kind]]).min() * 3600
            hits[packet.kind].append(near < (8 if packet.kind == "supernova" else 1.5))
    assert all(np.mean(found) > 0.95 for found in hits.values()), hits


def test_files_hold_the_same_rows(tables: dict[str, list[Row]], tmp_path: Path) -> None:
    counts = write_catalogs(tmp_path / "catalogs", seed=5, objects=150)
    assert counts == {name: len(rows) for name, rows in tables.items()}
    for name in NAMES:
        lines = (tmp_path / "catalogs" / f"{name}.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == tables[name]


def test_more_objects_leave_the_first_rows_as_they_are(tables: dict[str, list[Row]]) -> None:
    assert catalogs(seed=5, objects=200)["PS1_STRM"][: len(tables["PS1_STRM"])] == tables["PS1_STRM"]
    assert catalogs(seed=6, objects=150)["PS1_STRM"][0] != tables["PS1_STRM"][0]
