"""Positions on the sky as documents carry them; angles in deg unless said otherwise."""

from typing import Any

import numpy as np

#: equatorial (J2000) to Galactic rotation; Murray 1989, A&A 218, 325
TO_GALACTIC = np.array(
    [
        [-0.054875539, -0.873437105, -0.483834992],
        [0.494109454, -0.444829594, 0.746982249],
        [-0.867666136, -0.198076390, 0.455983795],
    ]
)
#: obliquity of the ecliptic at J2000, deg
OBLIQUITY = 23.439291


def radec_str(ra: float, dec: float) -> list[str]:
    """``["HH:MM:SS.ssss", "[-]DD:MM:SS.sss"]`` of a position, 0 <= ra < 360.

    Seconds are rounded before they are split, so that 59.99999 s carries into the minute; ``-0.5`` gives ``-00:30:00.000``.
    """
    ticks = round(ra * 2_400_000) % 864_000_000  # 1e-4 s of right ascension
    minutes, rest = divmod(ticks, 600_000)
    right = f"{minutes // 60:02d}:{minutes % 60:02d}:{rest / 10_000:07.4f}"
    ticks = round(abs(dec) * 3_600_000)  # 1e-3 arcsec
    minutes, rest = divmod(ticks, 60_000)
    sign = "-" if dec < 0 else ""
    return [right, f"{sign}{minutes // 60:02d}:{minutes % 60:02d}:{rest / 1000:06.3f}"]


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Cartesian unit vectors (3, N) of positions in deg."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def galactic(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Galactic l in (-180, 180] and b, deg, of unit vectors (3, N)."""
    x, y, z = TO_GALACTIC @ vectors
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def ecliptic(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Geocentric mean ecliptic longitude in [0, 360) and latitude, deg, of unit vectors (3, N)."""
    x, y, z = vectors
    tilt = np.radians(OBLIQUITY)
    turned = np.cos(tilt) * y + np.sin(tilt) * z
    up = np.cos(tilt) * z - np.sin(tilt) * y
    longitude = np.degrees(np.arctan2(turned, x)) % 360.0 % 360.0  # twice: the first makes 360.0 of -1e-15
    return longitude, np.degrees(np.arctan2(up, np.hypot(x, turned)))


def coordinates(ra: np.ndarray, dec: np.ndarray) -> list[dict[str, Any]]:
    """The ``coordinates`` documents of N alerts: text, GeoJSON (longitude is ra - 180), Galactic and ecliptic."""
    vectors = unit_vectors(ra, dec)
    l, b = (values.tolist() for values in galactic(vectors))  # noqa: E741 - the field's own name
    lam, beta = (values.tolist() for values in ecliptic(vectors))
    return [
        {
            **position(ra_, dec_),
            "l": l[i],
            "b": b[i],
            "geocentricmeanecliptic": {"lambda": lam[i], "beta": beta[i]},
        }
        for i, (ra_, dec_) in enumerate(zip(ra.tolist(), dec.tolist(), strict=True))
    ]


def position(ra: float, dec: float) -> dict[str, Any]:
    """``radec_str`` and ``radec_geojson`` of one position, as catalogues carry them."""
    return {"radec_str": radec_str(ra, dec), "radec_geojson": {"type": "Point", "coordinates": [ra - 180.0, dec]}}


def separation(ra1: float, dec1: float, ra2: np.ndarray, dec2: np.ndarray) -> np.ndarray:
    """Great-circle distance in deg between one position and N others (haversine, exact for small angles)."""
    lon1, lat1, lon2, lat2 = np.radians(ra1), np.radians(dec1), np.radians(ra2), np.radians(dec2)
    chord = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(np.clip(chord, 0, 1))))
