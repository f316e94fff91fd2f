"""Schema drift: what is more passes and is reported, what is needed and gone or otherwise is refused with the difference."""

import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from packets import encode, packet, ztf_record, ztf_schema

from kowalski.alerts.decode import open_container, parsed
from kowalski.alerts.document import read_batch
from kowalski.alerts.drift import MAX_FIELDS, DriftWatch, differences, faults, fields_of, unmet
from kowalski.alerts.survey import Survey, get_survey
from kowalski.batch_report import BatchReport
from kowalski.errors import PacketError
from kowalski.local.schema import run
from kowalski.simulation.encoding import SCHEMA_FILE

ZTF = get_survey("ZTF")
OWN = json.loads(SCHEMA_FILE.read_text())


def changed(path: str, change: Any) -> Any:
    """Our ZTF schema with the fields of one of its records changed (path "": the packet's own)."""
    schema = copy.deepcopy(OWN)
    fields = schema["fields"]
    for name in filter(None, path.split(".")):
        kind = next(field["type"] for field in fields if field["name"] == name)
        kind = kind[1]["items"] if isinstance(kind, list) else kind
        fields = kind["fields"]
    change(fields)
    return schema


def ready(schema: Any) -> Any:
    return parsed(json.dumps(schema))


def drop(name: str) -> Any:
    return lambda fields: fields.remove(next(field for field in fields if field["name"] == name))


def retype(name: str, kind: Any) -> Any:
    return lambda fields: next(field for field in fields if field["name"] == name).update(type=kind)


def add(name: str, kind: Any) -> Any:
    return lambda fields: fields.append({"name": name, "type": kind})


def watch(survey: Survey = ZTF) -> DriftWatch:
    return DriftWatch(survey, lambda: ready(OWN))


PASSING = {
    "a new field": (changed("candidate", add("colour", ["null", "float"])), "+ candidate.colour: number or null"),
    "a new field that must be": (changed("", add("colour", "string")), "+ colour: text"),
    "a new record": (
        changed(
            "", add("host", {"type": "record", "name": "host", "fields": [{"name": "z", "type": ["null", "double"]}]})
        ),
        "+ host: record",
    ),
    "a new field of a list": (changed("fp_hists", add("colour", "int")), "+ fp_hists[].colour: integer"),
    "an unneeded field gone": (changed("candidate", drop("drb")), "- candidate.drb: number or null"),
    "no history": (changed("", drop("fp_hists")), "- fp_hists: array or null"),
    "an unneeded field of another type": (
        changed("candidate", retype("drb", "string")),
        "~ candidate.drb: number or null -> text",
    ),
}

REFUSED = {
    "no jd": (changed("candidate", drop("jd")), "candidate.jd is missing, number needed"),
    "text jd": (changed("candidate", retype("jd", "string")), "candidate.jd is text, number needed"),
    "text candid": (changed("", retype("candid", "string")), "candid is text, integer needed"),
    "float candid": (changed("", retype("candid", "double")), "candid is number, integer needed"),
    "integer name": (changed("", retype("objectId", "long")), "objectId is integer, text needed"),
    "no programid": (changed("candidate", drop("programid")), "candidate.programid is missing, integer needed"),
    "no cutout": (changed("", drop("cutoutDifference")), "cutoutDifference.stampData is missing, bytes needed"),
    "no candidate": (changed("", drop("candidate")), "candidate.jd is missing, number needed"),
    "a history without jd": (changed("prv_candidates", drop("jd")), "prv_candidates[].jd is missing, number needed"),
    "text magpsf": (changed("candidate", retype("magpsf", ["null", "string"])), "candidate.magpsf is text or null"),
}


def test_our_own_schema_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    judge = watch()
    judge(ready(OWN))
    assert (judge.packets, caplog.records) == ({}, [])


@pytest.mark.parametrize("what", PASSING)
def test_what_passes_is_reported_once_and_counted(caplog: pytest.LogCaptureFixture, what: str) -> None:
    judge, (schema, line) = watch(), PASSING[what]
    schema = ready(schema)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            judge(schema)
    assert [record.getMessage().partition("differ from our schema: ")[2] for record in caplog.records] == [line]
    ((summary, packets),) = judge.packets.items()
    assert packets == 3
    assert summary.startswith("ztf.alert: ")
    assert summary.count("1") == 1


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_chain_needs_is_refused_with_the_difference(caplog: pytest.LogCaptureFixture, what: str) -> None:
    judge, (schema, line) = watch(), REFUSED[what]
    schema = ready(schema)
    for _ in range(3):
        with pytest.raises(PacketError) as refused:
            judge(schema)
        assert refused.value.reason == "schema_drift"
        assert line in refused.value.detail
        assert any(sign in refused.value.detail for sign in ("\n- ", "\n~ "))
    assert len(caplog.records) == 1
    assert judge.packets == {}


@pytest.mark.parametrize(
    ("kind", "fits"), [("float", True), ("int", True), (["double", "null"], True), ("bytes", False)]
)
def test_a_type_that_holds_what_is_needed_does(kind: Any, fits: bool) -> None:
    lacks = unmet(fields_of(ready(changed("candidate", retype("jd", kind)))), ZTF.needed)
    assert (lacks == []) is fits


def test_types_of_one_kind_and_nulls_are_no_difference() -> None:
    schema = ready(changed("candidate", retype("jd", ["null", "float"])))
    assert str(differences(fields_of(ready(OWN)), fields_of(schema))) == "no difference"


@pytest.mark.parametrize("survey", ["ZTF", "PGIR", "WNTR", "TURBO", "LSST"])
def test_all_real_packets_have_what_is_needed(test_data: Path, survey: str) -> None:
    paths = sorted((test_data / f"{survey.lower()}_alerts").rglob("*.avro"))
    assert paths
    for path in paths:
        schema, _ = open_container(path.read_bytes())
        assert unmet(fields_of(schema), get_survey(survey).needed) == []


def test_batches_with_new_schemas() -> None:
    """What passes is stored with all that is new; what doesn't goes to quarantine with its bytes; the rest is as ever."""
    new = PASSING["a new field"][0]
    record = ztf_record(2)
    record["candidate"]["colour"] = 0.5
    bad = REFUSED["float candid"][0]
    data = [encode(ztf_record(1)), encode(record, schema=new), encode(ztf_record(3) | {"candid": 3.0}, schema=bad)]
    judge = watch()
    alerts, refusals = read_batch([packet(each, number) for number, each in enumerate(data)], ZTF, accept=judge)
    assert [alert.candid for alert in alerts] == [1, 2]
    assert alerts[1].candidate["colour"] == 0.5
    (refusal,) = refusals
    assert (refusal.reason, refusal.packet.data) == ("schema_drift", data[2])
    assert refusal.detail.splitlines() == ["candid is number, integer needed", "~ candid: integer -> number"]
    assert judge.packets.total() == 1


def test_counts_of_batches_are_added_up() -> None:
    whole, part = BatchReport(), BatchReport()
    part.drift["lsst.v11_1.alert: 8 new"] = 3
    whole.add(part)
    whole.add(part)
    assert whole.drift == {"lsst.v11_1.alert: 8 new": 6}


def test_a_schema_that_unfolds_without_end_is_refused() -> None:
    text: Any = "long"
    for depth in range(40):
        fields = [{"name": "a", "type": text}, {"name": "b", "type": f"r{depth - 1}" if depth else "long"}]
        text = {"type": "record", "name": f"r{depth}", "fields": fields}
    with pytest.raises(PacketError, match=f"more than {MAX_FIELDS} fields"):
        watch()(parsed(json.dumps(text)))


def test_without_a_schema_of_our_own_only_what_is_needed_counts(caplog: pytest.LogCaptureFixture) -> None:
    judge = DriftWatch(ZTF, lambda: None)
    judge(ready(PASSING["a new field"][0]))
    assert (judge.packets, caplog.records) == ({}, [])
    with pytest.raises(PacketError, match="schema_drift"):
        judge(ready(REFUSED["no jd"][0]))


class Arguments:
    action = "diff"

    def __init__(self, file: Path, survey: str | None = None):
        self.file, self.survey = file, survey


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def diff(file: Path, survey: str | None = None) -> tuple[int, str]:
        status = run(Arguments(file, survey))  # type: ignore[arg-type]
        return status, capsys.readouterr().out

    status, said = diff(SCHEMA_FILE)
    assert (status, "schema of ZTF" in said, said.splitlines()[-1]) == (0, True, "no difference")
    path = tmp_path / "new.avsc"
    path.write_text(json.dumps(PASSING["a new field"][0]))
    status, said = diff(path)
    assert (status, said.splitlines()[1:]) == (0, ["+ candidate.colour: number or null", "can be processed"])
    path.write_text(json.dumps(REFUSED["no jd"][0]))
    status, said = diff(path, "ztf")
    assert (status, said.splitlines()[-1]) == (1, "can't be processed: candidate.jd is missing, number needed")
    avro = tmp_path / "packet.avro"
    avro.write_bytes(encode(ztf_record(), schema=ztf_schema()))
    assert diff(avro, "ZTF")[0] == 0


@pytest.mark.parametrize(
    ("history", "field"), [("prv_candidates", "candid"), ("prv_candidates", "pid"), ("fp_hists", "magzpsci")]
)
@pytest.mark.parametrize("kind", ["string", {"type": "array", "items": "int"}, ["null", "string", "int"]])
def test_fields_that_tell_points_apart_must_be_of_their_kind(history: str, field: str, kind: Any) -> None:
    schema = json.loads(json.dumps({key: value for key, value in ztf_schema().items() if not key.startswith("__")}))
    items = next(each for each in schema["fields"] if each["name"] == history)["type"][1]["items"]
    assert faults(fields_of(parsed(json.dumps(schema))), ZTF) == []
    next(each for each in items["fields"] if each["name"] == field)["type"] = kind
    (fault,) = faults(fields_of(parsed(json.dumps(schema))), ZTF)
    assert fault.startswith(f"{history}[].{field} is ")


def test_paths_are_not_unfolded_without_end() -> None:
    inner = {"type": "record", "name": "inner", "fields": [{"name": f"x{n}", "type": "int"} for n in range(900)]}
    outer = [{"name": f"{'y' * 250}{n}", "type": inner if n == 0 else "inner"} for n in range(20)]
    with pytest.raises(PacketError, match="letters"):
        fields_of(parsed(json.dumps({"type": "record", "name": "outer", "fields": outer})))
