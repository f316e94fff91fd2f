"""What a query may contain, and what it becomes: every collection that it reads, however deep, seen through the user's window."""

from typing import Any

from kowalski.api.errors import BadRequest
from kowalski.api.services.rights import Stage, User, Window
from kowalski.filters.language import READS_FROM, TooDeep, strange_stages, strangers, strangers_in

Pipeline = list[Stage]


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


def both(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """A condition that asks for two."""
    return {"$and": [first, second]} if first and second else first or second


def _narrow(catalog: str, pipeline: Pipeline, user: User) -> Pipeline:
    user.require_open(catalog)
    return _behind(user.window(catalog), _through_windows(pipeline, user))


def _through_windows(pipeline: Pipeline, user: User) -> Pipeline:
    return [{name: _stage(name, body, user)} for stage in pipeline for name, body in stage.items()]


def _behind(window: Window, pipeline: Pipeline) -> Pipeline:
    """A pipeline after a window; a first stage that must stay the first takes the window's condition into its own."""
    if window.whole:
        return pipeline
    match pipeline:
        case [{"$geoNear": dict(near)}, *rest]:
            nearest = {"$geoNear": {**near, "query": both(window.match, near.get("query") or {})}}
            return [nearest, *window.shape, *rest]
        case [{"$match": dict(condition)}, *rest] if not window.shape:
            return [{"$match": both(window.match, condition)}, *rest]
    return [*window.stages, *pipeline]


def _stage(name: str, body: Any, user: User) -> Any:
    """One stage, with what it reads from other collections seen through their windows."""
    if name == "$facet" and isinstance(body, dict):
        return {key: _through_windows(inner, user) for key, inner in body.items()}
    if name not in READS_FROM:
        return body
    key = READS_FROM[name]
    body = {key: body} if isinstance(body, str) else body
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
    inner = _narrow(source, body.get("pipeline", []), user)
    return {**body, "pipeline": inner} if inner or "pipeline" in body else body


def _within_window(body: dict[str, Any], window: Window) -> dict[str, Any]:
    """``$graphLookup``, which takes a condition but no stages."""
    if window.whole:
        return body
    if window.shape:
        raise BadRequest(f"$graphLookup: {body['from']} has parts that you may not see, use $lookup")
    own = body.get("restrictSearchWithMatch") or {}
    return {**body, "restrictSearchWithMatch": both(window.match, own)}
