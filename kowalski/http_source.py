"""Servers elsewhere, asked by HTTP: their refusals as this project's own errors, with what they say about when to ask again."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import requests

from kowalski.errors import ConfigError, SourceError
from kowalski.retry_after import retry_after
from kowalski.settings import LOOPBACK

#: s to connect, and s without a byte
TIMEOUT = (10.0, 60.0)
#: answers that may be others a moment later; 5xx are, too
PASSING = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
#: characters of an answer that an error quotes
QUOTED = 200


def ask(session: requests.Session, method: str, url: str, **arguments: Any) -> requests.Response:
    """The answer to a request, whose status is below 400, or 404, 410 or 416.

    Raises
    ------
    SourceError : there is none, or it is a refusal; retriable where the same request may be answered later
    """
    arguments.setdefault("timeout", TIMEOUT)
    try:
        answer = session.request(method, url, **arguments)
    except requests.exceptions.SSLError as error:
        raise SourceError(f"{url}: its certificate is not accepted: {error}") from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise SourceError(f"{url} can't be reached: {type(error).__name__}", retriable=True) from error
    except (requests.RequestException, UnicodeError) as error:
        raise SourceError(f"{url} can't be asked: {error}") from error
    require_good(answer, url)
    return answer


def require_good(answer: requests.Response, url: str) -> None:
    """Raise `SourceError` for a refusal; that something is not there (404, 410, 416) is none."""
    status = answer.status_code
    if status < 400 or status in (404, 410, 416):
        return
    if status in (401, 403):
        raise SourceError(f"{url} refuses the credentials (HTTP {status}): {_quoted(answer)}")
    retriable = status >= 500 or status in PASSING
    wait = wait_of(answer.headers) if retriable else None
    raise SourceError(f"{url} answers HTTP {status}: {_quoted(answer)}", retriable=retriable, wait_s=wait)


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server wants to be left alone, where it says so."""
    return retry_after(headers.get("Retry-After"))


def json_of(answer: requests.Response, url: str) -> Any:
    """What an answer says; raises a retriable `SourceError` where it is no JSON, as from a proxy whose server is away."""
    try:
        return answer.json()
    except ValueError:
        raise SourceError(f"{url} answers with something else than JSON: {_quoted(answer)}", retriable=True) from None


def require_private(url: str, setting: str) -> None:
    """Raise `ConfigError` where a password would go out in the clear: the URL must be https, or this machine's own."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return
    raise ConfigError(f"{setting} is {url}: a password is sent there, so it must begin with https://")


def _quoted(answer: requests.Response) -> str:
    return answer.text[:QUOTED].strip() or answer.reason or "no reason given"
