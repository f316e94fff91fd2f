"""Why stored alerts pass a filter or not."""

from typing import Any

import bson

from kowalski.api.errors import BadRequest
from kowalski.api.models.filters import ToExplain
from kowalski.api.services.clock import Clock, TimeIsUp
from kowalski.api.services.past_alerts import PastAlerts, hidden_from, shared_with
from kowalski.api.services.rights import User
from kowalski.database.queries import Document, QueryError
from kowalski.errors import FilterError
from kowalski.filters.compile import EVERYTHING, parse_pipeline
from kowalski.filters.explain import Asking, Question, Row, explain
from kowalski.filters.sight import Sight

#: of an object's alerts, the newest
MOST = 20
#: ms that one question may take, and s that all of them may
TIME_MS, ALL_S = 5000, 60


class Explanations:
    """Explains filters to users, who are told of what they may see themselves."""

    def __init__(self, past: PastAlerts):
        self.past = past

    async def of(self, stored: Document, version: Document, sight: Sight, asked: ToExplain, user: User) -> list[Row]:
        """One explanation per alert, the newest first.

        Raises
        ------
        BadRequest : there is no such alert that the user may see, or the time is not enough
        """
        clock = Clock(ALL_S)
        survey = sight.survey
        which = {"candid": asked.candid} if asked.candid is not None else {survey.object_id: asked.object_id}
        seen = user.sees(survey.name)
        limits = {} if seen is True else Sight(survey, tuple(seen or ())).condition
        alerts: list[Document] = []
        found = self.past.batches(survey, limits | which, f"{user.name}: explain", TIME_MS, sort=[("candidate.jd", -1)], limit=MOST)  # fmt: skip
        async for batch in found:
            alerts += batch
        if not alerts or (seen is not True and not seen):
            raise BadRequest(f"there is no alert {asked.candid or asked.object_id} in {survey.alerts} that you may see")
        try:
            return [await self._one(stored, version, sight, alert, user, clock) for alert in alerts]
        except TimeIsUp:
            raise BadRequest(f"{ALL_S} s are not enough to explain this; a single alert takes less than an object's, and a shorter pipeline too") from None  # fmt: skip

    async def _one(
        self, stored: Document, version: Document, sight: Sight, alert: Document, user: User, clock: Clock
    ) -> Row:
        survey = sight.survey
        about = {"candid": alert["candid"], "objectId": alert[survey.object_id], "jd": alert["candidate"]["jd"]}
        if not sight.sees(alert["candidate"]):
            programme = alert["candidate"].get(survey.program_field)
            reason = f"the filter's permissions {list(sight.permissions)} leave out {survey.program_field} {programme}"
            return about | {"passed": False, "reason": reason, "stages": [], "documents": []}
        shared = shared_with(user, sight)
        (raw,) = await self.past.as_seen(shared, [alert], EVERYTHING, TIME_MS)
        document = bson.decode(raw.raw)
        told: Row = about | await self._answered(explain(_stages(version["pipeline"]), document), clock)
        if hidden := hidden_from(sight, shared):
            told["hidden"] = hidden
        for name in ("autosave", "auto_followup"):
            further = stored.get(name)
            if told["passed"] and isinstance(further, dict) and further.get("active") and further.get("pipeline"):
                told[name] = await self._answered(explain(_stages(further["pipeline"]), document), clock)
        return told

    async def _answered(self, asking: Asking, clock: Clock) -> Any:
        """What an asking gives once MongoDB has answered its questions."""
        try:
            question = next(asking)
            while True:
                question = asking.send(await self._answer(question, clock))
        except StopIteration as done:
            return done.value

    async def _answer(self, question: Question, clock: Clock) -> list[Row] | FilterError:
        time_ms = min(TIME_MS, clock.left_ms())
        try:
            return await self.past.queries.run(question.stages, [question.document], time_ms)
        except QueryError as error:
            clock.left_ms()
            return FilterError(str(error))


def _stages(pipeline: Any) -> list[Document]:
    try:
        return parse_pipeline(pipeline)
    except FilterError as error:
        raise BadRequest(str(error)) from None
