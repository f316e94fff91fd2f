"""All that a fit needs of an object: its light curve in all surveys, its host, and who may see what comes of it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kowalski.alerts.curve import Point, merge_light_curve
from kowalski.alerts.survey import Survey, get_survey
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase
from kowalski.database.fits import Request
from kowalski.database.links import Links
from kowalski.database.objects import Objects
from kowalski.settings import Config
from kowalski.transients.host import Host, host_of
from kowalski.transients.photometry import Photometry, photometry_of

MEASURED = {"candid": 1, "candidate": 1}


class Subject(NamedTuple):
    """An object to fit.

    Attributes
    ----------
    rights : survey -> programmes of the points; empty where the survey has none, None where a point names none: for who sees all of it
    """

    photometry: Photometry
    host: Host | None
    rights: dict[str, list[int] | None]


class Subjects:
    """Reads objects; the points are those of all surveys' objects at the place."""

    def __init__(self, database: MongoDatabase, config: Config):
        self._database = database
        self._bands = config.skyportal.bands
        self._redshifts = config.transients.salt2.redshifts
        self._links = Links(database)

    def read(self, request: Request) -> Subject:
        """The object of a request as it is stored now."""
        survey = self._survey(request.survey)
        own = Objects(self._database, survey).read([request.objectId]).get(request.objectId, {})
        curve = self._curve(survey, request.objectId, own)
        for link in self._links.of(survey, [request.objectId]):
            other = self._survey(link.other_survey)
            aux = Objects(self._database, other).read([link.other_id]).get(link.other_id, {})
            curve += self._curve(other, link.other_id, aux)
        first = own.get("first_alert")
        matches = own.get("cross_matches") or {}
        host = host_of(matches, first["ra"], first["dec"], self._redshifts) if first else None
        return Subject(photometry_of(curve), host, rights_of(curve))

    def _survey(self, name: str) -> Survey:
        survey = get_survey(name)
        return survey.with_bands(self._bands.get(survey.name, {}))

    def _curve(self, survey: Survey, object_id: str, aux: Mapping[str, Any]) -> list[Point]:
        return merge_light_curve(Alerts(self._database, survey).of_object(object_id, MEASURED), aux, survey)


def rights_of(curve: Iterable[Mapping[str, Any]]) -> dict[str, list[int] | None]:
    """`Subject.rights` of some points."""
    programmes: dict[str, set[Any]] = {}
    for point in curve:
        if point["kind"] != "limit":
            field = get_survey(point["survey"]).program_field
            programmes.setdefault(point["survey"], set()).update([point.get(field)] if field else [])
    return {survey: None if None in found else sorted(found) for survey, found in programmes.items()}
