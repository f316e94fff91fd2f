"""./kowalski.py quarantine: what was refused and why, another attempt at it, and what is given up."""

import argparse
import getpass
import json
import os
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.progress import Progress, TextColumn, TimeElapsedColumn

from kowalski.alerts.survey import get_survey
from kowalski.config import load_config
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.quarantine import Quarantine, Selection
from kowalski.database.quarantined import Document, Group, Quarantined
from kowalski.errors import QuarantineError
from kowalski.local.quarantine_show import described, printable, size_of
from kowalski.log import setup_logging
from kowalski.night.quarantined import Fate, replay_chosen
from kowalski.night.refetch import kafka_of
from kowalski.settings import Config

#: packets that a replay names one by one
NAMED = 50
#: characters of an explanation in a line
SAID = 100
OUTCOMES = {"stored": "stored", "known": "known already", "refused": "refused again", "left": "left"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|replay|discard")
    listing = actions.add_parser("list", help="how many, why, and the latest")
    listing.add_argument("survey", nargs="?", metavar="SURVEY", help="e.g. ZTF; left out: all")
    listing.add_argument("--reason", metavar="R", help="only those refused for it")
    listing.add_argument("--discarded", action="store_true", help="list those that were discarded instead")
    listing.add_argument("--limit", type=int, default=20, metavar="N", help="how many of the latest (default 20)")
    listing.add_argument("--json", action="store_true", help="for programs")
    show = actions.add_parser("show", help="one packet: its reason, its schema, its bytes, its fields")
    show.add_argument("key", metavar="KEY", help="TOPIC:PARTITION:OFFSET, as list prints it")
    show.add_argument("--save", metavar="FILE", help="write its bytes there instead; - is the standard output")
    replay = actions.add_parser("replay", help="through the chain again; what is refused again stays")
    replay.add_argument("keys", nargs="*", metavar="KEY", help="these packets")
    replay.add_argument("--all", action="store_true", help="all there are, or those of --survey and --reason")
    replay.add_argument("--no-post", action="store_true", help="nothing goes to SkyPortal")
    discard = actions.add_parser("discard", help="give up the bytes; what they were stays on record")
    discard.add_argument("keys", nargs="*", metavar="KEY", help="these packets, or those of --survey and --reason")
    discard.add_argument("--because", required=True, metavar="TEXT", help="why, for the record")
    discard.add_argument("--yes", action="store_true", help="the answer to the question that is asked for many")
    for many in (replay, discard):
        many.add_argument("--survey", metavar="S", help="those of this survey")
        many.add_argument("--reason", metavar="R", help="those refused for this reason")


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for; 1 where packets stay in quarantine that were to leave it, else 0."""
    setup_logging(
        "quarantine", "CRITICAL" if arguments.action == "show" else "WARNING"
    )  # a wrong packet's faults are shown
    config = load_config()
    database = connect(config.database)
    action = {"list": _list, "show": _show, "replay": _replay, "discard": _discard}[arguments.action]
    try:
        return action(arguments, config, database)
    finally:
        database.client.close()


# list


def _list(arguments: argparse.Namespace, config: Config, database: MongoDatabase) -> int:
    look, chosen = Quarantined(database), _selection(arguments)
    groups, standing = look.groups(chosen), look.standing()
    latest = look.latest(chosen, arguments.limit, arguments.discarded) if arguments.limit > 0 else []
    alarm = standing.alarm(config.broker.quarantine_bytes)
    if arguments.json:
        report = {
            "max_bytes": config.broker.quarantine_bytes,
            **standing._asdict(),
            "alarm": alarm,
            "groups": [{**each._asdict(), "standing": each.standing._asdict()} for each in groups],
            "latest": latest,
        }
        print(json.dumps(report, indent=2, default=str))
        return 0
    lines = [
        f"{'survey':8} {'reason':20} {'packets':>8} {'heads':>6} {'discarded':>9} {'held':>10}  first and last (UTC)"
    ]
    lines += map(_group, groups)
    lines.append(f"{size_of(standing.held)} of {size_of(config.broker.quarantine_bytes)} are held")
    if alarm:
        lines.append(alarm)
    if latest:
        lines += ["", "discarded, latest first:" if arguments.discarded else "latest first:", *map(_line, latest)]
    print("\n".join(lines))
    return 0


def _group(group: Group) -> str:
    n = group.standing
    return (
        f"{printable(group.survey):8} {printable(group.reason):20} {n.packets:8} {n.truncated:6} {n.discarded:9} "
        f"{size_of(n.held):>10}  {group.first:%Y-%m-%d %H:%M:%S}  {group.last:%Y-%m-%d %H:%M:%S}"
    )


def _line(document: Document) -> str:
    said = f"{document['reason']}: {document['detail']}"
    if "discarded" in document:
        note = document["discarded"]
        said = f"discarded {note['at']:%Y-%m-%d %H:%M:%S} by {note['by']}: {note['because']}; {said}"
    head = " (head)" if document.get("truncated") else ""
    line = f"{document['at']:%Y-%m-%d %H:%M:%S}  {document['_id']}  {size_of(document['size'])}{head}  {said}"
    return f"  {_short(line, len(line) - len(said) + SAID)}"


def _short(text: str, length: int) -> str:
    text = printable(text.replace("\n", "; "))
    return text if len(text) <= length else f"{text[: length - 3]}..."


# show


def _show(arguments: argparse.Namespace, config: Config, database: MongoDatabase) -> int:
    document = _found(database, [arguments.key])[arguments.key]
    data = Quarantine(database, config.broker.inline_quarantine_bytes).data(arguments.key)
    if arguments.save is None:
        kept = Quarantined(database).head(arguments.key) if data is None else data
        print("\n".join(described(document, kept, get_survey(document["survey"]), config)))
        return 0
    if data is None and "discarded" not in document:
        data = _whole(document, config)
    if data is None:
        raise QuarantineError(f"{arguments.key}: its bytes are gone; show it without --save")
    _save(arguments.save, data)
    return 0


def _whole(document: Document, config: Config) -> bytes | None:
    """The bytes, from Kafka, of a packet of which only the head was kept."""
    with kafka_of(get_survey(document["survey"]), config) as fetch:
        return fetch(document["topic"], document["partition"], document["offset"])


def _save(place: str, data: bytes) -> None:
    if place == "-":
        sys.stdout.buffer.write(data)
        return
    try:
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise QuarantineError(f"{place}: {error.strerror}") from None
    print(f"{len(data)} bytes in {place}")


# replay


def _replay(arguments: argparse.Namespace, config: Config, database: MongoDatabase) -> int:
    if bool(arguments.keys) == arguments.all:
        raise QuarantineError("replay which packets? Give their KEYs, or --all with --survey and --reason if wanted")
    chosen, fates = _selection(arguments), []
    _found(database, arguments.keys, standing=True)
    surveys = [get_survey(name) for name in Quarantined(database).surveys(chosen)]
    bar = Progress(TextColumn("{task.description}"), TextColumn("{task.completed} alerts"), TimeElapsedColumn())
    with bar:
        for survey in surveys:
            fates += replay_chosen(survey, config, chosen, not arguments.no_post, bar)[1]
    fates.sort(key=lambda fate: fate.stays, reverse=True)
    for fate in fates[:NAMED]:
        print(_fate(fate))
    if len(fates) > NAMED:
        print(f"... and {len(fates) - NAMED} more")
    counts: Counter[str] = Counter(fate.outcome for fate in fates)
    print(", ".join(f"{counts[outcome]} {text}" for outcome, text in OUTCOMES.items()))
    return int(any(fate.stays for fate in fates))


def _fate(fate: Fate) -> str:
    return _short(f"{fate.key}  {OUTCOMES[fate.outcome]}  {fate.said}".rstrip(), 200)


# discard


def _discard(arguments: argparse.Namespace, config: Config, database: MongoDatabase) -> int:
    chosen = _selection(arguments)
    if bool(arguments.keys) == bool(arguments.survey or arguments.reason):
        raise QuarantineError("discard which packets? Give their KEYs, or --reason or --survey")
    if not arguments.because.strip():
        raise QuarantineError("--because is empty: say why, for the record")
    _found(database, arguments.keys, standing=True)
    if not arguments.keys:
        _confirm(Quarantined(database).groups(chosen), arguments.yes)
    by = f"{getpass.getuser()}@{socket.gethostname()}"
    number = Quarantine(database, config.broker.inline_quarantine_bytes).discard(chosen, arguments.because, by)
    print(f"{number} discarded; ./kowalski.py quarantine list --discarded tells of them")
    return 0


def _confirm(groups: Sequence[Group], yes: bool) -> None:
    """Return if somebody really wants it."""
    packets, held = (sum(getattr(group.standing, name) for group in groups) for name in ("packets", "held"))
    if not packets:
        raise QuarantineError("there is nothing of that in quarantine")
    what = f"{packets} packets, {size_of(held)}"
    if yes:
        return
    if not sys.stdin.isatty():
        raise QuarantineError(f"discard gives up {what}: it asks at a terminal, or takes --yes")
    if input(f"Discard {what}? Type yes: ").strip() != "yes":
        raise QuarantineError("nothing was discarded")


# all of them


def _selection(arguments: argparse.Namespace) -> Selection:
    survey = get_survey(arguments.survey).name if arguments.survey else None
    return Selection(survey, arguments.reason, tuple(getattr(arguments, "keys", ())) or None)


def _found(database: MongoDatabase, keys: Sequence[str], standing: bool = False) -> dict[str, Document]:
    """The packets of these keys, which are all there, and not discarded where they are to be ``standing``."""
    found = Quarantined(database).find(keys)
    if absent := [key for key in keys if key not in found]:
        raise QuarantineError(f"{', '.join(absent)}: not in quarantine; ./kowalski.py quarantine list prints the keys")
    gone: dict[str, Any] = {key: each["discarded"] for key, each in found.items() if standing and "discarded" in each}
    if gone:
        key, note = next(iter(gone.items()))
        raise QuarantineError(f"{key} was discarded on {note['at']:%Y-%m-%d} by {note['by']}: {note['because']}")
    return found
