"""./kowalski.py verify: a stored alert made again of its packet, and what of its scores, matches, light curve and passes differs."""

import argparse
import json
import sys
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kowalski.alerts.survey import get_survey
from kowalski.config import load_config
from kowalski.errors import KowalskiError
from kowalski.log import setup_logging
from kowalski.provenance.comparing import CHANGED, DIFFERS, NOT_CHECKED, NOT_RECORDED, SAME, counted, shown
from kowalski.provenance.verification import Verification, Verifier

#: how verdicts look
STYLES = {SAME: "green", DIFFERS: "bold red", CHANGED: "yellow", NOT_RECORDED: "dim", NOT_CHECKED: "yellow"}
#: letters of a value
WIDEST = 48
#: exit status where an alert can't be verified
IMPOSSIBLE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("candid", type=int, metavar="CANDID", help="number of the alert")
    parser.add_argument("--survey", metavar="S", help="where several surveys have the number")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Verify an alert and say what came of it: 0 all is the same, 1 something differs, 2 it can't be verified, or not all of it."""
    setup_logging("verify", "WARNING")
    try:
        survey = get_survey(arguments.survey) if arguments.survey else None
        verifier = Verifier(load_config())
        try:
            found = verifier.verify(arguments.candid, survey)
        finally:
            verifier.close()
    except KowalskiError as error:
        print(f"kowalski: {error}", file=sys.stderr)
        return IMPOSSIBLE
    if arguments.json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        show(found, Console(soft_wrap=True))
    return found.status


def show(found: Verification, console: Console) -> None:
    """Print a table for each section, and the verdict in a sentence."""
    console.print(f"{found.survey} alert {found.candid} of {found.object_id}", style="bold", highlight=False)
    table = Table("", "stored", "recomputed", "", box=SIMPLE, show_edge=False, pad_edge=False)
    section = ""
    for row in found.rows:
        if row.section != section:
            section = row.section
            table.add_row(Text(section, "italic"))
        verdict = Text(row.verdict, STYLES[row.verdict]) + Text(
            f": {row.note}" if row.note and row.verdict != SAME else ""
        )
        table.add_row(Text(f"  {row.thing}"), _short(row.stored), _short(row.made), verdict)
    console.print(table)
    for remark in found.remarks:
        console.print(remark, markup=False, highlight=False)
    console.print(verdict_of(found), style="bold", markup=False, highlight=False)


def _short(value: Any) -> Text:
    """A value as far as there is room for it; --json has all of it."""
    text = shown(value)
    return Text(text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}...")


def verdict_of(found: Verification) -> str:
    """The verification in one sentence."""
    counts = counted(found.rows)
    others = ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number and verdict not in (SAME, DIFFERS))  # fmt: skip
    said = f"{counts[SAME]} same, {counts[DIFFERS]} {'differs' if counts[DIFFERS] == 1 else 'differ'}"
    return f"{said}, {others}" if others else said
