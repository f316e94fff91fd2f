"""Stored documents as rows of the tables; what has no column of its own is kept in ``more``."""

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
from bson import json_util

from kowalski.alerts.coordinates import separation
from kowalski.alerts.survey import Survey
from kowalski.archive.tables.arrow import Kind

#: fields of an alert that are not the packet's: derived from others, or with tables of their own
DERIVED = ("_id", "coordinates", "classifications", "withdrawal_told")
#: largest finite number of 32 bits, and whole number up to which 64 bits hold all
LARGEST_SINGLE, WHOLE = 3.4028234663852886e38, 2**53
VERSION = "_version"

Row = dict[str, Any]
Document = Mapping[str, Any]


def taken(kind: Kind, value: Any) -> tuple[Any, Any]:
    """A value as its column holds it, and what of it the column does not hold; None: nothing.

    A number that 32 bits hold only nearly is in the column so, and whole in the rest.
    """
    if value is None:
        return None, None
    if kind.fields and isinstance(value, Mapping):
        return _taken_apart(kind, value)
    if kind.fits(value):
        return (kind.encode(value) if kind.encode else value), None
    if pa.types.is_floating(kind.type) and isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, int) and abs(value) <= WHOLE:
            return taken(kind, float(value))
        if isinstance(value, float) and (not isfinite(value) or abs(value) <= LARGEST_SINGLE):
            return value, value
    return None, value


def _taken_apart(kind: Kind, value: Document) -> tuple[Row, Row | None]:
    held, rest, fields = {}, {}, kind.fields
    for name, each in value.items():
        if each is None:
            continue
        if (field := fields.get(name)) is None:
            rest[name] = each
            continue
        held[name], left = taken(field, each)
        if left is not None:
            rest[name] = left
    return held, rest or None


def text_of(value: Any) -> str:
    """A value of MongoDB as relaxed extended JSON."""
    return json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS)


def row_of(kind: Kind, document: Document) -> Row:
    """A document as a row of the table of that kind."""
    held, rest = _taken_apart(kind, document)
    if rest is not None and "more" in kind.fields:
        held["more"] = text_of(rest)
    return held


class Rows:
    """Makes the rows of one survey; ``kinds`` are those of its tables."""

    def __init__(self, survey: Survey, kinds: Mapping[str, Kind], cutouts: bool):
        self.survey, self.kinds = survey, kinds
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
        return row_of(self.kinds["alerts"], {**said, **place})

    def scores(self, document: Document) -> Iterator[Row]:
        """The scores of an alert, one per model."""
        about, classifications = _about(document), document.get("classifications") or {}
        for model, score in classifications.items():
            if isinstance(score, int | float) and not isinstance(score, bool):
                version = classifications.get(f"{model}{VERSION}")
                said = {"model": model, "score": float(score), "version": None if version is None else str(version)}
                yield row_of(self.kinds["scores"], {**about, **said})

    def detection(self, document: Document) -> Row:
        """The point that an alert itself is."""
        kind = self.kinds["points"]
        said = {name: value for name, value in document["candidate"].items() if name in kind.fields}
        about = _about(document)
        return row_of(kind, {**self._banded(said), **about, "kind": "detection", "first_jd": about["jd"]})

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
                    said = {**self._banded(point), "objectId": object_id, "kind": kind}
                    yield row_of(self.kinds["points"], said)

    def matches(self, object_id: str, aux: Document) -> Iterator[Row]:
        """The rows of catalogues that an object matches."""
        first = aux.get("first_alert") or {}
        about = {"objectId": object_id, "candid": first.get("candid"), "jd": first.get("jd")}
        for catalogue, rows in (aux.get("cross_matches") or {}).items():
            for row in rows or ():
                said = {"catalogue": catalogue, "row_id": str(row.get("_id")), "row": text_of(row)}
                yield row_of(self.kinds["matches"], {**about, **said, "distance_arcsec": _distance(first, row)})

    def passed(self, document: Document) -> Row:
        """An alert's pass of a filter."""
        return row_of(self.kinds["passes"], {**document, "annotations": text_of(document.get("annotations"))})

    def fit(self, document: Document) -> Row:
        """A fit of an object's light curve."""
        said = {name: value for name, value in document.items() if name not in ("_id", "survey")}
        return row_of(self.kinds["salt2"], said)

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
