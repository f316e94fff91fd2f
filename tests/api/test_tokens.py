"""Personal tokens, and how tokens are looked up."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from accounts_harness import MakeUser, call, holds, message
from api_harness import SECRET, Api, wait_until

from kowalski.api.errors import BadRequest
from kowalski.api.services.personal_tokens import AT_MOST
from kowalski.api.services.sessions import Sessions
from kowalski.api.services.tokens import Tokens
from kowalski.api.shared import Shared
from kowalski.database.client import MongoDatabase
from kowalski.database.users import Users
from kowalski.errors import DatabaseUnavailable
from kowalski.local.ports import free_ports
from kowalski.settings import Database


def test_personal_tokens(api: Api, make_user: MakeUser) -> None:
    own = make_user("caroline")
    answer = call(api, "POST", "/api/tokens", {"name": "script", "expires_in": 3600}, own)
    assert message(answer) == "added token: it is not shown again"
    made = answer.json()["data"]
    assert made.keys() == {"id", "name", "created_at", "expires_at", "token"}
    other = call(api, "POST", "/api/tokens", {}, own).json()["data"]
    assert other["expires_at"] is None
    assert holds(api, made["token"])
    assert api.get("/api/users/caroline", token=made["token"]).json()["data"]["_id"] == "caroline"
    listed = api.get("/api/tokens", token=own).json()["data"]
    assert {each["id"]: each["name"] for each in listed} == {made["id"]: "script", other["id"]: ""}
    assert not any("token" in each for each in listed)
    assert api.get("/api/tokens").json()["data"] == [], "the admin's are others"
    assert message(call(api, "DELETE", f"/api/tokens/{made['id']}"), 400) == f"token {made['id']} not found"
    assert message(call(api, "DELETE", f"/api/tokens/{made['id']}", token=own)) == f"removed token {made['id']}"
    assert not holds(api, made["token"])
    assert holds(api, other["token"])
    assert message(call(api, "DELETE", f"/api/tokens/{made['id']}", token=own), 400) == f"token {made['id']} not found"
    assert len(api.get("/api/tokens", token=other["token"]).json()["data"]) == 1
    assert call(api, "PUT", "/api/users/caroline", {"revoke_tokens": True}).status_code == 200
    assert not holds(api, other["token"])
    again = api.log_in("caroline", "his own").json()["token"]
    assert api.get("/api/tokens", token=again).json()["data"] == []


def test_the_text_of_a_token_is_not_kept(api: Api, make_user: MakeUser, stored: MongoDatabase) -> None:
    text = call(api, "POST", "/api/tokens", {}, make_user("dorothy")).json()["data"]["token"]
    kept = stored["tokens"].find_one({"user": "dorothy"})
    assert text not in str(kept)
    assert text.rpartition(".")[2] not in str(kept)
    assert text not in api.log.read_text()


def test_a_personal_token_makes_no_others(api: Api, make_user: MakeUser) -> None:
    personal = call(api, "POST", "/api/tokens", {}, make_user("beatrice")).json()["data"]
    refused = call(api, "POST", "/api/tokens", {}, personal["token"])
    assert message(refused, 403) == "a personal token can't make others: use the token of a login"
    assert call(api, "DELETE", f"/api/tokens/{personal['id']}", token=personal["token"]).status_code == 200
    assert not holds(api, personal["token"]), "but it can end itself"


def test_a_personal_token_ends_in_time_and_with_its_user(api: Api, make_user: MakeUser) -> None:
    own = make_user("maria")
    short = call(api, "POST", "/api/tokens", {"expires_in": 1}, own).json()["data"]["token"]
    assert isinstance(jwt.decode(short, SECRET, algorithms=["HS256"], options={"verify_exp": False})["exp"], int)
    wait_until(lambda: api.get("/", token=short).json()["message"] == "token has expired", timeout=10)
    other = call(api, "POST", "/api/tokens", {}, own).json()["data"]["token"]
    assert call(api, "DELETE", "/api/users/maria").status_code == 200
    assert not holds(api, other)


def test_tokens_are_not_made_without_end(api: Api, make_user: MakeUser, stored: MongoDatabase) -> None:
    own = make_user("ida")
    stored["tokens"].insert_many({"_id": f"ida{number}", "user": "ida"} for number in range(AT_MOST))
    assert message(call(api, "POST", "/api/tokens", {}, own), 400) == f"you have {AT_MOST} tokens: remove some"


def test_mongodb_forgets_what_has_expired(api: Api, stored: MongoDatabase) -> None:
    assert stored["tokens"].index_information()["expires_at"]["expireAfterSeconds"] == 0
    assert stored["logins"].index_information()["last"]["expireAfterSeconds"] == 600


@pytest.mark.parametrize(
    ("method", "path", "body", "text"),
    [
        ("DELETE", "/api/tokens/nothing", None, "token nothing not found"),
        ("POST", "/api/tokens", {"expires_in": 0}, "expires_in: Input should be greater than or equal to 1"),
        ("POST", "/api/tokens", {"expires_in": 10**12}, "expires_in: Input should be less than or equal to 1000000000"),
        ("POST", "/api/tokens", {"expires_in": True}, "expires_in: Input should be a valid integer"),
        ("POST", "/api/tokens", {"name": "x" * 201}, "name: String should have at most 200 characters"),
        (
            "POST",
            "/api/tokens",
            {"name": "\ud800"},
            "name: Input should be a valid string, unable to parse raw data as a unicode string",
        ),
    ],
)
def test_what_is_wrong_is_named(api: Api, method: str, path: str, body: Any, text: str) -> None:
    assert message(call(api, method, path, body), 400) == text


# how tokens are looked up ------------------------------------------------------------------------------------------


class CountingUsers(Users):
    """Users whose reads are counted."""

    reads = 0

    async def get(self, username: str) -> dict[str, Any] | None:
        self.reads += 1
        return await super().get(username)


@pytest.fixture
async def users(mongo_settings: Database) -> AsyncIterator[CountingUsers]:
    """An empty collection."""
    made = CountingUsers(mongo_settings)
    yield made
    made.close()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(SECRET, "HS256", None)


async def test_of_many_requests_at_once_one_reads(users: CountingUsers, tokens: Tokens) -> None:
    await users.add("kip", {}, token_version=3)
    shared = Shared()
    sessions = Sessions(tokens, users, shared, "admin", {})
    token = tokens.issue("kip", 3)
    opened = await asyncio.gather(*(sessions.open(token) for _ in range(50)))
    assert {session.user.name for session in opened} == {"kip"}
    assert users.reads == 1
    shared.accounts_changed()
    await asyncio.gather(*(sessions.open(token) for _ in range(50)))
    assert users.reads == 2


async def test_a_client_that_leaves_does_not_end_the_look_of_others(users: CountingUsers, tokens: Tokens) -> None:
    await users.add("kip", {}, token_version=3)
    sessions = Sessions(tokens, users, Shared(), "admin", {})
    first, second = (asyncio.create_task(sessions.open(tokens.issue("kip", 3))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).user.name == "kip"
    assert users.reads == 1


async def test_while_mongodb_is_away_nobody_is_let_in(
    users: CountingUsers, tokens: Tokens, mongo_settings: Database
) -> None:
    await users.add("kip", {}, token_version=3)
    shared = Shared()
    sessions = Sessions(tokens, users, shared, "admin", {})
    token = tokens.issue("kip", 3)
    assert (await sessions.open(token)).user.name == "kip"
    (port,) = free_ports(1)
    sessions.users = nowhere = Users(mongo_settings.model_copy(update={"port": port}))
    shared.accounts_changed()
    with pytest.raises(DatabaseUnavailable):
        await sessions.open(token)
    nowhere.close()
    sessions.users = users
    shared.accounts_changed()
    assert (await sessions.open(token)).user.name == "kip"


@pytest.mark.parametrize("claims", [{"version": "3"}, {"version": 3.5}, {"version": None}, {"jti": 5}, {"user_id": None}, {"exp": "soon"}])  # fmt: skip
async def test_claims_of_other_types(users: CountingUsers, tokens: Tokens, claims: dict[str, Any]) -> None:
    await users.add("kip", {}, token_version=3)
    sessions = Sessions(tokens, users, Shared(), "admin", {})
    good = {"user_id": "kip", "version": 3}
    assert (await sessions.open(jwt.encode(good, SECRET, algorithm="HS256"))).user.name == "kip"
    text = "a string" if claims.get("jti") else None  # PyJWT itself refuses to write some
    with pytest.raises(BadRequest, match="token is invalid"):
        await sessions.open(jwt.encode(good | claims, SECRET, algorithm="HS256") if text is None else text)
