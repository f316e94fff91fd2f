"""TURBO: bands by setting, points of one exposure, and schemas with defaults that Avro forbids."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import fastavro
import pytest
from packets import changed, packet
from surveys_harness import alerts_of, aux_of, packets_of, photometry_of

from kowalski.alert_broker_turbo import SURVEY
from kowalski.alerts.document import read_batch
from kowalski.config import build, settings_tree
from kowalski.errors import ConfigError
from kowalski.settings import Config


def test_real_packets_are_read_though_their_schema_is_not_valid(test_data: Path) -> None:
    packets = packets_of(test_data, SURVEY)
    start = packets[0].data.index(b'{"type"')
    schema, _ = json.JSONDecoder().raw_decode(packets[0].data[start:].decode(errors="replace"))
    with pytest.raises(fastavro.schema.SchemaParseException):
        fastavro.parse_schema(schema)
    alerts = alerts_of(test_data, SURVEY)
    assert set(alerts) == set(range(11))
    assert {alert.object_id for alert in alerts.values()} == {"None.2", *(f"None.{n}" for n in range(20, 30))}
    assert {alert.candidate["candid"] for alert in alerts.values()} == {89}
    assert all(alert.histories["prv_candidates"] == [] for alert in alerts.values())
    assert SURVEY.topic_on(date(2022, 10, 23)) == "turbo_20221023"


def settings(bands: Any) -> Config:
    tree = settings_tree([], {})
    tree["skyportal"]["bands"] = bands
    return build(tree)


def test_bands_are_those_of_the_settings(test_data: Path) -> None:
    """No point is sent of a fid that they don't name."""
    alert = alerts_of(test_data, SURVEY)[0]
    assert settings_tree([], {})["skyportal"]["bands"] == {"TURBO": {}}
    for bands, sent in [({}, []), ({"TURBO": {1: "bessellv"}}, ["bessellv"]), ({"TURBO": {2: "bessellv"}}, [])]:
        named = SURVEY.with_bands(settings(bands).skyportal.bands.get(SURVEY.name, {}))
        rows = photometry_of(alert, named)
        assert list(rows["filter"]) == sent
        if sent:
            # magpsf 1.0 of a positive difference; the packets have no diffmaglim
            assert rows["flux"].tolist() == pytest.approx([10 ** (0.4 * 22.9)])
    with pytest.raises(ConfigError, match=r"skyportal\.bands\.TURBO"):
        settings({"TURBO": {"one": "bessellv"}})


def test_points_of_the_same_candid_are_not_the_same_point(test_data: Path) -> None:
    """All candidates of a run say candid 89; what tells them apart is their exposure."""

    def with_history(record: dict[str, Any]) -> None:
        jd = record["candidate"]["jd"]
        record["prv_candidates"] = [{"jd": jd - age, "fid": 1, "candid": 89, "magpsf": 15.0} for age in (1, 2, 2, 3)]

    (alert,), _ = read_batch([packet(changed(packets_of(test_data, SURVEY)[0].data, with_history))], SURVEY)
    points = aux_of([alert, alert], SURVEY)["prv_candidates"]
    assert [round(alert.jd - point["jd"]) for point in points] == [3, 2, 1]
    assert {point["programid"] for point in points} == {1}
