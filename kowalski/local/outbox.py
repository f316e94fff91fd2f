"""./kowalski.py outbox: what waits to be sent, what was refused and why, and another try."""

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from kowalski.config import load_config
from kowalski.database.client import connect
from kowalski.database.outbox import STATES, Entry, Outbox

#: entries that are listed
SHOWN = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--failed", action="store_true", help="list what was refused or has expired, with the answers")
    parser.add_argument("--pending", action="store_true", help="list what waits, with what kept it from being sent")
    parser.add_argument("--retry", nargs="*", metavar="ID", help="try again what was refused: these entries, or all")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the numbers, and what is asked for."""
    config = load_config()
    database = connect(config.database)
    try:
        outbox = Outbox(database)
        retried = None if arguments.retry is None else outbox.retry(arguments.retry or None)
        states = [*(("failed", "expired") if arguments.failed else ()), *(("pending",) if arguments.pending else ())]
        listed = {state: outbox.latest(state, SHOWN) for state in states}
        report = {"posting": config.misc.broker, "counts": outbox.counts_by_lane(), "retried": retried, **listed}
    finally:
        database.client.close()
    print(json.dumps(report, indent=2, default=str) if arguments.json else _table(report))
    return 0


def _table(report: dict[str, Any]) -> str:
    lines = [f"{'':12}" + "".join(f"{state:>12}" for state in STATES)]
    lines += [
        f"{lane:12}" + "".join(f"{counts.get(state, 0):12}" for state in STATES)
        for lane, counts in report["counts"].items()
    ]
    if not report["posting"]:
        lines.append("posting is off (misc.broker): what passes filters is counted, and not sent")
    if report["retried"] is not None:
        lines.append(f"{report['retried']} are tried again")
    for state in STATES:
        if state in report:
            lines += ["", f"{state}, latest first:", *map(_line, report[state])]
    return "\n".join(lines)


def _line(entry: Entry) -> str:
    error = entry.get("error") or {}
    at = error.get("at") or entry["passed_at"]
    when = at if isinstance(at, datetime) else datetime.now(UTC)
    said = f"{error.get('step') or ''} {error.get('status') or ''} {error.get('message') or ''}".strip()
    return f"  {when:%Y-%m-%d %H:%M:%S}  {entry['_id']}  {entry['objectId']}  {said}".rstrip()
