"""Users, as the admin makes, changes and removes them, and what becomes of their tokens."""

import base64
from typing import Any
from urllib.parse import quote

import bcrypt
import jwt
import pytest
from accounts_harness import OWN, MakeUser, call, holds, message
from api_harness import ADMIN, PASSWORD, SECRET, Api, wait_until

from kowalski.api.models.users import Edit
from kowalski.api.services.accounts import Accounts, Admin
from kowalski.api.services.passwords import is_old
from kowalski.api.services.throttle import Throttle
from kowalski.api.services.tokens import Tokens
from kowalski.api.shared import Shared
from kowalski.database.client import MongoDatabase
from kowalski.database.logins import Logins
from kowalski.database.users import Users
from kowalski.errors import DatabaseUnavailable
from kowalski.settings import Database

#: a claim of tokens of version 3, which have no version
LONG_AGO = "2020-01-01T00:00:00.000000+00:00"


def test_a_user_from_first_to_last(api: Api, make_user: MakeUser) -> None:
    token = make_user("vera", email="v@example.org", permissions={"ztf": [1, 2], "WINTER": True}, groups=[4])
    shown = api.get("/api/users/vera").json()["data"]
    assert shown["permissions"] == {"ZTF": [1, 2], "WNTR": True}
    assert (shown["groups"], shown["email"]) == ([4], "v@example.org")
    assert "password" not in shown
    listed = api.get("/api/users").json()["data"]
    assert [user["_id"] for user in listed] == [ADMIN, "vera"]
    assert not any("password" in user for user in listed)
    assert message(call(api, "PUT", "/api/users/vera", {"permissions": {}})) == "edited user vera"
    shown = api.get("/api/users/vera").json()["data"]
    assert (shown["permissions"], shown["groups"]) == ({}, [4]), "what is not named stays"
    assert holds(api, token)
    assert message(call(api, "DELETE", "/api/users/vera")) == "removed user vera"
    assert not holds(api, token)
    assert api.log_in("vera", OWN).status_code == 401
    make_user("vera")
    assert not holds(api, token), "another of the same name is somebody else"


def test_null_is_as_good_as_nothing(api: Api, make_user: MakeUser) -> None:
    make_user("null", email=None, permissions=None, groups=None)
    shown = api.get("/api/users/null").json()["data"]
    assert (shown["email"], shown["permissions"], shown["groups"]) == (None, {}, [])
    nothing = {"username": None, "password": None, "email": None, "permissions": None, "groups": None}
    assert message(call(api, "PUT", "/api/users/null", nothing)) == "edited user null"
    after = api.get("/api/users/null").json()["data"]
    assert {**after, "last_modified": 0} == {**shown, "last_modified": 0}


def test_a_new_password_ends_tokens_and_the_same_does_not(api: Api, make_user: MakeUser) -> None:
    token = make_user("henrietta")
    assert message(call(api, "PUT", "/api/users/henrietta", {"password": OWN})) == "edited user henrietta"
    assert holds(api, token)
    assert message(call(api, "PUT", "/api/users/henrietta", {"password": "another"})) == "edited user henrietta"
    assert not holds(api, token)
    assert api.log_in("henrietta", OWN).status_code == 401
    assert holds(api, api.log_in("henrietta", "another").json()["token"])


def test_a_new_name_is_another_account_with_the_same_rights(api: Api, make_user: MakeUser) -> None:
    token = make_user("jocelyn", groups=[3])
    other = make_user("taken")
    assert "exists already" in message(call(api, "PUT", "/api/users/jocelyn", {"username": "taken"}), 400)
    assert holds(api, token)
    assert message(call(api, "PUT", "/api/users/jocelyn", {"username": "jocelyn"})) == "edited user jocelyn"
    assert holds(api, token)
    personal = call(api, "POST", "/api/tokens", {}, token).json()["data"]["token"]
    new = {"username": "bell", "permissions": {"ZTF": [2]}}
    assert message(call(api, "PUT", "/api/users/jocelyn", new)) == "edited user jocelyn"
    try:
        assert not holds(api, token)
        assert not holds(api, personal)
        assert holds(api, other)
        shown = api.get("/api/users/bell").json()["data"]
        assert (shown["groups"], shown["permissions"]) == ([3], {"ZTF": [2]})
        assert message(api.get("/api/users/jocelyn"), 400) == "user jocelyn not found"
        assert holds(api, api.log_in("bell", OWN).json()["token"])
    finally:
        call(api, "DELETE", "/api/users/bell")


class StoppingUsers(Users):
    """Users whose process stops when it is about to remove one."""

    async def remove(self, username: str) -> bool:
        raise DatabaseUnavailable("stopped")


async def test_a_rename_that_stops_halfway_leaves_both(mongo_settings: Database, mongo: MongoDatabase) -> None:
    users, throttle = StoppingUsers(mongo_settings), Throttle(Logins(mongo_settings))
    admin = Admin(ADMIN, PASSWORD, "")
    accounts = Accounts(users, Tokens(SECRET, "HS256", None), throttle, Shared(), admin, 4)
    await users.add("jocelyn", {"groups": [3]})
    with pytest.raises(DatabaseUnavailable):
        await accounts.edit("jocelyn", Edit(username="bell"))
    assert [(user["_id"], user["groups"]) for user in mongo["users"].find()] == [("jocelyn", [3]), ("bell", [3])]
    assert len(set(mongo["users"].distinct("token_version"))) == 2
    accounts.close()


def test_tokens_that_are_revoked_end_for_all_workers(api: Api, make_user: MakeUser) -> None:
    token = make_user("cecilia")
    assert holds(api, token)
    assert message(call(api, "PUT", "/api/users/cecilia", {"revoke_tokens": True})) == "edited user cecilia"
    assert not holds(api, token)
    assert holds(api, api.log_in("cecilia", OWN).json()["token"])


@pytest.mark.parametrize("version", [7, 7.0, "seven"])
def test_what_is_changed_by_hand_counts_soon(
    api: Api, make_user: MakeUser, stored: MongoDatabase, version: Any
) -> None:
    token = make_user("annie")
    assert holds(api, token)
    stored["users"].update_one({"_id": "annie"}, {"$set": {"token_version": version}})
    # each worker reads the account anew by itself
    wait_until(lambda: all(api.get("/", token=token).status_code == 400 for _ in range(10)), timeout=5)
    assert not holds(api, token)
    assert holds(api, api.log_in("annie", OWN).json()["token"])


@pytest.fixture
def old_timer(stored: MongoDatabase) -> Any:
    """The name of a user as version 3 stored him; his password is `OWN` 20 times, of which bcrypt reads 72 bytes."""
    hashed = base64.b64encode(bcrypt.hashpw((OWN * 20).encode()[:72], bcrypt.gensalt(4))).decode()
    stored["users"].insert_one({"_id": "fritz", "email": "", "password": hashed, "permissions": "anything"})
    yield "fritz"
    stored["users"].delete_one({"_id": "fritz"})
    stored["logins"].delete_many({})


def test_hashes_of_version_3_are_renewed_at_login(api: Api, old_timer: str, stored: MongoDatabase) -> None:
    assert api.log_in(old_timer, "wrong").status_code == 401
    assert is_old(stored["users"].find_one({"_id": old_timer})["password"])
    token = api.log_in(old_timer, OWN * 20).json()["token"]
    assert not is_old(stored["users"].find_one({"_id": old_timer})["password"])
    assert holds(api, token)
    assert api.log_in(old_timer, OWN * 20).status_code == 200
    assert api.log_in(old_timer, OWN * 20 + "!").status_code == 401, "now all of it counts"


def test_a_new_password_that_begins_as_the_old_one_counts(api: Api, old_timer: str) -> None:
    call(api, "PUT", f"/api/users/{old_timer}", {"password": OWN * 19})
    assert api.log_in(old_timer, OWN * 20).status_code == 401
    assert api.log_in(old_timer, OWN * 19).status_code == 200


def test_tokens_of_version_3_hold_until_they_are_revoked(api: Api, old_timer: str, make_user: MakeUser) -> None:
    old = jwt.encode({"user_id": old_timer, "created_at": LONG_AGO}, SECRET, algorithm="HS256")
    assert holds(api, old)
    assert holds(api, f"Bearer {old}")
    assert api.log_in(old_timer, OWN * 20).status_code == 200
    assert holds(api, old), "a hash in a new form is no new password"
    call(api, "PUT", f"/api/users/{old_timer}", {"revoke_tokens": True})
    assert not holds(api, old)
    assert message(call(api, "DELETE", f"/api/users/{old_timer}")) == f"removed user {old_timer}"
    make_user(old_timer)
    assert not holds(api, old), "a user of that name who is made now is somebody else"


def test_a_token_of_nobody(api: Api) -> None:
    assert not holds(api, jwt.encode({"user_id": "nobody", "created_at": LONG_AGO}, SECRET, algorithm="HS256"))


@pytest.mark.parametrize("name", ["a/b", "Åsa Öberg 😀", "100%", "?q=1#x", " ", "+", "x" * 200, '"', "$where", "a.b"])
def test_names_are_any_text(api: Api, make_user: MakeUser, name: str) -> None:
    token = make_user(name)
    path = f"/api/users/{quote(name, safe='')}"
    assert api.get(path).json()["data"]["_id"] == name
    assert api.get(path, token=token).json()["data"]["_id"] == name
    assert message(call(api, "PUT", path, {"groups": [1]})) == f"edited user {name}"
    assert api.get(path).json()["data"]["groups"] == [1]
    assert message(call(api, "DELETE", path)) == f"removed user {name}"
    assert not holds(api, token)


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "\x7f", "\x85", "x" * 201, "\ud800", 5, ["x"], {"$gt": ""}, "..", "."])  # fmt: skip
def test_names_that_are_refused(api: Api, make_user: MakeUser, name: Any) -> None:
    make_user("william")
    for answer in (
        call(api, "POST", "/api/users", {"username": name, "password": OWN}),
        call(api, "PUT", "/api/users/william", {"username": name}),
    ):
        assert message(answer, 400).startswith("username: ")


def _new(**fields: Any) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/api/users", {"username": "x", "password": OWN} | fields


@pytest.mark.parametrize(
    ("method", "path", "body", "text"),
    [
        ("POST", "/api/users", {}, "username and password must be set"),
        (*_new(username=""), "username and password must be set"),
        (*_new(username=None), "username and password must be set"),
        (*_new(password=""), "username and password must be set"),
        (*_new(username=ADMIN), "user admin exists already"),
        (*_new(email="\ud800"), "email: Input should be a valid string, unable to parse raw data as a unicode string"),
        (*_new(email={"a": 1}), "email: Input should be a valid string"),
        (*_new(permissions=[1]), "permissions must be an object of surveys"),
        (*_new(permissions={"ZTF": "all"}), "permissions: ZTF must be true, false, or a list of programids"),
        (*_new(permissions={"ztf": 1}), "permissions: ZTF must be true, false, or a list of programids"),
        (*_new(permissions={"ZTF": [True]}), "permissions: ZTF must be true, false, or a list of programids"),
        (*_new(permissions={"ZTF": [1.0]}), "permissions: ZTF must be true, false, or a list of programids"),
        (*_new(permissions={"ZTF": [-1]}), "permissions: ZTF must be true, false, or a list of programids"),
        (*_new(permissions={"ZTF": [2**70]}), "permissions: ZTF must be true, false, or a list of programids"),
        (*_new(permissions={"ZTF": None}), "permissions: ZTF must be true, false, or a list of programids"),
        (*_new(permissions={"Z$F": [1]}), "permissions: 'Z$F' is not a survey"),
        (*_new(permissions={"winter": True, "WNTR": False}), "permissions: WNTR is there twice"),
        (*_new(groups=["a"]), "groups must be a list of SkyPortal's group ids"),
        (*_new(groups=[0]), "groups must be a list of SkyPortal's group ids"),
        (*_new(groups=1), "groups must be a list of SkyPortal's group ids"),
        ("PUT", "/api/users/nobody", {"email": "x"}, "user nobody not found"),
        ("PUT", "/api/users/nobody", {"username": "x"}, "user nobody not found"),
        ("PUT", "/api/users/admin", {"username": "x"}, "cannot rename the superuser!"),
        ("PUT", "/api/users/admin", {"password": "x"}, "the superuser's password is server.admin_password of the settings"),
        ("PUT", "/api/users/admin", {"revoke_tokens": "perhaps"}, "revoke_tokens: Input should be a valid boolean, unable to interpret input"),
        ("DELETE", "/api/users/admin", None, "cannot remove the superuser!"),
        ("DELETE", "/api/users/nobody", None, "user nobody not found"),
        ("GET", "/api/users/nobody", None, "user nobody not found"),
        ("GET", "/api/users/%ff", None, "user %FF not found"),
        ("GET", "/api/users/a%00b", None, "user a\0b not found"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(api: Api, method: str, path: str, body: Any, text: str) -> None:
    assert message(call(api, method, path, body), 400) == text


@pytest.mark.parametrize("password", ["s3cret" * 200, ["s3cret"], {"s3cret": 1}, "s3cret\ud800"])
def test_passwords_are_in_no_answer_and_no_log(api: Api, make_user: MakeUser, password: Any) -> None:
    make_user("grace", password="s3cret itself")
    body = {"username": "grace", "password": password, "permissions": "s3cret?"}
    for method, path in (("POST", "/api/users"), ("PUT", "/api/users/grace")):
        answer = call(api, method, path, body)
        assert answer.status_code == 400
        assert "s3cret" not in answer.text
    assert api.log_in("grace", password).status_code in (400, 401)
    assert "s3cret" not in api.log_in("grace", password).text
    assert call(api, "PUT", "/api/users/grace", {"password": "s3cret of now"}).status_code == 200
    for secret in ("s3cret", PASSWORD, SECRET, api.token):
        assert secret not in api.log.read_text()


def test_the_admin_may_name_himself_and_his_password(api: Api) -> None:
    body = {"username": ADMIN, "password": PASSWORD, "email": "x"}
    assert message(call(api, "PUT", "/api/users/admin", body)) == "edited user admin"
    assert holds(api, api.token)


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/users"), ("POST", "/api/users"), ("GET", "/api/users/admin"), ("PUT", "/api/users/admin"), ("PUT", "/api/users/mallory"), ("DELETE", "/api/users/admin")])  # fmt: skip
def test_users_are_the_admins(api: Api, make_user: MakeUser, method: str, path: str) -> None:
    body = {"username": "x", "password": "x", "permissions": {"ZTF": [1, 2, 3]}}
    assert message(call(api, method, path, body, token=make_user("mallory")), 403) == "Forbidden"
    assert message(call(api, method, path, body, token=""), 401) == "Unauthorized"


def test_anybody_may_look_at_himself(api: Api, make_user: MakeUser) -> None:
    token = make_user("margaret", groups=[5])
    shown = api.get("/api/users/margaret", token=token).json()["data"]
    assert (shown["_id"], shown["groups"]) == ("margaret", [5])
    assert "password" not in shown
