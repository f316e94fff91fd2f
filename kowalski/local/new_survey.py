"""./kowalski.py new-survey NAME --packet FILE: a survey's first module, settings, schema and test, from one of its packets."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import yaml

from kowalski.alerts.cutouts import read_stamp
from kowalski.alerts.decode import MAGIC, Packet, open_container, read_records
from kowalski.alerts.document import read_batch
from kowalski.alerts.drift import faults, fields_of
from kowalski.alerts.survey import PREFIX, Survey, key_of
from kowalski.config import ROOT
from kowalski.errors import ConfigError, LocalError, PacketError, SchemaError
from kowalski.local.survey_draft import Draft, declaration, first_test, read_draft

DEFAULTS = ROOT / "config.defaults.yaml"
BY_HAND = (
    "Write its module by hand, with a `normalise` that makes what is missing: kowalski/alert_broker_lsst.py has one"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("name", metavar="NAME", help="of the survey, letters and digits, e.g. toy")
    parser.add_argument("--packet", type=Path, required=True, metavar="FILE", help="one of its packets, an Avro file")
    parser.add_argument(
        "--object-id", metavar="FIELD", help="what identifies the object, where it isn't called objectId"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write what a new survey needs, where nothing is yet, and say what is left to do.

    Raises
    ------
    ConfigError : the name is none, or taken
    SchemaError : the packet can't be read, or lacks something
    """
    name = arguments.name.upper()
    files = _free_files(name)
    schema, draft, data = _read(name, arguments.packet, arguments.object_id)
    module, test, kept = declaration(draft), first_test(name), json.dumps(schema, indent=2) + "\n"
    _require_processed(data, schema, module)
    settings = with_survey(DEFAULTS.read_text(), name.lower())
    try:
        for path, text in zip(files, (module, test, kept), strict=True):
            with path.open("x") as file:
                file.write(text)
            print(f"wrote {path.relative_to(ROOT)}")
        DEFAULTS.write_text(settings)
    except OSError as error:
        raise LocalError(f"{error.filename}: {error.strerror}") from None
    print(f"added dask_{name.lower()} and enabled.{name.lower()} to {DEFAULTS.name}")
    print(_next_steps(draft, files))
    return 0


def _free_files(name: str) -> tuple[Path, Path, Path]:
    """Where module, test and schema of a new survey go; nothing is there yet."""
    if not re.fullmatch("[A-Z][A-Z0-9]{0,19}", name):
        raise ConfigError(f"{name} can't be a survey's name: at most 20 letters and digits, a letter first")
    if (key := key_of(name)) is not None:
        raise ConfigError(f"there is a survey {key} already: take another name")
    module = name.lower()
    files = (
        ROOT / "kowalski" / f"{PREFIX}{module}.py",
        ROOT / "tests" / "surveys" / f"test_{module}.py",
        ROOT / "data" / "schemas" / f"{module}_alert.avsc",
    )
    for path in files:
        if path.exists():
            raise ConfigError(f"{path.relative_to(ROOT)} is there already: take another name, or move it away")
    return files


def _read(name: str, path: Path, object_id: str | None) -> tuple[Any, Draft, bytes]:
    """Schema, draft and bytes of a packet."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SchemaError(f"{path}: {error.strerror}") from None
    if not data.startswith(MAGIC):
        raise SchemaError(
            f"{path} is not an Avro file: one packet is needed that brings its schema along. Of messages that name theirs by a number "
            "write the module by hand: kowalski/alert_broker_lsst.py has `schemas`"
        )
    try:
        schema, blocks = open_container(data)
        records = [record for count, block in blocks for record in read_records(block, count, schema)]
        draft = read_draft(name, fields_of(schema), records, object_id)
    except PacketError as error:
        raise SchemaError(f"{path}: {error}") from None
    except SchemaError as error:
        raise SchemaError(f"{path}: {error}\n{BY_HAND}") from None
    return _plain(schema), draft, data


def _plain(schema: Any) -> Any:
    """A schema without fastavro's notes on it, and without texts that only people read."""
    if isinstance(schema, list):
        return [_plain(branch) for branch in schema]
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key != "doc" and not key.startswith("__")}
    return schema


def _require_processed(data: bytes, schema: Any, module: str) -> None:
    """The survey of that text takes the packet, cutouts included."""
    namespace: dict[str, Any] = {"__name__": "draft"}
    # our own text, in which only names stand that Avro allows; run before it lies where every program imports it
    exec(module, namespace)  # nosec B102
    survey: Survey = namespace["SURVEY"]
    alerts, refusals = read_batch([Packet(data)], survey)
    problems = [*faults(fields_of(schema), survey), *(f"{each.reason}: {each.detail}" for each in refusals)]
    try:
        for alert in alerts:
            for stamp in survey.stamps(alert.document):
                read_stamp(stamp)
    except PacketError as error:
        problems.append(str(error))
    if problems:
        raise SchemaError(f"the packet can't be processed: {'; '.join(problems)}. {BY_HAND}")


def with_survey(text: str, key: str) -> str:
    """The default settings with a dask cluster of its own for a survey that is switched on; all else is as it was.

    Raises
    ------
    ConfigError : the text is not laid out as it was written
    """
    scheduler, dashboard = _free_ports(text)
    cluster = f'dask_{key}: {{<<: *dask, scheduler_port: {scheduler}, dashboard_address: ":{dashboard}"}}'
    new = re.sub(r"((^  dask_\w+: .*\n)+)", rf"\1  {cluster}\n", text, count=1, flags=re.MULTILINE)
    new = re.sub(r"(^  enabled: {[^}\n]+)", rf"\1, {key}: true", new, count=1, flags=re.MULTILINE)
    wanted, found = yaml.safe_load(text)["kowalski"], yaml.safe_load(new)["kowalski"]
    wanted["enabled"][key] = True
    wanted[f"dask_{key}"] = wanted["dask"] | {"scheduler_port": scheduler, "dashboard_address": f":{dashboard}"}
    if found != wanted:
        raise ConfigError(f"{DEFAULTS.name} is not laid out as it was: add {cluster} and enabled.{key}: true by hand")
    return new


def _free_ports(text: str) -> tuple[int, int]:
    """The two ports after those of the dask clusters that no setting names."""
    named = {int(number) for number in re.findall(r"\b\d{4,5}\b", text)}
    first = max(int(port) for port in re.findall(r"scheduler_port: (\d+)", text)) + 2
    while {first, first + 1} & named:
        first += 2
    return first, first + 1


def _next_steps(draft: Draft, files: tuple[Path, Path, Path]) -> str:
    module, test, _ = (path.relative_to(ROOT) for path in files)
    left = [f"  {field}: its items have no jd, so it stays in the alerts" for field in draft.left]
    return "\n".join([
        *(["not taken for histories:", *left] if left else []),
        "next:",
        f"  1. grep -n decide: {module}      and decide",
        f"  2. ./kowalski.py test {test}",
        f"  3. ./kowalski.py up              then publish packets: tools/simulate_alerts.py --survey {draft.name.lower()}, tools/kafka_stream.py",
        f"  4. if wanted, in {DEFAULTS.name}: database.xmatch.{draft.name}, ml.{draft.name}, kafka.{draft.name}",
        "  5. where it shall run on Kubernetes: kubernetes/README.md, Adding a survey",
    ])  # fmt: skip
