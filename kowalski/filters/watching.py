"""What alerts match in watchlists that filters declare: looked for once per batch, in one round trip."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from kowalski.alerts.survey import Survey
from kowalski.database.client import MongoDatabase
from kowalski.database.watchlists import Watchlists
from kowalski.errors import DatabaseError, DatabaseUnavailable, FilterError
from kowalski.filters.compile import words_of
from kowalski.filters.language import Stage
from kowalski.log import get_logger
from kowalski.watchlists.matching import ListKey, Lists, Matches, Place, answered, matches

log = get_logger(__name__)

#: where the matched rows stand in an alert, by the names of the lists
WATCHED = "watchlists"

Row = dict[str, Any]


class Watched(NamedTuple):
    """What the alerts of a batch match; ``problem`` says why nothing is known where that is so."""

    matches: Matches
    problem: str = ""

    def rows(self, place: int, keys: Iterable[ListKey]) -> dict[str, list[Row]]:
        """The rows that the alert at a place of the batch matches, by the names of the lists."""
        return {key.name: self.matches[key][place] for key in keys}

    def lacks(self, keys: Sequence[ListKey]) -> str:
        """Why filters that declare some lists can't be run; empty where they can."""
        missing = [key for key in keys if key not in self.matches]
        if missing and self.problem:
            return f"watchlists: {self.problem}"
        names = ", ".join(key.name for key in missing)
        return f"watchlists: group {missing[0].group_id} has no {names} any more" if missing else ""

    def matching(self, keys: Iterable[ListKey], names: Iterable[str], number: int) -> np.ndarray:
        """Which of a batch's alerts match something in each of those of some lists that have these names; shape (N,), bool."""
        wanted, met = set(names), np.ones(number, bool)
        for key in keys:
            if key.name in wanted:
                met &= np.array([bool(rows) for rows in self.matches[key]], bool)
        return met


NOTHING = Watched({})


class Watches(Protocol):
    """Who knows what alerts match."""

    def of(self, documents: Sequence[Mapping[str, Any]], keys: set[ListKey]) -> Watched:
        """What alerts match in some lists."""
        ...


class Watching:
    """Looks for a survey's alerts in watchlists, and remembers the lists."""

    def __init__(self, database: MongoDatabase, survey: Survey):
        self.watchlists = Watchlists(database)
        self.survey = survey
        self._known: Lists = {}

    def of(self, documents: Sequence[Mapping[str, Any]], keys: set[ListKey]) -> Watched:
        """What alerts match in some lists.

        Raises
        ------
        DatabaseUnavailable : MongoDB is out of reach
        """
        known = dict(self._known)  # several threads may look at once
        try:
            found = answered(matches(keys, places_of(documents, self.survey), known), self.watchlists.answer)
        except DatabaseUnavailable:
            raise
        except DatabaseError as error:
            log.error("watchlists can't be looked at: %s", error)
            return Watched({}, str(error))
        self._known = known
        return Watched(found)


def places_of(documents: Iterable[Mapping[str, Any]], survey: Survey) -> list[Place]:
    """Objects and positions of alerts."""
    return [Place(each[survey.object_id], each["candidate"]["ra"], each["candidate"]["dec"]) for each in documents]


def require_declared(stages: Sequence[Stage], names: Iterable[str]) -> None:
    """Raise `FilterError` where a pipeline reads watchlists that are not declared: it would find none, whatever they hold."""
    read = {tuple(word.lstrip("$").split(".")) for stage in stages for word in words_of(stage)}
    if missing := sorted({path[1] for path in read if path[0] == WATCHED and len(path) > 1} - set(names)):
        raise FilterError(
            f"watchlists: the pipeline reads {', '.join(missing)}, which the filter does not declare: add it to watchlists"
        )


def required_lists(stages: Sequence[Stage]) -> frozenset[str]:
    """Names of the lists in which an alert must match something to pass, as far as the leading ``$match`` stages say so plainly."""
    return frozenset(_required(stages))


def _required(stages: Sequence[Stage]) -> Iterator[str]:
    for stage in stages:
        query = stage.get("$match")
        if not isinstance(query, dict):
            return
        for path, body in query.items():
            first, _, rest = path.partition(".")
            name, _, place = rest.partition(".")
            if first == WATCHED and place.isdecimal() and isinstance(body, dict) and body.get("$exists") is True:
                yield name
