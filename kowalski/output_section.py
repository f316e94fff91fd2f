"""The settings of the messages that go out on Kafka."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kowalski.section import Section, Servers


class OutputTopics(Section):
    """How topics are made that are not there yet; what is null is the broker's own default."""

    partitions: int | None = Field(ge=1)
    replication: int | None = Field(ge=1)
    retention_ms: int | None = Field(ge=-1)

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return (self.partitions, self.replication, self.retention_ms) != (None, None, None)


class KafkaOutput(Section):
    """Who gets what passes filters, candidates, fits and packets, and in which form."""

    bootstrap_servers: Servers | None = Field(alias="bootstrap.servers")
    options: dict[str, Any]
    raw: bool
    schemas: Literal["included", "registry"]
    registry: Annotated[str, Field(pattern=r"^https?://[^/@]+(/|$)")] | None
    registry_username: str | None
    registry_password: str | None
    topics: OutputTopics

    @model_validator(mode="after")
    def _whole(self) -> "KafkaOutput":
        if self.schemas == "registry" and self.registry is None:
            raise ValueError("schemas: registry needs the address of one: registry")
        if (self.registry_username is None) != (self.registry_password is None):
            raise ValueError("registry_username and registry_password: both or none")
        if self.raw and self.bootstrap_servers is None:
            raise ValueError("raw: true needs bootstrap.servers")
        return self
