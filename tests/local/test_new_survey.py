"""The documented way to add a survey, in a copy of the project, for a survey that exists only there; and packets that give none."""

import argparse
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import toy_survey
import yaml
from packets import real_files

from kowalski.alerts.decode import open_container, read_records
from kowalski.alerts.drift import fields_of
from kowalski.alerts.survey import get_survey
from kowalski.config import ROOT
from kowalski.database.client import connect
from kowalski.errors import ConfigError, SchemaError
from kowalski.local import new_survey
from kowalski.local.ports import free_ports
from kowalski.local.survey_draft import declaration, first_test, read_draft
from kowalski.settings import Database

Run = Callable[..., str]

SECTION = (ROOT / "docs" / "surveys.md").read_text()
#: s that a system may take for something that it has to do in the end
PATIENCE = 60.0


def blocks(language: str) -> list[str]:
    """The section's blocks of one language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", SECTION, re.MULTILINE | re.DOTALL)


MAKE, TEST, GO = blocks("sh")
WRITTEN = ("kowalski/alert_broker_toy.py", "tests/surveys/test_toy.py", "data/schemas/toy_alert.avsc")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project with one packet of the toy survey, in which only that survey will run; nothing of it runs at the end."""
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("kowalski", "tools", "tests", "benchmarks", "data/schemas"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copytree(
        ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("conf.py")
    )  # pages that `up` need not build
    for file in (*ROOT.glob("*.toml"), *ROOT.glob("*.txt"), *ROOT.glob("*.md"), ROOT / "kowalski.py", ROOT / "config.defaults.yaml", ROOT / "config.local.yaml"):  # fmt: skip
        shutil.copy(file, folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    if (ROOT / ".mypy_cache").exists():  # of the types of the whole project, if they were looked at just before
        shutil.copytree(ROOT / ".mypy_cache", folder / ".mypy_cache")
    (folder / "packet.avro").write_bytes(toy_survey.encoded(toy_survey.SCHEMA, toy_survey.record()))
    api, mongod, kafka, controller, scheduler, dashboard = free_ports(6)
    settings = {
        "server": {"port": api, "processes": 1},
        "database": {"port": mongod},
        "kafka": {"bootstrap.servers": f"127.0.0.1:{kafka}", "metadata_refresh": 1},
        "dask_toy": {"n_workers": 1, "scheduler_port": scheduler, "dashboard_address": f":{dashboard}"},
        "enabled": dict.fromkeys(yaml.safe_load((ROOT / "config.defaults.yaml").read_text())["kowalski"]["enabled"], False),
        "local": {"mongod_cache_gb": 0.25},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump({"kowalski": settings}))
    yield folder
    in_shell(folder)("./kowalski.py down --local")


def in_shell(folder: Path) -> Run:
    """A function that runs a script as it stands on the page, and gives what it printed."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("KOWALSKI", "PYTHONPATH", "PYTEST"))}

    def run(script: str, status: int = 0) -> str:
        done = subprocess.run(
            ["bash", "-euc", script], cwd=folder, env=ours, capture_output=True, text=True, timeout=200, check=False, stdin=subprocess.DEVNULL
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def run(copy: Path) -> Run:
    return in_shell(copy)


@pytest.fixture(scope="module")
def made(run: Run) -> str:
    """What the first command of the section said."""
    return run(MAKE)


# the documented way ---------------------------------------------------------------------------------------------------


def test_the_module_is_the_one_of_the_page(copy: Path, made: str) -> None:
    assert [(copy / WRITTEN[0]).read_text()] == blocks("python")
    assert all(f"wrote {name}" in made for name in WRITTEN)
    assert "neighbours: its items have no jd" in made
    schema = json.loads((copy / WRITTEN[2]).read_text())
    assert fields_of(schema) == fields_of(open_container((copy / "packet.avro").read_bytes())[0])
    assert "mid-exposure" not in json.dumps(schema)


def test_the_settings_have_two_lines_more_to_say(copy: Path, made: str) -> None:
    before, after = (folder.joinpath("config.defaults.yaml").read_text() for folder in (ROOT, copy))
    old, new = (yaml.safe_load(text)["kowalski"] for text in (before, after))
    cluster = new.pop("dask_toy")
    assert new.pop("enabled") == old.pop("enabled") | {"toy": True}
    assert new == old
    ports = {key: cluster.pop(key) for key in ("scheduler_port", "dashboard_address")}
    assert cluster == {key: value for key, value in old["dask"].items() if key not in ports}
    assert not any(str(port).lstrip(":") in before for port in ports.values())
    changed = [line for line in before.splitlines() if line not in after.splitlines()]
    assert [line.split(":")[0].strip() for line in changed] == ["enabled"]
    assert changed[0].partition("#")[2] in after


def test_what_was_written_is_as_the_project_wants_it(copy: Path, run: Run, made: str) -> None:
    run(f".venv/bin/ruff check --no-cache {WRITTEN[0]} {WRITTEN[1]}")
    run(f".venv/bin/ruff format --no-cache --check {WRITTEN[0]} {WRITTEN[1]}")
    run(".venv/bin/mypy -m kowalski.alert_broker_toy")
    run(".venv/bin/python -m pytest -q tests/test_documents.py -k every_setting")


def test_its_test_passes(run: Run, made: str) -> None:
    assert "4 passed, 4 skipped" in run(f"{TEST.rstrip()} -q")


def test_its_test_fails_where_the_declaration_is_wrong(copy: Path, run: Run, made: str) -> None:
    module = copy / WRITTEN[0]
    right = module.read_text()
    module.write_text(right.replace('"science": "cutoutScience"', '"science": "publisher"'))
    try:
        assert "publisher is missing or empty" in run(f"{TEST.rstrip()} -q", status=1)
    finally:
        module.write_text(right)


def test_its_packets_go_through(copy: Path, run: Run, made: str) -> None:
    """Published to Kafka, they are stored by a broker and a dask cluster of the survey's own."""
    told = run(GO)
    assert "alert-broker-toy" in told
    tree = yaml.safe_load((copy / "config.defaults.yaml").read_text())["kowalski"]["database"]
    for name in ("config.local.yaml", "config.yaml"):
        tree |= yaml.safe_load((copy / name).read_text())["kowalski"].get("database", {})
    database = connect(Database.model_validate(tree))
    try:
        wait_for(lambda: database["TOY_alerts"].count_documents({}) == 20, lambda: run("./kowalski.py status"))
        assert database["quarantine"].count_documents({}) == 0
        histories = [aux["prv_candidates"] for aux in database["TOY_alerts_aux"].find()]
        assert len(histories) == 6
        assert all(histories)
    finally:
        database.client.close()


def wait_for(done: Callable[[], bool], state: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {PATIENCE:g} s\n{state()}")
        time.sleep(0.1)


def test_nothing_is_overwritten(copy: Path, run: Run, made: str) -> None:
    before = {name: (copy / name).read_text() for name in (*WRITTEN, "config.defaults.yaml")}
    assert "there is a survey TOY already" in run(MAKE, status=1)
    (copy / WRITTEN[0]).rename(copy / "kept")
    try:
        assert "tests/surveys/test_toy.py is there already" in run(MAKE, status=1)
    finally:
        (copy / "kept").rename(copy / WRITTEN[0])
    assert {name: (copy / name).read_text() for name in before} == before


# packets that give none -----------------------------------------------------------------------------------------------


def written() -> list[Any]:
    """What the command could change here."""
    folders = ("kowalski", "tests/surveys", "data/schemas")
    return [
        new_survey.DEFAULTS.read_text(),
        *(sorted(path.name for path in (ROOT / name).iterdir()) for name in folders),
    ]


def refusal(tmp_path: Path, data: bytes, name: str = "hst", object_id: str | None = None) -> str:
    """What the command says of a packet; it writes nothing."""
    file = tmp_path / "packet.avro"
    file.write_bytes(data)
    before = written()
    arguments = argparse.Namespace(name=name, packet=file, object_id=object_id)
    with pytest.raises((ConfigError, SchemaError)) as caught:
        new_survey.run(arguments)
    assert written() == before
    return str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    schema = toy_survey.without(toy_survey.SCHEMA, "candid", "cutoutTemplate", "objectId")
    schema = toy_survey.without(schema, "magpsf", "isdiffpos", part="candidate")
    said = refusal(tmp_path, toy_survey.encoded(schema, toy_survey.record()))
    for lack in ("candid is missing, integer needed", "candidate.magpsf is missing, number needed", "candidate.isdiffpos is missing",
                 "no one cutout of the template image", "give --object-id one of publisher", "normalise"):  # fmt: skip
        assert lack in said
    assert "candidate.jd" not in said


def test_a_packet_without_candidate(tmp_path: Path) -> None:
    schema = toy_survey.without(toy_survey.SCHEMA, "candidate")
    said = refusal(tmp_path, toy_survey.encoded(schema, toy_survey.record()))
    assert "candidate is missing, record needed" in said
    assert "jd, ra, dec, magpsf, sigmapsf and isdiffpos" in said


def test_a_packet_that_the_chain_would_refuse(tmp_path: Path) -> None:
    record = toy_survey.record() | {"cutoutScience": {"fileName": "a", "image": b"no image"}}
    assert "cutout" in refusal(tmp_path, toy_survey.encoded(toy_survey.SCHEMA, record))
    record = toy_survey.record()
    record["candidate"]["dec"] = 91.0
    assert "not on the sky" in refusal(tmp_path, toy_survey.encoded(toy_survey.SCHEMA, record))


def test_an_object_id_that_is_none(tmp_path: Path) -> None:
    data = toy_survey.encoded(toy_survey.SCHEMA, toy_survey.record())
    for name in ("candid", "candidate.objectId", "nowhere"):
        said = refusal(tmp_path, data, object_id=name)
        assert f"{name} is no text of it: give --object-id one of publisher, objectId" in said


def test_names_of_fields_are_no_code() -> None:
    """The declaration is run to try it: a name that would end its own quotes gets nowhere near."""
    for name, kind in {'sci" + str(1) + "': "bytes", "scié\n": "bytes"}.items():
        fields = {path: kinds for path, kinds in BARE.items() if path != "image_sci"} | {name: frozenset({kind})}
        with pytest.raises(SchemaError, match="a field that Avro doesn't allow"):
            read_draft("HST", fields, [], "source")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an Avro file"),
        (b"\0\0\0\3\xe8rest", "is not an Avro file: one packet is needed that brings its schema along"),
        (b"Obj\1", "packet.avro: truncated"),
    ],
)
def test_what_is_no_packet(tmp_path: Path, data: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path, data)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("ZTF", "there is a survey ZTF already"), ("winter", "there is a survey WNTR already"), ("a-b", "can't be a survey's name"),
     ("../x", "can't be a survey's name"), ("2mass", "can't be a survey's name")],
)  # fmt: skip
def test_names_that_cannot_be_taken(tmp_path: Path, name: str, reason: str) -> None:
    assert reason in refusal(tmp_path, toy_survey.encoded(toy_survey.SCHEMA, toy_survey.record()), name)


def test_no_file() -> None:
    with pytest.raises(SchemaError, match="nowhere"):
        new_survey.run(argparse.Namespace(name="hst", packet=Path("nowhere"), object_id=None))


# what is read of a packet ---------------------------------------------------------------------------------------------

BARE: dict[str, frozenset[str]] = {
    name: frozenset({kind})
    for name, kind in {
        "source": "text", "candid": "integer", "candidate": "record", "candidate.jd": "number", "candidate.ra": "number",
        "candidate.dec": "number", "candidate.magpsf": "number", "candidate.sigmapsf": "number", "candidate.isdiffpos": "text",
        "image_sci": "bytes", "image_ref": "bytes", "image_diff": "bytes",
        "fluxes": "array", "fluxes[]": "record", "fluxes[].jd": "number", "fluxes[].forcediffimflux": "number",
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("name", ["ZTF", "PGIR", "WNTR", "TURBO"])
def test_real_packets_say_what_the_modules_do(test_data: Path, name: str) -> None:
    """But for what their authors decided otherwise: TURBO's candids tell no points apart, PGIR's band has no number."""
    survey = get_survey(name)
    schema, ((count, block),) = open_container(real_files(test_data, name.lower())[-1].read_bytes())
    draft = read_draft(name, fields_of(schema), read_records(block, count, schema))
    assert (draft.object_id, draft.cutouts, draft.stamp_field) == (survey.object_id, survey.cutouts, survey.stamp_field)
    assert {field: forced for field, (_, forced) in draft.histories.items()} == {
        h.field: h.forced for h in survey.histories
    }
    assert draft.program_field == survey.program_field


def survey_of(fields: dict[str, frozenset[str]], **arguments: Any) -> Any:
    namespace: dict[str, Any] = {"__name__": "draft"}
    exec(declaration(read_draft("HST", fields, [], **arguments)), namespace)
    return namespace["SURVEY"]


def test_bare_cutouts_one_band_and_forced_photometry() -> None:
    survey = survey_of(BARE, object_id="source")
    assert (survey.object_id, survey.stamp_field, survey.program_field) == ("source", None, None)
    assert survey.cutouts == {"science": "image_sci", "template": "image_ref", "difference": "image_diff"}
    assert (survey.band_field, survey.bands) == (None, {None: None})
    (history,) = survey.histories
    assert (history.field, history.forced, history.identity({"jd": 2.5})) == ("fluxes", True, (2.5,))


def test_a_survey_without_history() -> None:
    survey = survey_of({path: kinds for path, kinds in BARE.items() if "fluxes" not in path}, object_id="source")
    assert survey.histories == ()


@pytest.mark.parametrize("name", ["X", "TWENTYLETTERSANDSOME"])
def test_texts_are_as_the_formatter_wants_them(name: str) -> None:
    many = {path.replace("fluxes", "other_points_" + name): kinds for path, kinds in BARE.items()}
    for fields in (BARE, many, BARE | many):
        draft = read_draft(name, fields, [], "source")
        for text in (declaration(draft), first_test(name)):
            command = [ROOT / ".venv/bin/ruff", "format", "--no-cache", "--config", ROOT / "pyproject.toml", "-"]
            done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
            assert done.stdout == text


def test_a_band_that_is_no_number() -> None:
    with pytest.raises(SchemaError, match=r"candidate\.fid is text, integer needed"):
        read_draft("HST", BARE | {"candidate.fid": frozenset({"text"})}, [], "source")


def test_settings_laid_out_otherwise_stay_as_they_are() -> None:
    text = new_survey.DEFAULTS.read_text().replace("  enabled: {", "  enabled:\n    {")
    with pytest.raises(ConfigError, match=r"add dask_hst: .* and enabled\.hst: true by hand"):
        new_survey.with_survey(text, "hst")
