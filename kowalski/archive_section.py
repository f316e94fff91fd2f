"""The settings of the packet archive."""

from typing import Annotated, Any

from pydantic import Field

from kowalski.section import Section

#: bytes that a file of packets must be able to hold
LEAST = 1 << 20


class Archive(Section):
    """Where packets are kept, and what becomes of the files."""

    enabled: bool
    folder: str = Field(min_length=1)
    segment_bytes: int = Field(ge=LEAST)
    close_after: float = Field(gt=0)
    remote: Annotated[str, Field(pattern=r"^[a-z0-9+]+://")] | None
    remote_options: dict[str, Any]
    notices_topic: Annotated[str, Field(pattern=r"^([\w.-]|\{survey\})+$")] | None
