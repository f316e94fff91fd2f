"""The arguments of a request for a cutout."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from kowalski.alerts.pictures import COLOR_MAPS, INTERVALS, STRETCHES
from kowalski.alerts.survey import Survey, get_survey, key_of, known_surveys
from kowalski.api.models.fields import Body

ROLES = ("science", "template", "difference")
FORMATS = ("fits", "png")


def find_survey(name: str) -> Survey:
    """The survey of a path, in any case.

    Raises
    ------
    ValueError : there is none of that name
    """
    if key_of(name) is None:
        raise ValueError(f"survey {name} must be one of [{', '.join(each.name.lower() for each in known_surveys())}]")
    return get_survey(name)


def _known(name: str) -> str:
    find_survey(name)
    return name


SurveyName = Annotated[str, AfterValidator(_known), Field(description="e.g. ZTF, in any case", examples=["ztf"])]
Candid = Annotated[int, Field(ge=-(2**63), lt=2**63, description="the alert's candid", examples=[1105522281015015000])]


class CutoutPath(Body):
    """Which cutout, and how it is to look."""

    survey: SurveyName
    candid: Candid
    cutout: str = Field(description="science, template or difference", examples=["science"])
    file_format: str = Field(description="fits or png", examples=["png"])
    interval: str | None = Field(None, description="of a png: min_max, zscale or sigma_clipped; else percentiles 1 to 100")
    stretch: str | None = Field(
        None, description="of a png: linear, log, asinh or sqrt; else log, linear for difference"
    )
    cmap: str | None = Field(None, description="of a png: bone, gray, cividis, viridis or magma; else bone")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.cutout.lower() not in ROLES:
            raise ValueError(f"cutout {self.cutout} not in {list(ROLES)}")
        if self.file_format.lower() not in FORMATS:
            raise ValueError(f"file format {self.file_format} not in {list(FORMATS)}")
        return self

    @property
    def role(self) -> str:
        return self.cutout.lower()

    @property
    def looks(self) -> dict[str, str]:
        """Arguments of `picture`; what is not known is as if not given, as it was with version 3."""
        default = "linear" if self.role == "difference" else "log"
        return {
            "interval": self.interval if self.interval in INTERVALS else INTERVALS[0],
            "stretch": self.stretch if self.stretch in STRETCHES else default,
            "cmap": self.cmap if self.cmap in COLOR_MAPS else COLOR_MAPS[0],
        }
