"""What a sky map is made from: which of the ways to give one a request uses, and what the map is called."""

from dataclasses import dataclass, replace
from typing import Any

from kowalski.errors import SkymapError
from kowalski.skymaps.coverage import from_moc_text
from kowalski.skymaps.files import decode_content, from_fits
from kowalski.skymaps.localization import (
    Cap,
    Localization,
    cone_name,
    from_cells,
    from_cone,
    from_ellipse,
    from_polygon,
    without_earth,
)
from kowalski.skymaps.voevent import Notice

CONE, ELLIPSE = ("ra", "dec", "error"), ("ra", "dec", "amaj", "amin", "phi")
#: characters of a map's name at most
MAX_NAME = 500


@dataclass(frozen=True)
class Source:
    """One sky map that is still to be read.

    Attributes
    ----------
    given : ``{url}``, ``{content}``, ``{uniq, probdensity}``, ``{ra, dec, error}``, ``{polygon}``,
        ``{ra, dec, amaj, amin, phi}``, or ``{moc}``
    earth : where the Earth hid the sky from the satellite
    """

    name: str
    given: dict[str, Any]
    earth: Cap | None = None

    @property
    def url(self) -> str | None:
        """Whence the map must be fetched first."""
        return str(self.given["url"]) if "url" in self.given else None

    def fetched(self, content: bytes) -> "Source":
        """The same map, with the file that lies at its URL."""
        return replace(self, given={"content": content})

    def read(self) -> Localization:
        """The localization; of one with a URL, after it was `fetched`.

        Raises
        ------
        SkymapError : it can't be read
        """
        return without_earth(_read(self.name, self.given), self.earth)


def given_source(given: dict[str, Any]) -> Source:
    """The source in a request's ``skymap``.

    Raises
    ------
    SkymapError : it is none of those that are known, or has no name
    """
    kinds = (("url",), CONE, ("uniq", "probdensity"), ("content",), ("polygon",), ELLIPSE, ("moc",))
    kind = next((each for each in kinds if given.keys() >= set(each)), None)
    name = given.get("localization_name") or None
    if kind == ("url",):
        name = file_name(str(given["url"]))
    elif kind == CONE and name is None:
        name = cone_name(*_angles(given, *CONE))
    if name is None:
        raise SkymapError("Invalid request body: skymap.localization_name is missing")
    if kind is None:
        raise SkymapError(
            "Invalid request body: skymap must have url, content, uniq and probdensity, ra and dec and error, polygon, "
            "moc, or ra, dec, amaj, amin and phi"
        )
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise SkymapError(
            f"Invalid request body: skymap.localization_name must be a text of up to {MAX_NAME} characters"
        )
    return Source(name, {key: given[key] for key in kind})


def noticed_sources(notice: Notice) -> list[Source]:
    """The sources that a notice names; the later ones are for when there is nothing at the first's URL.

    Raises
    ------
    SkymapError : there are none
    """
    sources = []
    if notice.url is not None:
        sources.append(Source(file_name(notice.url), {"url": notice.url}, notice.earth))
    if notice.cone is not None and (notice.url is None or notice.guessed):
        cone = dict(zip(CONE, notice.cone, strict=True))
        sources.append(Source(cone_name(*notice.cone), cone, notice.earth))
    if not sources:
        raise SkymapError("voevent: it names neither a sky map nor a position with an error")
    return sources


def _read(name: str, given: dict[str, Any]) -> Localization:
    try:
        if "content" in given:
            return from_fits(name, decode_content(given["content"]))
        if "uniq" in given:
            return from_cells(name, given["uniq"], given["probdensity"])
        if "moc" in given:
            return from_moc_text(name, given["moc"])
        if "polygon" in given:
            return from_polygon(name, [(float(ra), float(dec)) for ra, dec in given["polygon"]])
        if "error" in given:
            ra, dec, error = _angles(given, *CONE)
            return from_cone(ra, dec, error, name)
        ra, dec, amaj, amin, phi = _angles(given, *ELLIPSE)
        return from_ellipse(name, ra, dec, amaj, amin, phi)
    except (TypeError, ValueError, OverflowError) as error:
        raise SkymapError(f"Invalid request body: skymap: {error}") from None


def _angles(given: dict[str, Any], *names: str) -> list[float]:
    try:
        values = [float(given[name]) for name in names]
    except (TypeError, ValueError, OverflowError) as error:
        raise SkymapError(f"Invalid request body: skymap: {error}") from None
    if not all(abs(value) < 1e6 for value in values) or not (0 <= values[0] <= 360 and -90 <= values[1] <= 90):
        raise SkymapError("Invalid request body: skymap: 0 <= ra <= 360 and -90 <= dec <= 90 are expected")
    return values


def file_name(url: str) -> str:
    """The last part of a URL's path, by which fetched maps go."""
    return url.partition("?")[0].partition("#")[0].rstrip("/").rsplit("/", 1)[-1][:MAX_NAME] or "skymap"
