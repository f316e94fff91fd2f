"""What a query may contain, and what it becomes: every collection that it reads, however deep, seen through the user's window."""

from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.api.services.rights import Stage, User, Window
from kowalski.filters.language import READS_FROM, TooDeep, strange_stages, strangers, strangers_in

Pipeline = list[Stage]

#: operators that give a result whatever they get
NEVER_FAIL = frozenset(
    {
        "$eq",
        "$ne",
        "$gt",
        "$gte",
        "$lt",
        "$lte",
        "$cmp",
        "$and",
        "$or",
        "$not",
        "$cond",
        "$ifNull",
        "$type",
        "$isNumber",
    }
)
#: a limit that lets all documents through, but no condition past it
EVERYTHING = 2**62


def check(*values: Any) -> None:
    """Conditions, projections, orders and hints hold nothing but what is allowed.

    Raises
    ------
    BadRequest
    """
    try:
        found = {name for value in values for name in strangers(value)}
    except TooDeep as error:
        raise BadRequest(str(error)) from None
    if found:
        raise BadRequest(f"Query uses forbidden operators: {', '.join(sorted(found))}")


def narrow(catalog: str, pipeline: Pipeline, user: User) -> Pipeline:
    """The pipeline that gives what the user's gives, were there only the rows that he may see.

    Raises
    ------
    BadRequest : it has a stage or operator that is not allowed, or reads a collection that is closed to the user
    """
    try:
        stages, operators = sorted(set(strange_stages(pipeline))), sorted(set(strangers_in(pipeline)))
    except ValueError as error:
        raise BadRequest(str(error)) from None
    if stages:
        raise BadRequest(f"Pipeline uses forbidden stages: {', '.join(stages)}")
    if operators:
        raise BadRequest(f"Pipeline uses forbidden operators: {', '.join(operators)}")
    return _narrow(catalog, pipeline, user)


def through(window: Window, condition: dict[str, Any]) -> dict[str, Any]:
    """A condition on the documents of a window without a shape.

    MongoDB may try the parts of a condition in any order. An expression that can fail is therefore tried on visible
    documents only: what is wrong with hidden ones must not be told.
    """
    return both(window.match, condition if window.whole else _shielded(condition, window.expression))


def both(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """A condition that asks for two."""
    return {"$and": [first, second]} if first and second else first or second


def _narrow(catalog: str, pipeline: Pipeline, user: User) -> Pipeline:
    user.require_open(catalog)
    return behind(user.window(catalog), _through_windows(pipeline, user))


def _through_windows(pipeline: Pipeline, user: User) -> Pipeline:
    """The stages, each with what it reads from other collections seen through their windows."""
    stages: Pipeline = []
    hides = False
    for stage in pipeline:
        seen = {name: _stage(name, body, user) for name, body in stage.items()}
        apart = hides and _is_fragile(stage)  # MongoDB may move it into the pipeline of what was joined
        stages += _kept_apart(stage) if apart else [seen]
        hides = (hides and not apart) or seen != stage
    return stages


def behind(window: Window, pipeline: Pipeline) -> Pipeline:
    """A pipeline after a window; a first stage that must stay the first takes the window's condition into its own."""
    if window.whole:
        return pipeline
    match pipeline:
        case [{"$geoNear": dict(near)}, *rest]:
            nearest = {"$geoNear": {**near, "query": through(window, near.get("query") or {})}}
            return [nearest, *window.shape, *_in_their_place(rest)]
        case [{"$match": dict(condition)}, *rest] if not window.shape:
            return [{"$match": through(window, condition)}, *_in_their_place(rest)]
    return [*window.stages, *_in_their_place(pipeline)]


def _in_their_place(pipeline: Pipeline) -> Pipeline:
    """The stages, of which MongoDB must not move a condition that can fail forward, among the window's own."""
    place = next((number for number, stage in enumerate(pipeline) if _is_fragile(stage)), None)
    if place is None:
        return pipeline
    return [*pipeline[:place], *_kept_apart(pipeline[place]), *pipeline[place + 1 :]]


def _is_fragile(stage: Stage) -> bool:
    """Whether a stage is a condition that may raise an error over some document."""
    return isinstance(stage.get("$match"), dict) and _shielded(stage, True) != stage


def _kept_apart(stage: Stage) -> Pipeline:
    """A fragile condition in two: what can't fail, which may go where an index is, then the rest, which stays here."""
    parts = [({"$match": part}, part) for part in _parts(stage["$match"])]
    sturdy, fragile = ([part for match, part in parts if _is_fragile(match) is fails] for fails in (False, True))
    first: Pipeline = [{"$match": {"$and": sturdy}}] if sturdy else []
    return [*first, {"$limit": EVERYTHING}, {"$match": {"$and": fragile}}]


def _parts(condition: Any) -> list[Stage]:
    """Conditions that must all be met for one to be."""
    parts: list[Stage] = []
    for key, item in condition.items():
        inner = item if key == "$and" and isinstance(item, list | tuple) and item else None
        if inner is not None and all(isinstance(each, dict) for each in inner):
            parts += [part for each in inner for part in _parts(each)]
        else:
            parts.append({key: item})
    return parts


def _shielded(condition: Any, visible: Any) -> Any:
    """A condition whose expressions that can fail are tried only where an expression holds."""
    if isinstance(condition, list | tuple):
        return [_shielded(item, visible) for item in condition]
    if not isinstance(condition, dict):
        return condition
    return {
        key: {"$cond": [visible, item, False]} if key == "$expr" and _can_fail(item) else _shielded(item, visible)
        for key, item in condition.items()
    }


def _can_fail(expression: Any) -> bool:
    """Whether an expression may raise an error over some document."""
    if isinstance(expression, dict):
        return any(
            key != "$literal" and ((key.startswith("$") and key not in NEVER_FAIL) or _can_fail(item))
            for key, item in expression.items()
        )
    return isinstance(expression, list | tuple) and any(_can_fail(item) for item in expression)


def _stage(name: str, body: Any, user: User) -> Any:
    """One stage, with what it reads from other collections seen through their windows."""
    if name == "$facet" and isinstance(body, dict):
        return {key: _through_windows(inner, user) for key, inner in body.items()}
    if name not in READS_FROM:
        return body
    key = READS_FROM[name]
    if isinstance(body, str):
        inner = _narrow(body, [], user)
        return {key: body, "pipeline": inner} if inner else body
    if not isinstance(body, dict):
        raise BadRequest(f"{name}: an object is expected")
    if name == "$lookup" and key not in body:  # its pipeline begins with $documents
        return {**body, "pipeline": _through_windows(body.get("pipeline", []), user)}
    source = body.get(key)
    if not isinstance(source, str):
        raise BadRequest(f"{name}.{key}: the name of a collection is expected")
    user.require_open(source)
    if name == "$graphLookup":
        return _within_window(body, user.window(source))
    _require_whole(body.get("foreignField"), source, user)
    inner = _narrow(source, body.get("pipeline", []), user)
    return {**body, "pipeline": inner} if inner or "pipeline" in body else body


def _require_whole(path: Any, source: str, user: User) -> None:
    """Raise `BadRequest` for a ``foreignField`` with hidden parts: MongoDB compares it as stored, before the window."""
    if isinstance(path, str) and path.split(".")[0] in user.window(source).changes:
        raise BadRequest(f"$lookup: {path} of {source} has parts that you may not see, use let and pipeline")


def _within_window(body: dict[str, Any], window: Window) -> dict[str, Any]:
    """``$graphLookup``, which takes a condition but no stages."""
    if window.whole:
        return body
    if window.shape:
        raise BadRequest(f"$graphLookup: {body['from']} has parts that you may not see, use $lookup")
    own = body.get("restrictSearchWithMatch") or {}
    return {**body, "restrictSearchWithMatch": through(window, own)}
