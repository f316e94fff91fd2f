"""Logging in, and what a token is good for."""

import base64
import time
from collections.abc import Callable
from typing import Any

import bcrypt
import jwt
import pytest
import requests
from api_harness import ADMIN, PASSWORD, SECRET, Api

from kowalski.api.services.passwords import hash_password, matches
from kowalski.database.client import MongoDatabase, connect
from kowalski.settings import Database


@pytest.fixture(autouse=True)
def _no_failed_logins(stored: MongoDatabase) -> None:
    stored["logins"].delete_many({})


def test_a_token_says_who_and_since_when(api: Api) -> None:
    answer = api.log_in()
    assert answer.status_code == 200
    assert answer.json().keys() == {"status", "token"}
    claims = jwt.decode(answer.json()["token"], SECRET, algorithms=["HS256"])
    assert claims.keys() == {"user_id", "created_at", "version"}
    assert claims["user_id"] == ADMIN
    assert claims["created_at"].endswith("+00:00")


@pytest.mark.parametrize("prefix", ["", "Bearer ", "bearer ", "BEARER  "])
def test_a_token_opens_the_door_bare_or_after_bearer(api: Api, prefix: str) -> None:
    answer = api.get("/", token=prefix + api.token)
    assert answer.status_code == 200
    assert answer.json() == {"status": "success", "message": "greetings from Kowalski!"}


def test_curl_claims_to_send_a_form(api: Api) -> None:
    body = f'{{"username": "{ADMIN}", "password": "{PASSWORD}"}}'
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert "token" in requests.post(f"{api.url}/api/auth", data=body, headers=headers, timeout=30).json()


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"password": "x"}, 400, "missing username"),
        ({"username": "", "password": "x"}, 400, "missing username"),
        ({"username": None, "password": "x"}, 400, "missing username"),
        ({}, 400, "missing username"),
        ({"username": "admin"}, 400, "missing password"),
        ({"username": "admin", "password": ""}, 400, "missing password"),
        ({"username": "admin", "password": "wrong"}, 401, "Unauthorized"),
        ({"username": "nobody", "password": PASSWORD}, 401, "Unauthorized"),
        ({"username": "admin", "password": PASSWORD * 50}, 401, "Unauthorized"),
        ({"username": "admin", "password": PASSWORD, "penquins.__version__": "1.0.0"}, 400, "unsupported version of penquins: 1.0.0"),
        ([], 400, "the body must be a JSON object"),
        ("{", 400, "the body must be a JSON object"),
    ],
)  # fmt: skip
def test_refusals(api: Api, body: Any, status: int, message: str) -> None:
    answer = requests.post(f"{api.url}/api/auth", json=body, timeout=30)
    assert answer.json() == {"status": "error", "message": message}
    assert answer.status_code == status


@pytest.mark.parametrize("version", ["2.0.0", "2.4.2"])
def test_supported_penquins(api: Api, version: str) -> None:
    assert api.log_in(**{"penquins.__version__": version}).status_code == 200


@pytest.mark.parametrize("body", [{"username": {"$gt": ""}, "password": "x"}, {"username": ["admin"], "password": "x"}, {"username": "\ud800", "password": "x"}])  # fmt: skip
def test_a_name_is_a_text(api: Api, body: Any) -> None:
    answer = requests.post(f"{api.url}/api/auth", json=body, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("username")


def _signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"user_id": ADMIN} | claims, secret, algorithm=algorithm)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("Bearer", "token is invalid"),
        ("Bearer  ", "token is invalid"),
        ("nonsense", "token is invalid"),
        ("a.b.c", "token is invalid"),
        (f"{base64.urlsafe_b64encode(b'[' * 5000).decode()}.e30.AAAA", "token is invalid"),
        ("Basic YWRtaW46YWRtaW4=", "token is invalid"),
        (_signed("another secret that is long enough to be one"), "token is invalid"),
        (_signed(algorithm="HS512"), "token is invalid"),
        (jwt.encode({"user_id": ADMIN}, None, algorithm="none"), "token is invalid"),
        (jwt.encode({"name": ADMIN}, SECRET, algorithm="HS256"), "token is invalid"),
        (_signed(user_id={"$gt": ""}), "token is invalid"),
        (_signed(exp="2000000000"), "token is invalid"),
        (_signed(exp=1_500_000_000), "token has expired"),
    ],
)
def test_tokens_that_open_nothing(api: Api, token: str, message: str) -> None:
    for answer in (api.get("/", token=token), api.ask("info", {"command": "catalog_names"}, token=token)):
        assert answer.status_code == 400
        assert answer.json() == {"status": "error", "message": message}


def test_a_header_that_is_no_text(api: Api) -> None:
    answer = requests.get(api.url, headers={"Authorization": b"Bearer \xff\xfe"}, timeout=30)
    assert (answer.status_code, answer.json()["message"]) == (400, "token is invalid")


def test_without_a_token_there_is_nothing(api: Api) -> None:
    for answer in (requests.get(api.url, timeout=30), requests.post(f"{api.url}/api/queries", data="{", timeout=30)):
        assert answer.status_code == 401
        assert answer.json() == {"status": "error", "message": "Unauthorized"}


def test_a_token_expires(stored: MongoDatabase, api_settings: Database, another_api: Callable[..., Api]) -> None:
    api = another_api(api_settings, JWT_EXP_DELTA_SECONDS=2)
    api.wait_ready()
    token = api.log_in().json()["token"]
    assert isinstance(jwt.decode(token, SECRET, algorithms=["HS256"])["exp"], int)
    assert api.get("/", token=token).status_code == 200
    deadline = time.monotonic() + 10
    while (answer := api.get("/", token=token)).status_code == 200:
        assert time.monotonic() < deadline
    assert answer.json()["message"] == "token has expired"


def test_the_admin_has_the_password_of_the_settings(mongo_settings: Database, another_api: Callable[..., Api]) -> None:
    first = another_api(mongo_settings)
    first.wait_ready()
    token = first.log_in().json()["token"]
    assert first.get("/", token=token).status_code == 200
    first.stop()
    user = connect(mongo_settings)["users"].find_one({"_id": ADMIN})
    assert user is not None
    assert user.keys() == {"_id", "email", "password", "permissions", "groups", "token_version", "last_modified"}
    assert bcrypt.checkpw(PASSWORD.encode(), user["password"].encode())
    again = another_api(mongo_settings)
    again.wait_ready()
    assert again.get("/", token=token).status_code == 200
    again.stop()
    second = another_api(mongo_settings, admin_password="changed", processes=2)
    second.wait_ready()
    assert second.log_in().status_code == 401
    assert second.log_in(password="changed").status_code == 200
    assert second.get("/", token=token).json()["message"] == "token is invalid"
    user = connect(mongo_settings)["users"].find_one({"_id": ADMIN})
    assert user is not None
    assert user["token_version"] == 1, "the tokens of before end once, however many processes start"
    for text in (first.log.read_text(), again.log.read_text(), second.log.read_text()):
        assert PASSWORD not in text
        assert SECRET not in text


def test_an_admin_of_version_3_keeps_his_tokens(mongo_settings: Database, another_api: Callable[..., Api]) -> None:
    users = connect(mongo_settings)["users"]
    hashed = base64.b64encode(bcrypt.hashpw(b"admin", bcrypt.gensalt(4))).decode()
    users.insert_one({"_id": ADMIN, "email": "a@b", "password": hashed, "permissions": {"ZTF": [1]}})
    token = _signed(created_at="2020-01-01T00:00:00.000000+00:00")
    api = another_api(mongo_settings)
    api.wait_ready()
    assert api.get("/", token=token).status_code == 200, "his settings' password of then may have been another"
    assert api.log_in().status_code == 200
    user = users.find_one({"_id": ADMIN})
    assert user is not None
    assert (user["email"], user["permissions"]) == ("a@b", {"ZTF": [1]})
    users.database.client.close()


@pytest.mark.parametrize("password", ["x", "ü" * 40, "x" * 72, "x" * 73, "x" * 500, "a\0b"])
def test_all_of_a_password_counts(password: str) -> None:
    hashed = hash_password(password, 4)
    assert matches(password, hashed)
    assert not matches(password + "y", hashed)
    assert not matches(password[:-1] + "y", hashed)


@pytest.mark.parametrize("hashed", ["", "not a hash", "JDJiJDEyJA=="])
def test_what_is_no_hash_matches_nothing(hashed: str) -> None:
    assert not matches("", hashed)


def test_an_unknown_name_takes_as_long_as_a_wrong_password(
    another_api: Callable[..., Api], mongo_settings: Database
) -> None:
    """With as many rounds as there are where others reach it."""
    slow = another_api(mongo_settings, password_rounds=12)
    slow.wait_ready()

    def seconds(username: str) -> float:
        start = time.perf_counter()
        assert slow.log_in(username, "wrong").status_code == 401
        return time.perf_counter() - start

    known = min(seconds(ADMIN) for _ in range(3))
    unknown = min(seconds("nobody") for _ in range(3))
    assert 0.4 < known / unknown < 2.5
