"""One alert's dialogue with SkyPortal: candidate, annotations, photometry, thumbnails, source, comments, in this order.

An object that SkyPortal has already is saved before its photometry is sent. Follow-up has entries of its own, added here when the
object is saved: a telescope that can't be asked must not hold up the object's next candidates.

Every step is either harmless to repeat or guarded by what SkyPortal already has, and is marked in the outbox when
done: a poster that is killed resumes where it was, and nothing appears twice.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Any

from kowalski.alerts.survey import Survey, get_survey
from kowalski.alerts.trace import AT_DELIVERY, spans_of
from kowalski.database.alerts import Alerts
from kowalski.database.client import MongoDatabase
from kowalski.database.latencies import LatencyCounts
from kowalski.database.objects import Objects
from kowalski.database.outbox import FOLLOW_UP, Entry, Outbox
from kowalski.database.skyportal_objects import SkyPortalObjects
from kowalski.errors import KowalskiError, PacketError, SkyPortalError
from kowalski.latency import Latencies
from kowalski.log import get_logger
from kowalski.skyportal import messages
from kowalski.skyportal.client import SkyPortal
from kowalski.skyportal.followups import FollowUps, follow_up_entries
from kowalski.skyportal.refresh import refresh
from kowalski.skyportal.thumbnails import THUMBNAILS

log = get_logger(__name__)

#: mark of the entries of an alert whose object SkyPortal did not have when they were first looked at
NEW = "new"
#: marks of entries that autosave: it was decided that their group doesn't have the object yet; and what came of it
SAVING, SAVED, NOT_SAVED = "saving", "saved", "not saved"
#: microseconds that passed_at may be moved by
MOST_LATER = 20


@dataclass
class Dialogue:
    """One alert on its way to SkyPortal.

    Attributes
    ----------
    entries : what the outbox asks for, of this alert only
    resumed : whether there was an earlier attempt, whose last request may have come through without our knowing
    is_new : whether SkyPortal didn't have the object before
    refused : outbox key -> the answer that refused a part of it
    """

    entries: list[Entry]
    survey: Survey
    alert: Mapping[str, Any]
    resumed: bool
    is_new: bool = False
    refused: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def object_id(self) -> str:
        """The object's name on SkyPortal."""
        object_id: str = self.entries[0]["objectId"]
        return object_id

    def candidates(self) -> list[Entry]:
        """The entries that make the alert a candidate, but for those that SkyPortal refused as such."""
        refused = {key for key, error in self.refused.items() if error["step"] == "candidate"}
        return [one for one in self.entries if one["kind"] == "candidate" and one["_id"] not in refused]

    def light_curve_entries(self) -> list[Entry]:
        """The entries that a light curve is sent for: the one of photometry where there is one."""
        return [one for one in self.entries if one["kind"] == "photometry"] or self.candidates()

    def refuse(self, entries: Iterable[Entry], step: str, error: KowalskiError) -> None:
        """Remember an answer for good; the first one of an entry counts."""
        for entry in entries:
            self.refused.setdefault(entry["_id"], refusal(step, error))


Step = Callable[[Dialogue], None]


class Delivery:
    """Sends what the outbox holds, one alert at a time."""

    def __init__(
        self, client: SkyPortal, database: MongoDatabase, bands: Mapping[str, Mapping[int, str | None]] | None = None
    ):
        self._bands = bands or {}
        self._without_band: Counter[str] = Counter()
        self._client = client
        self._database = database
        self._outbox = Outbox(database)
        self._known = SkyPortalObjects(database)
        self._follow_ups = FollowUps(client, self._outbox)
        self._latencies = Latencies(LatencyCounts(database))

    def close(self) -> None:
        """What was counted is stored."""
        self._latencies.flush()

    def pause_s(self) -> float:
        """For how many seconds SkyPortal is to be left alone."""
        return self._client.health.pause_s()

    def ailing(self) -> bool:
        """Whether SkyPortal failed lately and may only be tried with care."""
        return self._client.health.ailing()

    def figures(self) -> dict[str, Any]:
        """How many alerts' points were not sent for want of a band, by survey and fid."""
        return {"without_band": dict(self._without_band)}

    def refresh(self, may_continue: Callable[[], bool]) -> None:
        """Learn what SkyPortal has got from others."""
        if not self._client.has_token:
            return
        if added := refresh(self._client, self._known, may_continue):
            log.info("SkyPortal has %d objects that were unknown here", added)

    def send(self, entries: list[Entry], may_continue: Callable[[], bool]) -> bool:
        """Send all that the entries of one alert ask for and close them; False: stopped between two steps, as told.

        Raises
        ------
        SkyPortalError : a retriable one; what is done is marked, the rest is to be tried again
        """
        if entries[0]["lane"] == FOLLOW_UP:
            return self._follow_ups.send(entries, may_continue)
        survey = get_survey(entries[0]["survey"])
        survey = survey.with_bands(self._bands.get(survey.name, {}))
        alert = Alerts(self._database, survey).one(entries[0]["candid"])
        if alert is None:
            gone = PacketError("missing", "the alert is not stored any more")
            self._outbox.fail(_ids(entries), refusal("read", gone))
            return True
        if alert["candidate"].get("withdrawn_jd") is not None:
            entries = self._withdrawn(entries)
            if not entries:
                return True
        dialogue = Dialogue(entries, survey, alert, resumed=any(one["done"] or one["attempts"] for one in entries))
        self._look_up(dialogue)
        light_curve: list[Step] = [self._photometry, *(partial(self._thumbnail, role=role) for role in THUMBNAILS)]
        middle: list[Step] = [*light_curve, self._save] if dialogue.is_new else [self._save, *light_curve]
        for step in (self._candidate, self._annotations, *middle, self._comment, self._follow_up):
            if not may_continue():
                return False
            step(dialogue)
        self._close(dialogue)
        return True

    def _withdrawn(self, entries: list[Entry]) -> list[Entry]:
        """Tell those who got a candidate that its survey has withdrawn it, and send it to nobody else; what is left to be sent."""
        withdrawn = SkyPortalError("the survey has withdrawn the alert")
        self._outbox.expire(_ids(_of_kind(entries, "candidate")), refusal("candidate", withdrawn))
        telling = _of_kind(entries, "withdrawal")
        posted = self._outbox.with_step((entry["of"] for entry in telling), "candidate")
        if groups := sorted({entry["group_id"] for entry in telling if entry["of"] in posted}):
            message = messages.comment_message(messages.withdrawal_text(telling[0]), groups)
            try:
                self._client.post_comment(telling[0]["objectId"], message)
            except SkyPortalError as error:
                _raise_if_retriable(error)
                for key in _ids(telling):
                    self._outbox.fail([key], refusal("comment", error))
        self._outbox.deliver(_ids(telling))
        return _of_kind(entries, "photometry")

    def _look_up(self, dialogue: Dialogue) -> None:
        """Decide once whether the object is new to SkyPortal: later our own messages would give the wrong answer."""
        candidates = dialogue.candidates()
        if any(NEW in entry["done"] for entry in candidates):
            dialogue.is_new = True
        elif len(candidates) < len(dialogue.entries) or self._known.known([dialogue.object_id]):
            dialogue.is_new = False
        elif self._client.knows(dialogue.object_id):
            self._known.add([dialogue.object_id], "found")
        else:
            self._done(candidates, NEW, durable=True)
            dialogue.is_new = True

    def _candidate(self, dialogue: Dialogue) -> None:
        waiting = sorted(_without(dialogue.candidates(), "candidate"), key=lambda entry: entry["passed_at"])
        for _, group in groupby(waiting, key=lambda entry: entry["passed_at"]):
            together = list(group)
            try:
                accepted = self._post_candidate(dialogue, together)
            except (SkyPortalError, PacketError) as error:
                _raise_if_retriable(error)
                dialogue.refuse(together, "candidate", error)
                continue
            self._done(accepted, "candidate")
        if dialogue.is_new and dialogue.candidates():
            # before the light curve is read: alerts stored from now on get a photometry entry of their own
            self._known.add([dialogue.object_id], "posted")

    def _post_candidate(self, dialogue: Dialogue, entries: list[Entry], later: int = 0) -> list[Entry]:
        """Post an alert for some filters; those that SkyPortal accepted, now or in an earlier attempt.

        ``later``: microseconds added to ``passed_at``, which SkyPortal wants unique per object and filter.
        """
        message = messages.candidate_message(entries, dialogue.alert, dialogue.survey, later)
        try:
            if len(self._client.post_candidate(message)) == len(entries):
                return entries
            trouble = SkyPortalError("SkyPortal ignored the filter: it doesn't exist or Kowalski may not see it", 200)
        except SkyPortalError as error:
            if error.status != 400:
                raise
            trouble = error
        # One request is all or nothing, and an earlier one whose answer was lost may have come through: look.
        passed = self._client.candidacies(dialogue.object_id)
        ours = {one.filter_id for one in passed if one.candid == entries[0]["candid"]}
        there = [entry for entry in entries if entry["filter_id"] in ours]
        missing = [entry for entry in entries if entry["filter_id"] not in ours]
        wanted = {(entry["filter_id"], messages.moment(entry, later)) for entry in missing}
        taken = any((one.filter_id, one.passed_at) in wanted for one in passed)
        if missing and trouble.status == 400 and (there or taken) and later < MOST_LATER:
            return there + self._post_candidate(dialogue, missing, later + 1)
        dialogue.refuse(missing, "candidate", trouble)
        return there

    def _annotations(self, dialogue: Dialogue) -> None:
        waiting = [one for one in _without(dialogue.candidates(), "annotation") if one.get("annotations")]
        there = self._client.annotations(dialogue.object_id) if waiting and not dialogue.is_new else {}
        for entry in waiting:
            try:
                self._annotate(entry, there)
            except SkyPortalError as error:
                _raise_if_retriable(error)
                dialogue.refuse([entry], "annotation", error)
                continue
            self._done([entry], "annotation")

    def _annotate(self, entry: Entry, there: Mapping[str, Any]) -> None:
        origin = messages.annotation_origin(entry, self._client.group(entry["group_id"], entry["filter_id"]))
        message = messages.annotation_message(entry, origin)
        annotation = there.get(origin)
        if annotation is None:
            try:
                self._client.post_annotation(entry["objectId"], message)
                return
            except SkyPortalError as error:
                if error.status != 400:
                    raise
                # there is one per object and origin: posted by an attempt whose answer was lost, or by somebody else
                annotation = self._client.annotations(entry["objectId"]).get(origin)
                if annotation is None:
                    raise
        if entry["update_annotations"]:
            self._client.put_annotation(entry["objectId"], annotation, message)

    def _photometry(self, dialogue: Dialogue) -> None:
        entries = dialogue.light_curve_entries()
        if not _without(entries, "photometry"):
            return
        survey = dialogue.survey
        instrument, streams = self._client.instrument_id(survey), self._client.stream_ids(survey)
        self._look_at_band(dialogue.alert["candidate"], survey)
        light_curve = self._light_curve(dialogue)
        whole = True
        for body, overwrite in messages.photometry_messages(
            dialogue.object_id, light_curve, survey, instrument, streams
        ):
            try:
                self._client.put_photometry(body, overwrite)
            except SkyPortalError as error:
                _raise_if_retriable(error)
                dialogue.refuse(entries, "photometry", error)
                whole = False
        if whole:
            self._done(entries, "photometry")

    def _look_at_band(self, candidate: Mapping[str, Any], survey: Survey) -> None:
        """Count an alert whose band neither its survey nor the settings name: its point can't be sent."""
        fid = survey.fid_of(candidate)
        if fid in survey.bands:
            return
        name = f"{survey.name} {survey.band_field} {fid}"
        if name not in self._without_band:
            log.warning("%s has no band: its points are not sent; skyportal.bands.%s can name it", name, survey.name)
        self._without_band[name] += 1

    def _light_curve(self, dialogue: Dialogue) -> messages.Columns:
        survey, alert = dialogue.survey, dialogue.alert
        aux = Objects(self._database, survey).read([dialogue.object_id]).get(dialogue.object_id, {})
        if not dialogue.is_new:
            return messages.packet_light_curve(alert, aux, survey)
        stored = Alerts(self._database, survey).of_object(dialogue.object_id, {"candid": 1, "candidate": 1})
        return messages.full_light_curve(alert, aux, stored, survey)

    def _thumbnail(self, dialogue: Dialogue, role: str) -> None:
        entries, step = dialogue.candidates(), f"thumbnail:{THUMBNAILS[role]}"
        if not dialogue.is_new or not _without(entries, step) or dialogue.survey.lacks(dialogue.alert, role):
            return
        try:
            if not (dialogue.resumed and THUMBNAILS[role] in self._client.thumbnails(dialogue.object_id)):
                message = messages.thumbnail_message(dialogue.object_id, dialogue.alert, role, dialogue.survey)
                self._client.post_thumbnail(message)
        except (SkyPortalError, PacketError) as error:
            _raise_if_retriable(error)
            dialogue.refuse(entries, step, error)
        else:
            self._done(entries, step)

    def _save(self, dialogue: Dialogue) -> None:
        """The object is a source of the groups that want it and didn't have it."""
        wanting = [one for one in dialogue.candidates() if one["autosave"]]
        waiting = [one for one in wanting if not {SAVED, NOT_SAVED} & set(one["done"])]
        if not waiting:
            return
        there = self._client.groups_of(dialogue.object_id) if dialogue.resumed or not dialogue.is_new else set()
        undecided, decided = _without(waiting, SAVING), [one for one in waiting if SAVING in one["done"]]
        # decided once: after our own message, whose answer may be lost, the groups have it, whoever saved it
        self._done([one for one in undecided if one["group_id"] in there], NOT_SAVED, durable=True)
        self._done([one for one in undecided if one["group_id"] not in there], SAVING, durable=True)
        self._done([one for one in decided if one["group_id"] in there], SAVED, durable=True)
        saving = [one for one in waiting if not {SAVED, NOT_SAVED} & set(one["done"])]
        if not saving:
            return
        try:
            saved = self._post_source(dialogue.object_id, saving)
        except SkyPortalError as error:
            _raise_if_retriable(error)
            dialogue.refuse(saving, "source", error)
            return
        self._done([one for one in saving if one["group_id"] in saved], SAVED, durable=True)
        self._done([one for one in saving if one["group_id"] not in saved], NOT_SAVED, durable=True)

    def _post_source(self, object_id: str, entries: list[Entry]) -> set[int]:
        """Save an object; the groups that have it now."""
        message = messages.source_message(entries)
        try:
            return self._client.post_source(message)
        except SkyPortalError as error:
            if error.status != 400:
                raise
            # two that save the same source at once get in each other's way; then it is there, or may be saved now
            there = self._client.groups_of(object_id) & set(message["group_ids"])
            return there if there == set(message["group_ids"]) else self._client.post_source(message)

    def _comment(self, dialogue: Dialogue) -> None:
        for entry in _without([one for one in dialogue.candidates() if SAVED in one["done"]], "comment"):
            if not entry["autosave"]["comment"]:
                continue
            message = messages.comment_message(entry["autosave"]["comment"], [entry["group_id"]])
            try:
                self._client.post_comment(dialogue.object_id, message)
            except SkyPortalError as error:
                _raise_if_retriable(error)
                dialogue.refuse([entry], "comment", error)
                continue
            self._done([entry], "comment")

    def _follow_up(self, dialogue: Dialogue) -> None:
        """What is to be followed up has its own entries, once its object is saved or was before."""
        self._outbox.add(
            follow_up_entries(one for one in dialogue.candidates() if {SAVED, NOT_SAVED} & set(one["done"]))
        )

    def _done(self, entries: list[Entry], step: str, durable: bool = False) -> None:
        if entries:
            self._outbox.step_done(_ids(entries), step, durable)
        for entry in entries:
            entry["done"].append(step)

    def _close(self, dialogue: Dialogue) -> None:
        for key, error in dialogue.refused.items():
            log.warning("%s: %s refused: %s", key, error["step"], error["message"])
            self._outbox.fail([key], error)
        delivered = [key for key in _ids(dialogue.entries) if key not in dialogue.refused]
        self._outbox.deliver(delivered)
        trace = Alerts(self._database, dialogue.survey).delivered(dialogue.alert["candid"]) if delivered else None
        replayed = any(entry.get("replayed") for entry in dialogue.entries)  # days after their messages
        if trace and not replayed:
            self._latencies.observe(dialogue.survey.name, spans_of([trace], AT_DELIVERY))


def refusal(step: str, error: KowalskiError) -> dict[str, Any]:
    """An answer as the outbox keeps it: at which step, its HTTP status (None: it never got there), its text, when."""
    return {"step": step, "status": getattr(error, "status", None), "message": str(error), "at": datetime.now(UTC)}


def _raise_if_retriable(error: KowalskiError) -> None:
    if error.retriable:
        raise error


def _of_kind(entries: list[Entry], kind: str) -> list[Entry]:
    return [entry for entry in entries if entry["kind"] == kind]


def _without(entries: list[Entry], step: str) -> list[Entry]:
    return [entry for entry in entries if step not in entry["done"]]


def _ids(entries: Iterable[Entry]) -> list[str]:
    return [entry["_id"] for entry in entries]
