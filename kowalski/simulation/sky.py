"""Where and when the simulated telescope looks: fields of objects, exposures, and the random numbers behind them."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from kowalski.simulation.species import SPECIES

PIXEL = 1.012
"""Width of a pixel, arcsec."""

FIELD_OBJECTS = 500
"""Objects in a field: with the defaults, a visit of one brings a few hundred alerts."""

FIELD_WIDTH = 6.6
"""Side of a field, deg: 8 x 8 readout channels."""

HISTORY_DAYS = 30
"""Days of history that a ZTF packet carries."""

FIRST_NIGHT = date(2017, 1, 1)
FIRST_JD = 2457754.5
CHANNEL_PIXELS = 3072

_EARLY, _LATE, _SLOT = 15_000, 35_000, 5
"""Day fractions (1e-5 d) of a field's past g and r exposures, and their spacing between fields: no two share a pid."""


def generator(seed: int, *where: int) -> np.random.Generator:
    """The random numbers of one place in a simulation: the same for the same arguments, in any order of asking."""
    return np.random.Generator(np.random.PCG64([seed, *where]))


def night_id(night: str) -> int:
    """ZTF's ``nid`` of a night ``YYYYMMDD`` (UTC): days since 2017-01-01.

    Raises
    ------
    ValueError : not a date in that form, or before 2017-03-01, when no history would fit
    """
    nid = (datetime.strptime(night, "%Y%m%d").replace(tzinfo=UTC).date() - FIRST_NIGHT).days
    if nid < 59:
        raise ValueError(f"night {night} is before ZTF's first, 20170301")
    return nid


def beside(ra: float, dec: float, east: float, north: float) -> tuple[float, float]:
    """Right ascension and declination (deg) of a place so many arcsec from a position."""
    turned = ra + east / 3600 / math.cos(math.radians(dec))
    return round(turned % 360, 7) % 360, round(dec + north / 3600, 7)


@dataclass(frozen=True)
class Exposure:
    """One exposure of one field.

    Attributes
    ----------
    number : the field it shows, counted from 0
    nid, fraction : night, and time in it in 1e-5 d of the UT day
    limit : 5-sigma limit, mag
    zero_point : mag of 1 DN
    seeing : sigma of the point-spread function, pixels
    sky : background, DN
    """

    number: int
    nid: int
    fraction: int
    fid: int
    programid: int
    limit: float
    zero_point: float
    seeing: float
    sky: float
    calibrators: int
    colour_term: float

    @property
    def jd(self) -> float:
        return round(FIRST_JD + self.nid + self.fraction * 1e-5, 7)

    @property
    def field(self) -> int:
        """Number of the field in ZTF's grid."""
        return 245 + self.number % 600

    def pid(self, rcid: int) -> int:
        """ZTF's id of the image of one readout channel: night, day fraction, channel."""
        return ((self.nid * 100_000 + self.fraction) * 100 + rcid) * 100 + 15

    def candid(self, rcid: int, tblid: int, positive: bool) -> int:
        """ZTF's id of one detection on that image; rows of negative differences count from 10000, others from 15000."""
        return self.pid(rcid) * 1_000_000 + (15_000 if positive else 10_000) + tblid

    def image(self, rcid: int) -> str:
        """File name of the difference image of one readout channel, without its suffix."""
        day = date.fromordinal(FIRST_NIGHT.toordinal() + self.nid)
        channel = f"c{rcid // 4 + 1:02d}_o_q{rcid % 4 + 1}"
        return f"ztf_{day:%Y%m%d}{self.fraction:05d}0_{self.field:06d}_z{'gri'[self.fid - 1]}_{channel}_scimrefdiffimg"


def expose(seed: int, number: int, nid: int, fraction: int, fid: int, programid: int) -> Exposure:
    """An exposure in the weather of its moment."""
    rng = generator(seed, 1, number, nid, fraction)
    limit, zero_point, sky, calibrators, colour = rng.normal(
        (20.4, (26.28, 26.2, 25.7)[fid - 1], (100, 200, 350)[fid - 1], 350, 0), (0.25, 0.04, 8, 60, 0.005)
    ).tolist()
    return Exposure(
        number,
        nid,
        fraction,
        fid,
        programid,
        limit=min(max(limit, 19.7), 21.2),
        zero_point=zero_point,
        seeing=0.95 + float(rng.gamma(3, 0.15)),
        sky=max(sky, 40.0),
        calibrators=max(int(calibrators), 30),
        colour_term=(-0.06, 0.09, 0.0)[fid - 1] + colour,
    )


@dataclass(frozen=True)
class Field:
    """A field and what is in it; object ``slot`` of field ``number`` is object ``number * FIELD_OBJECTS + slot``.

    Attributes
    ----------
    ra, dec : deg, shape (FIELD_OBJECTS,)
    rcid, x, y : readout channel, and pixels on it
    species : what each object is, names of `SPECIES`
    past : the exposures of the 30 days before the night, oldest first
    """

    number: int
    ra: np.ndarray
    dec: np.ndarray
    rcid: np.ndarray
    x: np.ndarray
    y: np.ndarray
    species: list[str]
    past: list[Exposure]


def make_field(seed: int, number: int, nid: int = 0) -> Field:
    """Field ``number`` of a simulation; its objects and their places don't depend on the night.

    Centres follow a low-discrepancy sequence (Roberts 2018, R2) over declinations -25 to 80 deg.
    """
    rng = generator(seed, 2, number)
    turn = generator(seed, 3).random(2)
    u, v = (turn + (number + 1) * np.array([0.7548776662466927, 0.5698402909980532])) % 1
    low, high = np.sin(np.radians([-25.0, 80.0]))
    centre = np.degrees(np.arcsin(low + v * (high - low)))
    places = rng.random((2, FIELD_OBJECTS))
    offset = (places - 0.5) * FIELD_WIDTH
    dec = np.round(centre + offset[1], 7)
    ra = np.round((u * 360 + offset[0] / np.cos(np.radians(dec))) % 360, 7) % 360
    channel, inside = np.divmod(places * 8, 1)
    x, y = 30 + inside * (CHANNEL_PIXELS - 60)
    share = np.array([kind.share for kind in SPECIES.values()])
    return Field(
        number,
        ra,
        dec,
        (channel[1] * 8 + channel[0]).astype(int),
        x,
        y,
        species=[str(name) for name in rng.choice(list(SPECIES), FIELD_OBJECTS, p=share / share.sum())],
        past=_past(seed, number, nid) if nid else [],
    )


def _past(seed: int, number: int, nid: int) -> list[Exposure]:
    """A pair of exposures, g and r, every two to four nights of the month before."""
    rng = generator(seed, 4, number, nid)
    nights = nid - np.cumsum(rng.integers(2, 5, HISTORY_DAYS // 2))
    place = number % 4000 * _SLOT
    return [
        expose(seed, number, int(past), start + place, fid, int(rng.choice([1, 1, 1, 2])))
        for past in nights[::-1]
        if past > nid - HISTORY_DAYS
        for start, fid in ((_EARLY, 1), (_LATE, 2))
    ]
