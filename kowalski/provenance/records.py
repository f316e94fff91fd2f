"""Records of provenance: what is the same for many alerts or objects is stored once, under a name made of its contents."""

from collections.abc import Mapping
from typing import Any

from kowalski.ml.scorer import Scorer
from kowalski.provenance.digests import digest, text_digest
from kowalski.settings import Recipe

Record = dict[str, Any]

SCORES, CATALOGS = "scores", "catalogs"


def named(contents: Mapping[str, Any]) -> Record:
    """A record with its ``_id``: the same contents have the same one, on every machine and at any time."""
    return {"_id": digest(contents), **contents}


def scores_record(scorer: Scorer, survey: str, kowalski: str) -> Record:
    """What makes a survey's scores: each network's version, weights and inputs, what runs them, and Kowalski's version."""
    networks = {
        model.name: {
            "version": model.version,
            "sha256": model.sha256,
            "inputs": list(model.inputs),
            "features": list(model.feature_names),
            "norms": {name: float(norm) for name, norm in model.feature_norms.items()},
        }
        for model, _ in scorer.networks
    }
    backend = scorer.backend._asdict() if scorer.backend is not None else None
    return named({"kind": SCORES, "survey": survey, "kowalski": kowalski, "backend": backend, "networks": networks})


def catalogs_record(versions: Mapping[str, str], recipes: Mapping[str, Recipe]) -> Record:
    """The versions of catalogues with which objects are matched, and by what recipes (digests of the settings)."""
    told = {name: recipe_digest(recipes[name]) for name in versions}
    return named({"kind": CATALOGS, "catalogs": dict(versions), "recipes": told})


def recipe_digest(recipe: Recipe) -> str:
    """What changes when a catalogue is to be matched in another way."""
    return text_digest(recipe.model_dump_json())


def versions_of(matched: Mapping[str, Any], records: Mapping[str, Record]) -> dict[str, tuple[str, str]]:
    """Catalogue -> its version and the digest of its recipe, of an object's ``matched``; those that are not recorded are left out.

    Parameters
    ----------
    records : those that `references_of` names, by ``_id``
    """
    found: dict[str, tuple[str, str]] = {}
    whole = records.get(matched.get("versions") or "", {})
    for name, version in (whole.get("catalogs") or {}).items():
        found[name] = version, whole["recipes"][name]
    for name, reference in (matched.get("made_of") or {}).items():
        found.pop(name, None)
        if (record := records.get(reference)) is not None and name in record["catalogs"]:
            found[name] = record["catalogs"][name], record["recipes"][name]
    return found


def references_of(matched: Mapping[str, Any]) -> set[str]:
    """The records that an object's ``matched`` names."""
    return {each for each in (matched.get("versions"), *(matched.get("made_of") or {}).values()) if each}
