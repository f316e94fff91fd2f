"""Why an alert passes a filter or not: stage by stage, down to the condition that rejected it and the value it met.

MongoDB itself decides everything. The functions here are generators that yield what it is to be asked and are sent its answer, so
that one way of explaining serves callers that wait and callers with an event loop.
"""

from collections.abc import Generator, Iterator, Mapping
from typing import Any, NamedTuple

from bson.errors import BSONError

from kowalski.errors import FilterError
from kowalski.filters.compile import CARRIER
from kowalski.filters.language import Stage

Row = dict[str, Any]

#: documents of a stage that are counted, and those whose values are shown
COUNTED, SHOWN = 1000, 5
#: items of a list that are shown
ITEMS = 5
#: operators that compare two values, which are shown
COMPARISONS = {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in"}
#: conditions made of others
COMPOUND = {"$and", "$or", "$nor"}


class Question(NamedTuple):
    """A pipeline over one document; the answer is its output, or the `FilterError` that MongoDB refuses it with."""

    stages: list[Stage]
    document: Mapping[str, Any]


Asking = Generator[Question, list[Row] | FilterError, Any]


def explain(stages: list[Stage], document: Mapping[str, Any]) -> Asking:
    """What becomes of an enriched alert in a pipeline.

    Returns
    -------
    ``passed`` : whether exactly one document comes out
    ``reason`` : in a sentence
    ``stages`` : per stage ``stage`` (from 1), ``operator``, ``in``, ``out``; where a ``$match`` rejects all: ``rejected_by``, a list
        of ``{clause, met_by, found}``; where MongoDB fails: ``error``
    ``documents`` : what comes out at the end
    """
    told: list[Row] = []
    number, rows = 1, [dict(document)]
    for place, stage in enumerate(stages):
        ((operator, body),) = stage.items()
        answer = yield Question([*stages[: place + 1], {"$limit": COUNTED}], document)
        step: Row = {"stage": place + 1, "operator": operator, "in": number}
        told.append(step)
        if isinstance(answer, FilterError):
            step |= {"out": 0, "error": str(answer)}
            return _verdict(told, [], f"stage {place + 1} ({operator}) fails: {answer}")
        step["out"] = len(answer)
        if operator == "$match" and number and not answer:
            step["rejected_by"] = yield from _rejections(body, stages[:place], document, rows)
            return _verdict(told, [], _sentence(place + 1, step["rejected_by"]))
        if not answer:
            return _verdict(told, [], f"stage {place + 1} ({operator}) lets nothing through")
        if rows and answer:
            step |= _changes(rows[0], answer[0])
        number, rows = len(answer), answer
    shown = [brief(_public(row)) for row in rows[:SHOWN]]
    if number == 1:
        return _verdict(told, shown, "it passes")
    return _verdict(told, shown, f"{number} documents come out; an alert passes where there is exactly one")


def _verdict(stages: list[Row], documents: list[Row], reason: str) -> Row:
    return {"passed": reason == "it passes", "reason": reason, "stages": stages, "documents": documents}


def _rejections(condition: Any, before: list[Stage], document: Mapping[str, Any], rows: list[Row]) -> Asking:
    """The clauses of a condition that not all documents meet, each with how many do and the values they met instead."""
    told: list[Row] = []
    for clause in clauses_of(condition):
        answer = yield Question([*before, {"$match": clause}, {"$limit": COUNTED}], document)
        met = 0 if isinstance(answer, FilterError) else len(answer)
        if met < len(rows):
            found = yield from _found(clause, before, document, rows)
            told.append({"clause": clause, "met_by": met, **found})
    return told


def clauses_of(condition: Any) -> Iterator[Stage]:
    """Conditions that must all be met for one to be."""
    for key, value in condition.items():
        if key == "$and" and isinstance(value, list):
            for each in value:
                yield from clauses_of(each)
        elif key == "$expr" and isinstance(value, dict) and value.keys() == {"$and"}:
            yield from ({"$expr": each} for each in value["$and"])
        else:
            yield {key: value}


def _found(clause: Stage, before: list[Stage], document: Mapping[str, Any], rows: list[Row]) -> Asking:
    """What a clause met: values of its field, results of what an expression compares, or the same for its own parts."""
    ((key, value),) = clause.items()
    if key == "$expr":
        return (yield from _compared(value, before, document))
    if key in COMPOUND and isinstance(value, list):
        parts = []
        for each in value:
            parts += yield from _parts(each, before, document, rows)
        return {"parts": parts}
    return {"found": [brief(value_at(row, key)) for row in rows[:SHOWN]]}


def _parts(condition: Any, before: list[Stage], document: Mapping[str, Any], rows: list[Row]) -> Asking:
    """Every clause of one branch of an ``$or``, met or not."""
    told: list[Row] = []
    for clause in clauses_of(condition):
        answer = yield Question([*before, {"$match": clause}, {"$limit": COUNTED}], document)
        found = yield from _found(clause, before, document, rows)
        told.append({"clause": clause, "met_by": 0 if isinstance(answer, FilterError) else len(answer), **found})
    return told


def _compared(expression: Any, before: list[Stage], document: Mapping[str, Any]) -> Asking:
    """The values on both sides of a comparison, or the value of another expression."""
    operator, sides = next(iter(expression.items())) if isinstance(expression, dict) and expression else (None, None)
    if operator in COMPARISONS and isinstance(sides, list):
        wanted = {f"side{place}": {"$ifNull": [side, None]} for place, side in enumerate(sides)}
    else:
        wanted = {"side0": {"$ifNull": [expression, None]}}
    answer = yield Question([*before, {"$project": {"_id": 0, **wanted}}, {"$limit": SHOWN}], document)
    if isinstance(answer, FilterError):
        return {"found": [], "error": str(answer)}
    values = [[brief(row.get(name)) for name in wanted] for row in answer]
    return {"found": values if len(wanted) > 1 else [value for (value,) in values]}


def value_at(document: Any, path: str) -> Any:
    """The value at a dotted path as MongoDB finds it, lists looked through; None where there is none."""
    name, _, rest = path.partition(".")
    if isinstance(document, list):
        if name.isdigit() and int(name) < len(document):
            return value_at(document[int(name)], rest) if rest else document[int(name)]
        found = [value_at(item, path) for item in document if isinstance(item, dict | list)]
        return [value for value in found if value is not None]
    if not isinstance(document, dict) or name not in document:
        return None
    return value_at(document[name], rest) if rest else document[name]


def brief(value: Any) -> Any:
    """A value of which long lists are cut, with their length said."""
    if isinstance(value, dict):
        return {key: brief(item) for key, item in value.items()}
    if isinstance(value, list):
        cut = [brief(item) for item in value[:ITEMS]]
        return cut if len(value) <= ITEMS else [*cut, f"... {len(value)} in all"]
    return f"{len(value)} bytes" if isinstance(value, bytes) else value


def _changes(before: Row, after: Row) -> Row:
    """Fields that came and went."""
    came, went = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys() - {CARRIER})
    return {**({"added": came} if came else {}), **({"removed": went} if went else {})}


def _public(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != CARRIER}


def _sentence(number: int, rejections: list[Row]) -> str:
    """Why a ``$match`` lets nothing through."""
    if not rejections:
        return f"stage {number} ($match): no document meets all of its conditions at once"
    first = rejections[0]
    ((key, value),) = first["clause"].items()
    found = first.get("found")
    if found is None:
        said = f"no part of {key} is met"
    elif key == "$expr":
        said = f"{value} is not met by {found[0] if found else first.get('error', 'nothing')}"
    else:
        said = f"{key} is {found[0]!r}, not {value!r}"
    return f"stage {number} ($match): {said}" + (f"; {len(rejections) - 1} more" if len(rejections) > 1 else "")


def answers(asking: Asking, ask: Any) -> Any:
    """What an asking gives, with ``ask(Question)`` to get MongoDB's answers; it may raise `FilterError`."""
    try:
        question = next(asking)
        while True:
            try:
                answer = ask(question)
            except (FilterError, BSONError) as error:
                answer = error if isinstance(error, FilterError) else FilterError(str(error))
            question = asking.send(answer)
    except StopIteration as done:
        return done.value
