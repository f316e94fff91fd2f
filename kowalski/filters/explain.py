"""Why an alert passes a filter or not: stage by stage, down to the condition that rejected it and the value it met.

MongoDB itself decides everything. The functions here are generators that yield what it is to be asked and are sent its answer, so
that one way of explaining serves callers that wait and callers with an event loop.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bson.errors import BSONError

from kowalski.errors import FilterError
from kowalski.filters.compile import CARRIER
from kowalski.filters.language import Stage

Row = dict[str, Any]

#: documents of a stage that are counted, and those that are looked at
COUNTED, SHOWN = 1000, 5
#: items of a list that are shown
ITEMS = 5
#: operators that compare two values, which are shown
COMPARISONS = {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in"}
#: conditions made of others
COMPOUND = {"$or", "$nor"}
#: the value of a field that is not there
MISSING = object()


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
    document = _public(document)
    told: list[Row] = []
    number, rows = 1, [document]
    for place, stage in enumerate(stages):
        ((operator, body),) = stage.items()
        answer = yield from _outcome(stages[: place + 1], document)
        step: Row = {"stage": place + 1, "operator": operator, "in": number}
        told.append(step)
        if isinstance(answer, FilterError):
            step |= {"out": 0, "error": str(answer)}
            return _verdict(told, [], f"stage {place + 1} ({operator}) fails: {answer}")
        step["out"], after = answer
        if operator == "$match" and not after:
            step["rejected_by"] = yield from _rejections(body, stages[:place], document, number, rows)
            return _verdict(told, [], _sentence(place + 1, step["rejected_by"]))
        if not after:
            return _verdict(told, [], f"stage {place + 1} ({operator}) lets nothing through")
        step |= _changes(rows[0], after[0])
        number, rows = step["out"], after
    shown = [brief(row) for row in rows]
    if number == 1:
        return _verdict(told, shown, "it passes")
    return _verdict(told, shown, f"{number} documents come out; an alert passes where there is exactly one")


def _outcome(stages: list[Stage], document: Mapping[str, Any]) -> Asking:
    """How many documents come out of some stages, and the first of them, or the `FilterError`."""
    rows = yield Question([*stages, {"$limit": SHOWN}], document)
    if isinstance(rows, FilterError) or len(rows) < SHOWN:
        return rows if isinstance(rows, FilterError) else (len(rows), rows)
    number = yield from _number(stages, document)
    return number if isinstance(number, FilterError) else (number, rows)


def _number(stages: list[Stage], document: Mapping[str, Any]) -> Asking:
    """How many documents come out of some stages, or the `FilterError`; the documents themselves may be large."""
    answer = yield Question([*stages, {"$limit": COUNTED}, {"$count": "n"}], document)
    return answer if isinstance(answer, FilterError) else sum(row["n"] for row in answer)


def _verdict(stages: list[Row], documents: list[Row], reason: str) -> Row:
    return {"passed": reason == "it passes", "reason": reason, "stages": stages, "documents": documents}


def _rejections(
    condition: Any, before: list[Stage], document: Mapping[str, Any], number: int, rows: list[Row]
) -> Asking:
    """The clauses of a condition that not all documents meet, each with how many do and the values they met instead."""
    told = yield from _told(clauses_of(condition), before, document, rows)
    return [each for each in told if each["met_by"] < number]


def _told(clauses: Iterable[Stage], before: list[Stage], document: Mapping[str, Any], rows: list[Row]) -> Asking:
    """Clauses, met or not, each with how many documents meet it and what it met."""
    told: list[Row] = []
    for clause in clauses:
        met = yield from _number([*before, {"$match": clause}], document)
        found = yield from _found(clause, before, document, rows)
        told.append({"clause": clause, "met_by": 0 if isinstance(met, FilterError) else met, **found})
    return told


def clauses_of(condition: Any) -> Iterator[Stage]:
    """Conditions that must all be met for one to be."""
    for key, value in condition.items():
        if key == "$and" and isinstance(value, list):
            for each in value:
                yield from clauses_of(each)
        elif key == "$nor" and isinstance(value, list):
            yield from ({"$nor": [each]} for each in value)
        elif key == "$expr" and isinstance(value, dict) and isinstance(parts := value.get("$and"), list):
            for each in parts:
                yield from clauses_of({"$expr": each})
        else:
            yield {key: value}


def _found(clause: Stage, before: list[Stage], document: Mapping[str, Any], rows: list[Row]) -> Asking:
    """What a clause met: values of its field, results of what an expression compares, or the same for its own parts."""
    ((key, value),) = clause.items()
    parts = value.get("$or") if key == "$expr" and isinstance(value, dict) else None
    if key in COMPOUND and isinstance(value, list):
        branches = [inner for each in value for inner in clauses_of(each)]
    elif isinstance(parts, list):
        branches = [inner for each in parts for inner in clauses_of({"$expr": each})]
    elif key == "$expr":
        return (yield from _compared(value, before, document))
    elif key.startswith("$"):
        return {"found": []}
    else:
        values = [value_at(row, key) for row in rows]
        missing = sum(each is MISSING for each in values)
        found = [None if each is MISSING else brief(each) for each in values]
        return {"found": found, **({"missing": missing} if missing else {})}
    return {"parts": (yield from _told(branches, before, document, rows))}


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
    """The value at a dotted path as MongoDB finds it, lists looked through; `MISSING` where there is none."""
    name, _, rest = path.partition(".")
    if isinstance(document, list):
        if name.isdigit() and int(name) < len(document):
            return value_at(document[int(name)], rest) if rest else document[int(name)]
        found = [value_at(item, path) for item in document if isinstance(item, dict | list)]
        return [value for value in found if value is not MISSING] or MISSING
    if not isinstance(document, dict) or name not in document:
        return MISSING
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
    came, went = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    return {**({"added": came} if came else {}), **({"removed": went} if went else {})}


def _public(document: Mapping[str, Any]) -> Row:
    return {key: value for key, value in document.items() if key != CARRIER}


def _sentence(number: int, rejections: list[Row]) -> str:
    """Why a ``$match`` lets nothing through."""
    if not rejections:
        return f"stage {number} ($match): no document meets all of its conditions at once"
    first = rejections[0]
    ((key, value),) = first["clause"].items()
    found = first.get("found")
    if key == "$nor":
        said = f"{value[0]!r} is met, under $nor"
    elif found is None:
        said = f"no part of {key} is met"
    elif key.startswith("$"):
        said = f"{value!r} is not met" + (
            f" by {found[0]}" if found else f" ({first['error']})" if "error" in first else ""
        )
    elif first.get("missing") == len(found):
        said = f"{key} is missing, not {value!r}"
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
