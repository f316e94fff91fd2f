"""Short rounds of faults: whatever is done to its programs, the chain loses nothing and doubles nothing."""

from collections.abc import Iterator

import pytest

from faults.faults import FAULTS
from faults.hurt import HurtSystem
from faults.rounds import drawn, play
from kowalski.config import in_container

#: every process killed, and of every other kind one that is soon over; `./kowalski.py test --faults` plays all
HERE = (
    "kill_dask_worker",
    "kill_dask_cluster_ztf",
    "kill_alert_broker_ztf",
    "kill_poster",
    "kill_mongod",
    "kill_kafka",
    "mongod_read_only",
    "mongod_steps_down",
    "more_partitions",
    "two_brokers",
    "skyportal_talks_nonsense",
    "worker_out_of_memory",
)
SEED, ALERTS, LONGEST_HOLD = 7, 40, 1.0


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HurtSystem]:
    """A system that all rounds are played on."""
    if in_container():
        pytest.skip("it starts a system of its own, whose MongoDB and Kafka are not in the images")
    with HurtSystem(tmp_path_factory.mktemp("faults")) as system:
        yield system


@pytest.mark.parametrize("name", HERE)
def test_a_fault_loses_and_doubles_nothing(hurt: HurtSystem, name: str) -> None:
    """After the fault every alert is stored once, every object is the union of its packets, every passing filter told once."""
    result = play(hurt, name, HERE.index(name), SEED, ALERTS, LONGEST_HOLD)
    assert result.lost == result.doubled == []


def test_the_same_seed_draws_the_same_faults() -> None:
    """A long run can be gone on with: each fault comes once before any comes again."""
    first = [name for name, _ in zip(drawn(3), range(len(FAULTS)), strict=False)]
    assert sorted(first) == sorted(FAULTS)
    assert [name for name, _ in zip(drawn(3), range(len(FAULTS)), strict=False)] == first
