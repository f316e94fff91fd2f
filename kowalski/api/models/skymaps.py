"""The bodies about sky maps."""

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from kowalski.api.models.fields import Body

DEFAULT_LEVELS = [90.0, 95.0]


def _levels(value: Any) -> list[float]:
    """Credible levels in percent of a number, a list, or a text with commas."""
    if isinstance(value, str):
        value = [part for part in value.replace("[", "").replace("]", "").split(",") if part.strip()]
    values = value if isinstance(value, list) else [value]
    try:
        levels = [float(each) for each in values]
    except (TypeError, ValueError):
        raise ValueError("contours: a number, a list of numbers, or a text with commas is expected") from None
    if not levels or len(levels) > 20 or not all(math.isfinite(level) and 0 < level < 100 for level in levels):
        raise ValueError("contours: 1 to 20 levels between 0 and 100 are expected")
    return list(dict.fromkeys(levels))


def _date(value: Any) -> Any:
    """A moment in UTC as stored: without time zone."""
    if isinstance(value, dict) and "$date" in value:
        value = value["$date"]
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise ValueError("dateobs must be in the format YYYY-MM-DDTHH:MM:SS[.f]")
    try:
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError:
        raise ValueError("dateobs is before the year 1 or after the year 9999") from None


def _texts(value: Any) -> Any:
    if value is None:
        return []
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Date = Annotated[datetime, BeforeValidator(_date), Field(examples=["2019-08-14T21:10:39"])]
Levels = Annotated[
    list[float], BeforeValidator(_levels), Field(description="credible levels in percent", examples=[[50, 90]])
]
Aliases = Annotated[list[str], BeforeValidator(_texts)]
TriggerId = Annotated[
    str | int, BeforeValidator(lambda value: int(value) if isinstance(value, str) and value.isdecimal() else value)
]


class NewSkymap(Body):
    """A sky map to be stored: ``skymap`` is one of ``{url}``, ``{localization_name, content}`` (a FITS file in base64),
    ``{localization_name, uniq, probdensity}``, ``{ra, dec, error}``, ``{localization_name, polygon}``, or
    ``{localization_name, ra, dec, amaj, amin, phi}``; angles in deg."""

    dateobs: Date | None = Field(None, description="when; a VOEvent says it itself")
    aliases: Aliases = []
    triggerid: TriggerId | None = None
    contours: Levels = DEFAULT_LEVELS
    voevent: str | None = Field(None, description="a VOEvent 2.0 document")
    skymap: dict[str, Any] | None = Field(None, examples=[{"ra": 90.0, "dec": 30.0, "error": 10.0}])

    @model_validator(mode="before")
    @classmethod
    def _older_names(cls, content: Any) -> Any:
        if isinstance(content, dict) and "triggerid" not in content and "trigger_id" in content:
            content = {**content, "triggerid": content["trigger_id"]}
        return content

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.voevent is None) == (self.skymap is None):
            raise ValueError("Invalid request body: either voevent or skymap is expected")
        if self.skymap is not None and self.dateobs is None:
            raise ValueError("Invalid request body: dateobs is missing")
        return self


class SkymapQuery(Body):
    """Which sky map is asked for."""

    dateobs: Date | None = None
    triggerid: TriggerId | None = None
    alias: str | None = None
    localization_name: str | None = None
    contours: Levels | None = Field(None, description="levels that it must have")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.dateobs is None and self.triggerid is None and not self.alias:
            raise ValueError("must provide dateobs, triggerid, or alias")
        return self

    @property
    def event(self) -> dict[str, Any]:
        """The condition on stored maps."""
        return event_condition(self.dateobs, self.triggerid, [self.alias] if self.alias else [])


class SkymapToRemove(SkymapQuery):
    """Which sky map is to go."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.localization_name:
            raise ValueError("must provide localization_name")
        return self


def event_condition(dateobs: datetime | None, trigger: str | int | None, aliases: list[str]) -> dict[str, Any]:
    """The condition on stored maps of an event: of its date, else its trigger, else its aliases."""
    if dateobs is not None:
        return {"dateobs": dateobs}
    if trigger is not None:
        return {"triggerid": {"$in": list({trigger, str(trigger)})}}
    return {"aliases": {"$all": aliases}}
