"""Versions of filters as text, and two of them side by side."""

from difflib import SequenceMatcher
from typing import Any, NamedTuple

from bson import json_util

from kowalski.errors import FilterError
from kowalski.filters.compile import parse_pipeline

#: equal lines that are shown around those that differ
AROUND = 3
#: lines of a text that are compared with another one: finding what is common takes up to their square
MOST = 2000


class Line(NamedTuple):
    """A line of two texts: ``kind`` is equal, replace, delete, insert, or gap where equal ones are left out."""

    kind: str
    left_number: int | None = None
    left: str = ""
    right_number: int | None = None
    right: str = ""


def readable(pipeline: Any) -> str:
    """A stored pipeline as indented JSON; one that is none as it is."""
    try:
        stages = parse_pipeline(pipeline)
    except FilterError:
        return pipeline if isinstance(pipeline, str) else json_util.dumps(pipeline, indent=2)
    return json_util.dumps(stages, indent=2, ensure_ascii=False, json_options=json_util.RELAXED_JSON_OPTIONS)


def stages_in(pipeline: Any) -> int | None:
    """How many stages a stored pipeline has; None where it is none."""
    try:
        return len(parse_pipeline(pipeline))
    except FilterError:
        return None


def side_by_side(left: str, right: str) -> list[Line]:
    """Two texts line by line, what they share left out but for what stands around differences; empty where they are the same."""
    before, after = left.splitlines(), right.splitlines()
    if before == after:
        return []
    rest = max(len(before), len(after)) - MOST
    before, after = before[:MOST], after[:MOST]
    lines: list[Line] = []
    end = 0
    for group in SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(AROUND):
        if group[0][1] > end:
            lines.append(Line("gap"))
        for kind, i1, i2, j1, j2 in group:
            for place in range(max(i2 - i1, j2 - j1)):
                i, j = i1 + place, j1 + place
                lines.append(Line(kind, *_part(before, i, i2), *_part(after, j, j2)))
            end = i2
    if rest > 0:
        said = f"… up to {rest:,} more lines are not compared"
        return [*lines, Line("gap"), Line("replace", left=said, right=said)]
    return [*lines, Line("gap")] if end < len(before) else lines


def _part(lines: list[str], number: int, end: int) -> tuple[int | None, str]:
    return (number + 1, lines[number]) if number < end else (None, "")
