"""The settings of the tables."""

from pydantic import Field

from kowalski.section import Section


class BigQuerySettings(Section):
    """Where whole nights are loaded to; nowhere without a project."""

    project: str | None
    dataset: str
    location: str | None
    credentials: str | None
    timeout: float = Field(gt=0)


class Tables(Section):
    """What is kept as Parquet, and where."""

    enabled: bool
    folder: str = Field(min_length=1)
    interval: float = Field(gt=0)
    settled: float = Field(ge=0)
    cutouts: bool
    export_bytes: int = Field(ge=1 << 20)
    bigquery: BigQuerySettings
