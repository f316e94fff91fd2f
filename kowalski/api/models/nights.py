"""The arguments of a request for a night, and what is said of one."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from kowalski.api.models.fields import Body
from kowalski.errors import StreamError
from kowalski.night.dates import night_from


def _night(text: str) -> str:
    try:
        return f"{night_from(text):%Y%m%d}"
    except StreamError as error:
        raise ValueError(str(error)) from None


class NightPath(Body):
    """Which night."""

    date: Annotated[str, AfterValidator(_night), Field(description="YYYYMMDD or YYYY-MM-DD", examples=["20261126"])]


class Gap(BaseModel):
    """Offsets that were not read, and why."""

    first: int
    last: int
    messages: int
    why: str = Field(description="expired: Kafka had removed them; passed_over: auto.offset.reset is latest")


class PartitionAccount(BaseModel):
    """What became of the messages of one partition."""

    survey: str
    topic: str
    partition: int
    received: int = Field(description="messages that were read; each is stored, known or quarantined")
    decoded: int
    stored: int
    known: int = Field(description="copies of alerts that other messages brought")
    quarantined: dict[str, int] = Field(description="by reason")
    discarded: int = Field(description="of the quarantined, those whose bytes an operator has removed")
    filtered: int = Field(description="stored alerts that no filter let through")
    passed: int = Field(description="stored alerts that a filter let through")
    withdrawn: int = Field(description="alerts that their survey took back")
    candidates: dict[str, int] = Field(description="candidates for SkyPortal by their state in the outbox")
    unread: int = Field(description="messages that Kafka has and that are not done yet")
    gaps: list[Gap]
    missing: list[tuple[int, int]] = Field(description="first and last offset of what was read, but is found nowhere")
    unposted: list[tuple[int, int]] = Field(description="and of what is owed to SkyPortal, but not in the outbox")
    balance: int = Field(description="how many these are: 0 where nothing is missing")


class NightStep(BaseModel):
    """A state that a night was in, and what led there."""

    state: str = Field(description="waiting, running, draining, done or reported")
    at: datetime
    why: str


class ConductedNight(BaseModel):
    """Where a survey's night is."""

    survey: str
    night: str
    state: str = Field(description="waiting, running, draining, done or reported")
    since: datetime
    why: str = Field(description="what it waits for, or what led there")
    steps: list[NightStep]
    messages: int = Field(description="how many Kafka had when it was last looked at")
    grew_at: datetime = Field(description="when that was last found to be more than before")
    stopped: bool = Field(description="whether an operator said that it is over")


class NightBooks(BaseModel):
    """A night's ledger, and where the night is, of the surveys whose nights are conducted."""

    night: str
    balance: int = Field(description="messages that are unaccounted for: 0 where nothing is missing")
    total: dict[str, int]
    accounts: list[PartitionAccount]
    conducted: list[ConductedNight]
