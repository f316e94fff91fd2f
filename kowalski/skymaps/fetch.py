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


class NotNow(SkymapError):
    """What has the file can't be reached, or doesn't give it now."""

    retriable = True


async def fetch(url: str, hosts: frozenset[str]) -> bytes:
    """The bytes of a file; redirections are followed to the same hosts only.

    Raises
    ------
    NotThere : the host has no such file
    NotNow : it can't be reached, or has a fault
    SkymapError : it is not allowed, or sends too much
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
                        raise _refusal(answer.status)(f"the sky map can't be fetched: {asked} says {answer.status}")
                    place = _allowed(str(place.join(URL(answer.headers["Location"]))), hosts)
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
        raise NotNow(f"the sky map can't be fetched: {type(error).__name__}") from None
    raise SkymapError("the sky map can't be fetched: too many redirections")


def _refusal(status: int) -> type[SkymapError]:
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return NotThere
    return NotNow if status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS else SkymapError


def _allowed(url: str, hosts: frozenset[str]) -> URL:
    """A URL as it will be asked for, so that nothing else reads it otherwise."""
    try:
        place = URL(url)
        scheme = place.scheme == "https" or (place.scheme == "http" and place.host in LOOPBACK)
        allowed = scheme and place.host in hosts and place.raw_user is place.raw_password is None
    except ValueError:  # it is no URL
        allowed = False
    if allowed:
        return place
    raise SkymapError(f"sky maps are fetched by https from {', '.join(sorted(hosts))} only (skymaps.hosts)")


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > MAX_BYTES:
            raise SkymapError(f"the sky map is larger than {MAX_BYTES} bytes")
    return bytes(content)
