"""What pages load besides themselves: the lab's own style and scripts, and those that installed packages carry."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

#: letters of a name that may be a file's
LONGEST = 100
OWN = Path(__file__).parent / "static"
#: file name -> package and the path in it
PACKAGED = {"bokeh.min.js": ("bokeh", "server/static/js/bokeh.min.js")}
TYPES: Mapping[str, str] = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
#: a file's address changes with its content, so that a browser may keep it for good
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


@cache
def address_of(name: str) -> str:
    """The address of a file, by its name; raises `FileNotFoundError` where there is none."""
    return f"/lab/assets/{hashlib.sha256(_path_of(name).read_bytes()).hexdigest()[:12]}/{name}"


async def get(request: web.Request) -> web.StreamResponse:
    """A file by its name. One with another content than its address says, as while servers are renewed, is not to be kept."""
    name = request.match_info["name"]
    try:
        path, address = _path_of(name), address_of(name)
    except FileNotFoundError:
        raise web.HTTPNotFound from None
    kept = FOREVER if request.path == address else FOREVER | {"Cache-Control": "no-store"}
    return web.FileResponse(path, headers=kept | {"Content-Type": TYPES[path.suffix]})


@cache
def _path_of(name: str) -> Path:
    if name in PACKAGED:
        package, inside = PACKAGED[name]
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(f"{name} comes with the package {package}, which is not installed")
        return Path(spec.origin).parent / inside
    path = OWN / name
    if len(name) > LONGEST or path.parent != OWN or path.suffix not in TYPES or not path.is_file():
        raise FileNotFoundError(name)
    return path
