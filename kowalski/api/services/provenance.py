"""Where an object's scores and matches came from, in full: users read it without looking records up."""

from collections.abc import Mapping
from typing import Any

from kowalski.api.services.reads import PLAIN, Reads
from kowalski.database.catalog_versions import COLLECTION as VERSIONS
from kowalski.database.catalog_versions import described
from kowalski.database.provenance import COLLECTION
from kowalski.provenance.records import references_of, versions_of

Document = dict[str, Any]


async def provenance_of(alert: Mapping[str, Any], aux: Mapping[str, Any], reads: Reads) -> dict[str, Any]:
    """What made the scores of an object's latest alert, and the versions of the catalogues that the object was matched with.

    ``scores`` is null and a catalogue is left out where that was not recorded; ``catalogs`` is empty for who does not see all
    of the survey, as is what else the object's document says of its matching.
    """
    matched = aux.get("matched") or {}
    made_by = alert.get("provenance")
    keys = [*references_of(matched), *([made_by] if made_by else [])]
    records = await _by_id(COLLECTION, keys, reads)
    versions = versions_of(matched, records)
    told = await _by_id(VERSIONS, [version for version, _ in versions.values()], reads)
    scores = records.get(made_by) if made_by else None
    return {
        "scores": {name: scores[name] for name in ("backend", "kowalski", "networks")} if scores else None,
        "catalogs": {name: {"version": version, "is": described(told.get(version))} for name, (version, _) in sorted(versions.items())},
    }  # fmt: skip


async def _by_id(collection: str, keys: list[str], reads: Reads) -> dict[str, Document]:
    if not keys:
        return {}
    return {each["_id"]: each async for each in reads.find(collection, {"_id": {"$in": keys}}, PLAIN)}
