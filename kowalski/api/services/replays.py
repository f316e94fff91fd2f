"""Filters over past nights: what would have passed, what it costs, and what two versions make of the same alerts."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bson.raw_bson import RawBSONDocument

from kowalski.api.errors import BadRequest
from kowalski.api.models.filters import Replay
from kowalski.api.services.filter_trials import chosen, portions
from kowalski.api.services.past_alerts import PastAlerts, shared_with
from kowalski.api.services.rights import User
from kowalski.database.queries import Document, QueryError
from kowalski.filters.compile import CARRIER, CompiledStages, compile_stages
from kowalski.filters.sight import Sight

#: alerts that are named; of more there are only numbers
NAMED = 1000
#: alerts on which the cost of each stage is measured
TIMED = 50
JD_OF_EPOCH = 2440587.5


@dataclass
class Score:
    """What a version made of the alerts so far: candids that passed or could not be judged, by night, and s spent."""

    compiled: CompiledStages
    passed: dict[int, Document] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class Replays:
    """Runs versions of filters over alerts of the archive, each as it was known at its time."""

    def __init__(self, past: PastAlerts):
        self.past = past

    async def over(self, versions: dict[str, list[Document]], sight: Sight, asked: Replay, user: User) -> Document:
        """Figures of one version, or of two and where they differ; `complete` says whether the time was enough for all alerts."""
        sight = shared_with(user, sight)
        survey = sight.survey
        condition = sight.condition | chosen(survey, asked.object_ids, asked.start, asked.end)
        scores = {fid: Score(compile_stages(stages)) for fid, stages in versions.items()}
        nights: Counter[str] = Counter()
        ended = time.monotonic() + asked.max_time_ms / 1000
        costs: list[Document] = []
        complete = True
        comment = f"{user.name}: filter replay"
        try:
            found = self.past.batches(survey, condition, comment, asked.max_time_ms, sort=[("candidate.jd", 1)])
            async for batch in found:
                if time.monotonic() > ended:
                    complete = False
                    break
                nights.update(night_of(alert["candidate"]["jd"]) for alert in batch)
                documents = await self._score(sight, batch, scores, asked.max_time_ms)
                if not costs:
                    costs = await self._costs(
                        next(iter(scores.values())).compiled, documents[:TIMED], asked.max_time_ms
                    )
        except QueryError as error:
            raise BadRequest(f"failure: {error}") from None
        first, *others = scores.items()
        told = {**_figures(*first, nights), "stages": costs, "complete": complete}
        for fid, score in others:
            told["against"] = {**_figures(fid, score, nights), **_difference(first[1], score)}
        return told

    async def share(self, sight: Sight, stages: list[Document], seconds: float) -> Document | None:
        """What of the last full night passes, as far as the time goes; None where there was none.

        ``{night, alerts, passed, share, complete}``
        """
        start = await self._last_full_night(sight)
        if start is None:
            return None
        interval = {"candidate.jd": {"$gte": start, "$lt": start + 1}}
        ended, score, alerts, complete = time.monotonic() + seconds, Score(compile_stages(stages)), 0, True
        time_ms = max(1, int(1000 * seconds))
        async for batch in self.past.batches(sight.survey, sight.condition | interval, "filter activated", time_ms):
            if time.monotonic() > ended:
                complete = False
                break
            await self._score(sight, batch, {"": score}, time_ms)
            alerts += len(batch)
        passed = len(score.passed)
        return {"night": night_of(start), "alerts": alerts, "passed": passed, "share": passed / max(alerts, 1), "complete": complete}  # fmt: skip

    async def _last_full_night(self, sight: Sight) -> float | None:
        """JD at which the last UTC day with alerts before today begins."""
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp() / 86400 + JD_OF_EPOCH
        condition = sight.condition | {"candidate.jd": {"$lt": today}}
        found = self.past.batches(
            sight.survey, condition, "filter activated", 3000, sort=[("candidate.jd", -1)], limit=1
        )
        async for (newest,) in found:
            return float((newest["candidate"]["jd"] - 0.5) // 1 + 0.5)
        return None

    async def _score(
        self, sight: Sight, batch: list[Document], scores: dict[str, Score], time_ms: int
    ) -> list[RawBSONDocument]:
        """Run all versions on a batch; returns what they were fed."""
        first, *others = [score.compiled.reads for score in scores.values()]
        for reads in others:
            first = first | reads
        documents = await self.past.as_seen(sight, batch, first, time_ms)
        about = {alert["candid"]: alert for alert in batch}
        for score in scores.values():
            began = time.perf_counter()
            for candid, number in (await self._rows(score, documents, time_ms)).items():
                if number == 1:
                    alert = about[candid]
                    score.passed[candid] = {"candid": candid, "objectId": alert[sight.survey.object_id], "jd": alert["candidate"]["jd"]}  # fmt: skip
            score.seconds += time.perf_counter() - began
        return documents

    async def _rows(self, score: Score, documents: list[RawBSONDocument], time_ms: int) -> Counter[int]:
        """How many documents come out of each alert."""
        compiled, number = score.compiled, Counter[int]()
        if compiled.by_batch:
            try:
                return Counter(row[CARRIER] for row in await self._run(compiled.stages, documents, time_ms))
            except QueryError:
                pass  # one alert at a time shows which
        for document in documents:
            try:
                number[document[CARRIER]] = len(await self._run(compiled.stages, [document], time_ms))
            except QueryError as error:
                score.failed[str(error)] += 1
        return number

    async def _run(self, stages: list[Document], documents: list[RawBSONDocument], time_ms: int) -> list[Document]:
        only = [{"$project": {"_id": 0, CARRIER: 1}}]
        return await self.past.queries.run([*stages, *only], documents, time_ms)

    async def _costs(self, compiled: CompiledStages, documents: list[RawBSONDocument], time_ms: int) -> list[Document]:
        """ms per 1000 alerts of each stage: what the pipeline takes with it less what it takes without."""
        told, before = [], await self._seconds(compiled, 0, documents, time_ms)
        for place, stage in enumerate(compiled.stages):
            after = await self._seconds(compiled, place + 1, documents, time_ms)
            per_thousand = 1e6 * max(0.0, after - before) / max(len(documents), 1)
            told.append(
                {"stage": place + 1, "operator": next(iter(stage)), "ms_per_1000_alerts": round(per_thousand, 2)}
            )
            before = max(before, after)
        return told

    async def _seconds(self, compiled: CompiledStages, stages: int, documents: list[RawBSONDocument], time_ms: int) -> float:  # fmt: skip
        """What the first stages take on some alerts, the better of two."""
        times = []
        for _ in range(2):
            began = time.perf_counter()
            for part in portions(compiled, documents):
                try:
                    await self._run(compiled.stages[:stages], part, time_ms)
                except QueryError:
                    continue
            times.append(time.perf_counter() - began)
            await asyncio.sleep(0)
        return min(times)


def night_of(jd: float) -> str:
    """The UTC date of a JD."""
    return f"{datetime.fromtimestamp((jd - JD_OF_EPOCH) * 86400, UTC):%Y-%m-%d}"


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
