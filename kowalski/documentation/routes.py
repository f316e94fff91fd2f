"""Every route of the API: who may call it, what it takes and what it does."""

import inspect
import re

from pydantic import BaseModel

from kowalski.api.openapi import tag_of
from kowalski.api.routes import ROUTES, Access, Route
from kowalski.documentation.tables import code, table

WHO = {Access.ANYBODY: "anybody", Access.USER: "a user", Access.ADMIN: "the admin"}


def routes_reference() -> str:
    """A table of routes for each part of the API."""
    groups: dict[str, list[Route]] = {}
    for route in ROUTES:
        groups.setdefault(tag_of(route), []).append(route)
    return "\n".join(
        f"## {tag}\n\n" + table(("route", "for", "takes", "what it does"), map(_row, routes))
        for tag, routes in groups.items()
    )


def shown_path(route: Route) -> str:
    """A route's path without the patterns of its names."""
    return re.sub(r"{(\w+):[^}]*}", r"{\1}", route.path)


def _row(route: Route) -> tuple[str, str, str, str]:
    said = (inspect.getdoc(route.handler) or "").split("\n\n")[0].replace("\n", " ")
    return code(f"{route.method} {shown_path(route)}"), WHO[route.access], _takes(route), said


def _takes(route: Route) -> str:
    """Names of the query string's and of the body's arguments; those that must be there come first, in bold."""
    names = _fields(route.params, set(re.findall(r"{(\w+)", route.path))) if route.params else []
    if route.upload:
        names.append("a file")
    if route.body is not None:
        schema = route.body.json_schema()
        schema = schema.get("$defs", {}).get(schema.get("$ref", "").rpartition("/")[2], schema)
        kinds = schema.get("discriminator", {}).get("mapping", {})
        names += (
            [f"**{schema['discriminator']['propertyName']}** ({', '.join(kinds)})"]
            if kinds
            else _named(schema) or ["a JSON object"]
        )
    return ", ".join(names)


def _fields(model: type[BaseModel], in_path: set[str]) -> list[str]:
    schema = model.model_json_schema()
    return [name for name in _named(schema) if name.strip("*`") not in in_path]


def _named(schema: dict[str, object]) -> list[str]:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    assert isinstance(properties, dict)
    assert isinstance(required, list)
    names = sorted(properties, key=lambda name: name not in required)
    return [f"**`{name}`**" if name in required else f"`{name}`" for name in names]
