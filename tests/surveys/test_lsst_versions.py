"""Every version of LSST's schema is read, and none in place of another."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import pytest
from lsst_harness import alerts_of, as_files, forced, message, store
from packets import packet
from surveys_harness import aux_of

from kowalski.alert_broker_lsst import SURVEY
from kowalski.alerts.decode import decode
from kowalski.alerts.drift import fields_of, unmet
from kowalski.alerts.schemas import SchemaStore
from kowalski.skyportal.photometry import make_photometry

VERSIONS = [700, 701, 702, 703, 704, 800, 900, 1000, 1100, 1101]


@pytest.fixture(scope="session")
def all_schemas(tmp_path_factory: pytest.TempPathFactory) -> SchemaStore:
    """All versions, from the package lsst-alert-packet, whose licence keeps it out of requirements.txt."""
    try:
        found = files("lsst-alert-packet") or []
    except PackageNotFoundError:
        pytest.skip("lsst-alert-packet, which has all versions of the schema, is not installed")
    folder = tmp_path_factory.mktemp("all_schemas")
    for file in found:
        if file.suffix == ".avsc":
            place = folder.joinpath(*file.parts[-3:])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_binary())
    return store(folder)


@pytest.mark.parametrize("number", VERSIONS)
def test_every_version_is_read(test_data: Path, all_schemas: SchemaStore, number: int) -> None:
    schema = all_schemas(number)
    assert unmet(fields_of(schema), SURVEY.needed) == []
    (record,) = decode(as_files(test_data)[3].data)
    record["prvDiaForcedSources"] = [forced(record, 1, 5.0)]
    record["alertId"] = record["diaSourceId"]
    written = fitted(record, schema, {})
    (alert,) = alerts_of([packet(message(written, schema, number))], all_schemas)
    assert (alert.candid, alert.object_id) == (record["diaSourceId"], str(record["diaSource"]["diaObjectId"]))
    assert {"jd", "ra", "dec", "magpsf", "sigmapsf", "isdiffpos", "fid"} <= alert.candidate.keys()
    assert alert.candidate["isdiffpos"] is True
    aux = aux_of([alert], SURVEY)
    assert (len(aux["prvDiaSources"]), len(aux["prvDiaForcedSources"])) == (2, 1)
    assert len(make_photometry(alert.candidate, aux["prvDiaSources"], aux["prvDiaForcedSources"], SURVEY)["mjd"]) == 4


def fitted(value: Any, kind: Any, named: dict[str, Any]) -> Any:
    """A value as far as a schema has it, and what the schema has besides as something neutral."""
    if isinstance(kind, list):
        if value is None and "null" in kind:
            return None
        return fitted(value, next(branch for branch in kind if branch != "null"), named)
    kind = named.get(kind, kind) if isinstance(kind, str) else kind
    if isinstance(kind, str):
        neutral = {"long": 0, "int": 0, "float": 0.0, "double": 0.0, "string": "", "bytes": b"", "boolean": False}
        return neutral[kind] if value is None else value
    if kind["type"] == "array":
        return [fitted(item, kind["items"], named) for item in value or []]
    if kind["type"] != "record":
        return fitted(value, kind["type"], named)
    named[kind["name"]] = kind
    return {field["name"]: fitted((value or {}).get(field["name"]), field["type"], named) for field in kind["fields"]}


def test_a_message_of_one_version_is_never_read_with_another(test_data: Path, all_schemas: SchemaStore) -> None:
    """Bodies of 9.0 and 10.0 may decode as each other."""
    (record,) = decode(as_files(test_data)[0].data)
    written = fitted(record, all_schemas(900), {})
    (alert,) = alerts_of([packet(message(written, all_schemas(900), 900))], all_schemas)
    assert "MPCORB" in alert.document
    assert "mpc_orbits" not in alert.document
