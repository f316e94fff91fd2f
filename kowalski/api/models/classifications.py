"""The bodies about classifications: ``{candid: {human_labels, ml_scores}}``."""

import math
from typing import Any

from pydantic import Field, RootModel, model_validator

from kowalski.api.models.cutouts import Candid, SurveyName
from kowalski.api.models.fields import Body

KINDS = ("human_labels", "ml_scores")


class ClassificationPath(Body):
    """Which survey."""

    survey: SurveyName


class AlertPath(Body):
    """Which alert."""

    survey: SurveyName
    candid: Candid


class _ByCandid(RootModel[dict[str, Any]]):
    """Something about some alerts, by candid."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, content: Any) -> Any:
        if not content:
            raise ValueError("no candid provided")
        for candid, given in content.items():
            if not (str(candid).isascii() and str(candid).lstrip("-").isdigit() and abs(int(candid)) < 2**63):
                raise ValueError(f"candid {candid!r:.100} is not a number")
            if not isinstance(given, dict) or not any(given.get(kind) for kind in KINDS):
                raise ValueError("no classifications provided, must provide at least one of human_labels or ml_scores")
        return content


class Labels(_ByCandid):
    """Labels and scores to be added: names with probabilities, or names alone for 1."""

    root: dict[str, Any] = Field(
        examples=[{"1105522281015015000": {"human_labels": {"SN": 1.0}, "ml_scores": {"mine": 0.7}}}]
    )

    def fields(self) -> dict[int, dict[str, float]]:
        """Per candid the fields to be set: ``human_labels.SN`` -> 1.0."""
        return {
            int(candid): {f"{kind}.{name}": value for kind in KINDS for name, value in _scores(given.get(kind)).items()}
            for candid, given in self.root.items()
        }


class Names(_ByCandid):
    """Labels and scores to be removed, by their names."""

    root: dict[str, Any] = Field(examples=[{"1105522281015015000": {"human_labels": ["SN"]}}])

    def fields(self) -> dict[int, list[str]]:
        """Per candid the fields to be removed."""
        return {
            int(candid): [f"{kind}.{name}" for kind in KINDS for name in _scores(given.get(kind))]
            for candid, given in self.root.items()
        }


def _scores(given: Any) -> dict[str, float]:
    """Names with their values, of a mapping, a list, or a text with commas.

    Raises
    ------
    ValueError : it is none of these, a name can't be a key, or a value is no finite number
    """
    if isinstance(given, str):
        given = [name.strip() for name in given.split(",")]
    if isinstance(given, list):
        given = dict.fromkeys((str(name) for name in given), 1.0)
    if not isinstance(given, dict | None):
        raise ValueError("human_labels and ml_scores must be mappings, lists, or texts with commas")
    for name, value in (given or {}).items():
        if not name or "." in name or name.startswith("$") or "\0" in name or len(name) > 200:
            raise ValueError(f"{name!r:.100} can't be the name of a label or score: no dot, no $ at its beginning")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{name}: {value!r:.100} is not a number")
    return given or {}
