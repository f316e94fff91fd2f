"""A receiver to be called without a network."""

import json
from collections.abc import Callable
from typing import Any

from kowalski.skyportal.receiver import Answer, ReceiverState

TOKEN = "token 0123-4567"
Call = Callable[..., Answer]

CANDIDATE = {
    "id": "ZTF1",
    "ra": 10.0,
    "dec": 20.0,
    "score": 0.9,
    "filter_ids": [1, 2],
    "passing_alert_id": 2475433850015010009,
    "passed_at": "2024-01-02T03:04:05.678000",
    "origin": "Kowalski",
}


def calls(state: ReceiverState) -> Call:
    def call(method: str, path: str, body: Any = None, token: str = TOKEN, **query: str) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return state.handle(method, f"/api/{path}", query, {"Authorization": token}, raw)

    return call


def data(answer: Answer) -> Any:
    assert answer.status == 200, answer
    assert answer.envelope is not None
    assert answer.envelope["status"] == "success"
    return answer.envelope["data"]
