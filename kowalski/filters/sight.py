"""What a filter may see: its survey's alerts of some programmes, and the objects of other surveys for which it asks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kowalski.alerts.survey import Survey, get_survey, known_surveys
from kowalski.errors import ConfigError, FilterError


@dataclass(frozen=True)
class Sight:
    """The part of a survey that a filter may see.

    Attributes
    ----------
    permissions : programmes, where the survey has such
    others : of other surveys, whose objects at the same place the filter sees as well
    """

    survey: Survey
    permissions: tuple[int, ...]
    others: tuple["Sight", ...] = ()

    @classmethod
    def of(cls, catalog: str, permissions: Iterable[int], surveys: Mapping[str, Any] | None = None) -> "Sight":
        """The sight that a filter's ``catalog``, ``permissions`` and ``surveys`` (``{name: [programid, ...] or true}``) stand for.

        Raises
        ------
        FilterError : there is no such survey, or what it says of one has no meaning
        """
        own = {survey.alerts: survey for survey in known_surveys()}
        if catalog not in own:
            raise FilterError(f"catalog {catalog} not in ({', '.join(own)})")
        others = (cls._other(name, seen) for name, seen in (surveys or {}).items())
        ordered = tuple(sorted(others, key=lambda other: other.survey.name))
        try:
            programmes = tuple(int(each) for each in permissions)
        except (TypeError, ValueError, OverflowError):
            raise FilterError(f"permissions must be a list of integers, not {permissions!r:.100}") from None
        return cls(own[catalog], programmes, ordered)

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
        return self.permissions, tuple((other.survey.name, other.permissions) for other in self.others)

    @property
    def condition(self) -> dict[str, Any]:
        """The condition on the survey's alerts that may be seen."""
        if self.survey.program_field is None:
            return {}
        return {f"candidate.{self.survey.program_field}": {"$in": list(self.permissions)}}

    def sees(self, candidate: Mapping[str, Any]) -> bool:
        """Whether an alert with this candidate, or a point of a light curve, may be seen."""
        field = self.survey.program_field
        return field is None or candidate.get(field) in self.permissions
