"""Who may see what: the surveys and programmes of a user, and what that leaves of each collection."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kowalski.alerts.survey import get_survey
from kowalski.api.errors import BadRequest, Forbidden
from kowalski.database.ingests import INCOMING
from kowalski.errors import ConfigError

#: collections of Kowalski's own, which only the admin may read; with quarantine* and system.*
CLOSED = frozenset(
    {
        "users",
        "former_users",
        "tokens",
        "watchers",
        "tns_to_do",
        "performance",
        "logins",
        "filters",
        "filter_checks",
        "filter_runs",
        "gcn_events",
        "skymap_cells",
        "queries",
        "outbox",
        "passes",
        "tabled",
        "processes",
        "leases",
        "ledger",
        "ledger_streams",
        "latencies",
        "object_links",
        "ingests",
        "ingest_stretches",
        "rematches",
        "archive_replays",
        "skyportal_objects",
        "watchlists",
        "watchlist_rows",
        "fits",
        "lab_queries",
    }
)
CLOSED_PREFIXES = ("quarantine", "system.", INCOMING)
#: collections that hold a survey's alerts, its objects, their classifications, or copies of such under other names
SURVEY_COLLECTION = re.compile(r"([A-Z0-9]+)_alerts(.*)", re.DOTALL)
#: what an object's document says of alerts that its reader may not see
PROVENANCE = ("first_alert", "last_packet", "matched", "version")
#: where a point of forced photometry came from
POINT_PROVENANCE = ("alert_candid", "alert_jd", "alert_mag", "alert_ra", "alert_dec", "first_jd")
NOTHING: dict[str, Any] = {"_id": {"$in": []}}

Stage = dict[str, Any]
Programmes = frozenset[int] | bool
"""Programmes of a survey that a user sees; True: all of it; False: nothing."""


def is_closed(collection: str) -> bool:
    """Whether a collection is one of Kowalski's own."""
    return collection in CLOSED or collection.startswith(CLOSED_PREFIXES)


@dataclass(frozen=True)
class Window:
    """What a user sees of a collection: the documents that ``match``, as ``shape`` leaves them.

    Attributes
    ----------
    match : condition on the documents as stored; empty: all of them
    expression : the same as an expression, where ``shape`` is empty
    shape : stages that take out what is hidden inside them, and then documents that have nothing left to show
    changes : fields that these stages change
    """

    match: dict[str, Any] = field(default_factory=dict)
    expression: Any = True
    shape: tuple[Stage, ...] = ()
    changes: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether nothing is hidden."""
        return not (self.match or self.shape)

    @property
    def stages(self) -> list[Stage]:
        """The window as the beginning of a pipeline."""
        return [*([{"$match": self.match}] if self.match else []), *self.shape]


@dataclass(frozen=True)
class User:
    """Who asks.

    Attributes
    ----------
    permissions : survey -> programmes, those of the public's data included
    groups : SkyPortal's groups that the user belongs to
    """

    name: str
    is_admin: bool
    permissions: Mapping[str, Programmes] = field(default_factory=dict)
    groups: frozenset[int] = frozenset()

    @classmethod
    def of(cls, document: Mapping[str, Any], admin: str, public: Mapping[str, Any]) -> "User":
        """The user of a document of ``users``, who sees what is ``public`` and what his permissions add to it."""
        own = document.get("permissions")  # older versions let anything be stored there
        own = own if isinstance(own, Mapping) else {}
        groups = document.get("groups")
        return cls(
            name=document["_id"],
            is_admin=document["_id"] == admin,
            permissions={
                survey: _together(_programmes(public.get(survey)), _programmes(own.get(survey)))
                for survey in {**public, **own}
            },
            groups=frozenset(each for each in groups if type(each) is int) if isinstance(groups, list) else frozenset(),
        )

    def sees(self, survey: str) -> Programmes:
        """What of a survey is visible to this user: all of it or nothing, where the survey has no programmes."""
        seen = True if self.is_admin else self.permissions.get(survey, False)
        return seen if seen is True or _has_programmes(survey) else False

    def may_read(self, collection: str) -> bool:
        """Whether a collection is open to this user at all; what he sees of it is its `window`."""
        return self.is_admin or not is_closed(collection)

    def require_open(self, collection: str) -> None:
        """Raise `BadRequest` where a collection is closed to this user."""
        if not self.may_read(collection):
            raise BadRequest(f"Protected collection: {collection}")

    def require_admin(self) -> None:
        """Raise `Forbidden` for all but the admin."""
        if not self.is_admin:
            raise Forbidden("Forbidden")

    def window(self, collection: str) -> Window:
        """What this user sees of a collection that is open to him."""
        named = SURVEY_COLLECTION.fullmatch(collection)
        if named is None or (seen := self.sees(named[1])) is True:
            return Window()
        survey, kind = named[1], named[2]
        if not seen or kind not in ("", "_aux", "_aux_older", "_classifications"):
            return Window(NOTHING, expression=False)
        program, programmes = f"candidate.{_program_field(survey)}", sorted(seen)
        alerts = {program: {"$in": programmes}}
        if not kind:
            # $$ROOT, as the let of a $lookup may say what $$CURRENT is
            return Window(alerts, {"$in": [f"$$ROOT.{program}", programmes]})
        if kind == "_classifications":
            return Window(shape=_of_visible_alerts(f"{survey}_alerts", alerts))
        return _window_on_objects(survey, programmes)


def _programmes(permission: Any) -> Programmes:
    """What a stored permission for one survey allows."""
    if isinstance(permission, bool):
        return permission
    named = permission if isinstance(permission, list | tuple) else ()
    return frozenset(each for each in named if type(each) is int) or False


def _together(first: Programmes, second: Programmes) -> Programmes:
    """What two permissions allow."""
    if first is True or second is True:
        return True
    return frozenset().union(first or (), second or ()) or False


def _window_on_objects(survey: str, programmes: list[int]) -> Window:
    """Objects, or parts of such, with an alert or a point of these programmes, without the points of others."""
    program = _program_field(survey)
    lists = _histories(survey)
    matches = [{"programids": {"$in": programmes}}, *({f"{name}.{program}": {"$in": programmes}} for name in lists)]
    shown = {
        name: {"$cond": [{"$isArray": f"$$ROOT.{name}"}, _visible_points(name, program, programmes), "$$REMOVE"]}
        for name in lists
    }
    hidden = [*PROVENANCE, "programids", *(f"{name}_replaced" for name in lists)]
    return Window({"$or": matches}, shape=({"$set": shown}, {"$unset": hidden}), changes=frozenset([*lists, *hidden]))


def _visible_points(name: str, program: str, programmes: list[int]) -> dict[str, Any]:
    point: Any = "$$point"
    for key in POINT_PROVENANCE:
        point = {"$unsetField": {"field": key, "input": point}}
    seen = {"$filter": {"input": f"$$ROOT.{name}", "as": "point", "cond": {"$in": [f"$$point.{program}", programmes]}}}
    return {"$map": {"input": seen, "as": "point", "in": point}}


def _of_visible_alerts(collection: str, condition: dict[str, Any]) -> tuple[Stage, ...]:
    """Documents whose ``_id`` is the candid of an alert that meets a condition."""
    seen = "_of_visible_alert"
    lookup = {
        "from": collection,
        "localField": "_id",
        "foreignField": "candid",
        "pipeline": [{"$match": condition}, {"$project": {"_id": 1}}],
        "as": seen,
    }
    return ({"$lookup": lookup}, {"$match": {f"{seen}.0": {"$exists": True}}}, {"$unset": seen})


def _has_programmes(survey: str) -> bool:
    try:
        return get_survey(survey).program_field is not None
    except ConfigError:
        return True


def _program_field(survey: str) -> str:
    """The field of a candidate and of a point that holds the data-rights programme."""
    try:
        return get_survey(survey).program_field or "programid"
    except ConfigError:  # a survey of earlier versions, of which there are collections but no module
        return "programid"


def _histories(survey: str) -> list[str]:
    try:
        return [history.field for history in get_survey(survey).histories]
    except ConfigError:
        return ["prv_candidates", "fp_hists"]
