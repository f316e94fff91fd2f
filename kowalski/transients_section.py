"""The settings of extragalactic transients and of the fits of their light curves."""

from typing import Annotated

from pydantic import AfterValidator, Field

from kowalski.section import Section


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        raise ValueError("the first of two bounds is the lower one")
    return bounds


Bounds = Annotated[tuple[float, float], AfterValidator(_ascending)]
Share = Annotated[float, Field(ge=0, le=1)]


class Cuts(Section):
    """What an alert must be to be an extragalactic candidate (`kowalski.transients.extragalactic`)."""

    min_score: Share
    star_score: Share
    star_radius: float = Field(gt=0)
    bright_star_mag: float
    bright_star_radius: float = Field(gt=0)
    gaia: tuple[str, ...]
    gaia_snr: float = Field(gt=0)
    strm: str | None
    strm_probability: Share
    agn: tuple[str, ...]
    wise: str | None
    wise_color: float
    solar_system_radius: float = Field(gt=0)
    revisit_minutes: float = Field(gt=0)
    recent_days: float = Field(gt=0)
    rise_snr: float = Field(gt=0)


class Redshift(Section):
    """Fields of a catalogue's rows that hold redshift, its error and the Galaxy's E(B-V)."""

    z: str
    error: str | None = None
    mwebv: str | None = None


class Salt2(Section):
    """How light curves are fitted, and by what."""

    folder: str
    source: Annotated[str, Field(pattern=r"^https?://[^/]+")]
    processes: int = Field(ge=1)
    interval: float = Field(gt=0)
    lease: float = Field(ge=10)
    redshifts: dict[str, Redshift]
    z_bounds: Bounds
    x1_bounds: Bounds
    c_bounds: Bounds
    min_points: int = Field(ge=4)
    min_bands: int = Field(ge=1)
    min_days: float = Field(ge=0)


class Transients(Section):
    """Extragalactic transients among the alerts, and fits of SALT2 to their light curves."""

    enabled: bool
    cuts: Cuts
    salt2: Salt2
