"""Where pages of objects are, and what other archives know of a place on the sky."""

import math
from typing import Any
from urllib.parse import quote, urlencode, urlsplit


def object_address(survey: str, object_id: str | int, candid: int | None = None) -> str:
    """The address of an object's page, with one of its alerts chosen."""
    chosen = f"?candid={candid}" if candid is not None else ""
    return f"/lab/objects/{quote(survey.lower(), safe='')}/{quote(str(object_id), safe='')}{chosen}"


def host_and_port(origin: str) -> tuple[str, int]:
    """Host and port of an API at an address (scheme and host); of one that has no sense, as headers may bring it, the scheme's own port."""
    where = urlsplit(origin)
    try:
        port = where.port
    except ValueError:
        port = None
    return where.hostname or "", port or (443 if where.scheme == "https" else 80)


def cutout_address(survey: str, candid: int, role: str, file_format: str) -> str:
    """The address of a cutout's file."""
    return f"/lab/cutouts/{quote(survey.lower(), safe='')}/{candid}/{role}/{file_format}"


def elsewhere(object_id: str, ra: float, dec: float, skyportal: str | None) -> dict[str, str]:
    """What leads to an object in SkyPortal (at that address, if one is known), and to its place (deg) in archives: name -> address."""
    found = {"SkyPortal": f"{skyportal}/source/{quote(object_id, safe='')}"} if skyportal else {}
    pair = f"{ra:.6f} {dec:+.6f}"
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "TNS": ("www.wis-tns.org/search", {"ra": f"{ra:.6f}", "decl": f"{dec:.6f}", "radius": 5, "coords_unit": "arcsec"}),
        "SIMBAD": ("simbad.cds.unistra.fr/simbad/sim-coo", {"Coord": pair, "CooFrame": "ICRS", "Radius": 10, "Radius.unit": "arcsec"}),
        "NED": ("ned.ipac.caltech.edu/conesearch", {"search_type": "Near Position Search", "coordinates": f"{ra:.6f}d {dec:+.6f}d", "radius": 0.2, "in_csys": "Equatorial", "in_equinox": "J2000"}),
        "Legacy Survey": ("www.legacysurvey.org/viewer", {"ra": f"{ra:.6f}", "dec": f"{dec:.6f}", "zoom": 16, "layer": "ls-dr10", "mark": f"{ra:.6f},{dec:.6f}"}),
        "Aladin": ("aladin.cds.unistra.fr/AladinLite/", {"target": pair, "fov": 0.05}),
    }  # fmt: skip
    return found | {
        name: f"https://{place}?{urlencode(query, quote_via=quote)}" for name, (place, query) in asked.items()
    }


def galactic_of(ra: float, dec: float) -> tuple[float, float]:
    """Galactic l in [0, 360) and b of a position, deg."""
    import numpy as np

    from kowalski.alerts.coordinates import galactic, unit_vectors

    l, b = galactic(unit_vectors(np.array([ra]), np.array([dec])))  # noqa: E741 - the field's own name
    longitude = math.fmod(float(l[0]) + 360.0, 360.0)
    return longitude, float(b[0])
