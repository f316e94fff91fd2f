"""All stored objects of a survey matched with one catalogue anew, batch by batch, beside running brokers.

Of an object's document nothing changes but the catalogue's list in ``cross_matches`` and what ``matched`` says of it: ``matched.made``
and ``matched.made_of`` have, by catalogue, when it was matched later than the others (``matched.at``) and with which version of it. An object is written only if nobody changed it since it was
read; else it is read again, so that neither a new alert's history nor an earlier first position is lost.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from kowalski.alerts.survey import Survey
from kowalski.crossmatch.matcher import Matcher, Target
from kowalski.crossmatch.versions import MatchVersions
from kowalski.database.catalogs import Catalogs
from kowalski.database.objects import Objects
from kowalski.database.rematches import Rematches, Standing, Version
from kowalski.errors import ConfigError, DatabaseError, DatabaseUnavailable
from kowalski.log import get_logger
from kowalski.provenance.records import recipe_digest
from kowalski.settings import Recipe

log = get_logger(__name__)

#: objects of a batch at most
BATCH = 500
#: how often a batch is read anew because somebody else changed some of it meanwhile
ATTEMPTS = 20
#: s for which MongoDB may be out of reach, and between looks whether it still is
PATIENCE, RETRY_AFTER = 600.0, 5.0

Document = dict[str, Any]
Recipes = Mapping[str, Mapping[str, Recipe]]
"""survey -> catalogue -> recipe."""


def surveys_with(catalog: str, recipes: Recipes, survey: str | None = None) -> list[str]:
    """The surveys whose objects are matched with a catalogue, or the one that is asked for.

    Raises
    ------
    ConfigError : that is none; the text lists the catalogues there are
    """
    chosen = [name for name, own in recipes.items() if catalog in own and survey in (None, name)]
    if not chosen:
        of = f" of {survey}" if survey else ""
        known = sorted({name for key, own in recipes.items() if survey in (None, key) for name in own})
        raise ConfigError(
            f"database.xmatch{of} names no catalogue {catalog}; it names {', '.join(known) or 'none'}. "
            "Add how it is to be matched, or correct its name"
        )
    return chosen


def plan(catalog: str, surveys: Iterable[str], recipes: Recipes, rematches: Rematches, restart: bool) -> list[Standing]:
    """Where the objects of each survey stand: those of an interrupted run go on, if the catalogue and how it is matched are the same still.

    Raises
    ------
    ConfigError : there is no such collection
    """
    versions = {}
    for name in surveys:
        versions[name] = version_of(catalog, recipes[name][catalog], rematches)
    known = {name: each for name, each in rematches.standings(catalog).items() if each.version == versions.get(name)}
    if restart or all(each.finished_at for each in known.values()):
        return rematches.begin(catalog, versions)
    anew = rematches.begin(catalog, {name: version for name, version in versions.items() if name not in known})
    rematches.take(known.values())
    return sorted([*known.values(), *anew], key=lambda each: each.survey)


def version_of(catalog: str, recipe: Recipe, rematches: Rematches) -> Version:
    """What changes when a catalogue gets other rows, or is to be matched in another way.

    Raises
    ------
    ConfigError : there is no such collection
    """
    collection = rematches.collection_of(catalog)
    if collection is None:
        raise ConfigError(f"the database has no collection {catalog}: ingest the catalogue first")
    rows = {} if recipe.latest_by else {"rows": collection.rows}  # that has more with each alert
    return {"collection": collection.uuid, "recipe": recipe_digest(recipe), **rows}


class Pace:
    """Keeps matching below a rate (objects/s), and lets MongoDB rest as long as it took: what slows others slows this, too."""

    def __init__(self, rate: float, sleep: Callable[[float], None] = time.sleep):
        self.rate, self.sleep = rate, sleep

    @property
    def batch(self) -> int:
        """Objects of a batch: those of a second, `BATCH` at most."""
        return max(1, min(BATCH, int(self.rate)))

    def rest(self, objects: int, seconds: float) -> None:
        """Wait after so many objects took so many seconds."""
        self.sleep(max(objects / self.rate - seconds, seconds))


class Rematch:
    """Matches a survey's objects with one catalogue anew.

    An object that was never matched, or at another position than that of its first alert, is matched with all of its survey's catalogues.
    """

    def __init__(self, survey: Survey, catalog: str, recipes: Mapping[str, Recipe], rematches: Rematches):
        self.catalog, self.rematches = catalog, rematches
        self.objects = Objects(rematches.database, survey)
        catalogs, versions = Catalogs(rematches.database), MatchVersions(rematches.database)
        self.own = Matcher(catalogs, {catalog: recipes[catalog]}, versions)
        self.all = Matcher(catalogs, recipes, versions)

    def run(self, standing: Standing, pace: Pace) -> Iterator[Standing]:
        """See all objects after where it stands through; gives where it stands after each batch, once that is kept.

        Raises
        ------
        DatabaseUnavailable : MongoDB was out of reach for `PATIENCE` s; what is done is kept
        DatabaseError : the catalogue can't be searched, or another process has taken over
        """
        while True:
            began = time.monotonic()
            step = partial(self._step, standing, pace.batch)
            after = patiently(step, pace.sleep)
            if after is standing:
                return
            yield after
            pace.rest(after.done - standing.done, time.monotonic() - began)
            standing = after

    def finish(self, standing: Standing) -> Standing:
        """Keep that all objects are done.

        Raises
        ------
        DatabaseError : the catalogue has changed since it was begun
        """
        if version_of(self.catalog, self.all.recipes[self.catalog], self.rematches) != standing.version:
            raise DatabaseError(f"{self.catalog} changed while the objects of {standing.survey} were matched with it: run the command again")  # fmt: skip
        finished = replace(standing, finished_at=self.rematches.now())
        self.rematches.keep(finished)
        return finished

    def _step(self, standing: Standing, size: int) -> Standing:
        """Where it stands after one batch more, which is kept; the same where there are no objects any more."""
        documents = self.objects.matches({"_id": {"$gt": standing.after}}, self.catalog, size)
        if not documents:
            return standing
        found = self.match(documents, standing.begun)
        after = replace(
            standing,
            after=documents[-1]["_id"],
            done=standing.done + len(documents),
            matched=standing.matched + sum(found.values()),
            unplaced=standing.unplaced + len(documents) - len(found),
        )
        self.rematches.keep(after)
        return after

    def match(self, documents: list[Document], begun: datetime) -> dict[str, bool]:
        """Match some objects, those that were since ``begun`` left as they are; object -> whether it has a row of the catalogue.

        One without a first alert, of which it isn't known where it is, stays as it was and is not in the answer.
        """
        found: dict[str, bool] = {}
        for _ in range(ATTEMPTS):
            placed = [document for document in documents if "first_alert" in document]
            found |= {each["_id"]: bool(each["cross_matches"].get(self.catalog)) for each in placed if self._is_done(each, begun)}  # fmt: skip
            todo = {each["_id"]: each for each in placed if each["_id"] not in found}
            matched = self._matched(list(todo.values()))
            conflicts = self.objects.update(
                {key: (todo[key].get("version"), fields) for key, (_, fields) in matched.items()}
            )
            found |= {key: has for key, (has, _) in matched.items() if key not in conflicts}
            if not conflicts:
                return found
            documents = self.objects.matches({"_id": {"$in": list(conflicts)}}, self.catalog, len(conflicts))
        raise DatabaseUnavailable(f"{len(conflicts)} objects kept changing, e.g. {min(conflicts)}")

    def _is_done(self, document: Document, begun: datetime) -> bool:
        """Whether an object was matched with the catalogue since then, before this or an earlier process was killed."""
        made = (document.get("matched") or {}).get("made", {}).get(self.catalog)
        return made is not None and made >= begun

    def _matched(self, documents: list[Document]) -> dict[str, tuple[bool, Document]]:
        """Object -> whether it has a row of the catalogue, and what of its document is to be set."""
        now = self.rematches.now()
        partly = [document for document in documents if _is_matched(document)]
        wholly = [document for document in documents if not _is_matched(document)]
        answers: dict[str, tuple[bool, Document]] = {}
        for document, fields in zip(partly, self._found(self.own, partly), strict=True):
            rows = fields["cross_matches"][self.catalog]
            told = with_match(document["matched"], self.catalog, now, fields["matched"].get("versions"))
            answers[document["_id"]] = bool(rows), {f"cross_matches.{self.catalog}": rows, "matched": told}
        for document, fields in zip(wholly, self._found(self.all, wholly), strict=True):
            told = with_match(fields["matched"], self.catalog, now, fields["matched"].get("versions"))
            answers[document["_id"]] = bool(fields["cross_matches"][self.catalog]), fields | {"matched": told}
        return answers

    def _found(self, matcher: Matcher, documents: list[Document]) -> list[Document]:
        """What a matcher says of each of some objects."""
        places = [
            Target(each["_id"], *(each["first_alert"][name] for name in ("candid", "ra", "dec"))) for each in documents
        ]
        found = matcher.match(places)
        if any(self.catalog in (*each["matched"]["failed"], *each["matched"]["absent"]) for each in found.values()):
            raise DatabaseError(f"{len(places)} objects can't be matched with {self.catalog}, see above: the same command goes on from there")  # fmt: skip
        return [found[place.object_id] for place in places]


def _is_matched(document: Document) -> bool:
    """Whether an object was matched at the position of its first alert."""
    matched = document.get("matched")
    return matched is not None and matched["candid"] == document["first_alert"]["candid"]


def with_match(matched: Document, catalog: str, at: datetime, versions: str | None) -> Document:
    """What is said of an object's matches once it is matched with a catalogue anew, of which ``versions`` names the version."""
    without = {name: [each for each in matched[name] if each != catalog] for name in ("catalogs", "absent", "failed")}
    without["catalogs"].append(catalog)
    made_of = {**matched.get("made_of", {}), catalog: versions}
    return {**matched, **without, "made": {**matched.get("made", {}), catalog: at}, "made_of": made_of}


def patiently(step: Callable[[], Standing], sleep: Callable[[float], None]) -> Standing:
    """What a step gives; again while MongoDB is out of reach, for `PATIENCE` s."""
    waited = 0.0
    while True:
        try:
            return step()
        except DatabaseUnavailable as error:
            if waited >= PATIENCE:
                raise
            log.warning("trying again: %s", error)
            sleep(RETRY_AFTER)
            waited += RETRY_AFTER
