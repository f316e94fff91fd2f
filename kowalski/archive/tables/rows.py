"""What the tables say of stored documents: a row each, or several, as documents that `fitted` puts into columns."""

from collections.abc import Iterable, Iterator

import numpy as np

from kowalski.alerts.coordinates import separation
from kowalski.alerts.survey import Survey
from kowalski.archive.tables.arrow import Kind
from kowalski.archive.tables.fitting import Document, Row, text_of

#: fields of an alert that are not the packet's: derived from others, with tables of their own, or not final yet
DERIVED = ("_id", "coordinates", "classifications", "provenance", "trace", "withdrawal_told")
VERSION = "_version"


class Rows:
    """Makes the rows of one survey; ``point`` is the kind of those of its light curves."""

    def __init__(self, survey: Survey, point: Kind, cutouts: bool):
        self.survey, self._measured = survey, point.fields.keys()
        self._hidden = {*DERIVED, *(() if cutouts else survey.cutouts.values())}
        if survey.object_id != "objectId":
            self._hidden.add(survey.object_id)

    def alert(self, document: Document) -> Row:
        """An alert."""
        candidate = document["candidate"]
        said = {name: value for name, value in document.items() if name not in self._hidden}
        place = {"jd": float(candidate["jd"])}
        if (ra := candidate.get("ra")) is not None and (dec := candidate.get("dec")) is not None:
            place |= {"ra": float(ra) % 360.0, "dec": float(dec)}
        return {**said, **place}

    def scores(self, document: Document) -> Iterator[Row]:
        """The scores of an alert, one per model."""
        about, classifications = _about(document), document.get("classifications") or {}
        for model, score in classifications.items():
            if isinstance(score, int | float) and not isinstance(score, bool):
                version = classifications.get(f"{model}{VERSION}")
                said = {"model": model, "score": float(score), "version": None if version is None else str(version)}
                yield {**about, **said, "provenance": document.get("provenance")}

    def detection(self, document: Document) -> Row:
        """The point that an alert itself is."""
        said = {name: value for name, value in document["candidate"].items() if name in self._measured}
        about = _about(document)
        return {**self._banded(said), **about, "kind": "detection", "first_jd": about["jd"]}

    def history(self, object_id: str, aux: Document, jds: Iterable[float], whole: bool) -> Iterator[Row]:
        """The points that an object's document got by the packets of these candidate jds.

        Parameters
        ----------
        whole : whether points of which that is not known are among them
        """
        moments = set(jds)
        for history in self.survey.histories:
            for point in aux.get(history.field) or ():
                first_jd = point.get("first_jd")
                if first_jd in moments or (whole and first_jd is None):
                    kind = "forced" if history.forced else "limit" if point.get("magpsf") is None else "detection"
                    yield {**self._banded(point), "objectId": object_id, "kind": kind}

    def matches(self, object_id: str, aux: Document) -> Iterator[Row]:
        """The rows of catalogues that an object matches."""
        first = aux.get("first_alert") or {}
        about = {"objectId": object_id, "candid": first.get("candid"), "jd": first.get("jd")}
        matched = aux.get("matched") or {}
        for catalogue, rows in (aux.get("cross_matches") or {}).items():
            made_of = (matched.get("made_of") or {}).get(catalogue, matched.get("versions"))
            for row in rows or ():
                said = {"catalogue": catalogue, "row_id": str(row.get("_id")), "row": text_of(row)}
                yield {**about, **said, "distance_arcsec": _distance(first, row), "provenance": made_of}

    def passed(self, document: Document) -> Row:
        """An alert's pass of a filter."""
        return {**document, "annotations": text_of(document.get("annotations"))}

    def fit(self, document: Document) -> Row:
        """A fit of an object's light curve."""
        return {name: value for name, value in document.items() if name not in ("_id", "survey")}

    def _banded(self, point: Document) -> Row:
        """A point with the name of its band, which stands in place of the packet's own."""
        return {**point, "band": self.survey.bands.get(self.survey.fid_of(point))}


def _about(document: Document) -> Row:
    return {"objectId": document["objectId"], "candid": document["candid"], "jd": float(document["candidate"]["jd"])}


def _distance(first: Document, row: Document) -> float | None:
    """Distance of a catalogue's row from an object's first alert, arcsec."""
    place = row.get("coordinates") or {}
    if (known := place.get("distance_arcsec")) is not None:
        return float(known)
    lonlat = (place.get("radec_geojson") or {}).get("coordinates")
    if lonlat is None or first.get("ra") is None:
        return None
    distance = separation(first["ra"], first["dec"], np.array([lonlat[0] + 180.0]), np.array([lonlat[1]]))
    return float(distance[0]) * 3600
