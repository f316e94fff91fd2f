"""Logging in and out."""

from contextlib import suppress
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator

from kowalski.api.errors import BadRequest, TooMany, Unauthorized
from kowalski.api.models.fields import Body
from kowalski.api.models.login import TextOrNone
from kowalski.api.state import SERVICES
from kowalski.lab.cookies import forget, keep, welcome
from kowalski.lab.entrance import session_of
from kowalski.lab.rendering import page

HOME = "/lab"


def _within(address: str) -> str:
    """An address of the lab; any other becomes its first page, so that no link leads from the login to elsewhere."""
    inside = address == HOME or address.startswith((HOME + "/", HOME + "?"))
    return address if inside and "\\" not in address and address.isprintable() else HOME


Address = Annotated[str, AfterValidator(_within)]


class Wanted(Body):
    """Where he goes who has logged in."""

    next: Address = HOME


class LoginForm(Wanted):
    """A name and its password."""

    username: TextOrNone = ""
    password: TextOrNone = ""


async def show(request: web.Request, wanted: Wanted) -> web.StreamResponse:
    """The form."""
    return _form(request, wanted.next)


async def log_in(request: web.Request, form: LoginForm) -> web.StreamResponse:
    """The browser keeps a token; a wrong password shows the form again, with the reason."""
    services = request.app[SERVICES]
    address = services.proxies.client(request.remote, request.headers.getall("X-Forwarded-For", []))
    try:
        token = await services.accounts.log_in(form.username, form.password, address)
        kept = await services.personal_tokens.for_lab(token)
    except Unauthorized:
        return _form(request, form.next, form.username, "The name or the password is wrong.", 401)
    except (BadRequest, TooMany) as error:
        return _form(request, form.next, form.username, str(error), error.http_status)
    response = web.Response(status=303, headers={"Location": form.next})
    keep(request, response, kept)
    return response


async def log_out(request: web.Request) -> web.StreamResponse:
    """The browser keeps no token any more, and the one that it had holds no more."""
    response = web.Response(status=303, headers={"Location": "/lab/login"})
    with suppress(Unauthorized):  # it held no more before
        await request.app[SERVICES].personal_tokens.end((await session_of(request)).claims)
    forget(response)
    return response


def _form(request: web.Request, wanted: str, username: str = "", problem: str = "", status: int = 200) -> web.Response:
    visitor = web.Response()  # has the cookie that the proof is made of
    proof = welcome(request, visitor)
    response = page(
        request, "login.html", status=status, proof=proof, wanted=wanted, username=username, problem=problem
    )
    response.cookies.update(visitor.cookies)
    return response
