"""./kowalski.py schema diff FILE: what a survey's packets have otherwise than its own schema, and whether they can be processed."""

import argparse
from pathlib import Path
from typing import Any

from kowalski.alerts.decode import MAGIC, open_container
from kowalski.alerts.drift import differences, faults, fields_of
from kowalski.alerts.schemas import own_schema, read_schema, store_of
from kowalski.alerts.survey import Survey, get_survey, known_surveys
from kowalski.alerts.wire import schema_number
from kowalski.config import load_config
from kowalski.errors import PacketError, SchemaError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="diff")
    diff = actions.add_parser("diff", help="compare with the survey's own schema")
    diff.add_argument("file", type=Path, metavar="FILE", help="a schema (.avsc, its parts beside it), or a packet")
    diff.add_argument("--survey", help="whose packets they are; left out: whose own schema is most like it")


def run(arguments: argparse.Namespace) -> int:
    """Print the differences; 0 where the chain can take such packets, else 1."""
    surveys = [get_survey(arguments.survey)] if arguments.survey else known_surveys()
    theirs, compared = _compared(arguments.file, surveys)
    if not compared:
        raise SchemaError(f"there is no schema of {', '.join(survey.name for survey in surveys)} here to compare with")
    survey, found = min(compared, key=lambda one: (len(faults(theirs, one[0])), len(one[1].lines())))
    print("\n".join([f"{arguments.file} beside the schema of {survey.name}: {len(theirs)} fields", *found.lines()]))
    if lacks := faults(theirs, survey):
        print("\n".join(f"can't be processed: {lack}" for lack in lacks))
        return 1
    print("can be processed" if any(found) else "no difference")
    return 0


def _compared(file: Path, surveys: list[Survey]) -> tuple[Any, list[tuple[Survey, Any]]]:
    """The fields of a file's schema, and how they differ from each survey's own."""
    config, compared = load_config(), []
    theirs: Any = None
    problem: PacketError | None = None
    for survey in surveys:
        schemas = store_of(survey, config)
        try:
            theirs = fields_of(_schema_in(file, schemas))
            own = own_schema(survey, schemas)
        except PacketError as error:
            problem = error
            continue
        if own is not None:
            compared.append((survey, differences(fields_of(own), theirs)))
    if theirs is None and problem is not None:
        raise SchemaError(f"{file}: {problem}")
    return theirs, compared


def _schema_in(file: Path, schemas: Any) -> Any:
    """The schema of a file: of a packet that brings it along, of one that names it, or itself."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise SchemaError(f"{file}: {error.strerror}") from None
    if data.startswith(MAGIC):
        return open_container(data)[0]
    if data[:1] == b"\0":
        return schemas(schema_number(data))
    return read_schema(file)
