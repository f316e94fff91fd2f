"""What one process does with a range of a file's rows: store, compare with what is stored, or only read."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kowalski.database.ingests import INCOMING, Ingests
from kowalski.database.neighbours import Neighbours
from kowalski.ingesters.recipe import Document, Piece, Recipe, Rejected

Mode = Literal["store", "verify", "read"]
#: of each how many documents one is compared in full
SAMPLE = 20
#: identifiers that are named of those that lack or differ
NAMED = 10


@dataclass(frozen=True)
class Plan:
    """What is to be done with all files.

    Attributes
    ----------
    target : the collection that stands for them all
    collections : by the recipe's parts
    staged : whether documents go to collections that are put in place when all are there
    rejects : the file that says which rows could not be stored
    most : documents of the first part to stop after
    """

    recipe: Recipe
    mode: Mode
    target: str
    collections: dict[str, str]
    staged: bool
    rejects: Path
    most: int | None = None


@dataclass(frozen=True)
class Stretch:
    """Rows of a file from ``first`` to before ``last``; ``name`` is the file's under what was asked for, ``size`` its bytes."""

    path: Path
    name: str
    size: int
    first: int
    last: int | None


@dataclass
class Outcome:
    """What became of a stretch's rows: figures, and what was found to differ."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("read", "stored", "known", "cut", "rejected"), 0))  # fmt: skip
    lacking: list[Any] = field(default_factory=list)
    differing: list[Any] = field(default_factory=list)
    number_lacking: int = 0
    number_differing: int = 0
    example: Document | None = None

    def add(self, more: dict[str, int]) -> None:
        """Count more."""
        for name, number in more.items():
            self.counts[name] += number

    def join(self, other: "Outcome") -> None:
        """Count what another one did."""
        self.add(other.counts)
        self.lacking = (self.lacking + other.lacking)[:NAMED]
        self.differing = (self.differing + other.differing)[:NAMED]
        self.number_lacking += other.number_lacking
        self.number_differing += other.number_differing
        self.example = self.example or other.example


def work(plan: Plan, stretch: Stretch, ingests: Ingests | None, progress: Callable[[int], None]) -> Outcome:
    """Do what is planned with a stretch, from where it was left.

    ``progress`` is told of each number of rows that is done. Without ``ingests`` nothing is read of the database, nor written.

    Raises
    ------
    IngestError : the file is broken
    DatabaseError : MongoDB is out of reach, or refuses
    """
    outcome, first = Outcome(), stretch.first
    storing = ingests if plan.mode == "store" else None
    if storing:
        first, whole = storing.done(plan.target, stretch.name, stretch.size, stretch.first)
        progress(first - stretch.first)
        if whole:
            return outcome
    for piece in plan.recipe.pieces(stretch.path, first, stretch.last):
        left = None if plan.most is None else plan.most - outcome.counts["stored"] - outcome.counts["known"]
        counts = _done(plan, stretch, _cut_off(piece, left), ingests, outcome)
        if storing:
            storing.mark(plan.target, stretch.name, stretch.size, stretch.first, piece.last, counts)
        outcome.add(counts)
        progress(piece.read)
        if left is not None and counts["stored"] + counts["known"] >= left:
            return outcome
    if storing:
        storing.mark_whole(plan.target, stretch.name, stretch.size, stretch.first)
    return outcome


def _cut_off(piece: Piece, left: int | None) -> Piece:
    """A piece of which the first part has no more documents than are wanted."""
    if left is not None:
        first = next(iter(piece.documents))
        piece.documents[first] = piece.documents[first][: max(left, 0)]
    return piece


def _done(plan: Plan, stretch: Stretch, piece: Piece, ingests: Ingests | None, outcome: Outcome) -> dict[str, int]:
    """Do what is planned with a piece; the figures."""
    main = next(iter(plan.collections))
    counts = {"read": piece.read, "stored": 0, "known": 0, "cut": piece.cut, "rejected": 0}
    rejected = list(piece.rejected)
    for part, documents in piece.documents.items():
        outcome.example = outcome.example or (documents[0] if documents else None)
        if ingests is None:
            stored, known = len(documents), 0
        elif plan.mode == "verify":
            lacking, differing = ingests.differing(plan.collections[part], documents, SAMPLE)
            outcome.join(Outcome(lacking=lacking[:NAMED], differing=differing[:NAMED], number_lacking=len(lacking), number_differing=len(differing)))  # fmt: skip
            stored, known = 0, len(documents) - len(lacking)
        else:
            stored, known, reasons = _store(plan, part, documents, ingests)
            rejected += [Rejected(-1, reason) for reason in reasons if part == main]
        if part == main:
            counts |= {"stored": stored, "known": known}
    counts["rejected"] = len(rejected)
    if rejected and plan.mode == "store":
        _write_rejects(plan.rejects, stretch.name, rejected)
    return counts


def _store(plan: Plan, part: str, documents: list[Document], ingests: Ingests) -> tuple[int, int, list[str]]:
    """How many documents are new and how many were there, and why others could not be stored."""
    collection = INCOMING + plan.collections[part] if plan.staged else plan.collections[part]
    refused = plan.recipe.enrich(part, documents, Neighbours(ingests.database)) if documents else {}
    whole = [document for place, document in enumerate(documents) if place not in refused]
    written = (ingests.merge if plan.recipe.merges else ingests.write)(collection, whole)
    clashes = [f"another row has the identifier {whole[place]['_id']!r}" for place in written.clashes]
    return written.stored, written.known, [*refused.values(), *clashes]


def _write_rejects(path: Path, file: str, rejected: list[Rejected]) -> None:
    """Add to the file of what could not be stored; what several processes write at a time stays whole lines."""
    lines = [{"file": file, **({"row": each.row} if each.row >= 0 else {}), "reason": each.reason} for each in rejected]
    with path.open("a", encoding="utf-8") as out:
        out.write("".join(json.dumps(line) + "\n" for line in lines))
