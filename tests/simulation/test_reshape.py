"""Simulated packets of other surveys: read by their own declarations, and the same sky as ZTF's."""

from pathlib import Path

import pytest

from kowalski.alerts.decode import Packet
from kowalski.alerts.document import read_batch
from kowalski.alerts.survey import Survey, get_survey
from kowalski.errors import StreamError
from kowalski.simulation.commands import simulate_alerts
from kowalski.simulation.night import simulate
from kowalski.simulation.reshape import MODEL, reshaped, schema_of


@pytest.mark.parametrize("name", ["PGIR", "WNTR", "TURBO"])
def test_packets_of_a_survey_are_those_of_the_simulated_sky(name: str) -> None:
    survey = get_survey(name)
    ztf = list(simulate(40, objects=15, seed=3))
    made = list(reshaped(ztf, survey))
    assert [each.data for each in made] == [each.data for each in reshaped(ztf, survey)]
    alerts, refusals = read_batch([Packet(each.data) for each in made], survey)
    models, _ = read_batch([Packet(each.data) for each in ztf], MODEL)
    assert refusals == []
    assert [alert.object_id for alert in alerts] == [each.object_id for each in made]
    for alert, model in zip(alerts, models, strict=True):
        assert alert.object_id == name + model.object_id.removeprefix("ZTF")
        assert (alert.candid, alert.jd, alert.ra, alert.dec) == (model.candid, model.jd, model.ra, model.dec)
        assert survey.stamps(alert.document) == MODEL.stamps(model.document)
        positive = model.candidate["isdiffpos"] == "t"
        assert alert.candidate["isdiffpos"] == {"PGIR": "t" if positive else "f"}.get(name, positive)
        points = [point["jd"] for point in model.histories["prv_candidates"] if name != "WNTR" or point["magpsf"]]
        assert [point["jd"] for point in alert.histories["prv_candidates"]] == points


def test_ztf_is_left_as_it_is() -> None:
    packets = list(simulate(5, seed=3))
    assert list(reshaped(packets, MODEL)) == packets


def test_a_survey_without_a_schema_can_not_be_simulated() -> None:
    toy = Survey("TOY", "toy_{date}", {}, (), {}, "Toy", {})
    with pytest.raises(StreamError, match="packets of TOY"):
        schema_of(toy)


def test_the_tool_takes_either_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("wntr", "Winter"):
        assert simulate_alerts(["--n", "3", "--survey", name, "--out", str(tmp_path / name)]) == 0
    first, second = (sorted(file.read_bytes() for file in (tmp_path / name).iterdir()) for name in ("wntr", "Winter"))
    assert first == second
    with pytest.raises(SystemExit):
        simulate_alerts(["--survey", "HST", "--out", str(tmp_path)])
    assert "no survey HST" in capsys.readouterr().err
