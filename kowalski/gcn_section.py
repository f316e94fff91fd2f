"""The settings of the GCN stream."""

from typing import Any, Literal

from pydantic import Field, model_validator

from kowalski.section import Section, Servers


class GcnStream(Section):
    """Where notices come from, and what is looked for in their sky maps."""

    enabled: bool
    bootstrap_servers: Servers = Field(alias="bootstrap.servers")
    client_id: str | None
    client_secret: str | None
    oauth_url: str
    group: str
    topics: tuple[str, ...] = Field(min_length=1)
    auto_offset_reset: Literal["earliest", "latest"] = Field(alias="auto.offset.reset")
    options: dict[str, Any]
    days: float = Field(gt=0)
    credible_level: float = Field(gt=0, le=100)
    contours: tuple[float, ...] = Field(min_length=1, max_length=20)
    refresh_interval: float = Field(gt=0)

    @model_validator(mode="after")
    def _whole(self) -> "GcnStream":
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("client_id and client_secret: both or none")
        if not all(0 < level < 100 for level in self.contours):
            raise ValueError("contours: levels between 0 and 100 are expected")
        return self
