"""Reads that are given up."""

import asyncio
import gc
from typing import Any

import pytest

from kowalski.database import queries
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.queries import Queries, Reading
from kowalski.settings import Database

#: takes as long as it may, and answers nothing before its end
ENDLESS = [
    {
        "$lookup": {
            "from": "Crowd",
            "let": {"n": "$n"},
            "pipeline": [{"$match": {"$expr": {"$lt": ["$n", "$$n"]}}}],
            "as": "l",
        }
    },
    {"$match": {"$expr": {"$lt": [{"$size": "$l"}, 0]}}},
]


def test_a_query_that_nobody_awaits_any_more_fails_without_a_word(
    mongo: MongoDatabase, mongo_settings: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty first reply, then a getMore that runs out of time after its reader has gone."""
    mongo["Crowd"].insert_many({"_id": n, "n": n} for n in range(3000))
    monkeypatch.setattr(queries, "FIRST_REPLY", 0)
    admin = connect(mongo_settings, "admin").client.admin
    said: list[dict[str, Any]] = []

    def running() -> int:
        of_ours = {"command.getMore": {"$exists": True}, "ns": f"{mongo.name}.Crowd", "active": True}
        return len(list(admin.aggregate([{"$currentOp": {"allUsers": True}}, {"$match": of_ours}])))

    async def until(number: int) -> None:
        while await asyncio.to_thread(running) != number:
            await asyncio.sleep(0.02)

    async def give_up() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        reads = Queries(mongo_settings)
        rows = reads.aggregate("Crowd", ENDLESS, Reading(max_time_ms=1500, comment="given up"), False)
        asked = asyncio.ensure_future(anext(rows))  # type: ignore[arg-type]
        await until(1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await until(0)
        while asyncio.all_tasks() != {asyncio.current_task()}:  # what waits for the server's reply has it
            await asyncio.sleep(0.02)
        gc.collect()
        reads.close()

    asyncio.run(give_up())
    admin.client.close()
    assert said == []
