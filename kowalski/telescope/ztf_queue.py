"""ZTF's queue of observations, at a URL, on a machine at Palomar that may need an ssh tunnel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import asyncssh
import requests
from urllib3.exceptions import NewConnectionError

from kowalski.errors import TelescopeError
from kowalski.settings import TelescopeQueue

#: s for the tunnel, and for an answer through it
TUNNEL_TIMEOUT, ANSWER_TIMEOUT = 10.0, 30.0


@dataclass(frozen=True)
class Answer:
    """What the queue says: its status, its headers, and its JSON or text."""

    status: int
    headers: dict[str, str]
    content: Any


class ZtfQueue:
    """Speaks to the queue; nothing is ever sent twice by itself, for a telescope would observe twice."""

    def __init__(self, settings: TelescopeQueue):
        self.settings = settings

    async def call(self, method: str, path: str, content: Any) -> Answer:
        """One request and its answer.

        Raises
        ------
        TelescopeError : the queue is not configured or not reached, or it is unknown whether the request arrived
        """
        own = self.settings
        needed: tuple[str, ...] = ("mountain_ip",) if own.mountain_username else ()
        if own.url is None:
            needed = ("mountain_ip", "mountain_bind_port")
        missing = [f"ztf.{name}" for name in needed if getattr(own, name) is None]
        if missing:
            raise TelescopeError(
                f"the queue is not configured: set {', '.join(missing)}{' (or ztf.url)' if own.url is None else ''}"
            )
        async with self._tunnel() as address:
            return await asyncio.to_thread(_ask, method, address + path, content)

    @asynccontextmanager
    async def _tunnel(self) -> AsyncIterator[str]:
        """The queue's address as seen from here; without a user it is spoken to directly."""
        own = self.settings
        if own.mountain_username is None:
            yield own.url.rstrip("/") if own.url else f"http://{own.mountain_ip}:{own.mountain_bind_port}"
            return
        queue = urlsplit(own.url or f"http://{own.mountain_bind_ip or 'localhost'}:{own.mountain_bind_port}")
        if queue.scheme != "http":
            raise TelescopeError(
                f"ztf.url is {own.url}: through a tunnel, which encrypts by itself, it begins with http://"
            )
        try:
            async with asyncio.timeout(TUNNEL_TIMEOUT):
                connection = await asyncssh.connect(
                    own.mountain_ip or "",
                    own.mountain_port or 22,
                    username=own.mountain_username,
                    password=own.mountain_password,
                    **({"known_hosts": own.mountain_known_hosts} if own.mountain_known_hosts else {}),
                )
        except (OSError, asyncssh.Error, TimeoutError) as error:
            raise TelescopeError(f"the tunnel to the queue can't be opened: {type(error).__name__}: {error}") from None
        async with connection:
            try:
                far = (queue.hostname or "localhost", queue.port or 80)
                listener = await connection.forward_local_port("127.0.0.1", 0, *far)
            except (OSError, asyncssh.Error) as error:
                raise TelescopeError(f"the tunnel to the queue can't be opened: {error}") from None
            async with listener:
                yield f"http://127.0.0.1:{listener.get_port()}{queue.path.rstrip('/')}"


def _ask(method: str, url: str, content: Any) -> Answer:
    """One request; not by aiohttp, which sends a PUT once more when the connection breaks."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, url, json=content, timeout=ANSWER_TIMEOUT)
    except requests.RequestException as error:
        reason = getattr(error.args[0] if error.args else None, "reason", None)
        if isinstance(reason, NewConnectionError):
            raise TelescopeError(f"the queue is not reached: {reason}") from None
        raise TelescopeError(
            f"the queue did not answer ({type(error).__name__}): whether the request arrived is not known"
        ) from None
    try:
        said: Any = answer.json()
    except ValueError:
        said = answer.text
    return Answer(answer.status_code, dict(answer.headers), said)
