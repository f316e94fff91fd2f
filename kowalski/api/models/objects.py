"""The arguments of a request for an object, and what is said of one."""

from typing import Any

from pydantic import BaseModel, Field

from kowalski.api.models.cutouts import SurveyName
from kowalski.api.models.fields import Body


class ObjectPath(Body):
    """Which object."""

    survey: SurveyName
    object_id: str = Field(min_length=1, max_length=200, examples=["ZTF20aajcbhr"])


class Point(BaseModel, extra="allow"):
    """One point of a light curve; more fields as the survey's packets have them."""

    kind: str = Field(description="detection, limit (an upper limit), or forced (forced photometry)")
    survey: str
    jd: float
    mjd: float
    band: str | None = Field(description="SkyPortal's name of the band")
    magpsf: float | None = Field(None, description="mag, of detections")
    sigmapsf: float | None = None
    diffmaglim: float | None = Field(None, description="5 sigma limit, mag")


class AstronomicalObject(BaseModel):
    """An object as far as the user may see it.

    Attributes
    ----------
    alerts : candid and jd of each of its alerts, oldest first
    light_curve : detections of all alerts and of their histories, each once; upper limits; forced photometry; by jd; with those
        of the objects of other surveys that are linked with this one
    first_detection, last_detection, peak : of this survey; ``peak`` is the brightest positive detection
    """

    survey: str
    object_id: str = Field(alias="objectId")
    ra: float | None
    dec: float | None
    coordinates: dict[str, Any] | None
    alerts: list[dict[str, Any]]
    latest_alert: dict[str, Any] | None
    light_curve: list[Point]
    first_detection: Point | None
    last_detection: Point | None
    peak: Point | None
    linked: list[dict[str, Any]] = Field(description="objects of other surveys at this place: survey, objectId, distance_arcsec")
    cross_matches: dict[str, Any]
    classifications: dict[str, Any] = Field(description="scores of the latest alert; labels by candid")
    provenance: dict[str, Any] = Field(description="scores: networks (version, sha256 of the weights), backend and Kowalski's version that made those of the latest alert; catalogs: the version of each that the object was matched with")


class Salt2Fit(BaseModel):
    """A fit of SALT2 to an object's light curve, made for an alert; without one all but ``reason`` and ``waiting`` is null.

    Attributes
    ----------
    t0 : MJD of the maximum in B
    covariance : of the ``parameters`` that were fitted, row by row
    curve : ``mjd``, and under ``bands`` the fitted flux in each, microjansky
    waiting : whether another fit is asked for
    """

    survey: str
    object_id: str = Field(alias="objectId")
    candid: int | None
    jd: float | None
    model: str | None
    version: str | None
    z: float | None
    z_source: str | None = Field(description="catalogue of the host's redshift, or fit")
    t0: float | None
    x0: float | None
    x1: float | None
    c: float | None
    chi2: float | None
    ndof: int | None
    parameters: list[str] | None
    covariance: list[float] | None
    mwebv: float | None = Field(description="E(B-V) of the Galaxy that was corrected for, mag")
    points: int | None
    curve: dict[str, Any] | None
    reason: str | None = Field(description="why there is no fit")
    made_at: str | None
    waiting: bool


class SurveyInfo(BaseModel):
    """A survey as far as the user may see it."""

    name: str
    collections: dict[str, str]
    cutouts: list[str]
    bands: dict[str, str | None] = Field(description="SkyPortal's name of the band by fid; * where there is one band")
    instrument: str
    programids: bool | list[int] = Field(description="what the user sees: programids, or all or nothing")
    alerts: int = Field(description="how many alerts the user sees, about")
    first_jd: float | None
    last_jd: float | None
