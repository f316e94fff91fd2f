"""The settings of what programs tell those who watch."""

from typing import Annotated

from pydantic import Field

from kowalski.section import Section

#: the ports after ``metrics.first_port`` that programs may take
PORTS = 200


class MetricsSection(Section):
    """Where each program's metrics are, for Prometheus."""

    enabled: bool
    host: str = Field(min_length=1)
    first_port: Annotated[int, Field(ge=1, le=65536 - PORTS)] | None
    port: Annotated[int, Field(ge=1, le=65535)] | None
    targets: str | None


class Telemetry(Section):
    """Where traces (OpenTelemetry) are sent; nowhere without an address."""

    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^/@]+(/|$)")] | None


class PerformanceReport(Section):
    """Reports of each day, of what the API's metrics said through it."""

    metrics: str | None
    interval: float = Field(gt=0)
    folder: str
