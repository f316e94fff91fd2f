"""./kowalski.py archive: packets as they were received, or fixed, out of the packet archive; what it holds; a night closed."""

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from kowalski.alerts.survey import get_survey
from kowalski.archive.packets.keeper import Keeper
from kowalski.archive.packets.reading import ArchiveFile, Kept, PacketArchive
from kowalski.config import ROOT, load_config
from kowalski.errors import ArchiveError
from kowalski.local import compose
from kowalski.local.bars import working
from kowalski.log import setup_logging
from kowalski.night.dates import night_from
from kowalski.settings import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="get|list|close")
    get = actions.add_parser("get", help="the packet of an alert, as it was received")
    get.add_argument("candid", type=int, metavar="CANDID", help="number of the alert")
    get.add_argument("--survey", metavar="S", help="where several surveys have the number")
    get.add_argument(
        "--night", type=_night, metavar="NIGHT", help="where it is known, which is quicker in a large archive"
    )
    get.add_argument("--fixed", action="store_true", help="with a schema that any Avro reader takes")
    get.add_argument("--output", metavar="FILE", help="write it there; left out: to the standard output, which must not be a terminal")  # fmt: skip
    listing = actions.add_parser("list", help="the nights, or the files of one")
    listing.add_argument("night", nargs="?", type=_night, metavar="NIGHT", help="YYYYMMDD or YYYY-MM-DD")
    listing.add_argument("--json", action="store_true", help="for programs")
    close = actions.add_parser("close", help="close the files of a night now, so that they are uploaded and told of")
    close.add_argument("night", type=_night, metavar="NIGHT", help="YYYYMMDD or YYYY-MM-DD")
    close.add_argument("--survey", metavar="S", help="of this survey only")


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for; the exit status."""
    setup_logging("archive", "WARNING")
    if compose.is_meant(local=False):
        return _inside(arguments)
    config = load_config()
    action = {"get": _get, "list": _list, "close": _close}[arguments.action]
    return action(arguments, config, PacketArchive(ROOT / config.archive.folder))


def _night(text: str) -> str:
    return f"{night_from(text):%Y%m%d}"


def _inside(arguments: argparse.Namespace) -> int:
    """The same in the ingester's container; a file is written on this side."""
    given = {name: value for name, value in vars(arguments).items() if name not in ("action", "output")}
    call = [arguments.action]
    for name, value in given.items():
        if name in ("candid", "night") and (name == "candid" or arguments.action != "get"):
            call += [str(value)] if value is not None else []
        elif value:
            call += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    if arguments.action != "get":
        return compose.inside("archive", call)
    return compose.bytes_of("archive", call, _target(arguments.output))


# get


def _get(arguments: argparse.Namespace, config: Config, archive: PacketArchive) -> int:
    survey = get_survey(arguments.survey).name if arguments.survey else None
    target = _target(arguments.output)
    with working(f"looking for candid {arguments.candid}"):
        found = archive.find(arguments.candid, survey, arguments.night)
    kept = _one(found, arguments.candid, archive)
    data = kept.fixed() if arguments.fixed else kept.received()
    if data is None:
        raise ArchiveError(f"candid {arguments.candid}: no schema reads it to its end; get it without --fixed")
    if target is None:
        sys.stdout.buffer.write(data)
        return 0
    try:
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
            file.write(data)
    except OSError as error:
        raise ArchiveError(f"{target}: {error.strerror}") from None
    print(f"{len(data)} bytes in {target}", file=sys.stderr)
    return 0


def _target(output: str | None) -> Path | None:
    """The file to write to; None: the standard output.

    Raises
    ------
    ArchiveError : that is a terminal
    """
    if output not in (None, "-"):
        return Path(str(output))
    if sys.stdout.isatty():
        raise ArchiveError("a packet is no text for a terminal: add --output FILE, or > FILE")
    return None


def _one(found: list[Kept], candid: int, archive: PacketArchive) -> Kept:
    """The message that is meant; the first, where several brought the same alert, which is said."""
    if not found:
        raise ArchiveError(
            f"{archive.folder} holds no packet of candid {candid}; ./kowalski.py archive list tells the nights"
        )
    surveys = sorted({_file_of(kept).survey for kept in found})
    if len(surveys) > 1:
        raise ArchiveError(f"candid {candid} is one of {' and one of '.join(surveys)}: add --survey")
    if len(found) > 1:
        places = ", ".join(f"{each.topic}:{each.partition}:{each.offset}" for each in (kept.entry for kept in found))
        print(f"{len(found)} messages brought candid {candid} ({places}): this is the first", file=sys.stderr)
    return found[0]


def _file_of(kept: Kept) -> ArchiveFile:
    place = kept.form or kept.whole
    assert place is not None  # it has one of them
    return place[0]


# list


def _list(arguments: argparse.Namespace, config: Config, archive: PacketArchive) -> int:
    with working(f"looking through {archive.folder}"):
        rows = [row for survey in archive.surveys() for night in archive.nights(survey)
                if arguments.night in (None, night) for row in _rows(archive, survey, night, arguments.night is None)]  # fmt: skip
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    if not rows:
        of_night = f" of {arguments.night}" if arguments.night else ""
        hint = "" if config.archive.enabled else "; archive.enabled is false"
        print(f"{archive.folder} holds no packets{of_night}{hint}")
        return 0
    names = list(rows[0])
    widths = {name: max(len(name), *(len(_shown(row[name])) for row in rows)) for name in names}
    for line in ({name: name for name in names}, *rows):
        print("  ".join(f"{_shown(line[name]):{'>' if type(line[name]) in (int, float) else '<'}{widths[name]}}" for name in names).rstrip())  # fmt: skip
    return 0


def _rows(archive: PacketArchive, survey: str, night: str, together: bool) -> list[dict[str, Any]]:
    """A row for each file of a night, or for all of them together."""
    files = [
        {
            "packets": file.seal["packets"] if file.seal else len({entry.identity for entry in file.entries}),
            "bytes": file.path.stat().st_size,
            "open": file.seal is None,
            "uploaded": (file.seal or {}).get("uploaded") is not None,
            "broken": (file.seal or {}).get("broken", 0),
            "path": file.name,
        }
        for file in archive.files(survey, night)
    ]
    head = {"survey": survey, "night": night}
    if not together:
        return [head | file for file in files]
    total: Counter[str] = Counter()
    for file in files:
        total.update({name: int(file[name]) for name in ("packets", "bytes", "open", "uploaded", "broken")})
    return [head | {"files": len(files), **{name: total[name] for name in ("packets", "bytes", "open", "uploaded", "broken")}}]  # fmt: skip


def _shown(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


# close


def _close(arguments: argparse.Namespace, config: Config, archive: PacketArchive) -> int:
    keeper, closed = Keeper(config), 0
    for survey in [get_survey(arguments.survey).name] if arguments.survey else archive.surveys():
        with working(f"closing the files of {survey}"):
            closed += keeper.close(survey, arguments.night)
    print(f"{closed} files closed; {'they are uploaded by the archive-keeper' if keeper.remote else 'archive.remote is null: they stay here'}")  # fmt: skip
    return 0
