"""A filter as stored, made ready to run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from bson import json_util

from kowalski.errors import FilterError
from kowalski.filters.actions import Autosave, FollowUp, read_autosave, read_follow_up
from kowalski.filters.compile import CompiledStages, Reads, compile_stages, parse_pipeline
from kowalski.filters.sight import Sight
from kowalski.filters.watching import WATCHED, require_declared, required_lists
from kowalski.nesting import is_too_deep
from kowalski.provenance.digests import digest
from kowalski.watchlists.matching import ListKey

#: what of a filter's document decides, beside the version's pipeline, and has no versions
DECIDING = ("permissions", "surveys", "watchlists", "update_annotations", "autosave", "auto_followup")

#: levels of lists and objects that MongoDB may have of these
STORED = 200

Action = TypeVar("Action", Autosave, FollowUp)


@dataclass(frozen=True)
class CompiledFilter:
    """One version of a user's filter, ready to run.

    Attributes
    ----------
    sight : what it may see
    pipeline : what decides who passes
    state : digest of all that decides what becomes of an alert: the version's pipeline, and what has no versions (`DECIDING`)
    autosave, follow_up : what is asked for those who do; None: nothing
    problems : why autosave or follow-up can't be done, though the filter runs
    """

    filter_id: int
    group_id: int
    fid: str
    sight: Sight
    pipeline: CompiledStages
    state: str = ""
    update_annotations: bool = False
    autosave: Autosave | None = None
    follow_up: FollowUp | None = None
    problems: tuple[str, ...] = ()

    @property
    def watches(self) -> tuple[ListKey, ...]:
        """The watchlists that it declares and reads."""
        return self.sight.watchlists if self.sight.watchlists and self.reads.wants(WATCHED) else ()

    @cached_property
    def required_lists(self) -> frozenset[str]:
        """Names of the watchlists in which an alert must match something to pass."""
        return required_lists(self.pipeline.stages)

    @property
    def reads(self) -> Reads:
        """What its pipelines may read."""
        reads = self.pipeline.reads
        for action in (self.autosave, self.follow_up):
            if action is not None and action.pipeline is not None:
                reads = reads | action.pipeline.reads
        return reads


def compile_filter(document: Mapping[str, Any], fid: str | None = None) -> CompiledFilter:
    """A version of a filter document, the active one unless ``fid`` names another.

    Raises
    ------
    FilterError : no such version, not a pipeline, or a stage or operator that is not allowed
    """
    version = version_of(document, fid)
    problems: list[str] = []
    autosave = _unless_wrong(read_autosave, document.get("autosave"), problems)
    follow_up = _unless_wrong(read_follow_up, document.get("auto_followup"), problems)
    stages, sight = parse_pipeline(version["pipeline"]), sight_of(document)
    require_declared(stages, (key.name for key in sight.watchlists))
    return CompiledFilter(
        filter_id=document["filter_id"],
        group_id=document["group_id"],
        fid=version["fid"],
        sight=sight,
        pipeline=compile_stages(stages),
        state=state_of(document, version),
        update_annotations=bool(document.get("update_annotations")),
        autosave=autosave,
        follow_up=follow_up if autosave is not None else None,
        problems=tuple(problems),
    )


def state_of(document: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    """The digest of all of a filter's document that decides what becomes of an alert; raises `FilterError` where that is nested too deep."""
    decides = {name: document.get(name) for name in DECIDING}
    if is_too_deep(decides, STORED):
        raise FilterError(f"filter {document.get('filter_id')} is nested deeper than {STORED} levels")
    return digest(json_util.dumps({"pipeline": version["pipeline"], **decides}, sort_keys=True))


def sight_of(document: Mapping[str, Any]) -> Sight:
    """What a filter may see; raises `FilterError` where that has no meaning."""
    names = document.get("watchlists") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FilterError(f"watchlists must be a list of names, not {names!r:.100}")
    watchlists = [ListKey(document["group_id"], name) for name in names]
    return Sight.of(document["catalog"], document.get("permissions") or (), document.get("surveys"), watchlists)


def version_of(document: Mapping[str, Any], fid: str | None = None) -> dict[str, Any]:
    """A version of a filter document: ``{fid, pipeline, created_at}``; the active one unless ``fid`` names another.

    Raises
    ------
    FilterError : it has no such version
    """
    fid = document.get("active_fid") if fid is None else fid
    for version in document.get("fv") or ():
        if version.get("fid") == fid:
            found: dict[str, Any] = version
            return found
    raise FilterError(f"filter {document.get('filter_id')}: version {fid} is not among its versions")


def _unless_wrong(read: Callable[[Any], Action | None], stored: Any, problems: list[str]) -> Action | None:
    try:
        return read(stored)
    except FilterError as error:
        problems.append(str(error))
        return None
