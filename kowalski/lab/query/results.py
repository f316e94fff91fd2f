"""What becomes of an answer on the page: a table of its first rows, a single document, names, or a number."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import quote

from bson import json_util

from kowalski.alerts.survey import known_surveys
from kowalski.api.services.cones import Found
from kowalski.lab.addresses import object_address
from kowalski.lab.query.flat import WIDEST, flat, is_number, row_of, written

#: rows and columns of a table; of further ones there are only numbers
ROWS, COLUMNS = 200, 400
#: s for which, and rows up to which, those that are not shown are counted
COUNTING, COUNTED = 1.0, 20_000
#: characters of a single document that are shown
SHOWN = 200_000
#: values of the fields of a document whose last names are these are what pages of objects are found by
LINKED = ("objectId", "candid")


@dataclass
class Cell:
    """A value as text, and where it leads."""

    text: str
    address: str = ""
    number: bool = False


@dataclass
class Table:
    """The first rows of an answer.

    Attributes
    ----------
    columns : dotted names, in the order in which they were met
    rows : by name; of a column that a row does not have there is nothing
    numeric : columns that can be drawn
    total : how many rows there are, as far as they were counted
    complete : whether that is all of them
    hidden : columns beyond those that are shown
    """

    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, Cell]] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    total: int = 0
    complete: bool = True
    hidden: int = 0


@dataclass
class Answer:
    """What a page shows of an answer: one of these."""

    table: Table | None = None
    document: str = ""
    names: list[str] = field(default_factory=list)
    count: int | None = None
    nothing: bool = False


async def answer_of(data: Any, catalog: str) -> Answer:
    """What to show of what a query gives; no more of it is kept than is shown."""
    if isinstance(data, AsyncGenerator | Found):
        table = await table_of(rows_of(data, ROWS), catalog)
        return Answer(table=table, nothing=not table.rows)
    if isinstance(data, int):
        return Answer(count=data)
    if isinstance(data, list):
        return Answer(names=data, nothing=not data)
    if data is None:
        return Answer(nothing=True)
    shown = {key: _brief(item) for key, item in data.items()}
    text = json_util.dumps(shown, indent=2, ensure_ascii=False, json_options=json_util.RELAXED_JSON_OPTIONS)
    return Answer(document=text if len(text) <= SHOWN else f"{text[:SHOWN]}\n…")


async def rows_of(data: Any, most: int | None = None) -> AsyncGenerator[dict[str, Any]]:
    """The rows of an answer, flat, one by one; those after the first ``most`` are empty, for who only counts them."""
    number = 0
    if isinstance(data, Found):
        async with aclosing(data.rows) as found:
            async for catalog, key, document in found:
                number += 1
                yield row_of(catalog, key, document) if most is None or number <= most else {}
    elif isinstance(data, AsyncGenerator):
        async with aclosing(data) as documents:
            async for document in documents:
                number += 1
                yield flat(document, WIDEST) if most is None or number <= most else {}
    elif isinstance(data, Mapping):
        yield flat(data, WIDEST)


async def table_of(rows: AsyncGenerator[dict[str, Any]], catalog: str) -> Table:
    """The first `ROWS` of some rows, and how many there are as far as that is soon known."""
    table, numeric, names = Table(), dict[str, bool](), dict[str, None]()
    ends = 0.0
    async with aclosing(rows):
        async for row in rows:
            table.total += 1
            if len(table.rows) < ROWS:
                names |= dict.fromkeys(islice((name for name in row if name not in names), max(0, WIDEST - len(names))))
                shown = [name for name in islice(names, COLUMNS) if name in row]
                numeric |= {name: True for name in shown if is_number(row[name])}
                table.rows.append({name: _cell(name, row, catalog) for name in shown})
                ends = time.monotonic() + COUNTING
            elif table.total >= COUNTED or time.monotonic() > ends:
                table.complete = False
                break
    table.columns, table.hidden = list(names)[:COLUMNS], max(0, len(names) - COLUMNS)
    table.numeric = [name for name in table.columns if name in numeric]
    return table


async def points_of(
    rows: AsyncGenerator[dict[str, Any]], names: list[str], most: int
) -> tuple[list[dict[str, Any]], bool]:
    """Of the first rows that have numbers in all these columns, these and what the row is called; whether there are more rows."""
    points: list[dict[str, Any]] = []
    looked = 0
    async with aclosing(rows):
        async for row in rows:
            looked += 1
            if looked > most:
                return points, True
            if all(is_number(row.get(name)) for name in names):
                points.append({name: float(row[name]) for name in names} | {"_name": name_of(row)})
    return points, False


def name_of(row: Mapping[str, Any]) -> str:
    """What a row is called: the object's id and the candid, where it has them."""
    said = [str(row[name]) for name in LINKED if row.get(name) is not None] or [str(row.get("_id", ""))]
    return " ".join(said)[:100]


def survey_of(catalog: str) -> str | None:
    """The survey whose alerts or objects a catalogue holds."""
    for survey in known_surveys():
        if catalog == survey.name or catalog.startswith(survey.alerts):
            return survey.name
    return None


def _cell(name: str, row: Mapping[str, Any], catalog: str) -> Cell:
    value = row[name]
    return Cell(written(value), _address(name, row, str(row.get("catalog", catalog))), is_number(value))


def _address(name: str, row: Mapping[str, Any], catalog: str) -> str:
    """The page of the object that a value names."""
    last, value, survey = name.rpartition(".")[2], row[name], survey_of(catalog)
    if survey is None or isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    if last == "objectId" or (name == "_id" and catalog.endswith("_aux")):
        return object_address(survey, value)
    if last == "candid":
        own = row.get(f"{name.removesuffix('candid')}objectId")
        if isinstance(own, str):
            return object_address(survey, own)
        return f"/lab/objects?q={quote(str(value), safe='')}"
    return ""


def _brief(value: Any) -> Any:
    """A value of which bytes are only counted and long lists cut."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, list):
        cut = [_brief(item) for item in value[:50]]
        return cut if len(value) <= 50 else [*cut, f"… {len(value)} in all"]
    return {key: _brief(item) for key, item in value.items()} if isinstance(value, dict) else value
