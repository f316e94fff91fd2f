"""Two commits compared: the verdict, and that the other one is checked out beside this one and gone afterwards."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare
from benchmarks.compare import checked_out, main, table, verdict
from benchmarks.stages import CALLS
from kowalski.config import ROOT

FLOOR = {"decode": 0.5, "score": 1.0, "match": 0.0, "objects": 0.5, "insert": 0.25, "filter": 0.25}


def figures(cpu: float) -> dict[str, Any]:
    return {
        "cpu_ms_per_alert": {"worker": cpu * 0.8, "mongod": cpu * 0.2},
        "floor_ms_per_alert": 2.5,
        "stage_ms_per_alert": {"decode": 1.0, "score": 1.5, "objects": 1.0},
        "floor_ms_by_stage": FLOOR,
    }


def test_only_the_best_round_decides_and_only_a_fifth_counts() -> None:
    usual = [figures(4.0)] * 3
    assert verdict([figures(4.7), figures(5.0), figures(9.0)], usual) == (pytest.approx(1.175), False)
    assert verdict([figures(4.9), figures(5.0), figures(9.0)], usual) == (pytest.approx(1.225), True)
    assert verdict(usual, [figures(8.0)] * 3) == (pytest.approx(0.5), False)


def test_each_stage_stands_beside_its_floor() -> None:
    lines = {line.split()[0]: line.split()[1:4] for line in table([figures(5.0), figures(5.0)])}
    assert lines["decode"] == ["1.000", "0.500", "2.00"]
    assert lines["match"] == ["0.000", "0.000", "-"], "nothing is divided by nothing"
    assert lines["CPU"] == ["5.000", "2.500", "2.00"]
    assert lines.keys() == {"stage", "CPU", *CALLS}
    assert FLOOR.keys() == CALLS.keys()


def test_a_commit_that_is_not_there_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--with", "0" * 40]) == 0
    assert "can't be measured: it is not in this clone" in capsys.readouterr().out


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone")
@pytest.mark.parametrize("broken", ["theirs", "ours"])
def test_a_commit_before_that_does_not_run_is_no_failure_of_this_one(
    broken: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(tree: Path) -> dict[str, Any]:
        if (tree == ROOT) == (broken == "ours"):
            raise subprocess.CalledProcessError(1, "benchmarks.stages")
        return figures(4.0)

    monkeypatch.setattr(compare, "measured", measured)
    if broken == "ours":
        with pytest.raises(subprocess.CalledProcessError):
            main(["--with", "HEAD"])
    else:
        assert main(["--with", "HEAD"]) == 0
        assert "HEAD can't be measured: it does not run here" in capsys.readouterr().out


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone")
@pytest.mark.parametrize(
    ("ours", "theirs", "status", "rounds"),
    [
        ([4.0] * 6, 4.0, 0, 2),
        ([4.0] * 6, 3.0, 1, 6),  # it is called slower only after three times the rounds
        ([4.0, 5.0, 4.0, 3.1], 3.0, 0, 4),  # what looked slower was the machine
    ],
)
def test_it_is_measured_in_turns(
    ours: list[float],
    theirs: float,
    status: int,
    rounds: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with checked_out("HEAD") as tree:
        if tree is None:
            pytest.skip("the last commit has no benchmarks/stages.py")
        assert (tree / "kowalski.py").exists()
    assert not tree.exists()
    trees: list[Path] = []
    mine = iter(ours)

    def measured(tree: Path) -> dict[str, Any]:
        trees.append(tree)
        return json.loads(json.dumps(figures(next(mine) if tree == ROOT else theirs)))  # type: ignore[no-any-return]

    monkeypatch.setattr(compare, "measured", measured)
    assert main(["--with", "HEAD", "--rounds", "2"]) == status
    assert [each == ROOT for each in trees] == [True, False, False, True, True, False, False, True, True, False, False, True][: 2 * rounds]  # fmt: skip
    assert f"{min(ours[:rounds]) / theirs:.2f} of the CPU of HEAD" in capsys.readouterr().out
