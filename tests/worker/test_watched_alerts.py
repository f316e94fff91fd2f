"""Watchlists in the chain: what a filter finds there is in the candidate, and a list that changes counts from the next batch."""

from stored_watchlists import csv_of, put
from worker_harness import put_filter, state, visits

from kowalski.alert_worker import AlertWorker
from kowalski.database.client import MongoDatabase
from kowalski.watchlists.matching import ListKey

PIPELINE = [
    {"$match": {"watchlists.mine.0": {"$exists": True}}},
    {
        "$project": {
            "annotations": {"z": {"$first": "$watchlists.mine.z"}, "names": {"$first": "$watchlists.named.name"}}
        }
    },
]


def test_the_matched_rows_reach_the_candidate(worker: AlertWorker, mongo: MongoDatabase) -> None:
    put(mongo, ListKey(15, "mine"), csv_of("ra,dec,z", [(151.0, 20.0001, 0.5), (153.0, 20.0, 0.7)]))
    put(mongo, ListKey(15, "named"), csv_of("objectId,name", [("ZTF23obj3", "third")]))
    put_filter(mongo, 5, PIPELINE, watchlists=["mine", "named"])
    first, *later = [visits(packets=1)[number : number + 1] for number in range(5)]
    for batch in (first, *later[:2]):
        assert worker.process(batch).stored == 1
    assert {entry["candid"]: entry["annotations"] for entry in state(mongo)["outbox"]} == {1001: {"z": 0.5}}
    put(mongo, ListKey(15, "mine"), csv_of("ra,dec,z", [(154.0, 20.0, 0.9), (153.0, 20.0, 0.8)]))
    for batch in later[2:]:
        worker.process(batch)
    assert {entry["candid"]: entry["annotations"] for entry in state(mongo)["outbox"]} == {
        1001: {"z": 0.5},
        3001: {"z": 0.8, "names": "third"},
        4001: {"z": 0.9},
    }
