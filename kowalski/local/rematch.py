"""./kowalski.py rematch: all stored objects matched anew with a catalogue that was added or replaced.

It may be stopped and started again at any time, also beside a running Kowalski.
"""

import argparse
import json
import math
from dataclasses import asdict

from kowalski.alerts.survey import get_survey
from kowalski.config import load_config
from kowalski.crossmatch.rematch import Pace, Recipes, Rematch, plan, surveys_with
from kowalski.database.client import connect
from kowalski.database.rematches import Rematches, Standing
from kowalski.local.bars import counting_bar
from kowalski.log import setup_logging

#: objects/s at most unless said otherwise: a hundred million take a day and a bit, if MongoDB is that fast
RATE = 1000.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("catalog", metavar="CATALOGUE", help="name of the collection, as in database.xmatch")
    parser.add_argument("--survey", help="only the objects of this one, e.g. ZTF")
    parser.add_argument("--rate", type=_rate, default=RATE, metavar="OBJECTS_PER_S", help=f"no more than so many ({RATE:g}); in any case MongoDB rests as long as it works")  # fmt: skip
    parser.add_argument("--restart", action="store_true", help="begin anew where an interrupted run would go on")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Match the objects and say what came of it; 1 where some could not be matched."""
    setup_logging("rematch", "WARNING")
    config = load_config()
    recipes, catalog = config.database.xmatch, arguments.catalog
    survey = get_survey(arguments.survey).name if arguments.survey else None
    database = connect(config.database)
    try:
        rematches = Rematches(database)
        standings = plan(catalog, surveys_with(catalog, recipes, survey), recipes, rematches, arguments.restart)
        finished = [
            each if each.finished_at else _seen_through(each, recipes, rematches, Pace(arguments.rate))
            for each in standings
        ]
    finally:
        database.client.close()
    print(json.dumps([asdict(each) for each in finished], indent=2, default=str) if arguments.json else "\n".join(map(_told, finished)))  # fmt: skip
    return 1 if any(each.unplaced for each in finished) else 0


def _seen_through(standing: Standing, recipes: Recipes, rematches: Rematches, pace: Pace) -> Standing:
    """One survey's objects, with a bar; where it stands at the end."""
    survey, catalog = get_survey(standing.survey), standing.catalog
    work = Rematch(survey, catalog, recipes[standing.survey], rematches)
    with counting_bar(work.objects.number(), f"{survey.name} with {catalog}") as show:
        show(standing.done)
        for after in work.run(standing, pace):
            show(after.done)
            standing = after
    return work.finish(standing)


def _told(standing: Standing) -> str:
    line = f"{standing.survey}: {standing.done} objects matched with {standing.catalog}, {standing.matched} have a row of it"
    if standing.unplaced:
        line += f"; {standing.unplaced} were left out, of which no first alert is known (./kowalski.py migrate --check)"
    return line


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is no number of objects/s above 0")
    return value
