"""The OpenAPI 3.1 document, made of the routes and of the models that validate their requests."""

import inspect
import re
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter

from kowalski.api.models.answers import Error, Success
from kowalski.api.routes import Access, Route
from kowalski.settings import Server

REFERENCE = "#/components/schemas/{model}"
LOGIN = "token"
#: what may happen on any route besides success
ERRORS = {400: "The request is wrong; the message says how.", 401: "There is no token, or the password is wrong.", 404: "There is no such path.", 413: "The body is too large.", 500: "A fault of the server.", 503: "The server is not ready."}  # fmt: skip
DENIED = {
    401: "There is no token.",
    403: "The admin's rights are needed.",
    429: "Too many queries of the same user at once.",
}
#: an uploaded file: by itself, or in a form behind the parameters
UPLOAD = {
    "text/csv": {"schema": {"type": "string"}},
    "application/fits": {"schema": {"type": "string", "format": "binary"}},
    "application/json": {"schema": {"description": "a MOC"}},
    "multipart/form-data": {
        "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
    },
}

Document = dict[str, Any]


def make_document(routes: Iterable[Route], server: Server) -> Document:
    """The description of all routes."""
    routes = [route for route in routes if route.method != "HEAD" and route.described]
    schemas = _Schemas(routes)
    paths: dict[str, Document] = {}
    for route in routes:
        paths.setdefault(_plain(route.path), {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": server.name,
            "version": server.version,
            "description": server.description,
            "contact": {"name": server.contact.name, "email": server.contact.email},
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(tag_of(route) for route in routes)],
        "paths": paths,
        "components": {
            "schemas": schemas.shared,
            "securitySchemes": {
                LOGIN: {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "the token of POST /api/auth, with or without `Bearer` before it",
                }
            },
        },
    }


class _Schemas:
    """The JSON schemas of all that routes take and give, with what several share apart."""

    def __init__(self, routes: list[Route]):
        wanted: list[tuple[Any, Any, TypeAdapter[Any]]] = [("error", "serialization", TypeAdapter(Error))]
        for route in routes:
            if route.params is not None:
                wanted.append(((route, "params"), "validation", TypeAdapter(route.params)))
            if route.body is not None:
                wanted.append(((route, "body"), "validation", route.body))
            if route.content == "application/json":
                whole = route.answer if route.whole else Success[route.answer]  # type: ignore[name-defined]
                wanted.append(((route, "answer"), "serialization", TypeAdapter(whole)))
        found, rest = TypeAdapter.json_schemas(wanted, ref_template=REFERENCE)
        self.own = {key: schema for (key, _), schema in found.items()}
        self.shared: Document = rest.get("$defs", {})

    def resolved(self, schema: Document) -> Document:
        """A schema, not the name of one."""
        name = schema.get("$ref", "").rpartition("/")[2]
        return self.shared[name] if name else schema


def _operation(route: Route, schemas: _Schemas) -> Document:
    said = inspect.getdoc(route.handler) or ""
    operation: Document = {
        "tags": [tag_of(route)],
        "operationId": _operation_id(route),
        "summary": said.split("\n\n")[0].replace("\n", " "),
        "responses": _responses(route, schemas),
    }
    if "\n\n" in said:
        operation["description"] = said.split("\n\n", 1)[1]
    if route.access is not Access.ANYBODY:
        operation["security"] = [{LOGIN: []}]
    parameters = _parameters(route, schemas)
    if route.body is not None:
        schema = schemas.own[route, "body"]
        if route.method == "GET":
            parameters += _in_query(schemas.resolved(schema))
        else:
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if route.upload:
        operation["requestBody"] = {"required": True, "content": UPLOAD}
    if parameters:
        operation["parameters"] = parameters
    return operation


def _parameters(route: Route, schemas: _Schemas) -> list[Document]:
    if route.params is None:
        return []
    schema = schemas.resolved(schemas.own[route, "params"])
    in_path = set(re.findall(r"{(\w+)", route.path))
    return [
        {"name": name, "in": "path", "required": True, "schema": each}
        for name, each in schema["properties"].items()
        if name in in_path
    ] + _in_query(
        {**schema, "properties": {key: value for key, value in schema["properties"].items() if key not in in_path}}
    )


def _in_query(schema: Document) -> list[Document]:
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": each}
        for name, each in schema.get("properties", {}).items()
    ]


def _responses(route: Route, schemas: _Schemas) -> Document:
    good: Document = {"schema": schemas.own[route, "answer"]} if route.content == "application/json" else {}
    errors = ERRORS if route.access is Access.ANYBODY else ERRORS | DENIED
    if route.conflicts:
        errors = errors | {409: "It exists already."}
    wrong = {"application/json": {"schema": schemas.own["error"]}}
    responses: Document = {"200": {"description": "All went well.", "content": {route.content: good}}}
    return responses | {str(status): {"description": text, "content": wrong} for status, text in sorted(errors.items())}


def tag_of(route: Route) -> str:
    """Under which heading a route is described: the first part of its path after ``/api``."""
    parts = [part for part in route.path.split("/") if part and part != "api"]
    return parts[0] if parts else "root"


def _operation_id(route: Route) -> str:
    """A name of method and path: ``get_api_users_username``."""
    return "_".join([route.method.lower(), *re.findall(r"\w+", _plain(route.path))])


def _plain(path: str) -> str:
    """A path without the patterns of its names."""
    return re.sub(r"{(\w+):[^}]*}", r"{\1}", path)
