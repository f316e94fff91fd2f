"""Pages from templates: whatever comes from packets, catalogues or users is escaped, and no script but the lab's own runs."""

from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kowalski.api.answers import encode
from kowalski.api.state import USER
from kowalski.lab.addresses import object_address
from kowalski.lab.assets import address_of
from kowalski.lab.cookies import proof_of, theme_of
from kowalski.lab.shown import SHOWN

TEMPLATES = Path(__file__).parent / "templates"
#: scripts, pictures and forms are the lab's own, and nobody may frame it
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Bokeh styles the parts of a plot by elements that it makes; a page with a plot has to let it
PLOT_STYLES = " 'unsafe-inline'"


def page(
    request: web.Request,
    template: str,
    *,
    status: int = 200,
    plots: bool = False,
    proof: str | None = None,
    **context: Any,
) -> web.Response:
    """A page of the lab.

    Parameters
    ----------
    plots : whether it has plots, which need Bokeh (`address_of` it) and its styles
    proof : another than that of who is logged in
    """
    user = request.get(USER)
    text = (
        _templates()
        .get_template(template)
        .render(
            user=user,
            theme=theme_of(request),
            path=request.path,
            proof=proof if proof is not None else proof_of(request),
            plots=plots,
            **context,
        )
    )
    body = text.encode(errors="replace")  # somebody may have typed half a character
    return web.Response(status=status, body=body, content_type="text/html", charset="utf-8", headers=headers(plots))


def fragment(template: str, **context: Any) -> str:
    """A part of a page, for its script to put there."""
    return _templates().get_template(template).render(**context)


def said(value: Any) -> web.Response:
    """An answer to a page's script."""
    return web.Response(text=encode(value), content_type="application/json", headers=headers())


def error_page(request: web.Request, status: int, message: str) -> web.Response:
    """What went wrong, in the lab's own looks."""
    return page(request, "error.html", status=status, title=HTTPStatus(status).phrase, message=message)


def headers(plots: bool = False) -> dict[str, str]:
    """What every page tells the browser: what may run, and that others keep no copy of it."""
    return {
        "Content-Security-Policy": POLICY.format(styles=PLOT_STYLES if plots else ""),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {"asset": address_of, "object_address": object_address}
    templates.filters.update(SHOWN)
    return templates
