"""An alert's scores beside those that the networks here give its packet, and what made the ones and the others."""

from collections.abc import Iterator, Mapping
from typing import Any

from kowalski.provenance.comparing import CHANGED, DIFFERS, MISSING, NOT_CHECKED, NOT_RECORDED, SAME, Row, row
from kowalski.provenance.records import Record

#: by how much a score may differ though all that made it is the same: networks add up in another order in batches of another size, on
#: another processor, and in the other backend (`kowalski.ml.convert.TOLERANCE`; the published networks stay below 2e-6)
TOLERANCE = 1e-5
WHY = f"within {TOLERANCE:g}: sums in another order"
VERSION = "_version"

Scores = Mapping[str, Any]


def score_rows(
    stored: Scores, made: Scores, reference: str | None, recorded: Record | None, here: Record, problems: Mapping[str, str]
) -> Iterator[Row]:  # fmt: skip
    """Each network's score, version and weights, then what runs them.

    Parameters
    ----------
    reference, recorded : what the alert names, and the record of that name
    here : the record of the networks that are installed here (`kowalski.provenance.records.scores_record`)
    problems : why others aren't, by their names
    """
    then = (recorded or {}).get("networks") or {}
    for name in dict.fromkeys([*names_of(stored), *names_of(made)]):
        there, now = name in stored, here["networks"].get(name)
        if now is None:
            problem = problems.get(name, "the settings name no such network")
            yield Row("scores", name, stored[name], MISSING, NOT_CHECKED, problem)
            continue
        note = WHY if there and name in made else "it was not scored then" if not there else "it can't be scored here"
        yield row("scores", name, stored.get(name, MISSING), made.get(name, MISSING), note, TOLERANCE)
        if there:
            yield row("scores", f"{name} version", stored.get(f"{name}{VERSION}"), now["version"])
        if name in then:
            yield from _network_rows(name, then[name], now)
    if not names_of(stored) and not names_of(made):
        yield Row("scores", "scores", "none", "none", SAME)
        if reference is None:  # it lacks an image, so no network was asked
            return
    yield from _made_by(reference, recorded, here)


def _network_rows(name: str, then: Record, now: Record) -> Iterator[Row]:
    note = "" if then["sha256"] == now["sha256"] else "other weights are installed here"
    yield row("scores", f"{name} weights", then["sha256"], now["sha256"], note)
    fed = ("inputs", "features", "norms")
    if any(then[each] != now[each] for each in fed):
        yield Row(
            "scores", f"{name} inputs", _fed(then), _fed(now), DIFFERS, "the settings feed it otherwise than then"
        )


def _fed(network: Record) -> str:
    return f"{'+'.join(network['inputs'])}, {len(network['features'])} features, {len(network['norms'])} norms"


def _made_by(reference: str | None, recorded: Record | None, here: Record) -> Iterator[Row]:
    if reference is None:
        yield Row("scores", "made by", MISSING, here["_id"], NOT_RECORDED, "stored before this was noted: only scores and versions are compared")  # fmt: skip
    elif recorded is None:
        yield Row("scores", "made by", reference, MISSING, DIFFERS, "the collection provenance has no such record: restore it from a backup")  # fmt: skip
    else:
        yield row("scores", "backend", _backend(recorded), _backend(here))
        kowalski = recorded["kowalski"], here["kowalski"]
        yield Row("scores", "Kowalski", *kowalski, SAME if kowalski[0] == kowalski[1] else CHANGED)


def _backend(record: Record) -> str:
    backend = record.get("backend")
    return f"{backend['name']} {backend['version']}" if backend else "none"


def names_of(scores: Scores) -> list[str]:
    """The networks that have a score."""
    return [name for name, score in scores.items() if isinstance(score, int | float) and not isinstance(score, bool)]


def most_likely(stored: Scores, made: Scores, recorded: Record | None, here: Record) -> dict[str, Any]:
    """The scores with which filters were fed: the stored ones, but where the networks that made them say otherwise.

    Of an alert that does not say what made its scores, networks are the same that have the same version.
    """
    then = (recorded or {}).get("networks") or {}
    likely = dict(stored)
    for name in names_of(made):
        now = here["networks"].get(name, {})
        same = then.get(name, {}).get("sha256") == now.get("sha256")
        if recorded is None:
            same = stored.get(f"{name}{VERSION}") == now.get("version")
        if same and abs(float(stored.get(name, 9.0)) - float(made[name])) > TOLERANCE:
            likely |= {name: made[name], f"{name}{VERSION}": made[f"{name}{VERSION}"]}
    return likely
