"""The filters that an alert has passed beside those that it passes again, and what went to the outbox for it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kowalski.alerts.document import Alert
from kowalski.alerts.survey import Survey
from kowalski.database.outbox import photometry_id
from kowalski.filters.results import FilterRun, Pass
from kowalski.outbox.entries import entries_of
from kowalski.outbox.results import result_entries
from kowalski.provenance.comparing import (
    DIFFERS,
    MISSING,
    NOT_CHECKED,
    NOT_RECORDED,
    SAME,
    Difference,
    Row,
    as_read,
    differences,
    row,
)
from kowalski.provenance.scores import TOLERANCE

#: fields of an entry that say when, and how its packet came, and not what
MOMENTS = ("passed_at", "replayed")
#: fields that entries of earlier versions of Kowalski may lack
SINCE_LATELY = ("fid", "filter_state", "group_id", "permissions", "surveys")
#: kinds of entries that are made of a pass, or of an object that SkyPortal knows
MADE = ("candidate", "result", "photometry")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is stored of an alert and filters.

    Attributes
    ----------
    passes : of the collection ``passes``
    entries : of the outbox
    ran : (filter_id, fid) of versions that ran on the day when the alert was stored, and should have seen it
    lost : (filter_id, fid) of passes whose filter or version is not stored any more, with the reason
    """

    passes: list[Document]
    entries: list[Document]
    ran: frozenset[tuple[int, str]]
    lost: Mapping[tuple[int, str], str]

    @property
    def versions(self) -> dict[tuple[int, str], list[Document]]:
        """What is stored of passes, by filter_id and fid."""
        return versions_of(self.passes, self.entries)


def versions_of(passes: Iterable[Document], entries: Iterable[Document]) -> dict[tuple[int, str], list[Document]]:
    """What is stored of an alert's passes, by filter_id and fid."""
    found: dict[tuple[int, str], list[Document]] = {}
    for each in [*passes, *(entry for entry in entries if entry["kind"] in ("candidate", "result"))]:
        found.setdefault(key_of(each), []).append(each)
    return found


def key_of(stored: Document) -> tuple[int, str]:
    """filter_id and fid of a pass, or of an entry that tells of one."""
    fid: str = stored.get("fid") or (stored.get("passed") or {}).get("fid") or ""
    return stored.get("filter_id", 0), fid


def pass_rows(recorded: Recorded, run: FilterRun) -> Iterator[Row]:
    """Each filter that has let the alert pass, or would: whether it does again, with which annotations, and in which state it was."""
    versions = recorded.versions
    again = {(each.filter.filter_id, each.filter.fid): each for each in run.passes}
    failures = dict((run.failures + run.skipped).keys())
    for key, stored in sorted(versions.items(), key=lambda item: str(item[0])):
        thing = f"filter {key[0]} {key[1]}"
        if reason := recorded.lost.get(key) or (None if key in again else failures.get(key[0])):
            yield Row("filters", thing, "passed", MISSING, NOT_CHECKED, reason)
        elif key not in again:
            yield Row("filters", thing, "passed", "does not pass", DIFFERS)
        else:
            yield Row("filters", thing, "passed", "passes", SAME)
            yield from _about(thing, stored, again[key])
    known = {filter_id for filter_id, _ in versions}
    for (filter_id, fid), each in again.items():
        if filter_id not in known and (filter_id, fid) in recorded.ran:
            note = "that version ran on the day when the alert was stored"
            verdict = DIFFERS if versions else NOT_RECORDED
            note += "" if versions else "; a replay with --no-post notes no pass"
            yield Row("filters", f"filter {each.filter.filter_id} {fid}", "not passed", "passes", verdict, note)


def _about(thing: str, stored: list[Document], again: Pass) -> Iterator[Row]:
    for each in stored:
        if "annotations" in each:
            made = as_read({"annotations": again.annotations})["annotations"]
            found = list(differences(each["annotations"], made, "annotations"))
            where = "outbox" if "kind" in each else "passes"
            yield from (
                Row("filters", f"{thing} {item.path}", item.stored, item.made, DIFFERS, where) for item in found
            )
    states = {each.get("filter_state") for each in stored}
    if None in states:
        yield Row("filters", f"{thing} state", MISSING, again.filter.state, NOT_RECORDED)
    else:
        note = (
            ""
            if states == {again.filter.state}
            else "permissions, actions or watchlists, or the version itself, were changed since"
        )
        yield row("filters", f"{thing} state", ", ".join(sorted(map(str, states))), again.filter.state, note)


def entry_rows(alert: Alert, survey: Survey, recorded: Recorded, run: FilterRun, posting: bool) -> Iterator[Row]:
    """What the outbox has for the alert, beside what it would get; when, and what became of it since, is not compared.

    Parameters
    ----------
    posting : whether the settings have candidates posted; of other kinds only those are expected of which there is one
    """
    stored = {each["_id"]: each for each in recorded.entries}
    posted = {each["kind"] for each in recorded.entries} | ({"candidate"} if posting else set())
    key = photometry_id(survey.name, alert.candid)
    photometry = {alert.object_id} if key in stored else set()
    versions = recorded.versions.keys()
    passes = [each for each in run.passes if (each.filter.filter_id, each.filter.fid) in versions]
    now = datetime.now(UTC)
    made = [*entries_of(survey.name, [alert], passes, photometry, now), *result_entries(survey, [alert], passes, now)]
    for entry in map(as_read, made):
        if entry["kind"] not in posted:  # kinds that the settings did not ask for then
            continue
        there = stored.get(entry["_id"])
        if there is None:
            yield Row("outbox", entry["_id"], MISSING, f"a {entry['kind']}", DIFFERS)
            continue
        wanted = {name: value for name, value in entry.items() if name not in MOMENTS}
        own = as_read({name: there[name] for name in wanted if name in there})
        wanted = {name: value for name, value in wanted.items() if name in there or name not in SINCE_LATELY}
        found = [each for each in differences(own, wanted) if not _is_rounding(each)]
        yield from (Row("outbox", f"{entry['_id']} {each.path}", each.stored, each.made, DIFFERS) for each in found)
        if not found:
            yield Row("outbox", entry["_id"], f"a {there['kind']}, {there['state']}", f"a {entry['kind']}", SAME)
    expected = {entry["_id"] for entry in made}
    for each in recorded.entries:
        if each["kind"] in MADE and each["_id"] not in expected:
            lost = recorded.lost.get(key_of(each))
            yield Row("outbox", each["_id"], f"a {each['kind']}, {each['state']}", MISSING, NOT_CHECKED if lost else DIFFERS, lost or "")  # fmt: skip


def _is_rounding(each: Difference) -> bool:
    """Whether a difference is one of scores that count as the same."""
    if not each.path.startswith("alert.classifications.") or each.stored is MISSING or each.made is MISSING:
        return False
    return abs(float(each.stored) - float(each.made)) <= TOLERANCE
