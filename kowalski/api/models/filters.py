"""The bodies about filters."""

import math
from typing import Annotated, Any, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from kowalski.api.models.fields import Body

FilterId = Annotated[int, Field(ge=1, lt=2**63)]
Pipeline = Annotated[
    list[Any] | str,
    Field(description="stages of a MongoDB aggregation, as a list or as extended JSON", examples=[[{"$match": {"candidate.drb": {"$gt": 0.9}}}]]),
]  # fmt: skip


class NewVersion(Body):
    """A new filter, or a new version of an existing one; fields that are not named stay as they are."""

    filter_id: FilterId
    group_id: FilterId
    catalog: str = Field(description="the survey's alerts", examples=["ZTF_alerts"])
    permissions: list[int] = Field([], description="programids of the alerts that the filter sees")
    surveys: dict[str, bool | list[int]] = Field(
        {}, description="other surveys whose objects at the same place it sees: their programids, or true where they have none"
    )
    watchlists: list[str] = Field(
        [], description="lists of the group, by name or id: under watchlists.<name> the filter sees the rows that an alert matches"
    )
    pipeline: Pipeline
    active: bool = True
    autosave: bool | dict[str, Any] = False
    auto_followup: dict[str, Any] = {}
    update_annotations: bool = False


class Change(Body):
    """What changes of a filter; null changes nothing."""

    filter_id: FilterId
    active: bool | None = None
    active_fid: str | None = Field(None, description="one of the filter's versions")
    autosave: bool | dict[str, Any] | None = None
    auto_followup: dict[str, Any] | None = None
    update_annotations: bool | None = None


class FilterPath(Body):
    """Which filter."""

    filter_id: FilterId


def _moment(value: Any) -> Any:
    """A JD, as a number or of a date that astropy can read."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        from astropy.time import Time  # takes half a second, once

        try:
            return float(Time(value).jd)
        except ValueError:
            raise ValueError(f"{value!r:.100} is not a date: give a JD or a time such as 2024-01-01T05:00:00") from None


Moment = Annotated[float, BeforeValidator(_moment), Field(description="JD, or a date such as 2024-01-01T05:00:00")]

MAX_OBJECTS = 1000
LONGEST_MS = 300_000


class Trial(Body):
    """Which alerts a filter is tried on."""

    filter_version: str | None = Field(None, description="its fid; the last version unless given")
    object_ids: list[str] | None = None
    start_date: Moment | None = None
    end_date: Moment | None = None
    max_time_ms: int = Field(30_000, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _a_list(cls, content: Any) -> Any:
        if isinstance(content, dict) and not isinstance(content.get("object_ids"), list | None):
            raise ValueError("object_ids must be a list if provided")
        return content

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        start, end = self.start_date, self.end_date
        if not self.object_ids and start is None and end is None:
            raise ValueError("At least one of object_ids, start_date, or end_date is required")
        if self.object_ids and len(self.object_ids) > MAX_OBJECTS:
            raise ValueError(f"object_ids list must have {MAX_OBJECTS} or fewer elements")
        if (start is None) != (end is None):
            raise ValueError("start_date and end_date must both be provided if either is provided")
        if start is not None and end is not None:
            if not (math.isfinite(start) and math.isfinite(end)):
                raise ValueError("start_date and end_date must be finite")
            if not self.object_ids and not 0 <= end - start <= 1:
                raise ValueError(
                    "start_date and end_date must be within 1 day of each other if object_ids is not provided"
                )
        if self.max_time_ms > LONGEST_MS:
            raise ValueError(f"max_time_ms must be less than 5 minutes (in ms: {LONGEST_MS})")
        return self


class ToExplain(Body):
    """Which alert, or the newest alerts of which object, and by which version of a filter; the active one unless given."""

    candid: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    object_id: str | None = Field(None, validation_alias=AliasChoices("objectId", "object_id"))
    fid: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.candid is None) == (self.object_id is None):
            raise ValueError("either candid or objectId is required")
        return self


class Replay(Body):
    """Which alerts a version of a filter (the active one unless given) is run over, and against which other version."""

    start: Moment | None = None
    end: Moment | None = None
    object_ids: list[str] | None = None
    fid: str | None = None
    against: str | None = Field(None, description="fid of another version")
    max_time_ms: int = Field(60_000, ge=1, le=LONGEST_MS)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not self.object_ids and self.start is None and self.end is None:
            raise ValueError("start and end, or object_ids, are required")
        if (self.start is None) != (self.end is None):
            raise ValueError("start and end must both be given if either is")
        if self.start is not None and self.end is not None:
            if not (math.isfinite(self.start) and math.isfinite(self.end)) or self.start > self.end:
                raise ValueError("start must not be after end")
        if self.object_ids and len(self.object_ids) > MAX_OBJECTS:
            raise ValueError(f"object_ids list must have {MAX_OBJECTS} or fewer elements")
        return self
