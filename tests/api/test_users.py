"""Users, their tokens, and what becomes of both."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import bcrypt
import jwt
import pytest
import requests
from api_harness import ADMIN, SECRET, Api, wait_until

from kowalski.api.services.passwords import is_old, matches
from kowalski.database.client import MongoDatabase

MakeUser = Callable[..., str]


@pytest.fixture
def make_user(api: Api) -> Iterator[MakeUser]:
    """A function that makes a user and gives his token; they are removed at the end."""
    made = []

    def make(username: str, **fields: Any) -> str:
        answer = api.post("/api/users", {"username": username, "password": "his own"} | fields)
        assert answer.json() == {"status": "success", "message": f"added user {username}"}
        made.append(username)
        token: str = api.log_in(username, "his own").json()["token"]
        return token

    yield make
    for username in made:
        call(api, "DELETE", f"/api/users/{username}")


def call(api: Api, method: str, path: str, body: Any = None, token: str | None = None) -> requests.Response:
    """Any method, with the admin's token or another."""
    headers = {"Authorization": api.token if token is None else token}
    return requests.request(method, api.url + path, json=body, headers=headers, timeout=30)


def invalid(answer: requests.Response) -> bool:
    return answer.status_code == 400 and answer.json() == {"status": "error", "message": "token is invalid"}


def test_a_user_from_first_to_last(api: Api, make_user: MakeUser) -> None:
    token = make_user("vera", email="v@example.org", permissions={"ztf": [1, 2], "WINTER": True}, groups=[4])
    shown = api.get("/api/users/vera").json()["data"]
    assert shown["permissions"] == {"ZTF": [1, 2], "WNTR": True}
    assert (shown["groups"], shown["email"]) == ([4], "v@example.org")
    assert "password" not in shown
    assert [user["_id"] for user in api.get("/api/users").json()["data"]] == [ADMIN, "vera"]
    assert call(api, "PUT", "/api/users/vera", {"permissions": {}}).json()["message"] == "edited user vera"
    assert api.get("/api/users/vera").json()["data"]["permissions"] == {}
    assert api.get("/", token=token).status_code == 200
    assert call(api, "DELETE", "/api/users/vera").json()["message"] == "removed user vera"
    assert invalid(api.get("/", token=token))
    assert api.log_in("vera", "his own").status_code == 401
    make_user("vera")
    assert invalid(api.get("/", token=token)), "another of the same name is somebody else"


def test_a_new_password_counts_and_ends_tokens(api: Api, make_user: MakeUser) -> None:
    token = make_user("henrietta")
    assert call(api, "PUT", "/api/users/henrietta", {"password": "another"}).status_code == 200
    assert invalid(api.get("/", token=token))
    assert api.log_in("henrietta", "his own").status_code == 401
    assert api.get("/", token=api.log_in("henrietta", "another").json()["token"]).status_code == 200


def test_a_new_name(api: Api, make_user: MakeUser) -> None:
    token = make_user("jocelyn", groups=[3])
    make_user("taken")
    assert "exists already" in call(api, "PUT", "/api/users/jocelyn", {"username": "taken"}).json()["message"]
    assert call(api, "PUT", "/api/users/jocelyn", {"username": "bell"}).json()["message"] == "edited user jocelyn"
    assert invalid(api.get("/", token=token))
    assert api.get("/api/users/bell").json()["data"]["groups"] == [3]
    assert api.log_in("bell", "his own").status_code == 200
    assert call(api, "DELETE", "/api/users/bell").status_code == 200


def test_tokens_end_for_all_workers_at_once(api: Api, make_user: MakeUser) -> None:
    token = make_user("cecilia")
    assert all(api.get("/", token=token).status_code == 200 for _ in range(10))
    assert call(api, "PUT", "/api/users/cecilia", {"revoke_tokens": True}).status_code == 200
    assert all(invalid(api.get("/", token=token)) for _ in range(10))
    assert api.get("/", token=api.log_in("cecilia", "his own").json()["token"]).status_code == 200


def test_what_is_changed_by_hand_counts_soon(api: Api, make_user: MakeUser, stored: MongoDatabase) -> None:
    token = make_user("annie")
    assert api.get("/", token=token).status_code == 200
    stored["users"].update_one({"_id": "annie"}, {"$set": {"token_version": 7}})
    wait_until(lambda: invalid(api.get("/", token=token)), timeout=5)


def test_tokens_of_version_3_hold_until_they_are_revoked(api: Api, make_user: MakeUser) -> None:
    make_user("fritz")
    old = jwt.encode({"user_id": "fritz", "created_at": "2020-01-01T00:00:00.000000+00:00"}, SECRET, algorithm="HS256")
    assert api.get("/", token=old).status_code == 200
    assert api.get("/", token=f"Bearer {old}").status_code == 200
    call(api, "PUT", "/api/users/fritz", {"revoke_tokens": True})
    assert invalid(api.get("/", token=old))
    nobody = jwt.encode(
        {"user_id": "nobody", "created_at": "2020-01-01T00:00:00.000000+00:00"}, SECRET, algorithm="HS256"
    )
    assert invalid(api.get("/", token=nobody))


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("POST", "/api/users", {}, "username and password must be set"),
        ("POST", "/api/users", {"username": "x", "password": ""}, "username and password must be set"),
        ("POST", "/api/users", {"username": "a\0b", "password": "x"}, "control characters"),
        ("POST", "/api/users", {"username": ADMIN, "password": "x"}, "user admin exists already"),
        ("POST", "/api/users", {"username": "x", "password": "x", "permissions": {"ZTF": "all"}}, "permissions"),
        ("POST", "/api/users", {"username": "x", "password": "x", "permissions": {"Z$F": [1]}}, "not a survey"),
        ("POST", "/api/users", {"username": "x", "password": "x", "groups": ["a"]}, "groups"),
        ("PUT", "/api/users/nobody", {"email": "x"}, "user nobody not found"),
        ("PUT", "/api/users/admin", {"username": "x"}, "cannot rename the superuser!"),
        ("PUT", "/api/users/admin", {"password": "x"}, "server.admin_password"),
        ("DELETE", "/api/users/admin", None, "cannot remove the superuser!"),
        ("DELETE", "/api/users/nobody", None, "user nobody not found"),
        ("GET", "/api/users/nobody", None, "user nobody not found"),
        ("DELETE", "/api/tokens/nothing", None, "token nothing not found"),
        ("POST", "/api/tokens", {"expires_in": 0}, "expires_in"),
    ],
)
def test_what_is_wrong_is_named(api: Api, method: str, path: str, body: Any, message: str) -> None:
    answer = call(api, method, path, body)
    assert answer.status_code == 400
    assert message in answer.json()["message"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/users"), ("POST", "/api/users"), ("GET", "/api/users/admin"), ("PUT", "/api/users/admin"), ("DELETE", "/api/users/admin")])  # fmt: skip
def test_users_are_the_admins(api: Api, make_user: MakeUser, method: str, path: str) -> None:
    answer = call(api, method, path, {"username": "x", "password": "x"}, token=make_user("mallory"))
    assert (answer.status_code, answer.json()["message"]) == (403, "Forbidden")
    assert call(api, method, path, {}, token="").status_code == 401


def test_personal_tokens(api: Api, make_user: MakeUser) -> None:
    own = make_user("caroline")
    made = call(api, "POST", "/api/tokens", {"name": "script", "expires_in": 3600}, own).json()["data"]
    other = call(api, "POST", "/api/tokens", {}, own).json()["data"]
    assert api.get("/", token=made["token"]).status_code == 200
    listed = api.get("/api/tokens", token=own).json()["data"]
    assert {each["id"]: each["name"] for each in listed} == {made["id"]: "script", other["id"]: ""}
    assert not any("token" in each for each in listed)
    assert call(api, "DELETE", f"/api/tokens/{made['id']}").status_code == 400, "the admin has no such token"
    assert call(api, "DELETE", f"/api/tokens/{made['id']}", token=own).status_code == 200
    assert all(invalid(api.get("/", token=made["token"])) for _ in range(6))
    assert api.get("/", token=other["token"]).status_code == 200
    call(api, "PUT", "/api/users/caroline", {"revoke_tokens": True})
    assert invalid(api.get("/", token=other["token"]))


def test_a_personal_token_ends_in_time(api: Api, make_user: MakeUser) -> None:
    token = call(api, "POST", "/api/tokens", {"expires_in": 1}, make_user("maria")).json()["data"]["token"]
    wait_until(lambda: api.get("/", token=token).json()["message"] == "token has expired", timeout=10)


def test_hashes_of_version_3_are_renewed_at_login(api: Api, stored: MongoDatabase) -> None:
    long = "p" * 80
    hashed = base64.b64encode(bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4))).decode()
    assert is_old(hashed)
    assert not matches("wrong", hashed)
    stored["users"].insert_one({"_id": "oldtimer", "email": "", "password": hashed, "permissions": "anything"})
    try:
        token = api.log_in("oldtimer", long).json()["token"]
        assert not is_old(stored["users"].find_one({"_id": "oldtimer"})["password"])
        assert api.get("/", token=token).status_code == 200
        assert api.log_in("oldtimer", long).status_code == 200
        assert api.log_in("oldtimer", long[:72]).status_code == 401
    finally:
        stored["users"].delete_one({"_id": "oldtimer"})


def test_guessing_takes_long(api: Api, make_user: MakeUser, stored: MongoDatabase) -> None:
    make_user("target")
    answers = [api.log_in("target", f"guess {number}") for number in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 5
    refused = api.log_in("target", "his own")
    assert refused.status_code == 400
    assert refused.json()["message"] == "too many failed logins: try again in 1 s"
    stored["logins"].update_many({}, {"$set": {"failures": 8}})
    assert "try again in" in api.log_in("target", "guess").json()["message"]
    assert stored["logins"].count_documents({"failures": {"$ne": 8}}) == 0, "a refused try is not one more failure"
    wait_until(lambda: api.log_in("target", "his own").status_code == 200, timeout=30)
    assert api.log_in("target", "guess").status_code == 401
    assert api.log_in("target", "his own").status_code == 200
    stored["logins"].delete_many({})
