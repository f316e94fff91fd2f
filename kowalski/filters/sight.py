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
        others = [cls._other(name, seen) for name, seen in sorted((surveys or {}).items())]
        return cls(own[catalog], tuple(int(each) for each in permissions), tuple(others))

    @classmethod
    def _other(cls, name: str, seen: Any) -> "Sight":
        try:
            survey = get_survey(name)
        except ConfigError as error:
            raise FilterError(f"surveys: {error}") from None
        programmes = isinstance(seen, list) and all(type(each) is int for each in seen)
        if seen is not True and not programmes or (seen is True and survey.program_field is not None):
            wanted = "a list of programids" if survey.program_field is not None else "true"
            raise FilterError(f"surveys: {survey.name} must be {wanted}, not {seen!r:.100}")
        return cls(survey, tuple(seen) if programmes else ())

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
