"""./kowalski.py filter: files checked, run on their alerts and explained, in a MongoDB made for it."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastavro import reader

from kowalski.errors import FilterError
from kowalski.filters.files import read_filter_file
from kowalski.local import filter_files
from kowalski.simulation.night import simulate

BRIGHT = {"$match": {"candidate.magpsf": {"$lt": 30}}}
FOLLOWUP = {"active": True, "pipeline": [BRIGHT], "allocation_id": 1, "payload": {"priority": 1}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two packets of one object and one of another."""
    folder = tmp_path_factory.mktemp("filters")
    by_object: dict[str, list[bytes]] = {}
    for packet in simulate(60, objects=10, seed=3):
        by_object.setdefault(packet.object_id, []).append(packet.data)
    first, second = sorted(by_object.values(), key=len)[-2:]
    for name, data in {"a1": first[0], "a2": first[1], "b": second[0]}.items():
        (folder / f"{name}.avro").write_bytes(data)
    return folder


def candidate(folder: Path, name: str) -> dict[str, Any]:
    with (folder / f"{name}.avro").open("rb") as file:
        (record,) = reader(file)
    assert isinstance(record, dict)
    found: dict[str, Any] = record["candidate"]
    return found


def write(folder: Path, **changes: Any) -> Path:
    content = {
        "filter_id": 12, "group_id": 3, "catalog": "ZTF_alerts", "permissions": [1, 2, 3],
        "pipeline": [BRIGHT, {"$project": {"annotations": {"mag": "$candidate.magpsf", "n": {"$size": "$prv_candidates"}}}}],
    }  # fmt: skip
    path = folder / "filter.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def told(action: str, path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    filter_files.add_arguments(parser)
    code = filter_files.run(parser.parse_args([action, str(path)]))
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ([BRIGHT], "filter 12 is valid and takes many alerts at once"),
        ([BRIGHT, {"$sort": {"x": 1}}], "stage 2 ($sort) may look across documents, so it goes alert by alert"),
    ],
)
def test_what_is_said_of_a_valid_filter(
    folder: Path, capsys: pytest.CaptureFixture[str], pipeline: list[Any], said: str
) -> None:
    assert told("validate", write(folder, pipeline=pipeline), capsys)[0] == 0
    assert told("validate", write(folder, pipeline=pipeline), capsys)[1].strip().endswith(said)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"catalog": "XYZ_alerts"}, "catalog XYZ_alerts not in"),
        ({"pipeline": []}, "at least one stage"),
        ({"pipeline": [{"$lookup": {}}]}, "forbidden stages: \\$lookup"),
        ({"autosave": {"active": False, "pipeline": [{"$out": "x"}]}}, "forbidden stages: \\$out"),
        ({"autosave": True, "auto_followup": {"active": True}}, "auto_followup: pipeline is missing"),
        ({"filter_id": 0}, "filter_id: Input should be greater"),
        ({"pipelines": 1}, "pipelines: Extra inputs"),
        ({"alerts": [{"packet": "x"}]}, "alerts.0.passes: Field required"),
        ({"autosave": {"active": True, "coment": "x"}}, "autosave: no such keys: coment"),
        (
            {"autosave": True, "auto_followup": {"active": False, "priority": 1}},
            "auto_followup: no such keys: priority",
        ),
        ({"auto_followup": FOLLOWUP}, "auto_followup needs autosave to be on"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, changes: dict[str, Any], text: str) -> None:
    path = write(folder, **changes)
    with pytest.raises(FilterError, match=text):
        read_filter_file(path).compiled()


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FilterError, match="No such file"):
        read_filter_file(tmp_path / "nothing.yaml")
    (tmp_path / "x.yaml").write_text("{a: [}")
    with pytest.raises(FilterError, match="not valid YAML"):
        read_filter_file(tmp_path / "x.yaml")


def test_alerts_are_answered_as_the_chain_would(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored = {"$match": {"classifications.braai": {"$gt": 0.5}, "cross_matches.NED.0": {"$exists": True}}}
    alerts: list[dict[str, Any]] = [
        {"packet": "a2.avro", "classifications": {"braai": 0.9}, "cross_matches": {"NED": [{"z": 0.1}]}, "passes": True,
         "annotations": {"mag": candidate(folder, "a2")["magpsf"]}, "autosave": True, "followup": False},
        {"packet": "a1.avro", "classifications": {"braai": 0.1}, "passes": False},
        {"packet": "b.avro", "passes": False},
    ]  # fmt: skip
    pipeline = [scored, {"$project": {"annotations": {"mag": "$candidate.magpsf"}}}]
    code, said = told("run", write(folder, pipeline=pipeline, autosave=True, alerts=alerts), capsys)
    assert code == 0, said
    assert said.count("as expected") == 3
    alerts[0] |= {"annotations": {"mag": 1.0}, "autosave": False}
    alerts[2]["passes"] = True
    code, said = told("run", write(folder, pipeline=pipeline, autosave=True, alerts=alerts), capsys)
    assert code == 1
    first, second, third = said.splitlines()[1:]
    assert first.startswith("  NOT AS EXPECTED")
    assert "not {'mag': 1.0}; autosave: yes" in first
    assert second.startswith("  as expected")
    assert third.endswith("does not pass  it was expected to pass")


def test_each_alert_is_explained(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faint = {"$match": {"candidate.magpsf": {"$gt": 30}}}
    alerts = [{"packet": "b.avro", "passes": False}]
    code, said = told("explain", write(folder, pipeline=[BRIGHT, faint], alerts=alerts), capsys)
    assert code == 0
    mag = candidate(folder, "b")["magpsf"]
    assert f"stage 2 ($match): candidate.magpsf is {mag!r}, not {{'$gt': 30}}" in said
    assert "{'candidate.magpsf': {'$gt': 30}}  met by 0" in said
    code, said = told("explain", write(folder, permissions=[], alerts=alerts), capsys)
    assert "the filter's permissions [] leave it out" in said


def test_packets_that_are_missing_or_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.avro").write_bytes(b"no packet")
    alerts: dict[str, dict[str, Any]] = {
        "No such file": {"packet": "gone.avro"}, "not_avro": {"packet": "bad.avro"}, "has 0 such alerts": {"packet": "b.avro", "candid": 5},
    }  # fmt: skip
    for text, alert in alerts.items():
        code, said = told("run", write(folder, alerts=[alert | {"passes": True}]), capsys)
        assert code == 1
        assert text in said


def test_what_is_wrong_with_one_file_keeps_no_other_from_being_checked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [folder / f"{number}.yaml" for number in range(3)]
    for number, pipeline in enumerate(([BRIGHT], [{"$out": "x"}], [BRIGHT, {"$limit": 1}])):
        write(folder, pipeline=pipeline).rename(files[number])
    parser = argparse.ArgumentParser()
    filter_files.add_arguments(parser)
    assert filter_files.run(parser.parse_args(["validate", *map(str, files)])) == 1
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.endswith("takes many alerts at once")
    assert second == f"{files[1]}: pipeline uses forbidden stages: $out"
    assert third.endswith("alert by alert")


def test_numbers_and_dates_as_people_write_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """YAML 1.1 takes 1e-3 for a text, which no number ever equals or exceeds."""
    path = write(folder, pipeline=[], alerts=[{"packet": "b.avro", "passes": True, "annotations": {"x": 1500.0}}])
    stages = """pipeline:
- $match: {candidate.magpsf: {$gt: 1e-3, $lt: 3E+2}}
- $match: {$expr: {$lt: [{$toDate: 0.0}, 2024-01-01T00:00:00Z]}}
- $match: {$expr: {$lt: [{$toDate: 0.0}, {$date: "2024-01-01T00:00:00Z"}]}}
- $project: {annotations: {x: {$add: [1.5e3, 0]}}}
"""
    path.write_text(path.read_text().replace("pipeline: []\n", stages))
    code, said = told("explain", path, capsys)
    assert code == 0, said
    assert "it passes" in said
    path.write_text(path.read_text().replace("2024-01-01T00:00:00Z]", "2024-01-01]"))
    code, said = told("validate", path, capsys)
    assert code == 1
    assert "a date must have a time" in said


def test_rows_of_watchlists_are_given_beside_the_alerts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = [
        {"$match": {"watchlists.mine.0.z": {"$lt": 1}}},
        {"$project": {"annotations": {"z": {"$first": "$watchlists.mine.z"}}}},
    ]
    alerts: list[dict[str, Any]] = [
        {"packet": "a1.avro", "watchlists": {"mine": [{"z": 0.5}]}, "passes": True, "annotations": {"z": 0.5}},
        {"packet": "b.avro", "passes": False},
    ]
    file = {"pipeline": pipeline, "watchlists": ["mine"], "alerts": alerts}
    for action in ("run", "explain"):
        code, said = told(action, write(folder, **file), capsys)
        assert (code, said.count("as expected")) == (0, 2), said
    alerts[1]["watchlists"] = {"other": []}
    assert "b.avro: the filter does not declare watchlists other" in told("validate", write(folder, **file), capsys)[1]
    said = told("validate", write(folder, **file | {"watchlists": []}), capsys)[1]
    assert "watchlists: the pipeline reads mine, which the filter does not declare" in said
