"""One shape for every error: ``{"status": "error", "message": ...}``, whatever went wrong, and never a traceback."""

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from kowalski.errors import KowalskiError
from kowalski.log import get_logger

log = get_logger(__name__)

#: s after which a client that has to wait may try again
RETRY = {"Retry-After": "1"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadRequest(KowalskiError):
    """What the client asks is wrong; the text is for him."""

    http_status = 400


class Unauthorized(KowalskiError):
    """The client has to log in, or could not."""

    http_status = 401

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class Forbidden(KowalskiError):
    """The user may not do this; the text says who may."""

    http_status = 403


class TooMany(KowalskiError):
    """The user has to wait; the text says for what."""

    http_status = 429


def failure(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error as an answer."""
    return web.Response(
        status=status,
        text=json.dumps({"status": "error", "message": message}),
        content_type="application/json",
        headers=headers,
    )


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error of a handler, of the routing and of aiohttp becomes a JSON answer; what is no client's fault is logged."""
    try:
        return await handler(request)
    except ConnectionError:
        if request.transport is not None and not request.transport.is_closing():
            return _unexpected(request)  # the client's is there: it is one of ours, to another server
        return failure(400, "the connection was lost")  # nobody reads it
    except web.HTTPRequestEntityTooLarge as error:
        return failure(413, error.text or "the body is too large")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return failure(error.status, HTTPStatus(error.status).phrase, allow)
    except KowalskiError as error:
        if error.http_status < 500:
            return failure(error.http_status, str(error), RETRY if isinstance(error, TooMany) else None)
        log.warning("%s %s: %s", request.method, request.path, error)
        return failure(error.http_status, HTTPStatus(error.http_status).phrase)
    except (
        Exception
    ):  # the last place that can make an answer of a bug; what it was stands in the log, and is not the client's to see
        return _unexpected(request)


def _unexpected(request: web.Request) -> web.Response:
    """The answer where something failed that should not; called while its exception is handled, which is logged."""
    log.exception("%s %s failed", request.method, request.path)
    return failure(500, HTTPStatus.INTERNAL_SERVER_ERROR.phrase)


def explain(error: ValidationError) -> str:
    """What is wrong with a request, in one line: our own words where we have them, else the path and pydantic's."""
    return "; ".join(dict.fromkeys(_explain(item) for item in error.errors(include_url=False)))


def _explain(item: Any) -> str:
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    if item["type"] == "union_tag_invalid":
        return f"query_type {item['ctx']['tag']} not in ({item['ctx']['expected_tags']})"
    if item["type"] == "union_tag_not_found":
        return "query_type is missing"
    # the first part of a path in a union names the union's member
    path = ".".join(str(part) for part in item["loc"])
    return f"{path}: {item['msg']}" if path else item["msg"]
