"""The files of a catalogue, by a list of their addresses and checksums, or named on the command line."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from kowalski.downloads.command import parser_of, run
from kowalski.downloads.files import File, valid_checksum
from kowalski.errors import SourceError

#: what a row of a list may say
COLUMNS = {"url", "sha256", "md5", "name"}


def main(words: Sequence[str] | None = None) -> int:
    """Fetch files; the exit status."""
    parser = parser_of("Fetch the files of a catalogue.", "data/catalogs")
    parser.add_argument(
        "urls", nargs="*", metavar="URL[#sha256=SUM]", help="a file, with its SHA-256 where it is known"
    )
    parser.add_argument("--list", dest="lists", action="append", default=[], type=Path, metavar="FILE", help="CSV or YAML of url, sha256 (or md5), name")  # fmt: skip
    arguments = parser.parse_args(words)
    if not arguments.urls and not arguments.lists:
        parser.error("name files, or a list of them (--list)")

    def files() -> list[File]:
        rows = [row_of(url) for url in arguments.urls]
        for path in arguments.lists:
            rows += rows_of(path)
        return [file_of(row, arguments.out) for row in rows]

    return run(arguments, files)


def row_of(word: str) -> Mapping[str, Any]:
    """The row that a word of the command line stands for."""
    url, _, fragment = word.partition("#")
    name, _, value = fragment.partition("=")
    if fragment and (name not in ("sha256", "md5") or not value):
        raise SourceError(f"{word}: behind # stands sha256=... or md5=...")
    return {"url": url, **({name: value} if fragment else {})}


def rows_of(path: Path) -> list[Mapping[str, Any]]:
    """The rows of a list: a CSV with a heading, or YAML with a list of mappings.

    Raises
    ------
    SourceError : it can't be read, or is none
    """
    try:
        text = path.read_text()
        rows: Any = list(csv.DictReader(text.splitlines())) if path.suffix == ".csv" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, csv.Error) as error:
        raise SourceError(f"{path} can't be read: {str(error).splitlines()[0]}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SourceError(f"{path} is no list of url, sha256, name (a .csv with such a heading, or YAML)")
    for number, row in enumerate(rows, 1):
        if unknown := [str(name) for name in row if name not in COLUMNS]:
            raise SourceError(
                f"{path}, row {number}: {unknown[0]} is not known; valid names: {', '.join(sorted(COLUMNS))}"
            )
    return rows


def file_of(row: Mapping[str, Any], out: Path) -> File:
    """The file of a row, below a folder.

    Raises
    ------
    SourceError : its address, checksum or name is none
    """
    url = str(row.get("url") or "")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SourceError(f"{url or 'a row'} is no address of a file: it begins with https:// or http://")
    name = str(row.get("name") or unquote(PurePosixPath(parts.path).name))
    if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise SourceError(f"{url}: {name!r} is no name of a file below --out: give another one (name)")
    kinds = {"sha256": 64, "md5": 32}
    given = [(kind, str(row[kind])) for kind in kinds if row.get(kind)]
    for kind, value in given:
        if len(valid_checksum(value, url)) != kinds[kind]:
            raise SourceError(f"{url}: {value} is no {kind}: it has {kinds[kind]} hexadecimal digits")
    return File(url, out / name, valid_checksum(given[0][1], url) if given else None)
