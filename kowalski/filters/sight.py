"""What a filter may see: its survey's alerts of some programmes, and the objects of other surveys for which it asks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kowalski.alerts.points import Heads, Stored
from kowalski.alerts.survey import Survey, get_survey, known_surveys
from kowalski.errors import ConfigError, FilterError
from kowalski.watchlists.matching import ListKey


@dataclass(frozen=True)
class Sight:
    """The part of a survey that a filter may see.

    Attributes
    ----------
    permissions : programmes, where the survey has such
    others : of other surveys, whose objects at the same place the filter sees as well
    watchlists : lists of its group in which it sees what an alert matches
    """

    survey: Survey
    permissions: tuple[int, ...]
    others: tuple["Sight", ...] = ()
    watchlists: tuple[ListKey, ...] = ()

    @classmethod
    def of(
        cls,
        catalog: str,
        permissions: Iterable[int],
        surveys: Mapping[str, Any] | None = None,
        watchlists: Iterable[ListKey] = (),
    ) -> "Sight":
        """The sight that a filter's ``catalog``, ``permissions`` and ``surveys`` (``{name: [programid, ...] or true}``) stand for.

        Raises
        ------
        FilterError : there is no such survey, or what it says of one has no meaning
        """
        own = {survey.alerts: survey for survey in known_surveys()}
        if not isinstance(catalog, str) or catalog not in own:
            raise FilterError(f"catalog {catalog} not in ({', '.join(own)})")
        if surveys is not None and not isinstance(surveys, Mapping):
            raise FilterError(f"surveys must be a mapping of surveys, not {surveys!r:.100}")
        others = (cls._other(name, seen) for name, seen in (surveys or {}).items())
        ordered = tuple(sorted(others, key=lambda other: other.survey.name))
        try:
            programmes = tuple(int(each) for each in permissions)
        except (TypeError, ValueError, OverflowError):
            raise FilterError(f"permissions must be a list of integers, not {permissions!r:.100}") from None
        return cls(own[catalog], programmes, ordered, tuple(sorted(set(watchlists))))

    @classmethod
    def _other(cls, name: str, seen: Any) -> "Sight":
        try:
            survey = get_survey(name)
        except ConfigError as error:
            raise FilterError(f"surveys: {error}") from None
        if survey.program_field is None:
            wanted, right = "true", seen is True
        else:
            wanted, right = "a list of programids", isinstance(seen, list) and all(type(each) is int for each in seen)
        if not right:
            raise FilterError(f"surveys: {survey.name} must be {wanted}, not {seen!r:.100}")
        return cls(survey, () if seen is True else tuple(seen))

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal, and sortable, for filters of one survey that may see the same."""
        others = tuple((other.survey.name, other.permissions) for other in self.others)
        return self.permissions, others, self.watchlists

    @property
    def record(self) -> dict[str, Any]:
        """What is noted with what a filter said, so that it is shown to those only who may see as much."""
        others = {each.survey.name: True if each.survey.program_field is None else list(each.permissions) for each in self.others}  # fmt: skip
        return {"permissions": list(self.permissions), "surveys": others}

    @property
    def condition(self) -> dict[str, Any]:
        """The condition on the survey's alerts that may be seen."""
        if self.survey.program_field is None:
            return {}
        return {f"candidate.{self.survey.program_field}": {"$in": list(self.permissions)}}

    def sees(self, candidate: Mapping[str, Any]) -> bool:
        """Whether an alert with this candidate may be seen."""
        field = self.survey.program_field
        return field is None or candidate.get(field) in self.permissions

    def sees_points(self, points: Sequence[Stored], heads: Heads) -> np.ndarray:
        """Which points of a light curve may be seen, given what they begin with; shape (N,), bool."""
        if self.survey.program_field == "programid":
            return np.isin(heads.programid, self.permissions)
        return np.array([self.sees(point) for point in points], bool)
