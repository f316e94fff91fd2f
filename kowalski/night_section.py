"""The settings of the night conductor."""

from pydantic import Field, field_validator

from kowalski.section import Section


class NightSection(Section):
    """How nights are conducted, of the surveys that are enabled."""

    auto: bool
    dark_below: float = Field(ge=-18, le=0)
    quiet_minutes: float = Field(gt=0)
    longest_drain_hours: float = Field(gt=0)
    interval: float = Field(gt=0)
    stop_programs: bool
    most_workers: dict[str, int]
    alerts_per_worker: int = Field(gt=0)

    @field_validator("most_workers")
    @classmethod
    def _enough(cls, value: dict[str, int]) -> dict[str, int]:
        for survey, most in value.items():
            if most < 1:
                raise ValueError(f"{survey}: one worker at least")
        return value
