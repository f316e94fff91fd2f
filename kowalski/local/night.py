"""./kowalski.py night: nights from their topics to their reports, one by one or as they come.

night auto               conducts the nights of all enabled surveys, until Ctrl-C; so does `up` where night.auto is true
night start SURVEY DATE  has a night conducted that is not tonight's, or that was reported, once more
night stop SURVEY        says that it is over: what came in is finished, and it is reported
night status             where the nights are, and what they wait for
"""

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from kowalski.alerts.survey import enabled_surveys, get_survey
from kowalski.config import load_config
from kowalski.database.client import connect
from kowalski.database.nights import Night, Nights
from kowalski.database.processes import Processes
from kowalski.errors import StreamError
from kowalski.log import setup_logging
from kowalski.night.course import State
from kowalski.night.dates import night_from
from kowalski.settings import Config

#: nights that status shows without being asked for one
SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="action", required=True, metavar="start|stop|status|auto")
    for name, about in (("start", "have a night conducted, whatever became of it"), ("stop", "say that a night is over")):  # fmt: skip
        each = commands.add_parser(name, help=about, description=about)
        each.add_argument("survey", nargs="?", metavar="SURVEY", help="e.g. ZTF; without it, all that are enabled")
        each.add_argument("night", nargs="?", metavar="DATE", help="YYYYMMDD; without it, tonight's")
        each.add_argument("--json", action="store_true", help="for programs")
    status = commands.add_parser("status", help="where the nights are", description="where the nights are")
    status.add_argument("night", nargs="?", metavar="DATE", help=f"YYYYMMDD; without it, the last {SHOWN} nights")
    status.add_argument("--json", action="store_true", help="for programs")
    auto = commands.add_parser("auto", help="conduct all nights", description="conduct all nights, until Ctrl-C")
    auto.add_argument("--until", metavar="DATE", help="end when this night of every survey that has one is reported")
    auto.add_argument("--json", action="store_true", help="a line of JSON for each step")


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for; 0, or of an ``auto`` that is stopped its status."""
    config = load_config()
    if arguments.action == "auto":
        return _conduct(config, arguments)
    database = connect(config.database)
    try:
        nights = Nights(database)
        if arguments.action == "status":
            night = f"{night_from(arguments.night):%Y%m%d}" if arguments.night else None
            found = nights.on(night) if night else nights.latest(SHOWN)
        else:
            found = [_told_to(arguments.action, nights, *each) for each in _meant(config, arguments)]
        conducted = any(each["program"] == "night-conductor" for each in Processes(database).alive())
    finally:
        database.client.close()
    show(found, conducted, arguments.json)
    return 0


def _meant(config: Config, arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Surveys and nights that the command line names."""
    surveys = [get_survey(arguments.survey).name] if arguments.survey else enabled_surveys(config.enabled)
    if unknown := [name for name in surveys if name not in enabled_surveys(config.enabled)]:
        raise StreamError(f"{unknown[0]} is not enabled: set enabled.{unknown[0].lower()} to true, and start it (up)")
    now = datetime.now(UTC)
    return [
        (name, f"{night_from(arguments.night) if arguments.night else get_survey(name).night_at(now):%Y%m%d}")
        for name in surveys
    ]


def _told_to(action: str, nights: Nights, survey: str, night: str) -> Night:
    """A night is to be conducted, or is over."""
    if action == "stop":
        if nights.of(survey, night) is None:
            raise StreamError(
                f"the night {night} of {survey} is not known: ./kowalski.py night status lists those that are"
            )
        nights.stop(survey, night)
    else:
        known = nights.begin(survey, night, State.WAITING, "an operator started it")
        nights.stop(survey, night, stopped=False)
        if known.state in (State.DONE, State.REPORTED):
            nights.step(known, State.WAITING, "an operator started it again")
    return nights.of(survey, night) or nights.begin(survey, night, State.WAITING, "it was removed meanwhile")


def _conduct(config: Config, arguments: argparse.Namespace) -> int:
    """Conduct the nights, saying each step."""
    from kowalski.night.conductor import Conductor, conduct  # takes 2 s, which the other actions need not
    from kowalski.watchers.watch import stop_on_signals

    setup_logging("night", "WARNING")
    stop_on_signals()
    until = f"{night_from(arguments.until):%Y%m%d}" if arguments.until else None

    def told(night: Night, state: str, why: str) -> None:
        if arguments.json:
            step = {"survey": night.survey, "night": night.night, "state": state, "why": why}
            print(json.dumps({"at": datetime.now(UTC).isoformat(), **step}), flush=True)
        else:
            print(f"{datetime.now(UTC):%H:%M:%S}  {night.survey:6} {night.night}  {state:9} {why}", flush=True)

    def finished(conductor: Conductor) -> bool:
        nights = conductor.nights.on(until) if until else []
        return bool(nights) and all(night.state == State.REPORTED for night in nights)

    conduct(config, told, finished)
    return 0


def show(nights: Sequence[Night], conducted: bool, as_json: bool) -> None:
    """Print nights."""
    if as_json:
        print(json.dumps({"conductor": conducted, "nights": [night.as_dict() for night in nights]}, indent=2))
        return
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    for name in ("night", "survey", "state", "since (UTC)", "messages", "why"):
        table.add_column(name, justify="right" if name == "messages" else "left", overflow="fold")
    for night in nights:
        table.add_row(night.night, night.survey, night.state, f"{night.since:%Y-%m-%d %H:%M:%S}", str(night.messages), night.why)  # fmt: skip
    Console().print(table if nights else "no night is known")
    if not conducted:
        print("nobody conducts them: ./kowalski.py night auto, or night.auto: true in config.yaml and up")
