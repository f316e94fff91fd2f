"""All pages of the lab."""

from aiohttp import web

from kowalski.api.routes import Access
from kowalski.lab import assets
from kowalski.lab.entrance import Page, entrance
from kowalski.lab.handlers import filter_editor, filters, home, login, query, status
from kowalski.lab.handlers.login import LoginForm, Wanted
from kowalski.lab.handlers.objects import OBJECT_PAGES
from kowalski.lab.rendering import error_page

PAGES = (
    Page("GET", "/lab", home.show),
    Page("GET", "/lab/", home.show),
    Page("GET", "/lab/login", login.show, Access.ANYBODY, params=Wanted),
    Page("POST", "/lab/login", login.log_in, Access.ANYBODY, form=LoginForm),
    Page("POST", "/lab/logout", login.log_out, Access.ANYBODY),
    Page("GET", "/lab/status", status.show, Access.ADMIN),
    Page("GET", "/lab/status/events", status.events, Access.ADMIN),
    Page("GET", "/lab/status/throughput.json", status.throughput, Access.ADMIN, params=status.Look),
    Page("GET", "/lab/assets/{hash}/{name}", assets.get, Access.ANYBODY),
    *OBJECT_PAGES,
    *query.PAGES,
    *filters.PAGES,
    *filter_editor.PAGES,
)


def add_pages(app: web.Application) -> None:
    """The application knows all of `PAGES`, and answers any other address under ``/lab`` in their looks."""
    for page in PAGES:
        app.router.add_route(page.method, page.path, entrance(page))
    app.router.add_route("GET", "/lab/{rest:.*}", _nowhere)
    status.end_streams_with(app)


async def _nowhere(request: web.Request) -> web.StreamResponse:
    return error_page(request, 404, "There is no such page.")
