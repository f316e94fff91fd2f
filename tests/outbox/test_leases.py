"""One holder at a time; another takes over when the first is silent; signs of life and what SkyPortal has."""

import threading
from datetime import UTC, datetime

from outbox_harness import until

from kowalski.database.client import MongoDatabase
from kowalski.database.leases import Lease
from kowalski.database.processes import Processes, process_id
from kowalski.database.skyportal_objects import SkyPortalObjects


def test_only_one_of_many_gets_a_lease(mongo: MongoDatabase) -> None:
    leases = [Lease(mongo, "job", f"holder {number}", 10) for number in range(8)]
    together = threading.Barrier(len(leases))
    got: list[str] = []

    def take(lease: Lease, name: str) -> None:
        together.wait()
        if lease.take():
            got.append(name)

    threads = [threading.Thread(target=take, args=(lease, f"holder {number}")) for number, lease in enumerate(leases)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert leases[0].holder() == got[0]


def test_a_lease_is_renewed_by_its_holder_and_by_nobody_else(mongo: MongoDatabase) -> None:
    mine, other = Lease(mongo, "job", "me", 10), Lease(mongo, "job", "other", 10)
    assert mine.take()
    assert mine.take()
    assert not other.take()
    other.release()
    assert mine.holder() == "me"
    mine.release()
    assert other.take()


def test_a_silent_holder_is_replaced_when_its_lease_ends(mongo: MongoDatabase) -> None:
    mine, other = Lease(mongo, "job", "me", 0.3), Lease(mongo, "job", "other", 10)
    assert mine.take()
    until(other.take, timeout=5)
    assert not mine.take()
    assert mine.holder() == "other"


def test_jobs_have_leases_of_their_own(mongo: MongoDatabase) -> None:
    assert Lease(mongo, "job", "me", 10).take()
    assert Lease(mongo, "other job", "other", 10).take()


def test_a_process_is_alive_while_it_says_so(mongo: MongoDatabase) -> None:
    processes = Processes(mongo)
    processes.ensure_indexes()
    processes.beat("poster", active=True, counts={"$odd.name": 1})
    processes.beat("poster", active=False)
    processes.beat("broker", survey="ZTF", lag=3)
    broker, poster = processes.alive()
    assert (broker["program"], broker["survey"], broker["lag"]) == ("broker", "ZTF", 3)
    assert poster["active"] is False
    assert "counts" not in poster
    assert poster["_id"] == process_id("poster")
    assert processes.alive(max_age_s=-1) == []
    processes.leave("poster")
    assert [one["program"] for one in processes.alive()] == ["broker"]


def test_skyportals_objects_are_remembered_once(mongo: MongoDatabase) -> None:
    objects = SkyPortalObjects(mongo)
    assert objects.add([], "posted") == 0
    assert objects.add(["a", "b", "a"], "posted") == 2
    assert objects.add(["a", "c"], "refreshed") == 1
    assert objects.known(["a", "c", "z"]) == {"a", "c"}
    assert mongo["skyportal_objects"].find_one({"_id": "a"}, {"how": 1}) == {"_id": "a", "how": "posted"}
    assert objects.refreshed_until() is None
    now = datetime.now(UTC).replace(microsecond=0)
    objects.refreshed(now)
    assert objects.refreshed_until() == now
