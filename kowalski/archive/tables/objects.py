"""The rows of objects that their alerts of a night, or of a moment, brought: points of light curves, and matches."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kowalski.archive.tables.fitting import Row
from kowalski.archive.tables.rows import Rows
from kowalski.database.tabled import Tabled


def of_objects(
    rows: Rows,
    tabled: Tabled,
    objects: Mapping[str, Mapping[str, Any]],
    jds: Mapping[str, Iterable[float]],
    candids: Collection[int],
) -> tuple[list[Row], list[Row]]:
    """Points and matches of some objects.

    A point belongs to the packet that brought it first. A detection of the past that is an alert itself is a point of that one's.
    Matches, and points of which it is not known who brought them, belong to the object's first alert.

    Parameters
    ----------
    objects : their documents
    jds : object -> the candidate jds of the alerts in question
    candids : of these alerts
    """
    points, matches = list[Row](), list[Row]()
    for object_id, aux in objects.items():
        first = (aux.get("first_alert") or {}).get("candid") in candids
        points += rows.history(object_id, aux, jds[object_id], first)
        if first:
            matches += rows.matches(object_id, aux)
    detected = {row["candid"] for row in points if row["kind"] == "detection" and row.get("candid") is not None}
    alerts = tabled.stored(detected)
    return [row for row in points if row["kind"] != "detection" or row.get("candid") not in alerts], matches
