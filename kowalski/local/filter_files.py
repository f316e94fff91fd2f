"""./kowalski.py filter: filters kept as files are checked, run on their alerts, explained, and sent to a Kowalski."""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bson
import requests
from bson import json_util

from kowalski.alerts.document import Alert
from kowalski.database.client import connect
from kowalski.database.filters import Filters
from kowalski.errors import DatabaseError, FilterError
from kowalski.filters.compile import EVERYTHING, treats_each_by_itself
from kowalski.filters.enrich import enriched
from kowalski.filters.explain import Question, answers, explain
from kowalski.filters.files import (
    Expectation,
    FilterFile,
    Rehearsed,
    alerts_of,
    differences,
    objects_of,
    read_filter_file,
)
from kowalski.filters.run import FilterRunner
from kowalski.local.bars import working
from kowalski.local.system import LocalSystem

#: ms that a filter may take here
TIME_MS = 10_000
TOKEN = "KOWALSKI_TOKEN"  # nosec B105  # a variable's name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="validate|run|explain|push")
    for name, text in {
        "validate": "check files, without running them",
        "run": "run filters on the alerts named in their files, and compare with what is expected there",
        "explain": "say why each of these alerts passes or not",
        "push": "send filters to a Kowalski, as a new version where they changed",
    }.items():
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("files", nargs="+", type=Path, metavar="FILE.yaml")
        if name == "push":
            action.add_argument("--url", default="http://localhost:4000", help="of its API (default %(default)s)")
            action.add_argument(
                "--token", default=os.environ.get(TOKEN), help=f"of a user of the group (default: {TOKEN})"
            )


def run(arguments: argparse.Namespace) -> int:
    """0 when all is well, else 1, with a line for each thing that isn't."""
    files: dict[Path, FilterFile] = {}

    def validate(path: Path) -> bool:
        files[path] = read_filter_file(path)
        print(f"{path}: {_validated(files[path])}")
        return True

    good = _each(arguments.files, validate)
    if not good:
        return 1
    match arguments.action:
        case "run" | "explain":
            with _runner_of() as filters:
                good = _each(files, lambda path: _run(path, files[path], filters, arguments.action == "explain"))
        case "push":
            good = _each(files, lambda path: _push(path, files[path], arguments.url, arguments.token))
    return 0 if good else 1


def _each(paths: Iterable[Path], do: Callable[[Path], bool]) -> bool:
    """Whether something went well with all files; what is wrong with one is said and does not keep the others from it."""
    good = True
    for path in paths:
        try:
            good = do(path) and good
        except FilterError as error:
            print(f"{path}: {error}")
            good = False
    return good


def _validated(file: FilterFile) -> str:
    """What to say of a filter that can be run."""
    compiled = file.compiled()
    if compiled.pipeline.by_batch:
        return f"filter {file.filter_id} is valid and takes many alerts at once"
    alone = next((f"stage {place} ({next(iter(stage))})" for place, stage in enumerate(file.pipeline, 1) if not treats_each_by_itself(stage)), "")  # fmt: skip
    return f"filter {file.filter_id} is valid; {alone} may look across documents, so it goes alert by alert"


@contextmanager
def _runner_of() -> Iterator[Filters]:
    """A MongoDB for the time being, in which filters can be run."""
    with tempfile.TemporaryDirectory(prefix="kowalski-filter-") as folder:
        system = LocalSystem.isolated(Path(folder), receiver=False)
        try:
            with working("starting a MongoDB to run filters in"):
                system.start(["mongod"])
            yield Filters(connect(system.config.database), connect(system.config.database, "reader"))
        finally:
            system.stop()


def _run(path: Path, file: FilterFile, filters: Filters, explained: bool) -> bool:
    """Whether all alerts of a file are answered as expected; prints each."""
    alerts = alerts_of(file, path.parent)
    objects = objects_of(alerts, file.survey)
    filters.put(file.stored())
    runner = FilterRunner(filters, file.survey, TIME_MS, watching=Rehearsed(alerts))
    run = runner.run([alert.document for _, alert in alerts], objects)
    filters.collection.delete_many({})
    for (_, reason), number in (run.failures + run.action_failures).items():
        print(f"  fails on {number} alerts: {reason}")
    passed = {each.candid: each for each in run.passes}
    good = not run.failures and not run.action_failures
    for expected, alert in alerts:
        wrong = differences(expected, passed.get(alert.candid))
        good = good and not wrong
        print(
            f"  {'as expected' if not wrong else 'NOT AS EXPECTED'}  {_answer(alert, passed)}  {'; '.join(wrong)}".rstrip()
        )
        if explained:
            _explain(file, expected, alert, objects, filters)
    return good


def _answer(alert: Alert, passed: dict[int, Any]) -> str:
    """What came of one alert."""
    each = passed.get(alert.candid)
    done = "does not pass" if each is None else "passes"
    more = [] if each is None else [name for name, what in (("autosave", each.autosave), ("follow-up", each.follow_up)) if what is not None]  # fmt: skip
    return f"{alert.object_id} {alert.candid} {', '.join([done, *more])}"


def _explain(
    file: FilterFile, expected: Expectation, alert: Alert, objects: dict[str, dict[str, Any]], filters: Filters
) -> None:
    sight = file.compiled().sight
    if not sight.sees(alert.candidate):
        print(f"    the filter's permissions {file.permissions} leave it out")
        return
    document = enriched(alert.document, objects[alert.object_id], sight, EVERYTHING, (), expected.watchlists)
    plain = bson.decode(bson.encode(document))

    def ask(question: Question) -> list[dict[str, Any]]:
        try:
            return filters.run(question.stages, [question.document], TIME_MS)  # type: ignore[list-item]
        except DatabaseError as error:
            raise FilterError(str(error)) from None

    told = answers(explain(file.compiled().pipeline.stages, plain), ask)
    print(f"    {told['reason']}")
    for step in told["stages"]:
        print(f"    {step['stage']:3} {step['operator']:14} {step['in']} -> {step['out']}")
        for rejection in step.get("rejected_by", ()):
            print(f"        {rejection['clause']}  met by {rejection['met_by']}, found {rejection.get('found', rejection.get('parts'))}")  # fmt: skip


def _push(path: Path, file: FilterFile, url: str, token: str | None) -> bool:
    """Send one filter, and print what the API says."""
    print(f"{path}: {pushed(file, url, token)}")
    return True


def pushed(file: FilterFile, url: str, token: str | None) -> str:
    """What the API says to a filter that is sent to it.

    Raises
    ------
    FilterError : it is refused, or nobody answers
    """
    if not token:
        raise FilterError(f"a token is needed: --token or {TOKEN} (POST /api/auth or /api/tokens gives one)")
    body = json_util.dumps(file.model_dump(exclude={"alerts"}))
    headers = {"Authorization": token, "Content-Type": "application/json"}
    try:
        answer = requests.post(f"{url}/api/filters", data=body, headers=headers, timeout=60)
        content = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise FilterError(f"{url} does not answer as a Kowalski does: {error}") from None
    if answer.status_code != 200:
        raise FilterError(f"{url}: {content.get('message')}")
    return str(content["message"]).replace("\n", "; ")
