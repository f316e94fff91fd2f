"""What a filter may ask for beyond a candidate: its object is saved as a source, and a telescope is to follow it up."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kowalski.errors import FilterError
from kowalski.filters.compile import CompiledStages, compile_stages, parse_pipeline

#: what autosave and auto_followup may hold
AUTOSAVE_KEYS = frozenset({"active", "comment", "ignore_group_ids", "pipeline", "saver_id"})
FOLLOWUP_KEYS = frozenset(
    {
        "active", "comment", "pipeline", "allocation_id", "payload", "target_group_ids", "ignore_allocation_ids",
        "not_if_tns_reported", "radius", "validity_days", "priority_order", "implements_update",
    }
)  # fmt: skip
#: keys of a follow-up's payload that hold its urgency; those of the first two have no dates
URGENCIES = ("urgency", "Urgency")
PRIORITY = "priority"
#: priority of a request whose payload has none, by the order in which they count
DEFAULT_PRIORITY = {"asc": 0.0, "desc": 5.0}
#: arcsec within which SkyPortal looks for other objects of the same place
RADIUS = 0.5
#: d for which a request is asked for
VALIDITY_DAYS = 7.0


@dataclass(frozen=True)
class Autosave:
    """An object that passes is saved for the filter's group: always, or if a further pipeline lets it pass.

    Attributes
    ----------
    ignore_group_ids : not where it is saved for one of these groups already
    saver_id : SkyPortal's number of the user who saves
    """

    comment: str | None = None
    ignore_group_ids: tuple[int, ...] = ()
    saver_id: int | None = None
    pipeline: CompiledStages | None = None

    def request(self) -> dict[str, Any]:
        """As the outbox keeps it."""
        ignored = list(self.ignore_group_ids)
        return {"comment": self.comment, "ignore_group_ids": ignored, "saver_id": self.saver_id}


@dataclass(frozen=True)
class FollowUp:
    """A request to a telescope, for what was autosaved and passes a further pipeline.

    Attributes
    ----------
    alias : the key of ``payload`` that holds its priority
    order : ``asc`` where a larger priority is the more urgent one
    """

    pipeline: CompiledStages
    allocation_id: int
    payload: Mapping[str, Any]
    alias: str
    order: str = "asc"
    comment: str | None = None
    target_group_ids: tuple[int, ...] = ()
    ignore_allocation_ids: tuple[int, ...] = ()
    not_if_tns_reported: int | None = None
    radius: float = RADIUS
    validity_days: float = VALIDITY_DAYS
    implements_update: bool = True
    constraints: Mapping[str, Any] = field(
        default_factory=lambda: dict.fromkeys(
            ("not_if_classified", "not_if_spectra_exist", "not_if_tns_classified", "not_if_duplicates"), True
        )
    )

    def request(self, object_id: str, group_id: int, autosave: Autosave, answer: Mapping[str, Any]) -> dict[str, Any]:
        """As the outbox keeps it; the pipeline's ``answer`` may have a ``comment`` and change what ``payload`` has.

        Raises
        ------
        FilterError : the answer's priority is no number
        """
        said = answer.get("payload")
        changed = {key: value for key, value in said.items() if key in self.payload} if isinstance(said, dict) else {}
        payload = {**self.payload, **changed}
        payload[self.alias] = _number(payload[self.alias], self.alias)
        comment = answer["comment"] if isinstance(answer.get("comment"), str) else self.comment
        data = {
            "obj_id": object_id,
            "allocation_id": self.allocation_id,
            "target_group_ids": list(dict.fromkeys([group_id, *self.target_group_ids])),
            "ignore_allocation_ids": list(self.ignore_allocation_ids),
            "payload": payload,
            "source_group_ids": [group_id],
            **self.constraints,
            "radius": self.radius,
        }
        if self.not_if_tns_reported is not None:
            data["not_if_tns_reported"] = self.not_if_tns_reported
        if autosave.ignore_group_ids:
            data["ignore_source_group_ids"] = list(autosave.ignore_group_ids)
        return {
            "comment": f"{comment} ({self.alias}: {payload[self.alias]:g})" if comment else None,
            "priority_alias": self.alias,
            "priority_order": self.order,
            "implements_update": self.implements_update,
            "validity_days": self.validity_days,
            "dated": self.alias not in URGENCIES,
            "data": data,
        }


def read_autosave(value: Any) -> Autosave | None:
    """A filter's ``autosave`` as stored; None where nothing is to be saved.

    Raises
    ------
    FilterError : its pipeline can't be run
    """
    if isinstance(value, bool) or not isinstance(value, Mapping):
        return Autosave() if value is True else None
    if not value.get("active"):
        return None
    saver = value.get("saver_id")
    comment = value.get("comment")
    return Autosave(
        comment=comment if isinstance(comment, str) and comment else None,
        ignore_group_ids=_integers(value, "ignore_group_ids"),
        saver_id=saver if type(saver) is int else None,
        pipeline=_pipeline(value["pipeline"], "autosave") if value.get("pipeline") else None,
    )


def read_follow_up(value: Any) -> FollowUp | None:
    """A filter's ``auto_followup`` as stored; None where nothing is to be triggered.

    Raises
    ------
    FilterError : something is missing or of no use; the text says what
    """
    if not isinstance(value, Mapping) or not value.get("active"):
        return None
    for name, kind in (("pipeline", list | str), ("allocation_id", int), ("payload", Mapping)):
        if not isinstance(value.get(name), kind) or not value[name]:
            raise FilterError(f"auto_followup: {name} is missing")
    order = value.get("priority_order") or "asc"
    if not isinstance(order, str) or order not in DEFAULT_PRIORITY:
        raise FilterError(f"auto_followup: priority_order {order!r:.100} is neither asc nor desc")
    payload = value["payload"]
    alias = next((name for name in URGENCIES if name in payload), PRIORITY)
    hours = value.get("not_if_tns_reported")
    comment = value.get("comment")
    updates = value.get("implements_update")
    return FollowUp(
        pipeline=_pipeline(value["pipeline"], "auto_followup"),
        allocation_id=value["allocation_id"],
        payload={**payload, alias: _number(payload.get(alias, DEFAULT_PRIORITY[order]), alias)},
        alias=alias,
        order=order,
        comment=comment if isinstance(comment, str) and comment else None,
        target_group_ids=_integers(value, "target_group_ids"),
        ignore_allocation_ids=_integers(value, "ignore_allocation_ids"),
        not_if_tns_reported=None if hours is None else int(_number(hours, "not_if_tns_reported")),
        radius=_positive(value, "radius", RADIUS),
        validity_days=_positive(value, "validity_days", VALIDITY_DAYS),
        implements_update=True if updates is None else bool(updates),
    )


def _pipeline(stored: Any, what: str) -> CompiledStages:
    try:
        return compile_stages(parse_pipeline(stored))
    except FilterError as error:
        raise FilterError(f"{what}: {error}") from None


def _integers(value: Mapping[str, Any], name: str) -> tuple[int, ...]:
    listed = value.get(name) or []
    if not isinstance(listed, list | tuple) or not all(type(each) is int for each in listed):
        raise FilterError(f"{name} must be a list of integers, not {listed!r:.100}")
    return tuple(dict.fromkeys(listed))


def _positive(value: Mapping[str, Any], name: str, default: float) -> float:
    if value.get(name) is None:
        return default
    number = _number(value[name], name)
    if number <= 0:
        raise FilterError(f"{name} must be positive, not {number:g}")
    return number


def _number(value: Any, name: str) -> float:
    """A finite number, given as such or as text."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise FilterError(f"{name} must be a number, not {value!r:.100}")
    return number
