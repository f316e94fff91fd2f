"""Where telescopes stand, and how that divides time into nights."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta


@dataclass(frozen=True)
class Site:
    """An observatory.

    Attributes
    ----------
    longitude, latitude : deg, east and north (WGS 84)
    elevation : m
    """

    name: str
    longitude: float
    latitude: float
    elevation: float

    @property
    def _ahead(self) -> timedelta:
        """By how much its mean time is ahead of UTC."""
        return timedelta(days=self.longitude / 360)

    def evening_of(self, moment: datetime) -> date:
        """The date of the last local mean noon before a moment (UTC): that of the evening between two noons."""
        return (moment + self._ahead - timedelta(hours=12)).date()

    def noon_of(self, day: date) -> datetime:
        """Local mean noon of a date, in UTC."""
        return datetime.combine(day, time(12), UTC) - self._ahead


#: where noon is noon UTC
GREENWICH = Site("Greenwich", 0.0, 51.4779, 46.0)
#: https://sites.astro.caltech.edu/palomar/about/
PALOMAR = Site("Palomar", -116.8650, 33.3563, 1712.0)
#: https://www.lsst.org/scientists/keynumbers
CERRO_PACHON = Site("Cerro Pachon", -70.7494, -30.2446, 2647.0)
