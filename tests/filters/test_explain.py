"""Explaining: what is said of every kind of condition, with the values that were met, by MongoDB itself."""

from typing import Any

import pytest

from kowalski.database.filters import Filters
from kowalski.errors import DatabaseError, FilterError
from kowalski.filters.compile import CARRIER
from kowalski.filters.explain import COUNTED, SHOWN, Question, answers, explain

DOCUMENT = {
    "candid": 5, "objectId": "ZTF23abc", CARRIER: 5, "candidate": {"rb": 0.3, "fid": 1, "drb": None, "isdiffpos": "t"},
    "prv_candidates": [{"jd": 1.0, "magpsf": 18.0}, {"jd": 2.0}, {"jd": 3.0, "magpsf": 19.0}],
}  # fmt: skip


class Asked:
    """Has pipelines explained, and keeps what MongoDB was asked and answered."""

    def __init__(self, filters: Filters):
        self.filters = filters
        self.rows: list[int] = []

    def __call__(self, *stages: Any, document: dict[str, Any] | None = None) -> dict[str, Any]:
        told: dict[str, Any] = answers(explain(list(stages), DOCUMENT if document is None else document), self._ask)
        return told

    def rejected(self, condition: Any) -> tuple[str, list[dict[str, Any]]]:
        """Reason and rejections of a condition that nothing meets."""
        told = self({"$match": condition})
        assert not told["passed"]
        return told["reason"].removeprefix("stage 1 ($match): "), told["stages"][0]["rejected_by"]

    def _ask(self, question: Question) -> list[dict[str, Any]]:
        assert CARRIER not in question.document
        try:
            rows = self.filters.run(question.stages, [question.document], 5000)  # type: ignore[list-item]
        except DatabaseError as error:
            raise FilterError(str(error)) from None
        self.rows.append(len(rows))
        return rows


@pytest.fixture
def asked(filters: Filters) -> Asked:
    return Asked(filters)


@pytest.mark.parametrize(
    ("condition", "reason", "found"),
    [
        ({"candidate.rb": {"$gt": 0.5}}, "candidate.rb is 0.3, not {'$gt': 0.5}", [0.3]),
        ({"candidate.rb": {"$not": {"$lt": 0.5}}}, "candidate.rb is 0.3, not {'$not': {'$lt': 0.5}}", [0.3]),
        ({"candidate.drb": {"$gt": 0.5}}, "candidate.drb is None, not {'$gt': 0.5}", [None]),
        ({"objectId": {"$regex": "^ZTF18"}}, "objectId is 'ZTF23abc', not {'$regex': '^ZTF18'}", ["ZTF23abc"]),
        ({"prv_candidates.magpsf": {"$lt": 17}}, "prv_candidates.magpsf is [18.0, 19.0], not {'$lt': 17}", [[18.0, 19.0]]),
        ({"prv_candidates.1.jd": 7}, "prv_candidates.1.jd is 2.0, not 7", [2.0]),
        ({"prv_candidates": {"$size": 9}}, None, [DOCUMENT["prv_candidates"]]),
        ({"prv_candidates": {"$elemMatch": {"magpsf": {"$lt": 17}, "jd": 1.0}}}, None, [DOCUMENT["prv_candidates"]]),
        ({"$expr": {"$gt": ["$candidate.rb", 0.5]}}, "{'$gt': ['$candidate.rb', 0.5]} is not met by [0.3, 0.5]", [[0.3, 0.5]]),
        ({"$expr": {"$and": "$candidate.drb"}}, "{'$and': '$candidate.drb'} is not met by False", [False]),
        ({"$expr": "$candidate.drb"}, "'$candidate.drb' is not met", [None]),
        ({"$jsonSchema": {"required": ["classifications"]}}, "{'required': ['classifications']} is not met", []),
    ],
)  # fmt: skip
def test_the_value_that_a_condition_met(asked: Asked, condition: Any, reason: str | None, found: list[Any]) -> None:
    said, (rejection,) = asked.rejected(condition)
    assert rejection == {"clause": condition, "met_by": 0, "found": found}
    assert reason is None or said.startswith(reason)


@pytest.mark.parametrize("name", ["candidate.dbr", "candidat.rb", "prv_candidates.mag", "prv_candidates.9.jd"])
def test_a_field_that_is_not_there_is_said_to_be_missing(asked: Asked, name: str) -> None:
    said, (rejection,) = asked.rejected({name: {"$gt": 0.5}})
    assert said == f"{name} is missing, not {{'$gt': 0.5}}"
    assert (rejection["found"], rejection["missing"]) == ([None], 1)


def test_conditions_that_must_all_be_met_are_told_one_by_one(asked: Asked) -> None:
    condition = {
        "$and": [{"candidate.fid": 1, "candidate.rb": 1}, {"$and": [{"candid": 6}]}],
        "$expr": {"$and": [{"$eq": ["$candid", 5]}, {"$and": [{"$eq": ["$candid", 7]}, True]}]},
    }
    said, rejections = asked.rejected(condition)
    assert said == "candidate.rb is 0.3, not 1; 2 more"
    assert [each["clause"] for each in rejections] == [{"candidate.rb": 1}, {"candid": 6}, {"$expr": {"$eq": ["$candid", 7]}}]  # fmt: skip


def test_parts_of_which_one_would_do(asked: Asked) -> None:
    said, (rejection,) = asked.rejected({"$or": [{"candid": 6}, {"candidate.fid": 1, "candidate.rb": 1}]})
    assert said == "no part of $or is met"
    assert [(part["clause"], part["met_by"], part["found"]) for part in rejection["parts"]] == [
        ({"candid": 6}, 0, [5]),
        ({"candidate.fid": 1}, 1, [1]),
        ({"candidate.rb": 1}, 0, [0.3]),
    ]
    said, (rejection,) = asked.rejected({"$expr": {"$or": [{"$eq": ["$candid", 6]}, {"$eq": ["$candidate.fid", 2]}]}})
    assert said == "no part of $expr is met"
    assert [part["found"] for part in rejection["parts"]] == [[[5, 6]], [[1, 2]]]


def test_parts_of_which_none_may_be_met(asked: Asked) -> None:
    said, (rejection,) = asked.rejected({"$nor": [{"candid": 6}, {"candidate.fid": 1, "candidate.isdiffpos": "t"}]})
    assert said == "{'candidate.fid': 1, 'candidate.isdiffpos': 't'} is met, under $nor"
    assert rejection["clause"] == {"$nor": [{"candidate.fid": 1, "candidate.isdiffpos": "t"}]}
    assert [part["met_by"] for part in rejection["parts"]] == [1, 1]


def test_what_is_met_only_one_by_one(asked: Asked) -> None:
    told = asked({"$unwind": "$prv_candidates"}, {"$match": {"prv_candidates.jd": 1.0, "prv_candidates.magpsf": 19.0}})
    first, second = told["stages"][1]["rejected_by"]
    assert (first["met_by"], second["met_by"]) == (1, 1)
    assert first["found"] == [1.0, 2.0, 3.0]
    assert (second["found"], second["missing"]) == ([18.0, None, 19.0], 1)


def test_the_document_is_the_users_own(asked: Asked) -> None:
    told = asked({"$project": {"annotations": {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.k"}}}})
    assert told["passed"]
    assert told["documents"] == [{"annotations": ["candid", "objectId", "candidate", "prv_candidates"]}]
    assert asked({"$match": {CARRIER: {"$exists": False}}})["passed"]


def test_many_large_documents_are_counted_where_they_are(asked: Asked) -> None:
    many = [{"$set": {"n": {"$range": [0, 3000]}}}, {"$unwind": "$n"}]
    told = asked(*many, {"$match": {"n": {"$gt": 5}}})
    assert [(step["in"], step["out"]) for step in told["stages"]] == [(1, 1), (1, COUNTED), (COUNTED, COUNTED)]
    assert told["reason"].startswith(f"{COUNTED} documents come out")
    assert len(told["documents"]) == SHOWN
    (rejection,) = asked(*many, {"$match": {"n": -1}})["stages"][2]["rejected_by"]
    assert (rejection["met_by"], rejection["found"]) == (0, list(range(SHOWN)))
    assert max(asked.rows) == SHOWN


def test_a_stage_that_fails_ends_the_story(asked: Asked) -> None:
    told = asked({"$match": {}}, {"$set": {"x": {"$divide": [1, {"$subtract": ["$candid", 5]}]}}}, {"$match": {}})
    assert (len(told["stages"]), told["passed"]) == (2, False)
    assert told["reason"].startswith("stage 2 ($set) fails: ")
    assert "zero" in told["stages"][1]["error"]
