"""Sky maps: fetched from where they may be, turned into contours in processes of their own, stored."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from kowalski.api.errors import BadRequest
from kowalski.api.models.skymaps import NewSkymap, SkymapQuery
from kowalski.database.skymaps import Document, Skymaps
from kowalski.errors import KowalskiError, SkymapError
from kowalski.skymaps.contours import contours, key_of
from kowalski.skymaps.localization import (
    Localization,
    decode_content,
    from_cells,
    from_cone,
    from_ellipse,
    from_fits,
    from_polygon,
)
from kowalski.skymaps.voevent import Notice, read_voevent, without_earth

#: bytes and s that a fetched sky map may take, and redirections on the way
MAX_FETCHED, FETCH_TIMEOUT, REDIRECTIONS = 256 << 20, 60, 3
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class KnownSkymap(KowalskiError):
    """The map is stored with all these contours; ``data`` tells of it."""

    http_status = 409

    def __init__(self, data: Document):
        super().__init__("skymap already exists with the same contours")
        self.data = data


class SkymapService:
    """Adds, shows and removes sky maps; ``hosts`` are those that maps may be fetched from."""

    def __init__(self, stored: Skymaps, hosts: tuple[str, ...]):
        self.stored = stored
        self.hosts = frozenset(hosts)
        self._thread = ThreadPoolExecutor(1, "skymaps")

    def close(self) -> None:
        """End the thread and the connections."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self.stored.close()

    async def add(self, wanted: NewSkymap) -> tuple[str, Document]:
        """A map with its contours is stored: what to say, and what is stored of it.

        Of one that is stored already, the missing contours are added.

        Raises
        ------
        KnownSkymap : there is none missing
        BadRequest, SkymapError : the map can't be read, or may not be fetched
        """
        notice = read_voevent(wanted.voevent) if wanted.voevent is not None else None
        dateobs = notice.dateobs if notice else wanted.dateobs
        trigger = wanted.triggerid if wanted.triggerid is not None or notice is None else _trigger(notice)
        aliases = list(dict.fromkeys([*wanted.aliases, *(notice.aliases if notice else [])]))
        localization = await self._localization(wanted.skymap or {}, notice)
        document: Document = {"dateobs": dateobs, "localization_name": localization.name, "aliases": aliases}
        if trigger is not None:
            document["triggerid"] = trigger
        known = await self._known(document)
        if known is None:
            made = await self._aside(contours, localization, wanted.contours)
            if await self.stored.add({**document, "contours": made}):
                return f"added skymap for {dateobs} with contours {_said(wanted.contours)}", _told(
                    document, wanted.contours
                )
            known = await self._known(document)
            if known is None:
                raise BadRequest("the sky map was removed while it was added: try again")
        missing = [level for level in wanted.contours if key_of(level) not in known["contours"]]
        if not missing:
            raise KnownSkymap(_told(known, _levels(known)))
        await self.stored.add_contours(known["_id"], await self._aside(contours, localization, missing))
        return f"updated skymap for {dateobs} to add contours {_said(missing)}", _told(
            known, [*_levels(known), *missing]
        )

    async def get(self, asked: SkymapQuery) -> Document:
        """A stored map.

        Raises
        ------
        BadRequest : there is none, or one of the contours asked for is missing
        """
        found = await self.stored.find(asked.localization_name, asked.event)
        if found is None:
            raise BadRequest("no skymap found")
        missing = [level for level in asked.contours or [] if key_of(level) not in found["contours"]]
        if missing:
            raise BadRequest(f"skymap exists but is missing contours {_said(missing)}")
        return {**{key: value for key, value in found.items() if key != "_id"}, "dateobs": _iso(found["dateobs"])}

    async def remove(self, asked: SkymapQuery) -> int:
        """A stored map is gone; how many are."""
        found = await self.stored.find(asked.localization_name, asked.event, {"_id": 1})
        if found is None:
            raise BadRequest("no skymap found")
        return await self.stored.remove(found["_id"])

    async def contour(self, name: str, event: Document, level: float) -> Document:
        """The geometry of one contour of a map.

        Raises
        ------
        BadRequest : there is no such map, or it lacks the contour
        """
        found = await self.stored.find(name, event)
        if found is None:
            raise BadRequest("ValueError: Skymap not found")
        if key_of(level) not in found["contours"]:
            raise BadRequest(f"ValueError: Contour level {level:g} not found in skymap")
        return {"type": "MultiPolygon", "coordinates": found["contours"][key_of(level)]["coordinates"]}

    async def _known(self, document: Document) -> Document | None:
        """The map of the same name of the same moment, trigger, or set of aliases."""
        same: list[Document] = [{"dateobs": document["dateobs"]}]
        if "triggerid" in document:
            same.append({"triggerid": document["triggerid"]})
        if document["aliases"]:
            same.append({"aliases": {"$all": document["aliases"], "$size": len(document["aliases"])}})
        return await self.stored.find(document["localization_name"], {"$or": same})

    async def _localization(self, given: Document, notice: Notice | None) -> Localization:
        if notice is None:
            if "url" in given:
                return await self._fetched(str(given["url"]))
            return await self._aside(read_localization, given)
        if notice.url is not None:
            found = await self._fetched(notice.url)
        elif notice.cone is not None:
            found = await self._aside(from_cone, *notice.cone)
        else:
            raise SkymapError("voevent: it names neither a sky map nor a position with an error")
        return await self._aside(without_earth, found, notice.earth) if notice.earth else found

    async def _fetched(self, url: str) -> Localization:
        """The sky map at a URL, whose file name is its name."""
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT)
        content, place = bytearray(), url
        try:
            async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
                for _ in range(REDIRECTIONS + 1):
                    self._require_allowed(place)
                    async with session.get(place, allow_redirects=False) as answer:
                        if answer.status in (301, 302, 303, 307, 308):
                            place = urljoin(place, answer.headers.get("Location", ""))
                            continue
                        if answer.status != 200:
                            raise BadRequest(
                                f"the sky map can't be fetched: {urlsplit(url).netloc} says {answer.status}"
                            )
                        async for chunk in answer.content.iter_any():
                            content += chunk
                            if len(content) > MAX_FETCHED:
                                raise BadRequest(f"the sky map is larger than {MAX_FETCHED} bytes")
                        name = urlsplit(url).path.rsplit("/", 1)[-1] or "skymap"
                        return await self._aside(from_fits, name, bytes(content))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise BadRequest(f"the sky map can't be fetched: {type(error).__name__}") from None
        raise BadRequest("the sky map can't be fetched: too many redirections")

    def _require_allowed(self, url: str) -> None:
        parts = urlsplit(url)
        plain = parts.scheme == "http" and parts.hostname in LOOPBACK
        if parts.hostname not in self.hosts or not (parts.scheme == "https" or plain) or parts.username:
            raise BadRequest(f"sky maps are fetched by https from {', '.join(sorted(self.hosts))} only (skymaps.hosts)")

    async def _aside(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def read_localization(given: Document) -> Localization:
    """The localization of a request's ``skymap``.

    Raises
    ------
    SkymapError : it is none of those that are known
    """
    name = str(given.get("localization_name") or "")
    try:
        if {"ra", "dec", "error"} <= given.keys():
            ra, dec, error = _angles(given, "ra", "dec", "error")
            return from_cone(ra, dec, error, name or None)
        if not name:
            raise SkymapError("Invalid request body: skymap.localization_name is missing")
        if {"uniq", "probdensity"} <= given.keys():
            return from_cells(name, given["uniq"], given["probdensity"])
        if "content" in given:
            return from_fits(name, decode_content(given["content"]))
        if "polygon" in given:
            return from_polygon(name, [(float(ra), float(dec)) for ra, dec in given["polygon"]])
        if {"ra", "dec", "amaj", "amin", "phi"} <= given.keys():
            return from_ellipse(name, *_angles(given, "ra", "dec", "amaj", "amin", "phi"))
    except (TypeError, ValueError, OverflowError) as error:
        raise SkymapError(f"Invalid request body: skymap: {error}") from None
    raise SkymapError(
        "Invalid request body: skymap must have url, content, uniq and probdensity, ra and dec and error, polygon, or "
        "ra, dec, amaj, amin and phi"
    )


def _angles(given: Document, *names: str) -> list[float]:
    values = [float(given[name]) for name in names]
    if not all(abs(value) < 1e6 for value in values) or not (0 <= values[0] <= 360 and -90 <= values[1] <= 90):
        raise ValueError("0 <= ra <= 360 and -90 <= dec <= 90 are expected")
    return values


def _trigger(notice: Notice) -> str | int | None:
    found = notice.trigger_id
    return int(found) if found is not None and found.isdecimal() else found


def _levels(document: Document) -> list[float]:
    return [float(key.removeprefix("contour")) for key in document["contours"] if key.startswith("contour")]


def _said(levels: list[float]) -> str:
    return str([int(level) if level == int(level) else level for level in levels])


def _told(document: Document, levels: list[float]) -> Document:
    shown = [int(level) if level == int(level) else level for level in levels]
    return {"dateobs": _iso(document["dateobs"]), "localization_name": document["localization_name"], "contours": shown}


def _iso(moment: Any) -> str:
    return str(moment.isoformat())
