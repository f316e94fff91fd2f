"""A stand-in for SkyPortal: checks what Kowalski sends against the contract and keeps it.

    python tools/skyportal_receiver.py --port 5000 --store received.jsonl [--group 1:1-100] [--fail-one-in 5]

``GET /_received`` tells what came in numbers, with every message that was refused; ``/_received?messages=true`` gives
them all; ``/_received/OBJECT`` what is known of one object. ``POST /_behave`` makes it misbehave until told otherwise:
``{"delay": 3, "nonsense": "html", "after": true}``, with nonsense one of `NONSENSE`; ``{}``: it behaves again.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aiohttp import web

from kowalski.skyportal.receiver import ReceiverState

MAX_BODY = 100 * 1024 * 1024
#: answers that no SkyPortal gives, but what stands before it, or one that is being restarted: status and body
NONSENSE = {
    "html": (200, "<html><body><h1>SkyPortal is being updated</h1></body></html>"),
    "truncated": (200, '{"status": "success", "data": {"id'),
    "empty": (200, ""),
    "list": (200, "[]"),
    "null": (200, "null"),
    "foreign": (200, '{"maintenance": true}'),
    "hollow": (200, '{"status": "success", "data": null}'),
    "error": (500, "Traceback (most recent call last):"),
    "lost": (404, "404 page not found"),
    "gateway": (502, "<html><body><h1>502 Bad Gateway</h1></body></html>"),
    "busy": (429, "Too many requests"),
}


@dataclass
class Behaviour:
    """How it answers: after so many seconds, with nonsense or not, before or ``after`` a request took effect."""

    delay: float = 0.0
    nonsense: str | None = None
    after: bool = False

    def answer(self) -> web.Response:
        """The nonsense."""
        status, body = NONSENSE[self.nonsense or ""]
        kind = "text/html" if body.startswith("<") else "application/json"
        return web.Response(status=status, text=body, content_type=kind)


def make_app(state: ReceiverState, fail_one_in: int = 0, delay: float = 0.0) -> web.Application:
    """The receiver as an application.

    ``fail_one_in`` N: one request in N gets a 500, half of them after it took effect. ``delay``: s before an answer.
    """
    # by chance, but the same in every run: a strict turn could fall on the same message of each retry for ever
    chance = random.Random(1)  # nosec B311  # no secret
    behaviour = Behaviour(delay)

    async def answer(request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if behaviour.delay:
            await asyncio.sleep(behaviour.delay)
        if behaviour.nonsense and not behaviour.after:
            return behaviour.answer()
        fails = fail_one_in > 0 and chance.random() < 1 / fail_one_in
        if fails and chance.random() < 0.5:
            return web.json_response({"status": "error", "message": "made to fail, before"}, status=500)
        status, envelope = state.handle(request.method, request.path, request.query, request.headers, raw)
        if behaviour.nonsense:
            return behaviour.answer()
        if fails:
            return web.json_response({"status": "error", "message": "made to fail, after"}, status=500)
        return web.json_response(envelope, status=status) if envelope is not None else web.Response(status=status)

    async def received(request: web.Request) -> web.Response:
        messages = {"messages": state.messages} if request.query.get("messages") == "true" else {}
        return web.json_response(state.summary() | messages)

    async def received_object(request: web.Request) -> web.Response:
        known = state.marshal.describe(request.match_info["object_id"])
        return web.json_response(known, status=200 if known else 404)

    async def behave(request: web.Request) -> web.Response:
        wanted = Behaviour(**{"delay": delay} | await request.json())
        vars(behaviour).update(vars(wanted))
        return web.json_response(vars(behaviour))

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_get("/_received", received)
    app.router.add_post("/_behave", behave)
    app.router.add_get("/_received/{object_id}", received_object)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


def parse_group(text: str) -> tuple[int, range]:
    """``GROUP:FIRST-LAST``: a group and the numbers of its filters."""
    group, _, filters = text.partition(":")
    first, _, last = filters.partition("-")
    return int(group), range(int(first), int(last or first) + 1)


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What a command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", type=Path, help="file of JSON lines that keeps what came, over restarts")
    parser.add_argument("--token", help="the only token accepted; any by default")
    parser.add_argument(
        "--group", type=parse_group, action="append", help="GROUP:FIRST-LAST, may be repeated; 1:1-1000"
    )
    parser.add_argument("--fail-one-in", type=int, default=0, metavar="N", help="answer one request in N with 500")
    parser.add_argument("--delay", type=float, default=0.0, help="s before every answer")
    return parser.parse_args(arguments)


def app_of(options: argparse.Namespace) -> web.Application:
    """The receiver that a command line asks for."""
    if options.store:
        options.store.parent.mkdir(parents=True, exist_ok=True)
    state = ReceiverState(dict(options.group or [(1, range(1, 1001))]), options.token, options.store)
    return make_app(state, options.fail_one_in, options.delay)


def main() -> None:
    """Receive until told to stop."""
    options = options_of()
    web.run_app(app_of(options), host=options.host, port=options.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
