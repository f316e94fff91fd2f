"""How tests of accounts talk to the API."""

from collections.abc import Callable
from typing import Any

import requests
from api_harness import Api

#: password of the users that tests make
OWN = "his own"

MakeUser = Callable[..., str]


def call(api: Api, method: str, path: str, body: Any = None, token: str | None = None) -> requests.Response:
    """Any method, with the admin's token or another, on a connection of its own: any worker may get it."""
    headers = {"Authorization": api.token if token is None else token}
    return requests.request(method, api.url + path, json=body, headers=headers, timeout=30)


def message(answer: requests.Response, status: int = 200) -> str:
    """The message of an answer that must have this status."""
    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == ("success" if status == 200 else "error")
    return str(answer.json()["message"])


def holds(api: Api, token: str) -> bool:
    """Whether a token opens the door; all workers, asked often enough that none is left out, must agree."""
    answers = [api.get("/", token=token) for _ in range(10)]
    if all(answer.status_code == 200 for answer in answers):
        return True
    assert [message(answer, 400) for answer in answers] == ["token is invalid"] * 10
    return False
