"""Compile a pipeline: check it, make it fit for a whole batch, and find out what it reads."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import bson
from bson import json_util
from bson.code import Code
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.errors import BSONError

from kowalski.errors import FilterError
from kowalski.filters.language import READS_FROM, STAGES, Stage, strange_stages, strangers_in
from kowalski.filters.sieve import Sieve, sieve_of

#: what a filter may consist of: it reads one alert with its history, and nothing else
FILTER_STAGES = STAGES - READS_FROM.keys() - {"$documents", "$geoNear"}
#: stages that treat each document by itself: a batch gives the same as one alert at a time
PER_DOCUMENT = frozenset({"$match", "$project", "$addFields", "$set", "$unset", "$unwind", "$redact"})
#: carries the alert's candid through whatever a pipeline does to its documents
CARRIER = "_candid"
#: words of stages that may take the carrier for a field of the alert, or (``$text``) stand nowhere but first
SEES_CARRIER = frozenset({"$$ROOT", "$$CURRENT", "$jsonSchema", "$text"})
#: variables and operators through which a pipeline may read any field without naming it
WHOLE_DOCUMENT = frozenset({"ROOT", "CURRENT", "DESCEND", "KEEP", "PRUNE", "getField", "jsonSchema", "facet"})


class Reads(NamedTuple):
    """What a pipeline may read: names of fields at any depth (None: all), and whether it takes the candidate as a whole."""

    names: frozenset[str] | None
    whole_candidate: bool

    def __or__(self, other: "Reads") -> "Reads":
        if self.names is None or other.names is None:
            return EVERYTHING
        return Reads(self.names | other.names, self.whole_candidate or other.whole_candidate)

    def wants(self, name: str) -> bool:
        """Whether a field may be read."""
        return self.names is None or name in self.names


EVERYTHING = Reads(None, whole_candidate=True)


class CompiledStages(NamedTuple):
    """A pipeline as it is run.

    Attributes
    ----------
    stages : as the user wrote them
    together : the same with `CARRIER` kept through them, for all alerts of a batch at once; None where that can't be done
    reads : what it may read
    sieve : what can be told without MongoDB of the alerts that don't pass
    """

    stages: list[Stage]
    together: list[Stage] | None
    reads: Reads
    sieve: Sieve

    @property
    def by_batch(self) -> bool:
        """Whether all alerts of a batch can go through at once."""
        return self.together is not None

    @property
    def alone(self) -> list[Stage]:
        """For one alert by itself: the user's stages never meet the carrier."""
        return [{"$unset": CARRIER}, *self.stages]


def compile_stages(stages: list[Stage]) -> CompiledStages:
    """A pipeline fit for a whole batch, where each of its stages treats every document by itself."""
    by_batch = all(treats_each_by_itself(stage) for stage in stages)
    together = [_carrying(stage) for stage in stages] if by_batch else None
    return CompiledStages(stages, together, fields_read(stages), sieve_of(stages))


def parse_pipeline(pipeline: Any) -> list[Stage]:
    """The stages of a pipeline, given as a list or as extended JSON, once they are allowed.

    Raises
    ------
    FilterError
    """
    if isinstance(pipeline, str):
        try:
            pipeline = json.loads(pipeline, object_hook=_typed)
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError, BSONError) as error:
            raise FilterError(f"pipeline is not valid extended JSON: {type(error).__name__}: {error}") from None
    if not isinstance(pipeline, list) or not all(isinstance(stage, dict) and len(stage) == 1 for stage in pipeline):
        raise FilterError("pipeline must be a list of stages, each with one key")
    if not pipeline:
        raise FilterError("pipeline must contain at least one stage")
    try:
        stages, operators = sorted(set(strange_stages(pipeline, FILTER_STAGES))), sorted(set(strangers_in(pipeline)))
    except ValueError as error:
        raise FilterError(f"pipeline: {error}") from None
    if stages:
        raise FilterError(f"pipeline uses forbidden stages: {', '.join(stages)}")
    if operators:
        raise FilterError(f"pipeline uses forbidden operators: {', '.join(operators)}")
    try:
        bson.encode({"pipeline": pipeline})
    except (BSONError, OverflowError, ValueError, RecursionError) as error:
        raise FilterError(f"pipeline holds what MongoDB has no type for: {error}") from None
    return pipeline


def _typed(document: dict[str, Any]) -> Any:
    """What an object of extended JSON stands for.

    Refused are an ``$oid`` of nothing, which would be another one each time, and what may hold anything: code with its scope, references.
    """
    if "$oid" in document and not isinstance(document["$oid"], str):
        raise TypeError("$oid must be text")
    made = json_util.object_hook(document)
    if isinstance(made, Code | DBRef):
        raise TypeError("$code and $ref are not allowed")
    return made


def fields_read(stages: list[Stage]) -> Reads:
    """What stages may read, rather too much than too little."""
    words = {word.lstrip("$") for stage in stages for word in words_of(stage)}
    if any(word.split(".")[0] in WHOLE_DOCUMENT for word in words):
        return EVERYTHING
    parts = frozenset(part for word in words for part in word.split("."))
    whole = any("candidate" in word.split(".")[1:] or word == "candidate" for word in words)
    return Reads(parts, whole_candidate=whole)


def treats_each_by_itself(stage: Stage) -> bool:
    """Whether a stage makes of each document what it would make of it alone, and can't see the carrier in it."""
    ((name, body),) = stage.items()
    words = set(words_of(body))
    names = {part for word in words for part in word.lstrip("$").split(".")}
    return name in PER_DOCUMENT and CARRIER not in names and words.isdisjoint(SEES_CARRIER)


def _carrying(stage: Stage) -> Stage:
    """The stage with the carrier kept, where it says which fields stay."""
    body = stage.get("$project")
    if not isinstance(body, dict) or _excludes(body):
        return stage
    return {"$project": {**body, CARRIER: 1}}


def _excludes(projection: dict[str, Any]) -> bool:
    """Whether a projection names the fields that go, not those that stay; ``_id`` counts only where it is alone."""
    others = {key: value for key, value in projection.items() if key != "_id"}
    return all(_goes(value) for value in (others or projection).values())


def _goes(value: Any) -> bool:
    if isinstance(value, Decimal128):
        return value.to_decimal().is_zero()
    if not isinstance(value, dict):
        return value in (0, False)
    return not any(key.startswith("$") for key in value) and all(_goes(item) for item in value.values())


def words_of(value: Any) -> Iterator[str]:
    """Every key and every text in a stage."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from words_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from words_of(item)
    elif isinstance(value, str):
        yield str(value)  # code in a literal is text that can't be looked up
