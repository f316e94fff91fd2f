"""Answers that are sent as they come."""

import http.client
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import requests
from api_harness import Api

from kowalski.database.client import MongoDatabase

ROWS, PADDING = 3000, "x" * 20_000


@pytest.fixture(scope="module")
def _bulk(stored: MongoDatabase) -> Iterator[None]:
    """60 MB of documents; ``left`` of the last one is 0."""
    stored["Bulk"].insert_many({"_id": number, "left": ROWS - 1 - number, "padding": PADDING} for number in range(ROWS))
    yield
    stored["Bulk"].drop()


@pytest.mark.usefixtures("_bulk")
def test_a_large_answer_is_whole_and_memory_stays_flat(api: Api) -> None:
    def largest_worker() -> int:
        return max(child.memory_info().rss for child in psutil.Process(api.process.pid).children())

    before = largest_worker()
    body = {"query_type": "find", "query": {"catalog": "Bulk"}, "kwargs": {"sort": [["_id", 1]]}}
    answer = requests.post(
        f"{api.url}/api/queries", json=body, headers={"Authorization": api.token}, stream=True, timeout=60
    )
    assert answer.headers["Transfer-Encoding"] == "chunked"
    text, peak = b"", 0
    for piece in answer.iter_content(1 << 20):
        text += piece
        peak = max(peak, largest_worker())
    assert [row["_id"] for row in json.loads(text)["data"]] == list(range(ROWS))
    assert peak - before < 60e6  # a batch of MongoDB's has 16 MB, and is held as BSON, documents and text


@pytest.mark.usefixtures("_bulk")
def test_a_failure_midway_never_looks_like_an_end(api: Api) -> None:
    pipeline = [{"$sort": {"_id": 1}}, {"$set": {"share": {"$divide": [1, "$left"]}}}]
    body = {"query_type": "aggregate", "query": {"catalog": "Bulk", "pipeline": pipeline}}
    answer = requests.post(
        f"{api.url}/api/queries", json=body, headers={"Authorization": api.token}, stream=True, timeout=60
    )
    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _ = answer.content


@pytest.mark.usefixtures("_bulk")
def test_a_failure_at_the_start_is_an_error_as_any_other(api: Api) -> None:
    pipeline = [{"$set": {"share": {"$divide": [1, 0]}}}]
    assert "divide by zero" in api.refusal("aggregate", {"catalog": "Bulk", "pipeline": pipeline})


@pytest.mark.usefixtures("_bulk")
def test_a_client_that_leaves_harms_nobody(api: Api) -> None:
    body = json.dumps({"query_type": "find", "query": {"catalog": "Bulk"}})
    for _ in range(4):
        connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
        connection.request("POST", "/api/queries", body, {"Authorization": api.token})
        assert connection.getresponse().read(1000)
        connection.close()
    assert api.data("count_documents", {"catalog": "Bulk"}) == ROWS


@pytest.mark.usefixtures("_bulk")
def test_small_questions_are_answered_beside_large_answers(api: Api) -> None:
    def bulk(_: int) -> int:
        return len(api.ask("find", {"catalog": "Bulk"}).content)

    with ThreadPoolExecutor(4) as pool:
        sizes = pool.map(bulk, range(4))
        small: list[Any] = [api.data("find_one", {"catalog": "Bulk", "filter": {"_id": 7}})["left"] for _ in range(20)]
        assert small == [ROWS - 8] * 20
        assert len({re.sub("x", "", str(size)) for size in sizes}) == 1
