"""What no query may contain, however deep it is hidden: writes, JavaScript, and collections that are closed to the user."""

from collections.abc import Callable
from typing import Any

from kowalski.api.errors import BadRequest

#: writes, JavaScript on the server, and a stage that never ends
FORBIDDEN = frozenset({"$out", "$merge", "$where", "$function", "$accumulator", "$changeStream"})
#: stages that read another collection, and the key that names it
READS_FROM = {"$lookup": "from", "$graphLookup": "from", "$unionWith": "coll"}
#: as deep as MongoDB stores documents
MAX_DEPTH = 100


def check(query: Any, may_read: Callable[[str], bool]) -> None:
    """A filter, projection or pipeline is harmless, in every part of it.

    Raises
    ------
    BadRequest : it has a forbidden stage or operator, or reads a collection that ``may_read`` refuses
    """
    pending = [(query, 0)]
    forbidden: set[str] = set()
    while pending:
        node, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise BadRequest(f"the query is nested deeper than {MAX_DEPTH} levels")
        if isinstance(node, dict):
            forbidden |= FORBIDDEN.intersection(node)
            for stage in READS_FROM.keys() & node.keys():
                _check_source(stage, node[stage], may_read)
            node = node.values()
        elif not isinstance(node, list | tuple):
            continue
        pending.extend((item, depth + 1) for item in node)
    if forbidden:
        raise BadRequest(f"Pipeline uses forbidden stages: {', '.join(sorted(forbidden))}")


def _check_source(stage: str, argument: Any, may_read: Callable[[str], bool]) -> None:
    """A stage reads a collection of this database that is open to the user, or (``$documents``) none at all."""
    key = READS_FROM[stage]
    source = argument.get(key) if isinstance(argument, dict) else argument
    if source is None and isinstance(argument, dict) and key not in argument:
        return
    if not isinstance(source, str):
        raise BadRequest(f"{stage}.{key}: the name of a collection is expected")
    if not may_read(source):
        raise BadRequest(f"Protected collection: {source}")
