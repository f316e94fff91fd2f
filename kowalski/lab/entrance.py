"""The door of every page: who comes in, with which arguments, and what he sees where something goes wrong."""

import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError

from kowalski.api.errors import BadRequest, Handler, Unauthorized, explain
from kowalski.api.routes import Access
from kowalski.api.services.sessions import Session
from kowalski.api.state import SERVICES, SESSION, USER
from kowalski.api.uploads import BROKEN
from kowalski.errors import KowalskiError
from kowalski.lab.cookies import PROOF_FIELD, PROOF_HEADER, forget, require_proof, token_in
from kowalski.lab.rendering import error_page
from kowalski.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class Page:
    """One method of one address of the lab.

    Attributes
    ----------
    params : what its path (``{names}``) and its query string must be; given to the handler, valid, after the request
    form : what the fields of the form that it takes must be; given to the handler, valid, as the last argument
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[web.StreamResponse]]
    access: Access = Access.USER
    params: type[BaseModel] | None = None
    form: type[BaseModel] | None = None


def entrance(page: Page) -> Handler:
    """The handler of a page: its own, behind the door."""

    async def enter(request: web.Request) -> web.StreamResponse:
        try:
            return await _enter(page, request)
        except Unauthorized:
            if _is_of_script(request):
                raise
            return _to_login(request)
        except KowalskiError as error:
            if _is_of_script(request):
                raise
            if error.http_status >= 500:
                log.warning("%s %s: %s", request.method, request.path, error)
            said = (
                str(error)
                if error.http_status < 500
                else "Something that this page needs is not there now. Try again in a moment."
            )
            return error_page(request, error.http_status, said)

    return enter


async def _enter(page: Page, request: web.Request) -> web.StreamResponse:
    if page.access is not Access.ANYBODY:
        request[SESSION] = session = await session_of(request)
        request[USER] = session.user
        if page.access is Access.ADMIN:
            session.user.require_admin()
    arguments: list[Any] = []
    if page.params is not None:
        arguments.append(_valid(page.params, {**_told(request.query), **request.match_info}))
    if request.method != "GET":
        try:
            fields = await request.post()
        except (*BROKEN, LookupError, RuntimeError, zlib.error):  # charsets and encodings are taken as they are said
            raise BadRequest("this form can't be read") from None
        given = request.headers.get(PROOF_HEADER) or _text(fields.get(PROOF_FIELD))
        require_proof(request, given, page.access is Access.ANYBODY)
        if page.form is not None:
            arguments.append(_valid(page.form, _told(fields)))
    return await page.handler(request, *arguments)


async def session_of(request: web.Request) -> Session:
    """The session of the token that the browser has kept; raises `Unauthorized` where it is none any more."""
    token = token_in(request)
    if not token:
        raise Unauthorized
    try:
        return await request.app[SERVICES].sessions.open(token)
    except BadRequest:
        raise Unauthorized from None


def _to_login(request: web.Request) -> web.StreamResponse:
    """To the login, and from there back to where he wanted to go."""
    wanted = request.path_qs if request.method == "GET" else "/lab"
    answer = web.Response(status=303, headers={"Location": f"/lab/login?next={quote(wanted, safe='')}"})
    if token_in(request):
        forget(answer)
    return answer


def _is_of_script(request: web.Request) -> bool:
    """Whether a script of a page asks, which wants JSON, errors too."""
    return "application/json" in request.headers.get("Accept", "")


def _told(fields: MultiMapping[Any]) -> dict[str, Any]:
    """Fields of a form or a query string; those left empty are as not given, those given several times are lists."""
    told: dict[str, Any] = {}
    for key in fields:
        values = [value for value in fields.getall(key) if value != ""]
        if values:
            told[key] = values if len(values) > 1 else values[0]
    return told


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _valid(model: type[BaseModel], told: dict[str, Any]) -> BaseModel:
    try:
        return model.model_validate(told)
    except ValidationError as error:
        raise BadRequest(explain(error)) from None
