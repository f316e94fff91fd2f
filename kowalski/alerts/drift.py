"""Schema drift: what a writer's schema has more, less and otherwise than the survey's own, and whether the chain can live with it."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any, NamedTuple

from kowalski.alerts.survey import Survey
from kowalski.alerts.unfolding import REMEMBERED
from kowalski.errors import PacketError
from kowalski.log import get_logger

log = get_logger(__name__)

#: Avro's types as the chain tells them apart
KINDS = {
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "string": "text",
    "enum": "text",
    "bytes": "bytes",
    "fixed": "bytes",
    "boolean": "boolean",
    "record": "record",
    "error": "record",
    "array": "array",
    "map": "map",
    "null": "null",
}
#: more fields than this has no survey, nor more letters in their paths, and nobody shall have us unfold
MAX_FIELDS, MAX_LETTERS = 20_000, 4_000_000

Fields = Mapping[str, frozenset[str]]
"""Path of a field (``candidate.jd``, ``prv_candidates[].jd``) -> its kinds, null among them where it may be null."""


class Differences(NamedTuple):
    """What one schema has otherwise than another; the parts of a field that is new or gone are not named one by one."""

    added: dict[str, str]
    missing: dict[str, str]
    retyped: dict[str, tuple[str, str]]

    def __str__(self) -> str:
        return ", ".join(self.lines()) or "no difference"

    def lines(self) -> list[str]:
        """One line per field: ``+`` new, ``-`` gone, ``~`` of another type."""
        return [
            *(f"+ {path}: {kinds}" for path, kinds in self.added.items()),
            *(f"- {path}: {kinds}" for path, kinds in self.missing.items()),
            *(f"~ {path}: {before} -> {after}" for path, (before, after) in self.retyped.items()),
        ]


class DriftWatch:
    """Judges each schema of a survey's packets once: passes it, reports it, or refuses it.

    Parameters
    ----------
    own : gives the schema that the survey's module was written for; None where it can't be had

    Attributes
    ----------
    packets : summary of a schema that differs -> how many packets came with it
    """

    def __init__(self, survey: Survey, own: Callable[[], Any | None]):
        self.packets: Counter[str] = Counter()
        self._survey = survey
        self._own = own
        self._judged: OrderedDict[int, tuple[Any, str | PacketError]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, schema: Any) -> None:
        """Nothing, where the chain can take packets of this schema.

        Raises
        ------
        PacketError : ``schema_drift``, with the differences
        """
        # by identity: whoever parses schemas gives the same object for the same schema; it is kept so that the id stays its own
        known = self._judged.get(id(schema))
        if known is None:
            with self._lock:
                known = self._judged[id(schema)] = (schema, self._judgement(schema))
                if len(self._judged) > REMEMBERED:
                    self._judged.popitem(last=False)
        judgement = known[1]
        if isinstance(judgement, PacketError):
            raise PacketError(judgement.reason, judgement.detail)
        if judgement:
            self.packets[judgement] += 1

    def _judgement(self, schema: Any) -> str | PacketError:
        """An error, or what to call a schema that differs; empty: it doesn't."""
        try:
            theirs = fields_of(schema)
            own = self._own()
            found = differences(fields_of(own), theirs) if own is not None else Differences({}, {}, {})
        except PacketError as error:
            return error
        name = schema.get("name", "?") if isinstance(schema, dict) else "?"
        if lacks := faults(theirs, self._survey):
            log.error("%s: packets of %s go to quarantine: %s", self._survey.name, name, "; ".join(lacks))
            return PacketError("schema_drift", "\n".join([*lacks, *found.lines()]))
        if not any(found):
            return ""
        log.warning("%s: packets of %s differ from our schema: %s", self._survey.name, name, found)
        return f"{name}: {len(found.added)} new, {len(found.missing)} gone, {len(found.retyped)} of another type"


def fields_of(schema: Any) -> dict[str, frozenset[str]]:
    """All fields of a parsed schema, in its order, those of records in lists as ``list[].field``.

    Raises
    ------
    PacketError : ``schema``: more than `MAX_FIELDS`, or `MAX_LETTERS`
    """
    fields: dict[str, frozenset[str]] = {}
    letters = 0
    for number, (path, kinds) in enumerate(
        _walk(schema, "", {})
    ):  # a path may come several times, by records of a union
        fields[path] = kinds
        letters += len(path)
        if number >= MAX_FIELDS or letters > MAX_LETTERS:
            raise PacketError("schema", f"more than {MAX_FIELDS} fields, or {MAX_LETTERS} letters in their paths")
    return fields


def _walk(kind: Any, path: str, named: dict[str, Any]) -> Iterator[tuple[str, frozenset[str]]]:
    for branch in _branches(kind, named):
        if not isinstance(branch, dict):
            continue
        if "name" in branch:
            named[branch["name"]] = branch
        for field in branch.get("fields", ()):
            inner = f"{path}.{field['name']}".lstrip(".")
            yield inner, _kinds(field["type"], named)
            yield from _walk(field["type"], inner, named)
        if "items" in branch:
            yield f"{path}[]", _kinds(branch["items"], named)
            yield from _walk(branch["items"], f"{path}[]", named)
        if "values" in branch:
            yield f"{path}{{}}", _kinds(branch["values"], named)
            yield from _walk(branch["values"], f"{path}{{}}", named)


def _branches(kind: Any, named: Mapping[str, Any]) -> list[Any]:
    """The alternatives of a type, names replaced by what they stand for."""
    branches = kind if isinstance(kind, list) else [kind]
    return [named.get(branch, branch) if isinstance(branch, str) else branch for branch in branches]


def _kinds(kind: Any, named: Mapping[str, Any]) -> frozenset[str]:
    names = (branch["type"] if isinstance(branch, dict) else branch for branch in _branches(kind, named))
    return frozenset(KINDS.get(name, str(name)) for name in names)


def differences(own: Fields, theirs: Fields) -> Differences:
    """What ``theirs`` has otherwise than ``own``; a field that may be null and one that may not are of the same type."""
    added = {path: _text(kinds) for path, kinds in theirs.items() if path not in own}
    missing = {path: _text(kinds) for path, kinds in own.items() if path not in theirs}
    retyped = {
        path: (_text(own[path]), _text(kinds))
        for path, kinds in theirs.items()
        if path in own and own[path] - {"null"} != kinds - {"null"}
    }
    return Differences(_topmost(added), _topmost(missing), retyped)


def _topmost(fields: dict[str, str]) -> dict[str, str]:
    """The fields that are no part of another one of them."""
    return {path: kinds for path, kinds in fields.items() if not any(outer in fields for outer in _outer(path))}


def _outer(path: str) -> Iterator[str]:
    for place, letter in enumerate(path):
        if place and letter in ".[{":
            yield path[:place]


def _text(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds, key=lambda kind: (kind == "null", kind)))


def faults(theirs: Fields, survey: Survey) -> list[str]:
    """Why the chain can't process packets with these fields, in words; nothing: it can."""
    return [*unmet(theirs, survey.needed), *misused(theirs, survey.used)]


def unmet(theirs: Fields, needs: Mapping[str, str]) -> list[str]:
    """What a schema lacks of what is needed (path -> kind), in words; an integer does where a number is needed.

    What lies in a list or record that the schema doesn't have at all is not missed there: packets may come without history.
    """
    lacks = []
    for path, kind in needs.items():
        kinds = theirs.get(path)
        if kinds is None:
            if "[]" not in path or path.partition("[]")[0] in theirs:
                lacks.append(f"{path} is missing, {kind} needed")
        elif not kinds & ({kind, "integer"} if kind == "number" else {kind}):
            lacks.append(f"{path} is {_text(kinds)}, {kind} needed")
    return lacks


def misused(theirs: Fields, uses: Mapping[str, str]) -> list[str]:
    """What a schema has of another kind than it is used as (path -> kind), in words; an integer does for a number, null for both."""
    return [
        f"{path} is {_text(kinds)}, used as {kind}"
        for path, kind in uses.items()
        if (kinds := theirs.get(path)) is not None
        and not kinds <= {kind, "null", *(["integer"] if kind == "number" else [])}
    ]
