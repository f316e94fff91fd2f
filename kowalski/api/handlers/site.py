"""The documentation as a site: the files that `./kowalski.py docs` made, as they are."""

from pathlib import Path

from aiohttp import web

from kowalski.config import ROOT

FOLDER = ROOT / "data" / "docs"
#: nothing but the site's own files: no script or style stands inside a page, and search fetches pages
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".woff": "font/woff",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".yaml": "text/plain; charset=utf-8",
}
#: s for which what has its version in its address need not be asked for again; a page is asked for each time, and sent where it changed
LONG = 86400
ABSENT = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Kowalski's documentation</title><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"></head>
<body><h1>The documentation is not built here</h1>
<p>In the folder of Kowalski, run</p>
<pre>./kowalski.py docs</pre>
<p>and load this page again. <code>./kowalski.py up</code> does it, too, and container images have it. The pages can also be read as they are, in the folder
<code>docs</code>; the description of the API is at <a href="/docs/api">/docs/api</a>.</p></body>
</html>
"""


async def begin(request: web.Request) -> web.StreamResponse:
    """The way to the first page: links of a page are relative to its folder."""
    raise web.HTTPMovedPermanently("/docs/")


async def page(request: web.Request) -> web.StreamResponse:
    """A page or another file of the documentation."""
    if not (FOLDER / "index.html").exists():
        return web.Response(status=404, text=ABSENT, content_type="text/html", headers=_headers("no-store"))
    file = file_of(request.match_info["path"], FOLDER)
    if file is None:
        raise web.HTTPNotFound
    kept = f"max-age={LONG}" if "v" in request.query else "no-cache"
    kind = TYPES.get(file.suffix, "application/octet-stream")
    return web.FileResponse(file, headers=_headers(kept) | {"Content-Type": kind})


def file_of(path: str, folder: Path) -> Path | None:
    """The file that a path names, of a folder's own ones: nothing above it, nothing that a link leads out to, nothing hidden."""
    if "\0" in path or any(part.startswith(".") for part in path.split("/")):
        return None
    try:
        file = (folder / path.lstrip("/")).resolve()
        file = file / "index.html" if file.is_dir() else file
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None
    except OSError:  # a name that no file system takes
        return None


def _headers(cache: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": cache,
    }
