"""Sky maps' files, fetched from hosts that the settings name and from nowhere else."""

from http import HTTPStatus

import aiohttp
from yarl import URL

from kowalski.errors import SkymapError

#: bytes and s that a file may take, and redirections on the way
MAX_BYTES, TIMEOUT, REDIRECTIONS = 128 << 20, 60, 3
#: hosts of this machine, which need no https where they are among the settings'
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class NotThere(SkymapError):
    """There is no file at a URL, or not yet."""


async def fetch(url: str, hosts: frozenset[str]) -> bytes:
    """The bytes of a file; redirections are followed to the same hosts only.

    Raises
    ------
    NotThere : the host has no such file
    SkymapError : the host is not allowed, can't be reached, or sends too much
    """
    place = _allowed(url, hosts)
    asked = place.host
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT), trust_env=False) as session:
            for _ in range(REDIRECTIONS + 1):
                async with session.get(place, allow_redirects=False) as answer:
                    if answer.status == HTTPStatus.OK:
                        return await _content(answer)
                    if "Location" not in answer.headers or not 300 <= answer.status < 400:
                        gone = answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
                        raise (NotThere if gone else SkymapError)(
                            f"the sky map can't be fetched: {asked} says {answer.status}"
                        )
                    place = _allowed(str(place.join(URL(answer.headers["Location"]))), hosts)
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
        raise SkymapError(f"the sky map can't be fetched: {type(error).__name__}") from None
    raise SkymapError("the sky map can't be fetched: too many redirections")


def _allowed(url: str, hosts: frozenset[str]) -> URL:
    """A URL as it will be asked for, so that nothing else reads it otherwise."""
    try:
        place = URL(url)
        plain = place.scheme == "http" and place.host in LOOPBACK
        if place.host in hosts and (place.scheme == "https" or plain) and place.raw_user is place.raw_password is None:
            return place
    except ValueError:
        pass  # not a URL: refused as others
    raise SkymapError(f"sky maps are fetched by https from {', '.join(sorted(hosts))} only (skymaps.hosts)")


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > MAX_BYTES:
            raise SkymapError(f"the sky map is larger than {MAX_BYTES} bytes")
    return bytes(content)
