"""The documentation at /docs: files as they are, with a strict policy; what isn't there says how to get it; nothing else is to be had."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from kowalski.api.errors import errors_as_json
from kowalski.api.handlers import site
from kowalski.api.routes import ROUTES


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small site, with a secret beside it and links that lead out."""
    made = tmp_path / "docs"
    (made / "_static").mkdir(parents=True)
    (made / "index.html").write_text("<p>first</p>")
    (made / "_static" / "furo.css").write_text("p {color: red}")
    (made / "_static" / "furo.js").write_text("1")
    (made / ".built-from").write_text("hidden")
    (tmp_path / "config.yaml").write_text("secret")
    (made / "leak").symlink_to(tmp_path / "config.yaml")
    (made / "up").symlink_to(tmp_path)
    monkeypatch.setattr(site, "FOLDER", made)
    return made


@pytest.fixture
async def client(folder: Path) -> Iterator[TestClient]:
    """A client of the routes that need no database, as the application knows them."""
    app = web.Application(middlewares=[errors_as_json])
    for route in ROUTES:
        if route.path.startswith("/docs"):
            app.router.add_route(route.method, route.path, route.handler)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_pages_come_with_their_types_a_strict_policy_and_nothing_of_others(client: TestClient) -> None:
    for path, kind in {
        "/docs": "text/html",
        "/docs/": "text/html",
        "/docs/index.html": "text/html",
        "/docs/_static/furo.css?v=1": "text/css",
        "/docs/_static/furo.js": "text/javascript",
    }.items():
        answer = await client.get(path)
        assert (answer.status, answer.content_type) == (200, kind), path
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == ("max-age=86400" if "v=" in path else "no-cache")


async def test_a_page_that_has_not_changed_is_not_sent_again(client: TestClient, folder: Path) -> None:
    first = await client.get("/docs/index.html")
    again = await client.get("/docs/index.html", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    (folder / "index.html").write_text("<p>second one</p>")
    changed = await client.get("/docs/index.html", headers={"If-None-Match": first.headers["ETag"]})
    assert (changed.status, await changed.text()) == (200, "<p>second one</p>")


@pytest.mark.parametrize(
    "path",
    [
        "../config.yaml", "%2e%2e/config.yaml", "..%2fconfig.yaml", "_static/../../config.yaml", "_static/%2e%2e/%2e%2e/config.yaml", "/etc/passwd",
        "//etc/passwd", "%2fetc%2fpasswd", "leak", "up/config.yaml", ".built-from", "index.html%00.css", "a" * 5000, "absent.html", "_static", "..\\config.yaml",
    ],
)  # fmt: skip
async def test_nothing_outside_the_site_is_to_be_had(client: TestClient, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(f"GET /docs/{path} HTTP/1.1\r\nHost: kowalski\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), answer[:300]
    for secret in (b"secret", b"hidden", b"root:"):
        assert secret not in answer


async def test_what_is_not_built_says_how_to_build_it(client: TestClient, folder: Path) -> None:
    (folder / "index.html").unlink()
    answer = await client.get("/docs/quickstart.html")
    assert (answer.status, answer.content_type) == (404, "text/html")
    assert "./kowalski.py docs" in await answer.text()
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_api_keeps_its_page(client: TestClient) -> None:
    answer = await client.get("/docs/api")
    assert answer.status == 200
    assert "redoc" in await answer.text()
