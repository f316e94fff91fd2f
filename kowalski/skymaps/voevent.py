"""Notices in VOEvent 2.0 (IVOA recommendation of 2011): when, which event, and where its sky map is."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from kowalski.errors import SkymapError
from kowalski.skymaps.localization import Localization

NAMESPACE = "{http://www.ivoa.net/xml/VOEvent/v2.0}VOEvent"
#: what a two-dimensional Gaussian's radius of 90 and of 50 percent is in standard deviations
RADIUS_90, RADIUS_50 = 2.1460, 1.1774


@dataclass(frozen=True)
class Notice:
    """What a notice says.

    Attributes
    ----------
    url : of the event's sky map
    cone : right ascension, declination and standard deviation, deg
    earth : right ascension, declination and radius of the Earth as seen from the satellite, deg
    """

    dateobs: datetime
    trigger_id: str | None
    aliases: list[str]
    url: str | None = None
    cone: tuple[float, float, float] | None = None
    earth: tuple[float, float, float] | None = None


def read_voevent(text: str | bytes) -> Notice:
    """The notice in a VOEvent.

    Raises
    ------
    SkymapError : it is no VOEvent 2.0, or does not say when
    """
    try:
        root = fromstring(text.encode() if isinstance(text, str) else text)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise SkymapError(f"voevent: not a document that can be read: {error}") from None
    if root.tag != NAMESPACE or not root.get("ivorn") or root.get("version") != "2.0":
        raise SkymapError("voevent: not a VOEvent of version 2.0 with an ivorn")
    params = {element.get("name"): element.get("value") for element in root.iter("Param")}
    ivorn = str(root.get("ivorn"))
    return Notice(
        dateobs=_date(root),
        trigger_id=params.get("TrigID"),
        aliases=_aliases(ivorn, params),
        url=params.get("skymap_fits") or params.get("SKYMAP_URL_FITS_BASIC") or _healpix_url(params),
        cone=_cone(root, ivorn, params),
        earth=_numbers(params, "GEO_RA", "GEO_DEC", "GEO_RAD") if "fermi" in ivorn.lower() else None,
    )


def without_earth(localization: Localization, earth: tuple[float, float, float]) -> Localization:
    """The localization with nothing where the Earth hid the sky from the satellite."""
    from astropy_healpix import HEALPix

    ra, dec, radius = np.radians(earth)
    density = localization.density.copy()
    order, ipix = localization.levels
    for each in np.unique(order):
        cells = order == each
        lon, lat = HEALPix(nside=2 ** int(each), order="nested").healpix_to_lonlat(ipix[cells])
        cosines = np.sin(lat.rad) * np.sin(dec) + np.cos(lat.rad) * np.cos(dec) * np.cos(lon.rad - ra)
        density[cells] = np.where(cosines > np.cos(radius), 0.0, density[cells])
    return Localization(localization.name, localization.uniq, density)


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
    if "fermi" in ivorn.lower() and (trigger := params.get("TrigID")):
        return [f"FERMI#{trigger}"]
    return []


def _healpix_url(params: dict[Any, Any]) -> str | None:
    """Fermi GBM's localization map, which lies beside the light curve that its notices name."""
    url = params.get("LightCurve_URL") or ""
    if "glg_lc_medres34" not in url or not url.endswith(".gif"):
        return None
    return str(url).replace("glg_lc_medres34", "glg_healpix_all").removesuffix(".gif") + ".fit"


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
    return (ra, dec, error) if np.isfinite([ra, dec, error]).all() and error > 0 else None


def _numbers(params: dict[Any, Any], *names: str) -> Any:
    """Parameters as numbers, or None where one is missing."""
    try:
        return tuple(float(params[name]) for name in names)
    except (KeyError, TypeError, ValueError):
        return None
