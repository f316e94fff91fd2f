"""ZTF's public alerts, a tarball of packets a night, from the archive of the University of Washington."""

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import requests

from kowalski.downloads.command import anonymous, parser_of, run
from kowalski.downloads.files import File
from kowalski.downloads.listing import checksums, entries, text_of
from kowalski.errors import SourceError
from kowalski.night.dates import night_from

URL = "https://ztf.uw.edu/alerts/public/"
NAME = re.compile(r"ztf_\w+_(\d{8})\.tar\.gz")
#: the archive's list of checksums
SUMS = "MD5SUMS"


def main(words: Sequence[str] | None = None) -> int:
    """Fetch the tarballs of some nights; the exit status."""
    parser = parser_of("Fetch ZTF's public alerts, night by night.", "data/ztf_alerts")
    parser.add_argument("first", type=night_from, metavar="FIRST", help="night, YYYYMMDD or YYYY-MM-DD")
    parser.add_argument("last", type=night_from, metavar="LAST", nargs="?", help="the last one (the same)")
    parser.add_argument("--url", default=URL, help=f"the archive ({URL})")
    arguments = parser.parse_args(words)
    nights = (arguments.first, arguments.last or arguments.first)
    return run(arguments, lambda: tarballs(anonymous(), arguments.url, arguments.out, *nights))


def tarballs(session: requests.Session, url: str, out: Path, first: date, last: date) -> list[File]:
    """The files of the nights from the first to the last one, as the archive lists them; raises `SourceError`."""
    if last < first:
        raise SourceError(f"{last:%Y%m%d} is before {first:%Y%m%d}: give the first night first")
    base = url.rstrip("/") + "/"
    listed = text_of(session, base + SUMS)
    sums = checksums(listed) if listed else {}
    names = sorted({*entries(session, base), *sums})
    nights = {name: match[1] for name in names if (match := NAME.fullmatch(name))}
    wanted = [name for name, night in nights.items() if f"{first:%Y%m%d}" <= night <= f"{last:%Y%m%d}"]
    return [File(base + name, out / name, sums.get(name)) for name in wanted]
