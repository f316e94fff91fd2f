"""Notices in VOEvent 2.0 (IVOA recommendation of 2011): when, which event, and where its sky map is."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError  # nosec B405  # types; defusedxml reads

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from kowalski.errors import SkymapError

NAMESPACE = "{http://www.ivoa.net/xml/VOEvent/v2.0}VOEvent"
ROLES = ("observation", "prediction", "utility", "test")
#: what a VOEvent is made of, each at most once, and what it must have to tell of a sky map
CHILDREN = ("Who", "What", "WhereWhen", "How", "Why", "Citations", "Description", "Reference")
NEEDED = ("Who", "What", "WhereWhen")
#: characters of a notice, of which real ones have 20,000
MAX_NOTICE = 1_000_000
#: what a two-dimensional Gaussian's radius of 90 and of 50 percent is in standard deviations
RADIUS_90, RADIUS_50 = 2.1460, 1.1774


@dataclass(frozen=True)
class Notice:
    """What a notice says.

    Attributes
    ----------
    trigger_id : a number where it is one
    retracts : whether the event is taken back
    url : of the event's sky map
    guessed : whether the notice does not name that URL itself, so that there may be nothing yet
    cone : right ascension, declination and standard deviation, deg
    earth : right ascension, declination and radius of the Earth as seen from the satellite, deg
    """

    dateobs: datetime
    trigger_id: str | int | None
    aliases: list[str]
    ivorn: str = ""
    role: str = "observation"
    retracts: bool = False
    url: str | None = None
    guessed: bool = False
    cone: tuple[float, float, float] | None = None
    earth: tuple[float, float, float] | None = None


def read_voevent(text: str | bytes) -> Notice:
    """The notice in a VOEvent.

    Raises
    ------
    SkymapError : it is no VOEvent 2.0, or does not say when
    """
    if len(text) > MAX_NOTICE:
        raise SkymapError(f"voevent: longer than {MAX_NOTICE} characters")
    try:
        root = fromstring(text.encode() if isinstance(text, str) else text)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:  # the last: an unknown encoding
        raise SkymapError(f"voevent: not a document that can be read: {error}") from None
    _check(root)
    params = {element.get("name"): element.get("value") for element in root.iter("Param")}
    ivorn = str(root.get("ivorn"))
    url = params.get("skymap_fits") or params.get("SKYMAP_URL_FITS_BASIC") or params.get("HealPix_URL")
    guess = None if url else _healpix_url(params)
    return Notice(
        dateobs=_date(root),
        trigger_id=_trigger(params),
        aliases=_aliases(ivorn, params),
        ivorn=ivorn,
        role=root.get("role", "observation"),
        retracts=any(cited.get("cite") == "retraction" for cited in root.iter("EventIVORN"))
        or params.get("AlertType") == "Retraction",
        url=url or guess,
        guessed=guess is not None,
        cone=_cone(root, ivorn, params),
        earth=_numbers(params, "GEO_RA", "GEO_DEC", "GEO_RAD") if "fermi" in ivorn.lower() else None,
    )


def _check(root: Element) -> None:
    """Refuse what does not have the structure of a VOEvent 2.0 that can tell of a sky map."""
    if root.tag != NAMESPACE or not root.get("ivorn") or root.get("version") != "2.0":
        raise SkymapError("voevent: not a VOEvent of version 2.0 with an ivorn")
    if root.get("role", "observation") not in ROLES:
        raise SkymapError(f"voevent: its role is none of {', '.join(ROLES)}")
    children = [child.tag for child in root]
    for name in {*children, *NEEDED}:
        if name not in CHILDREN or children.count(name) != 1:
            raise SkymapError(f"voevent: {name} is missing, not once there, or no part of a VOEvent")


def _trigger(params: dict[Any, Any]) -> str | int | None:
    found = params.get("TrigID")
    return int(found) if found and found.isdecimal() and len(found) < 19 else found


def _date(root: Element) -> datetime:
    found = root.find("WhereWhen/ObsDataLocation/ObservationLocation/AstroCoords/Time/TimeInstant/ISOTime")
    try:
        moment = datetime.fromisoformat((found.text or "").strip()) if found is not None else None
    except ValueError:
        moment = None
    if moment is None:
        raise SkymapError("voevent: it has no ISOTime of the observation")
    try:
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError:
        raise SkymapError("voevent: its ISOTime is before the year 1 or after the year 9999") from None


def _aliases(ivorn: str, params: dict[Any, Any]) -> list[str]:
    """The event's names with those who gave them."""
    if grace := params.get("GraceID"):
        return [f"LVC#{grace}"]
    if "fermi" in ivorn.lower():
        burst = re.search(r"bn\d{9}", params.get("LightCurve_URL") or "")
        name = burst[0] if burst else params.get("TrigID")
        return [f"FERMI#{name}"] if name else []
    return []


def _healpix_url(params: dict[Any, Any]) -> str | None:
    """Fermi GBM's localization map, which lies beside the light curve that its notices name."""
    url = params.get("LightCurve_URL") or ""
    if "glg_lc_medres34" not in url or not url.endswith(".gif"):
        return None
    # some notices say http
    secure = "https://" + str(url).removeprefix("http://").removeprefix("https://")
    return secure.replace("glg_lc_medres34", "glg_healpix_all").removesuffix(".gif") + ".fit"


def _cone(root: Element, ivorn: str, params: dict[Any, Any]) -> tuple[float, float, float] | None:
    place = root.find("WhereWhen/ObsDataLocation/ObservationLocation/AstroCoords/Position2D")
    if place is None:
        return None
    values = [place.findtext("Value2/C1"), place.findtext("Value2/C2"), place.findtext("Error2Radius")]
    try:
        ra, dec, error = (float(value or "nan") for value in values)
    except ValueError:
        return None
    if "amon" in ivorn.lower():  # its radii are of 50 and of 90 percent
        if radii := _numbers(params, "src_error_90"):
            error = radii[0] / RADIUS_90
        elif radii := _numbers(params, "src_error"):
            error = radii[0] / RADIUS_50
        else:
            error /= RADIUS_90
    return (ra, dec, error) if 0 <= ra <= 360 and -90 <= dec <= 90 and 0 < error < math.inf else None


def _numbers(params: dict[Any, Any], *names: str) -> Any:
    """Parameters as numbers, or None where one is missing."""
    try:
        return tuple(float(params[name]) for name in names)
    except (KeyError, TypeError, ValueError):
        return None
