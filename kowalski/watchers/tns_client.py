"""TNS's API as a bot of ours asks it: pages of searches, single objects, never faster than it allows.

https://www.wis-tns.org/content/tns-getting-started
"""

import json
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import sleep
from typing import Any, NamedTuple

import requests

from kowalski.alerts.coordinates import position
from kowalski.errors import ConfigError, SourceError
from kowalski.http_source import ask, json_of, require_private
from kowalski.log import get_logger
from kowalski.settings import TNS

log = get_logger(__name__)

#: objects that are asked for on one page of a search
PAGE = 500
#: s for which it is left alone where it says that it was asked too often, but not for how long
DEFAULT_WAIT = 60.0
#: from here on a reset is a time (Unix), not seconds to go
UNIX = 1e9


class Page(NamedTuple):
    """One page of a search: objid -> name, whether more may follow, and TNS's clock."""

    names: dict[int, str]
    more: bool
    at: datetime


class TnsClient:
    """Asks TNS with the bot's credentials; waits where its quota is used up."""

    def __init__(self, settings: TNS):
        missing = [name for name in ("bot_id", "bot_name", "api_key") if not getattr(settings, name)]
        if missing:
            raise ConfigError(
                f"{', '.join(f'tns.{name}' for name in missing)} not set: TNS answers to bots that it knows"
            )
        require_private(settings.url, "tns.url")
        self._settings = settings
        self._not_before = 0.0
        self._session = requests.Session()
        self._session.trust_env = False
        marker = json.dumps({"tns_id": settings.bot_id, "type": "bot", "name": settings.bot_name})
        self._session.headers["User-Agent"] = f"tns_marker{marker}"

    def search(self, since: datetime, page: int) -> Page:
        """A page (from 0) of the objects that became public or changed since a time; raises `SourceError`."""
        public = f"{since:%Y-%m-%d %H:%M:%S}".rjust(19, "0")
        asked = {"public_timestamp": public, "num_page": str(PAGE), "page": str(page)}
        answer = self._post("search", asked)
        content = self._content(answer, "search")
        total = content.get("total") if isinstance(content, dict) else None
        rows = content.get("reply", content.get("objects")) if isinstance(content, dict) else content
        if not isinstance(rows, list):
            raise SourceError(f"TNS answers to a search with no list of objects: {str(content)[:200]}", retriable=True)
        try:
            names = {int(row["objid"]): str(row["objname"]) for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"an object that TNS found has no {error}", retriable=True) from None
        more = len(rows) >= PAGE if total is None else (page + 1) * PAGE < int(total)
        return Page(names, more and bool(rows), _clock(answer.headers))

    def object(self, name: str) -> dict[str, Any] | None:
        """All that TNS has of an object; None: it has none of that name. Raises `SourceError`."""
        answer = self._post("object", {"objname": name, "photometry": "0", "spectra": "0"})
        if answer.status_code in (404, 410):
            return None
        content = self._content(answer, name)
        found = content.get("reply", content) if isinstance(content, dict) else None
        return found if isinstance(found, dict) and "objid" in found else None

    def _post(self, what: str, asked: Mapping[str, str]) -> requests.Response:
        """An answer, once it may be asked for."""
        if (wait := self._not_before - time.monotonic()) > 0:
            log.info("TNS's quota is used up: %.0f s", wait)
            sleep(wait)
        url = f"{self._settings.url.rstrip('/')}/api/get/{what}"
        # as a form: TNS takes the key and the question as fields of one
        content = {"api_key": self._settings.api_key, "data": json.dumps(asked)}
        try:
            answer = ask(self._session, "POST", url, data=content, hooks={"response": self._heed})
        except SourceError as error:
            if error.retriable and error.wait_s is None and (wait := self._not_before - time.monotonic()) > 0:
                error.wait_s = wait
            elif not error.retriable:
                raise SourceError(f"{error} (tns.bot_id, tns.bot_name, tns.api_key)") from None
            raise
        return answer

    def _heed(self, answer: requests.Response, *arguments: Any, **more: Any) -> None:
        """Note for how long nothing more may be asked."""
        refused = answer.status_code == 429
        if refused or answer.headers.get("x-rate-limit-remaining") == "0":
            wait = _reset(answer.headers.get("x-rate-limit-reset"))
            self._not_before = time.monotonic() + (DEFAULT_WAIT if wait is None else wait)

    def _content(self, answer: requests.Response, what: str) -> Any:
        content = json_of(answer, f"TNS ({what})")
        if not isinstance(content, dict) or "data" not in content:
            raise SourceError(f"TNS ({what}) answers without data: {str(content)[:200]}", retriable=True)
        return content["data"]


def _reset(value: str | None) -> float | None:
    """Seconds until the quota is new; None: not said."""
    try:
        number = float(value or "")
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return max(1.0, number - time.time() if number > UNIX else number)


def _clock(headers: Mapping[str, str]) -> datetime:
    """The server's time, or ours where it doesn't say."""
    try:
        return parsedate_to_datetime(headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError, TypeError):
        return datetime.now(UTC)


def document_of(reply: Mapping[str, Any]) -> dict[str, Any]:
    """An object as ``TNS`` has it: what TNS says, with ``ra``, ``dec`` as numbers (deg) and times as such (UTC).

    Raises
    ------
    SourceError : its number, name, position or time of discovery is missing or none
    """
    try:
        number, name = int(reply["objid"]), f"{reply.get('name_prefix') or ''} {reply['objname']}".strip()
        ra, dec = float(reply["radeg"]), float(reply["decdeg"])
        said = str(reply["discoverydate"])
        discovered = datetime.fromisoformat(said).replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{reply.get('objname')}: {type(error).__name__} {error}") from None
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise SourceError(f"{name}: ra {ra}, dec {dec} is no position in deg")
    ra %= 360.0
    return {
        **reply,
        "_id": number,
        "name": name,
        "ra": ra,
        "dec": dec,
        "discoverydate": discovered,
        "discovery_date": discovered,
        "discovery_date_(ut)": said,
        "coordinates": position(ra, dec),
    }
