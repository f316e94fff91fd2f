"""An object's cross-matches beside those that the catalogues give now, and the versions of the ones and the others."""

from collections.abc import Iterator, Mapping
from typing import Any

from kowalski.database.catalog_versions import SEEN, described
from kowalski.provenance.comparing import (
    CHANGED,
    DIFFERS,
    MISSING,
    NOT_CHECKED,
    NOT_RECORDED,
    SAME,
    Row,
    as_read,
    differences,
    row,
)
from kowalski.provenance.records import recipe_digest
from kowalski.settings import Recipe

#: by how much numbers of a row may differ, of themselves: rows are copies, but distances (arcsec, kpc) are computed, and the last digits of
#: sines are the processor's
RELATIVE = 1e-9
#: differing values of a catalogue's rows that are shown
NAMED = 3

Document = Mapping[str, Any]
Versions = Mapping[str, tuple[str, str]]
"""Catalogue -> its version and the digest of its recipe."""


def match_rows(
    aux: Document, made: Document, recipes: Mapping[str, Recipe], then: Versions, now: Versions, told: Mapping[str, Document]
) -> Iterator[Row]:  # fmt: skip
    """Each catalogue's rows and its version, and where the object was matched.

    Parameters
    ----------
    aux : the object's document
    made : ``cross_matches`` and ``matched`` as `Matcher.match` gives them at the object's first alert
    then, now : versions as the object's document records them, and as they are
    told : what the versions are, by their names
    """
    matched = aux.get("matched")
    if matched is None:
        yield Row("matches", "matched at", MISSING, MISSING, NOT_RECORDED, "matched by Kowalski 3")
    else:
        note = "" if matched["candid"] == made["matched"]["candid"] else "the object's next alert has it matched anew"
        yield row("matches", "matched at", matched["candid"], made["matched"]["candid"], note)
    stored, again = aux.get("cross_matches") or {}, as_read(made["cross_matches"])
    for name in [*recipes, *(name for name in stored if name not in recipes)]:
        if name not in recipes:
            yield Row("matches", name, _number(stored[name]), MISSING, NOT_CHECKED, "database.xmatch names it no more")
            continue
        yield from _rows_of(name, stored, again, matched or {}, made["matched"], recipes[name])
        if name in now:
            yield from _version_rows(name, then.get(name), now[name], recipes[name], told)


def _rows_of(name: str, stored: Document, again: Document, then: Document, now: Document, recipe: Recipe) -> Iterator[Row]:  # fmt: skip
    one, other = stored.get(name, MISSING), again.get(name, MISSING)
    note = "looked for anew with each alert of the object" if recipe.latest_by else ""
    if name in now["failed"]:
        yield Row(
            "matches", name, _number(one), MISSING, NOT_CHECKED, "the catalogue can't be searched now: see the log"
        )
    elif name in then.get("absent", ()) and name in now["absent"]:
        yield Row("matches", name, "no such catalogue", "no such catalogue", SAME)
    elif name in then.get("absent", ()):
        yield Row("matches", name, "no such catalogue", _number(other), DIFFERS, f"./kowalski.py rematch {name} matches with it")  # fmt: skip
    elif name in then.get("failed", ()):
        yield Row("matches", name, "failed", _number(other), DIFFERS, "it is tried again by itself")
    elif found := list(differences(one, other, name, relative=RELATIVE)):
        yield from (Row("matches", each.path, _brief(each.stored), _brief(each.made), DIFFERS, note) for each in found[:NAMED])  # fmt: skip
        if len(found) > NAMED:
            yield Row("matches", name, f"{len(found) - NAMED} values more", "others", DIFFERS, note)
    else:
        yield Row("matches", name, _number(one), _number(other), SAME, note)


def _version_rows(
    name: str, then: tuple[str, str] | None, now: tuple[str, str], recipe: Recipe, told: Mapping[str, Document]
) -> Iterator[Row]:
    """The version of a catalogue then and now; of one that grows by itself another number of rows is no difference."""
    thing, words = f"{name} version", described(told.get(now[0]))
    if then is None:
        yield Row("matches", thing, MISSING, words, NOT_RECORDED)
        return
    before = described(told.get(then[0])) if then[0] in told else then[0]
    if then[0] == now[0]:
        yield Row("matches", thing, before, words, SAME)
    else:
        grown = told.get(then[0], {}).get("how") == SEEN == told.get(now[0], {}).get("how") and _same_collection(told[then[0]], told[now[0]])  # fmt: skip
        yield Row("matches", thing, before, words, CHANGED if grown or recipe.latest_by else DIFFERS, "" if recipe.latest_by else f"./kowalski.py rematch {name} matches anew")  # fmt: skip
    if then[1] != now[1]:
        yield Row("matches", f"{name} recipe", then[1], now[1], DIFFERS, "the settings match otherwise than then")


def _same_collection(then: Document, now: Document) -> bool:
    """Whether two versions were seen of one collection, which was neither replaced nor ingested between them."""
    return not {*then["uuids"]}.isdisjoint(now["uuids"]) and then["after"] == now["after"]


def likely_matches(aux: Document, made: Document, then: Versions, now: Versions) -> dict[str, Any]:
    """The matches that filters saw: those that are made again, but the stored ones of catalogues that have changed since."""
    stored, again = aux.get("cross_matches") or {}, as_read(made["cross_matches"])
    unchanged = {name: rows for name, rows in again.items() if name not in then or then[name] == now.get(name)}
    return {**stored, **{name: rows for name, rows in unchanged.items() if name in stored}}


def versions_now(current: Mapping[str, str], recipes: Mapping[str, Recipe]) -> dict[str, tuple[str, str]]:
    """The versions of catalogues as they are, in the form of `kowalski.provenance.records.versions_of`."""
    return {name: (version, recipe_digest(recipes[name])) for name, version in current.items()}


def _number(rows: Any) -> Any:
    return f"{len(rows)} rows" if isinstance(rows, list) else rows


def _brief(value: Any) -> Any:
    """A value; of a whole row its identifier."""
    if isinstance(value, Mapping) and "_id" in value:
        return f"row {value['_id']}"
    return [_brief(each) for each in value] if isinstance(value, list) else value
