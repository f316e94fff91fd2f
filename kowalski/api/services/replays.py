"""Filters over past nights: what would have passed, what it costs, and what two versions make of the same alerts."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any

from bson.raw_bson import RawBSONDocument

from kowalski.alerts.times import jd_of, moment_of
from kowalski.api.errors import BadRequest
from kowalski.api.models.filters import Replay
from kowalski.api.services.clock import Clock, TimeIsUp
from kowalski.api.services.filter_trials import chosen
from kowalski.api.services.funnels import Funnel
from kowalski.api.services.past_alerts import BATCH, PastAlerts, hidden_from, shared_with
from kowalski.api.services.rights import User
from kowalski.database.queries import Document, QueryError
from kowalski.filters.compile import CARRIER, CompiledStages, compile_stages
from kowalski.filters.portions import Batch, chunks, portions
from kowalski.filters.sight import Sight

#: alerts that are named; of more there are only numbers
NAMED = 1000
#: alerts on which the cost of each stage is measured, and the share of the time that this may take
TIMED, COSTS_SHARE = 50, 0.2
#: alerts that are judged at once where each goes by itself
FEW = 10
#: d without alerts after which a night is over
QUIET = 0.125
ONLY_CARRIER = {"$project": {"_id": 0, CARRIER: 1}}


@dataclass
class Score:
    """What a version made of the alerts so far: candids that passed or could not be judged, by night, and s spent."""

    compiled: CompiledStages
    passed: dict[int, Document] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class Replays:
    """Runs versions of filters over alerts of the archive, each as it was known at its time."""

    def __init__(self, past: PastAlerts, max_time_ms: int):
        self.past = past
        self.max_time_ms = max_time_ms

    async def over(
        self, versions: dict[str, list[Document]], sight: Sight, asked: Replay, user: User, funnel: Funnel | None = None
    ) -> Document:
        """Figures of one version, or of two and where they differ; `complete` says whether the time was enough for all alerts.

        A ``funnel`` counts how far alerts get in the first version.
        """
        shared = shared_with(user, sight)
        condition = shared.condition | chosen(sight.survey, asked.object_ids, asked.start, asked.end)
        scores = {fid: Score(compile_stages(stages)) for fid, stages in versions.items()}
        first, *others = scores.items()
        nights: Counter[str] = Counter()
        costs: list[Document] | None = None
        clock = Clock(asked.max_time_ms / 1000)
        comment = f"{user.name}: filter replay"
        judged = self._judged(shared, condition, [*scores.values()], clock, comment, [("candidate.jd", 1)])
        try:
            async for batch, documents in judged:
                nights.update(night_of(alert["candidate"]["jd"]) for alert in batch)
                if costs is None:
                    costs = await self._costs(first[1].compiled, documents[:TIMED], clock.within(COSTS_SHARE))
                if funnel is not None:
                    await funnel.take(
                        first[1].compiled, documents, self.past.queries, min(clock.left_ms(), self.max_time_ms)
                    )
        except TimeIsUp:
            clock.ran_out = True
        except QueryError as error:
            raise BadRequest(f"failure: {error}") from None
        told = {**_figures(*first, nights), "stages": costs or [], "complete": not clock.ran_out}
        for fid, score in others:
            told["against"] = {**_figures(fid, score, nights), **_difference(first[1], score)}
        if hidden := hidden_from(sight, shared):
            told["hidden"] = hidden
        return told

    async def share(self, sight: Sight, stages: list[Document], seconds: float) -> Document | None:
        """What of the last full night passes, as far as the time goes; None where there was none.

        ``{night, alerts, passed, share, complete}``
        """
        clock, score, alerts = Clock(seconds), Score(compile_stages(stages)), 0
        try:
            start = await self._last_full_night(sight, clock)
        except TimeIsUp:
            return None
        if start is None:
            return None
        condition = sight.condition | {"candidate.jd": {"$gte": start, "$lt": start + 1}}
        async for batch, _ in self._judged(sight, condition, [score], clock, "filter activated"):
            alerts += len(batch)
        passed = len(score.passed)
        return {"night": night_of(start), "alerts": alerts, "passed": passed, "share": passed / max(alerts, 1), "complete": not clock.ran_out}  # fmt: skip

    async def _last_full_night(self, sight: Sight, clock: Clock) -> float | None:
        """JD at which the last UTC day begins of whose night no more alerts are to come: today, once there were none for a while."""
        now = jd_of(datetime.now(UTC))
        newest = await self._newest(sight, now, clock)
        if newest is not None and now - newest < QUIET:
            newest = await self._newest(sight, _day_of(newest), clock)
        return None if newest is None else _day_of(newest)

    async def _newest(self, sight: Sight, before: float, clock: Clock) -> float | None:
        """JD of the last alert before a moment."""
        condition = sight.condition | {"candidate.jd": {"$lt": before}}
        found = self.past.batches(sight.survey, condition, "filter activated", clock.left_ms(), sort=[("candidate.jd", -1)], limit=1)  # fmt: skip
        async for (newest,) in found:
            return float(newest["candidate"]["jd"])
        return None

    async def _judged(
        self, sight: Sight, condition: Document, scores: list[Score], clock: Clock, comment: str,
        sort: list[tuple[str, Any]] | None = None,
    ) -> AsyncIterator[tuple[list[Document], list[RawBSONDocument]]]:  # fmt: skip
        """Alerts on which all versions were run, some at a time, and what these were fed; until the time is up."""
        number = BATCH if all(score.compiled.by_batch for score in scores) else FEW
        try:
            async for batch in self.past.batches(sight.survey, condition, comment, clock.left_ms(), sort=sort):
                for begin in range(0, len(batch), number):
                    part = batch[begin : begin + number]
                    yield part, await self._score(sight, part, scores, clock)
        except TimeIsUp:
            return
        except QueryError:
            if time.monotonic() < clock.ends:
                raise
            clock.ran_out = True

    async def _score(
        self, sight: Sight, batch: list[Document], scores: list[Score], clock: Clock
    ) -> list[RawBSONDocument]:
        """Run all versions on a batch; returns what they were fed. Where the time is not enough nothing of it counts."""
        reads = reduce(or_, (score.compiled.reads for score in scores))
        documents = await self.past.as_seen(sight, batch, reads, clock.left_ms())
        about = {alert["candid"]: alert for alert in batch}
        outcomes = []
        for score in scores:
            began = time.perf_counter()
            rows, failed = await self._rows(score.compiled, documents, clock)
            outcomes.append((score, rows, failed, time.perf_counter() - began))
        for score, rows, failed, seconds in outcomes:
            score.failed += failed
            score.seconds += seconds
            for alert in (about[candid] for candid, number in rows.items() if number == 1):
                score.passed[alert["candid"]] = {"candid": alert["candid"], "objectId": alert[sight.survey.object_id], "jd": alert["candidate"]["jd"]}  # fmt: skip
        return documents

    async def _rows(
        self, compiled: CompiledStages, documents: list[RawBSONDocument], clock: Clock
    ) -> tuple[Counter[int], Counter[str]]:
        """How many documents come out of each alert, and with how many alerts the pipeline fails why."""
        number, failed = Counter[int](), Counter[str]()
        if compiled.together is not None:
            try:
                for part in chunks(documents):
                    number.update(row[CARRIER] for row in await self._run(compiled.together, part, clock.left_ms()))
                return number, failed
            except QueryError:
                number.clear()  # one alert at a time shows which
        for document in documents:
            left = clock.left_ms()
            try:
                number[document[CARRIER]] = len(
                    await self._run(compiled.alone, [document], min(left, self.max_time_ms))
                )
            except QueryError as error:
                clock.left_ms()
                failed[str(error)] += 1
        return number, failed

    async def _run(self, stages: list[Document], documents: list[RawBSONDocument], time_ms: int) -> list[Document]:
        return await self.past.queries.run([*stages, ONLY_CARRIER], documents, time_ms)

    async def _costs(
        self, compiled: CompiledStages, documents: list[RawBSONDocument], clock: Clock
    ) -> list[Document]:  # fmt: skip
        """ms per 1000 alerts of each stage: what the pipeline takes with it less what it takes without; None where no time was left for it."""
        stages, parts = portions(compiled, documents)
        ours = len(stages) - len(compiled.stages)  # the first ones, which are not the user's
        told: list[Document] = [
            {"stage": place, "operator": next(iter(stage)), "ms_per_1000_alerts": None}
            for place, stage in enumerate(compiled.stages, 1)
        ]
        with suppress(TimeIsUp):  # the alerts themselves matter more
            before = await self._seconds(stages[:ours], parts, clock)
            for place, each in enumerate(told, 1):
                after = await self._seconds(stages[: ours + place], parts, clock)
                each["ms_per_1000_alerts"] = round(1e6 * max(0.0, after - before) / max(len(documents), 1), 2)
                before = max(before, after)
        return told

    async def _seconds(self, stages: list[Document], parts: list[Batch], clock: Clock) -> float:
        """What some stages take on some alerts, the better of two."""
        times = []
        for _ in range(2):
            began = time.perf_counter()
            for part in parts:
                try:
                    await self._run(stages, part, clock.left_ms())
                except QueryError:
                    continue
            times.append(time.perf_counter() - began)
        return min(times)


def _day_of(jd: float) -> float:
    """JD at which a moment's UTC day begins."""
    return (jd - 0.5) // 1 + 0.5


def night_of(jd: float) -> str:
    """The UTC date of a JD; empty where no calendar has it."""
    moment = moment_of(jd)
    return f"{moment:%Y-%m-%d}" if moment else ""


def _figures(fid: str, score: Score, nights: Counter[str]) -> Document:
    alerts, passed = nights.total(), len(score.passed)
    by_night = Counter(night_of(each["jd"]) for each in score.passed.values())
    return {
        "fid": fid,
        "alerts": alerts,
        "passed": passed,
        "pass_rate": passed / alerts if alerts else 0.0,
        "failed": score.failed.total(),
        "errors": dict(score.failed.most_common(5)),
        "ms_per_1000_alerts": round(1e6 * score.seconds / max(alerts, 1), 2),
        "nights": [
            {"night": night, "alerts": number, "passed": by_night[night]} for night, number in sorted(nights.items())
        ],
        "candidates": list(score.passed.values())[:NAMED],
    }


def _difference(first: Score, second: Score) -> Document:
    only_first = [each for candid, each in first.passed.items() if candid not in second.passed]
    only_second = [each for candid, each in second.passed.items() if candid not in first.passed]
    return {
        "both": len(first.passed) - len(only_first),
        "gained": {"number": len(only_first), "candidates": only_first[:NAMED]},
        "lost": {"number": len(only_second), "candidates": only_second[:NAMED]},
    }
