"""Guessing passwords takes long, for whoever guesses and from wherever."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from ipaddress import ip_network

import pytest
import requests
from accounts_harness import OWN, MakeUser, message
from api_harness import ADMIN, PASSWORD, Api, wait_until

from kowalski.api.errors import BadRequest, TooMany
from kowalski.api.services.addresses import Proxies
from kowalski.api.services.throttle import FREE, FREE_FROM_ANYWHERE, LONGEST, QUEUE, QUEUE_OF_ONE, Throttle, waiting
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.logins import MEMORY, Logins
from kowalski.settings import Database


@pytest.fixture
async def throttle(mongo_settings: Database) -> AsyncIterator[Throttle]:
    """A throttle over an empty collection."""
    made = Throttle(Logins(mongo_settings))
    yield made
    made.logins.close()


async def fail(throttle: Throttle, times: int, username: str = "vera", address: str = "10.0.0.1") -> None:
    """Wrong passwords, without waiting."""
    for _ in range(times):
        await throttle.failed(username, address)


async def wait_of(throttle: Throttle, username: str = "vera", address: str = "10.0.0.1") -> int:
    """The s to wait that a login is told; 0: it may go on."""
    try:
        async with throttle.turn(username, address):
            return 0
    except BadRequest as refused:
        begin, end = "too many failed logins: try again in ", " s"
        text = str(refused)
        assert text.startswith(begin)
        assert text.endswith(end)
        return int(text[len(begin) : -len(end)])


def age(mongo: MongoDatabase, seconds: float) -> None:
    """What failed, failed so long before now."""
    for each in mongo["logins"].find():
        mongo["logins"].update_one({"_id": each["_id"]}, {"$set": {"last": each["last"] - timedelta(seconds=seconds)}})


def test_each_further_failure_doubles_the_waiting_time() -> None:
    assert [waiting(failures, 5) for failures in range(4, 16)] == [
        0,
        1,
        2,
        4,
        8,
        16,
        32,
        64,
        128,
        256,
        LONGEST,
        LONGEST,
    ]
    assert waiting(10**9, 5) == LONGEST


async def test_one_name_from_one_address(throttle: Throttle, mongo: MongoDatabase) -> None:
    await fail(throttle, FREE - 1)
    assert await wait_of(throttle) == 0
    await fail(throttle, 6)
    assert 1 < await wait_of(throttle) <= 32
    assert await wait_of(throttle, address="10.0.0.2") == 0
    assert await wait_of(throttle, username="annie") == 0
    age(mongo, 33)
    assert await wait_of(throttle) == 0
    await fail(throttle, 1)
    assert 32 < await wait_of(throttle) <= 64
    await throttle.succeeded("vera", "10.0.0.1")
    assert await wait_of(throttle) == 0


async def test_one_name_from_many_addresses(throttle: Throttle) -> None:
    for number in range(FREE_FROM_ANYWHERE + 8):
        await throttle.failed("vera", f"10.0.0.{number}")
    assert 1 < await wait_of(throttle, address="10.9.9.9") <= 256
    await throttle.succeeded("vera", "10.0.0.1")
    assert 1 < await wait_of(throttle, address="10.9.9.9") <= 256, "a login of hers helps nobody who guesses elsewhere"
    assert await wait_of(throttle, username="annie", address="10.9.9.9") == 0


async def test_failures_are_forgotten(throttle: Throttle, mongo: MongoDatabase) -> None:
    await fail(throttle, FREE + 20)
    assert await wait_of(throttle) > MEMORY / 3
    age(mongo, MEMORY + 1)
    assert await wait_of(throttle) == 0
    await fail(throttle, 1)
    assert {each["failures"] for each in mongo["logins"].find()} == {1}


async def test_guesses_sent_at_once_wait_for_each_other(throttle: Throttle) -> None:
    async def guess() -> bool:
        try:
            async with throttle.turn("vera", "10.0.0.1"):
                await throttle.failed("vera", "10.0.0.1")
                return True
        except BadRequest:
            return False

    looked_at = await asyncio.gather(*(guess() for _ in range(QUEUE_OF_ONE)))
    assert sum(looked_at) == FREE


async def test_the_queue_is_bounded_and_nobody_fills_it_alone(throttle: Throttle) -> None:
    release = asyncio.Event()

    async def log_in(address: str) -> None:
        async with throttle.turn("vera", address):
            await release.wait()

    async def crowd(address: str, tries: int, too_many: int) -> list[asyncio.Task[None]]:
        """So many logins at once, of which so many are refused; the others wait."""
        logins = [asyncio.create_task(log_in(address)) for _ in range(tries)]
        async with asyncio.timeout(20):
            while sum(login.done() for login in logins) < too_many:
                await asyncio.sleep(0.01)
        return logins

    first = await crowd("10.0.0.1", QUEUE_OF_ONE + 3, too_many=3)
    second = await crowd("10.0.0.2", QUEUE - QUEUE_OF_ONE + 2, too_many=2)
    release.set()
    for logins, refused in ((first, 3), (second, 2)):
        results = await asyncio.gather(*logins, return_exceptions=True)
        assert [type(result) for result in results if result is not None] == [TooMany] * refused
    assert await wait_of(throttle) == 0


def test_guessing_takes_long(api: Api, make_user: MakeUser, stored: MongoDatabase) -> None:
    make_user("target")
    answers = [api.log_in("target", f"guess {number}") for number in range(FREE)]
    assert [message(answer, 401) for answer in answers] == ["Unauthorized"] * FREE
    stored["logins"].update_many({}, {"$set": {"failures": FREE + 3}})
    refused = {message(api.log_in("target", OWN), 400) for _ in range(6)}
    assert refused <= {f"too many failed logins: try again in {seconds} s" for seconds in range(1, 9)}
    assert {each["failures"] for each in stored["logins"].find()} == {FREE + 3}, "a try that is refused is no failure"
    wait_until(lambda: api.log_in("target", OWN).status_code == 200, timeout=30)
    assert stored["logins"].find_one({"_id": "127.0.0.1 target"}) is None
    assert message(api.log_in("target", "guess"), 401) == "Unauthorized"


def test_the_admin_is_no_exception(api: Api, stored: MongoDatabase) -> None:
    for _ in range(FREE):
        api.log_in(ADMIN, "guess")
    stored["logins"].update_many({}, {"$set": {"failures": 50}})
    try:
        assert "too many failed logins" in message(api.log_in(ADMIN, PASSWORD), 400)
        assert api.get("/").status_code == 200, "tokens go on holding"
    finally:
        stored["logins"].delete_many({})


def test_right_passwords_at_once_are_all_right(api: Api, make_user: MakeUser) -> None:
    make_user("crowd")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: api.log_in("crowd", OWN), range(10)))
    assert [answer.status_code for answer in answers] == [200] * 10


def _log_in_from(api: Api, forwarded: str, password: str = "guess") -> requests.Response:
    body = {"username": ADMIN, "password": password}
    return requests.post(f"{api.url}/api/auth", json=body, headers={"X-Forwarded-For": forwarded}, timeout=30)


def test_addresses_behind_a_proxy(mongo_settings: Database, another_api: Callable[..., Api]) -> None:
    behind = another_api(mongo_settings, trusted_proxies=["127.0.0.0/8"])
    open_to_all = another_api(mongo_settings)
    behind.wait_ready()
    open_to_all.wait_ready()
    for number in range(FREE):
        assert _log_in_from(behind, f"198.51.100.{number}, 203.0.113.7").status_code == 401
    logins = connect(mongo_settings)["logins"]
    logins.update_many({"_id": f"203.0.113.7 {ADMIN}"}, {"$set": {"failures": 50}})
    assert "too many failed" in message(_log_in_from(behind, "203.0.113.7", PASSWORD), 400)
    assert _log_in_from(behind, "203.0.113.8", PASSWORD).status_code == 200
    for number in range(FREE):
        assert _log_in_from(open_to_all, f"198.51.100.{number}").status_code == 401
    assert {each["_id"] for each in logins.find()} == {f"203.0.113.7 {ADMIN}", f"127.0.0.1 {ADMIN}", f"* {ADMIN}"}
    logins.database.client.close()


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7, 10.3.3.3"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7:51234"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8:1:2::7]:51234"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3::7", [], "2001:db8:1:2::/64"),
        ("10.0.0.1", [" , ,"], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "unknown"),
        ("10.0.0.1", ["x" * 5000], "x" * 100),
        (None, ["203.0.113.7"], ""),
    ],
)
def test_where_a_request_comes_from(remote: str | None, forwarded: list[str], client: str) -> None:
    assert Proxies((ip_network("10.0.0.0/8"),)).client(remote, forwarded) == client
