"""The bodies about requests to ZTF's queue."""

from typing import Annotated

from pydantic import Field

from kowalski.api.models.fields import Body

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Target(Body):
    """One exposure of a queue."""

    request_id: int
    program_id: int
    field_id: int
    ra: Annotated[float, Field(ge=0, le=360)] = Field(description="deg")
    dec: Annotated[float, Field(ge=-90, le=90)] = Field(description="deg")
    filter_id: int
    exposure_time: Annotated[float, Field(gt=0)] = Field(description="s")
    program_pi: str
    subprogram_name: str


class NewQueue(Body):
    """A queue to be submitted."""

    queue_name: str = Field(min_length=1)
    validity_window_mjd: list[Finite] = Field(min_length=2, max_length=2)
    targets: list[Target]
    queue_type: str
    user: str


class QueueName(Body):
    """A queue to be deleted."""

    queue_name: str = Field(min_length=1)
    user: str


class WhichQueue(Body):
    """A queue that is asked for; nothing: all of them."""

    queue_name: str | None = None
    user: str | None = None


class FieldProbability(Body, extra="allow"):
    """A field of ZTF's grid and how probable the event is there."""

    field_id: int
    probability: Annotated[float, Field(ge=0, le=1)]


class NewTrigger(Body):
    """A trigger of multi-messenger observations to be submitted."""

    trigger_name: str = Field(min_length=1)
    trigger_time: Finite = Field(description="MJD")
    fields: list[FieldProbability]
    user: str


class TriggerName(Body):
    """A trigger to be deleted."""

    trigger_name: str = Field(min_length=1)
    user: str


class WhichTrigger(Body):
    """A trigger that is asked for; nothing: all of them."""

    trigger_name: str | None = None
    user: str | None = None
