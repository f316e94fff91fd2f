"""When it is dark at a site: from the altitude of the Sun."""

from contextlib import ExitStack
from datetime import UTC, datetime
from typing import NamedTuple

import astropy.units as u
import numpy as np
from astropy.coordinates import AltAz, EarthLocation, get_sun
from astropy.time import Time
from astropy.utils.iers import conf as earth_rotation

from kowalski.alerts.site import Site

#: s between the moments for which the altitude is computed
STEP = 300


class Darkness(NamedTuple):
    """When a night begins and ends (UTC); where it does not get dark, both are the noon after it."""

    begins: datetime
    ends: datetime


def sun_altitude(site: Site, moments: np.ndarray) -> np.ndarray:
    """Altitude of the Sun's centre above the horizon, without refraction.

    Parameters
    ----------
    moments : Unix times, s, shape (n,)

    Returns
    -------
    deg, shape (n,)
    """
    place = EarthLocation.from_geodetic(site.longitude * u.deg, site.latitude * u.deg, site.elevation * u.m)
    # the tables of the Earth's rotation that came with astropy do: newer ones would change the altitude by less than 0.01 deg
    with ExitStack() as settings:
        for name, value in (("auto_download", False), ("auto_max_age", None), ("iers_degraded_accuracy", "ignore")):
            settings.enter_context(earth_rotation.set_temp(name, value))
        times = Time(moments, format="unix")
        altitude: np.ndarray = get_sun(times).transform_to(AltAz(obstime=times, location=place)).alt.deg
    return altitude


def darkness(site: Site, noons: tuple[datetime, datetime], limit: float) -> Darkness:
    """When the Sun is below an altitude (deg) between two noons, to within a second or two; polar nights are as long as the day."""
    first, last = (noon.timestamp() for noon in noons)
    moments = np.arange(first, last + STEP, STEP)
    above = sun_altitude(site, moments) - limit
    dark = np.flatnonzero(above < 0)
    if not dark.size:
        return Darkness(noons[1], noons[1])
    begin, end = dark[0], dark[-1]
    begins = _crossing(moments, above, begin - 1) if begin else first
    ends = _crossing(moments, above, end) if end + 1 < len(moments) else last
    return Darkness(_utc(begins), min(_utc(ends), noons[1]))


def _crossing(moments: np.ndarray, above: np.ndarray, index: int) -> float:
    """Where a straight line between two values, of which just one is below 0, crosses it."""
    share = above[index] / (above[index] - above[index + 1])
    return float(moments[index] + share * (moments[index + 1] - moments[index]))


def _utc(moment: float) -> datetime:
    return datetime.fromtimestamp(round(moment), UTC)
