"""The arguments of requests for events that notices told of, and what is said of one."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from kowalski.api.models.fields import Body


class EventPath(Body):
    """Which event."""

    event: Annotated[str, Field(min_length=1, max_length=200, examples=["S230518h", "Fermi:683571622"])]


class WhichEvents(Body):
    """Which events, counted from the one that was noticed last."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    skip: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class GcnEvent(BaseModel):
    """An event; of its alerts those that the user may see."""

    model_config = ConfigDict(extra="allow")

    event: str
    noticed_at: str = Field(description="when the first notice of it came")
    dateobs: str | None = Field(None, description="when it happened")
    aliases: list[str] = []
    retracted: bool = Field(description="whether the last notice takes it back")
    test: bool
    localization_name: str | None = Field(None, description="its sky map, of /api/skymap")
    alerts: list[dict[str, Any]] | int = Field(description="those in its sky map; in a list of events, their number")
    searched: dict[str, Any] | None = Field(None, description="what was looked for, and when")
