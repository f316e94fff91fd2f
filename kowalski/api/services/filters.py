"""Users' filters: versions, what goes with them, and who may change them."""

import secrets
import string
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bson import json_util

from kowalski.api.errors import BadRequest
from kowalski.api.models.filters import Change, NewVersion, Replay, ToExplain, Trial
from kowalski.api.services.activation import ActivationGuard
from kowalski.api.services.explanations import Explanations
from kowalski.api.services.filter_status import overview, status_of
from kowalski.api.services.filter_trials import FilterTrials, NoAlerts, Rehearsal
from kowalski.api.services.past_alerts import PastAlerts, shared_with
from kowalski.api.services.replays import Replays
from kowalski.api.services.rights import User
from kowalski.api.services.watchlists import WatchlistService
from kowalski.database.filter_store import Document, FilterStore
from kowalski.errors import FilterError
from kowalski.filters.actions import AUTOSAVE_KEYS, FOLLOWUP_KEYS
from kowalski.filters.compile import parse_pipeline
from kowalski.filters.definition import sight_of, version_of
from kowalski.filters.sight import Sight
from kowalski.filters.watching import require_declared
from kowalski.settings import Filters

#: what says what a filter may see
SEEN = {"group_id", "catalog", "permissions", "surveys", "watchlists"}


class Checked(NamedTuple):
    """A version that may be saved, and what to say of its trial."""

    wanted: NewVersion
    stored: Document | None
    sight: Sight
    stages: list[Document]
    rehearsal: Rehearsal
    said: str


class FilterService:
    """Changes filters on behalf of users: the admin all, others those of their groups, which alone exist for them."""

    def __init__(self, store: FilterStore, past: PastAlerts, watchlists: WatchlistService, settings: Filters):
        self.store = store
        self.past = past
        self.watchlists = watchlists
        self.trials = FilterTrials(past)
        self.explanations = Explanations(past)
        self.replays = Replays(past, settings.max_time_ms)
        self.guard = ActivationGuard(self.replays, store, settings)

    async def get(self, filter_id: int, user: User) -> Document:
        """A filter as stored.

        Raises
        ------
        BadRequest : there is none, or it is of a group that the user does not belong to
        """
        found = await self.store.get(filter_id)
        if found is None or not _is_his(found, user):
            raise BadRequest(f"Filter id {filter_id} not found")
        return found

    async def all(self, user: User) -> list[Document]:
        """The filters that exist for a user, by id, without their pipelines; and how each does, as `overview` has it."""
        return await overview(await self.store.all(None if user.is_admin else sorted(user.groups)), self.past.queries)

    async def post(self, wanted: NewVersion, user: User) -> tuple[str, Document]:
        """A new filter, or a new version of one, tried on the newest alert: what to say, and the version.

        A pipeline that is the active version's already makes no new one.
        """
        number = wanted.filter_id
        wanted, stored, sight, stages, rehearsal, said = await self.check(wanted, user)
        fields = await self._extras(wanted, number, rehearsal, "Cannot test {what} pipeline: {why}")
        version: Document = {"fid": _new_fid(), "pipeline": json_util.dumps(stages), "created_at": datetime.now(UTC)}
        if not _has_active(stored, version["pipeline"]):
            await self.guard.require(sight, stages, rehearsal.seconds_left)
        active = await self._save(wanted, version, fields, user)
        if active is not version:
            return f"{said}\nfilter version {active['fid']} is the same", _shown(active, number)
        self.guard.look(number, version["fid"], sight, stages)
        return f"{said}\nsaved new filter version: {version['fid']}", _shown(version, number)

    async def check(self, wanted: NewVersion, user: User) -> Checked:
        """What may be saved, tried on the newest alert; raises `BadRequest` where it may not."""
        wanted, stored, sight = await self.sight_of(wanted, user)
        _require_rights(sight, user)
        stages = _parsed(wanted.pipeline, "")
        _require_declared(stages, sight)
        rehearsal = self.trials.rehearsal(sight)
        said = await _tried(rehearsal, stages, f"pipeline test for filter id {wanted.filter_id}")
        return Checked(wanted, stored, sight, stages, rehearsal, said)

    async def sight_of(self, wanted: NewVersion, user: User) -> tuple[NewVersion, Document | None, Sight]:
        """A version with its lists by their names, the filter that it is of, if there is one, and what it would see."""
        sight = _sight(wanted.model_dump(include=SEEN))
        if not _is_his(wanted.model_dump(), user):
            raise BadRequest(f"you are not in group {wanted.group_id}")
        if wanted.watchlists:
            names = await self.watchlists.named(wanted.group_id, wanted.watchlists)
            wanted = wanted.model_copy(update={"watchlists": names})
            sight = _sight(wanted.model_dump(include=SEEN))
        stored = await self._same(wanted, user)
        if stored is not None:  # it keeps what the new version does not name
            sight = _sight(stored | wanted.model_dump(include=SEEN & wanted.model_fields_set))
        return wanted, stored, sight

    async def _same(self, wanted: NewVersion, user: User) -> Document | None:
        """The filter of which a version is wanted; None where it is new.

        Raises
        ------
        BadRequest : it is another group's or survey's
        """
        number = wanted.filter_id
        stored = await self.store.get(number)
        if stored is None:
            return None
        if not _is_his(stored, user):
            raise BadRequest(f"Filter id {number} not found")
        if stored["group_id"] != wanted.group_id:
            raise BadRequest(f"Filter id {number} is of group {stored['group_id']}, not of {wanted.group_id}")
        if stored["catalog"] != wanted.catalog:
            raise BadRequest(f"Filter id {number} is of {stored['catalog']}, not of {wanted.catalog}")
        return stored

    async def _save(self, wanted: NewVersion, version: Document, fields: Document, user: User) -> Document:
        """The version that is active once all is stored: the one that was, where its pipeline is the same."""
        number = wanted.filter_id
        given = {name: fields[name] for name in fields if name in wanted.model_fields_set}
        new = {"filter_id": number, "group_id": wanted.group_id, "catalog": wanted.catalog}
        while True:  # whenever somebody else was faster
            stored = await self._same(wanted, user)
            if stored is None:
                if await self.store.add({**fields, **new, "active_fid": version["fid"], "fv": [version]}):
                    return version
            elif _has_active(stored, version["pipeline"]):
                if not given or await self.store.change(number, given, stored) is not None:
                    return version_of(stored)
            elif await self.store.push(stored, version, given) is not None:
                return version

    async def patch(self, change: Change, user: User) -> Document:
        """The filter after a change."""
        stored = await self.get(change.filter_id, user)
        sight, number = _sight(stored), change.filter_id
        _require_rights(sight, user)
        rehearsal = self.trials.rehearsal(sight)
        changes = await self._extras(change, number, rehearsal, f"Cannot update filter id {number}: {{what}} {{why}}", stored)  # fmt: skip
        if change.active_fid is not None:
            changes["active_fid"] = change.active_fid
        activated = _activated(stored, changes)
        if activated is not None:
            stages = _parsed(activated["pipeline"], "")
            _require_declared(stages, sight)
            await self.guard.require(sight, stages, rehearsal.seconds_left)
        changed = await self.store.change(number, changes)
        if changed is None:
            await self.get(number, user)
            raise BadRequest(
                f"ValueError: Cannot set active_fid to {change.active_fid}: filter version fid not in filter.fv"
            )
        if activated is not None:
            self.guard.look(number, activated["fid"], sight, stages)
        return changed

    async def remove(self, filter_id: int, user: User) -> None:
        """A filter is gone."""
        await self.get(filter_id, user)
        await self.store.remove(filter_id)

    async def test(self, filter_id: int, trial: Trial, user: User) -> Any:
        """What a version of a filter lets through, one by one."""
        stored = await self.get(filter_id, user)
        versions = stored.get("fv") or []
        if not versions:
            raise BadRequest(f"Filter id {filter_id} has no versions")
        fid = trial.filter_version or versions[-1]["fid"]
        version = next((each for each in versions if each["fid"] == fid), None)
        if version is None:
            raise BadRequest(f"Filter version {fid} not found")
        stages = _parsed(version["pipeline"], "failure: ")
        return self.trials.over(_sight(stored), stages, trial, user)

    async def explain(self, filter_id: int, asked: ToExplain, user: User) -> list[Document]:
        """Why alerts pass a version of a filter or not."""
        stored = await self.get(filter_id, user)
        version = _version(stored, asked.fid)
        return await self.explanations.of(stored, version, _sight(stored), asked, user)

    async def replay(self, filter_id: int, asked: Replay, user: User) -> Document:
        """What a version of a filter, or two, make of past alerts."""
        stored = await self.get(filter_id, user)
        versions = [_version(stored, asked.fid)]
        if asked.against is not None:
            versions.append(_version(stored, asked.against))
            if versions[0]["fid"] == versions[1]["fid"]:
                raise BadRequest(f"against: {asked.against} is the version itself")
        pipelines = {version["fid"]: _parsed(version["pipeline"], "failure: ") for version in versions}
        return await self.replays.over(pipelines, _sight(stored), asked, user)

    async def status(self, filter_id: int, user: User) -> Document:
        """How a filter does."""
        stored = await self.get(filter_id, user)
        return await status_of(stored, await self.store.checks_of(filter_id), self.past.queries)

    # what goes with a filter -------------------------------------------------------------------------------------

    async def _extras(
        self, wanted: NewVersion | Change, number: int, rehearsal: Rehearsal, text: str, stored: Document | None = None
    ) -> Document:
        """The fields beside the pipeline, as they are stored: checked, their own pipelines tried and as texts."""
        names = ("active", "update_annotations", "permissions", "surveys", "watchlists")
        fields = {name: value for name in names if (value := getattr(wanted, name, None)) is not None}
        if isinstance(wanted.autosave, dict):
            fields["autosave"] = await _with_pipeline("autosave", wanted.autosave, AUTOSAVE_KEYS, rehearsal, text)
        elif wanted.autosave is not None:
            fields["autosave"] = wanted.autosave
        if wanted.auto_followup is not None:
            fields["auto_followup"] = await self._followup(wanted.auto_followup, number, rehearsal, text)
        autosave = fields.get("autosave", (stored or {}).get("autosave"))
        if fields.get("auto_followup") and not _is_on(autosave):
            raise BadRequest("Cannot setup auto_followup without autosave enabled")
        return fields

    async def _followup(self, followup: Document, number: int, rehearsal: Rehearsal, text: str) -> Document:
        if not followup:
            return {}
        if "pipeline" not in followup:
            raise BadRequest("Cannot test auto_followup pipeline: no pipeline specified")
        order = followup.get("priority_order")
        if order not in (None, "asc", "desc"):
            raise BadRequest(f"Invalid priority_order specified for auto_followup: {order}")
        allocation = followup.get("allocation_id")
        if order is not None and isinstance(allocation, int):
            others = await self.store.of_allocation(allocation, but=number)
            if any(each["auto_followup"].get("priority_order") not in (None, order) for each in others):
                raise BadRequest(
                    "Cannot add new filter with auto_followup: existing filters with the same allocation have "
                    "priority_order set to a different value, which is unexpected"
                )
        return await _with_pipeline("auto_followup", followup, FOLLOWUP_KEYS, rehearsal, text)


async def _with_pipeline(what: str, value: Document, keys: frozenset[str], rehearsal: Rehearsal, text: str) -> Document:
    """Autosave or follow-up with its pipeline tried and as extended JSON."""
    if not keys >= value.keys():
        why = "contains invalid keys" if "Cannot update" in text else "invalid keys"
        raise BadRequest(text.format(what=what, why=why))
    if not value.get("pipeline"):
        return value
    try:
        stages = _parsed(value["pipeline"], "")
        await rehearsal.of(stages)
    except (BadRequest, NoAlerts) as error:
        why = f"pipeline is invalid: {error}" if "Cannot update" in text else str(error)
        raise BadRequest(text.format(what=what, why=why)) from None
    return {**value, "pipeline": json_util.dumps(stages)}


async def _tried(rehearsal: Rehearsal, stages: list[Document], what: str) -> str:
    """What to say of a pipeline that was tried on the newest alert."""
    try:
        await rehearsal.of(stages)
    except NoAlerts as error:
        return f"{what}: not run, {error}"
    return f"{what} successful"


def _is_his(document: Document, user: User) -> bool:
    return user.is_admin or document["group_id"] in user.groups


def _is_on(autosave: Any) -> bool:
    return bool(autosave.get("active")) if isinstance(autosave, dict) else bool(autosave)


def _sight(document: Document) -> Sight:
    try:
        return sight_of(document)
    except FilterError as error:
        raise BadRequest(str(error)) from None


def _activated(stored: Document, changes: Document) -> Document | None:
    """The version that a change makes run; None where that ran before already, or is none."""
    fid, runs = changes.get("active_fid", stored.get("active_fid")), changes.get("active", stored.get("active"))
    ran = (stored.get("active_fid"), stored.get("active")) == (fid, True)
    return None if ran or not runs else next((each for each in stored.get("fv") or () if each["fid"] == fid), None)


def _require_rights(sight: Sight, user: User) -> None:
    """Raise `BadRequest` where a filter would see what its user may not."""
    shared = shared_with(user, sight)
    if shared.others != sight.others:
        names = [other.survey.name for other in sight.others if other not in shared.others]
        raise BadRequest(f"surveys: you may not see all of this of {', '.join(names)}")
    if beyond := sorted(set(sight.permissions) - set(shared.permissions)):
        raise BadRequest(f"permissions: you may not see {sight.survey.name} programids {', '.join(map(str, beyond))}")


def _require_declared(stages: list[Document], sight: Sight) -> None:
    try:
        require_declared(stages, (key.name for key in sight.watchlists))
    except FilterError as error:
        raise BadRequest(str(error)) from None


def _parsed(pipeline: Any, prefix: str) -> list[Document]:
    """The stages of a pipeline, given as (extended) JSON or as the text of it."""
    try:
        return parse_pipeline(pipeline if isinstance(pipeline, str) else json_util.dumps(pipeline))
    except FilterError as error:
        raise BadRequest(f"{prefix}{error}") from None


def _has_active(stored: Document | None, pipeline: str) -> bool:
    """Whether a pipeline is that of a filter's active version, whatever wrote the text of that."""
    try:
        return stored is not None and json_util.dumps(parse_pipeline(version_of(stored)["pipeline"])) == pipeline
    except FilterError:
        return False


def _version(stored: Document, fid: str | None) -> Document:
    try:
        return version_of(stored, fid)
    except FilterError:
        raise BadRequest(f"Filter version {fid or stored.get('active_fid')} not found") from None


def _new_fid() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))


def _shown(version: Document, filter_id: int) -> Document:
    return {**version, "filter_id": filter_id, "active_fid": version["fid"]}
