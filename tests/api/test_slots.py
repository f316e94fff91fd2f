"""How many queries of a user run at a time, in one process and in two that share memory."""

import asyncio
import copy
from collections import Counter

import pytest

from kowalski.api.errors import TooMany
from kowalski.api.services.limits import Limits
from kowalski.api.services.rights import User
from kowalski.api.shared import Shared

USER = User("astronomer", is_admin=False)
AT_ONCE = 4


def processes(number: int, patience: float = 60.0) -> list[Limits]:
    """The limits of processes of one machine."""
    shared = Shared()
    views = [copy.copy(shared) for _ in range(number)]
    for column, view in enumerate(views):
        view.take_column(column)
    return [Limits(view, AT_ONCE, patience) for view in views]


async def test_who_waits_is_let_in_by_order_of_arrival() -> None:
    (limits,) = processes(1)
    begun: list[int] = []
    ends = [asyncio.Event() for _ in range(10)]

    async def query(number: int) -> None:
        async with limits.slot(USER):
            begun.append(number)
            await ends[number].wait()

    tasks = [asyncio.create_task(query(number)) for number in range(10)]
    while len(begun) < AT_ONCE:
        await asyncio.sleep(0)
    for number in range(10):
        assert begun == list(range(min(10, AT_ONCE + number)))
        ends[number].set()
        await tasks[number]
        await asyncio.sleep(0)  # the one let in begins
    assert limits.shared.running(USER.name) == 0


async def test_no_process_starves_beside_a_busy_one() -> None:
    """Each keeps asking as soon as it is answered; one with all slots at first leaves the other its share."""
    busy, late = processes(2)
    answered: Counter[str] = Counter()
    enough = asyncio.Event()

    async def ask(name: str, limits: Limits) -> None:
        while not enough.is_set():
            async with limits.slot(USER):
                assert limits.shared.running(USER.name) <= AT_ONCE
                await asyncio.sleep(0.001)
                answered[name] += 1

    clients = [asyncio.create_task(ask("busy", busy)) for _ in range(20)]
    while answered["busy"] < 20:
        await asyncio.sleep(0)
    clients += [asyncio.create_task(ask("late", late)) for _ in range(20)]
    async with asyncio.timeout(60):
        while answered["late"] < 100:
            await asyncio.sleep(0.001)
    enough.set()
    await asyncio.gather(*clients)
    assert busy.shared.running(USER.name) == 0
    assert busy.shared.contenders(USER.name) == 1


async def test_waiting_ends_in_an_error_and_leaves_nothing_behind() -> None:
    (limits,) = processes(1, patience=0.01)
    held = [limits.slot(USER) for _ in range(AT_ONCE)]
    for slot in held:
        await slot.__aenter__()
    with pytest.raises(TooMany, match="4 of your queries are running"):
        async with limits.slot(USER):
            pass
    for slot in held:
        await slot.__aexit__(None, None, None)
    assert limits.shared.running(USER.name) == 0
    async with limits.slot(USER):
        assert limits.shared.running(USER.name) == 1


@pytest.mark.parametrize("when", ["while it waits", "as it is let in"])
async def test_a_query_called_off_frees_its_place(when: str) -> None:
    (limits,) = processes(1)
    held = [limits.slot(USER) for _ in range(AT_ONCE)]
    for slot in held:
        await slot.__aenter__()

    async def query() -> None:
        async with limits.slot(USER):
            await asyncio.Event().wait()

    task = asyncio.create_task(query())
    await asyncio.sleep(0)
    if when == "as it is let in":
        await held.pop().__aexit__(None, None, None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for slot in held:
        await slot.__aexit__(None, None, None)
    assert limits.shared.running(USER.name) == 0
