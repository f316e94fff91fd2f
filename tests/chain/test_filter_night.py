"""A night of alerts with 25 filters, autosave and follow-up: SkyPortal has exactly what a plain calculation says."""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from conftest import Chain, filter_document
from plain_marshal import Marshalled, marshalled
from twin_filters import FILTERS

from kowalski.local.system import LocalSystem
from kowalski.simulation.night import simulate
from kowalski.simulation.publish import Publisher

#: alerts of the night that is always streamed, and of the long one
SHORT, LONG = 500, 2000
RECEIVER = "skyportal-receiver"
#: the groups of the filters as the receiver has them
GROUPS = [argument for group in range(1, 6) for argument in ("--group", f"{group}:{5 * group - 4}-{5 * group}")]
#: s that a night may take on a busy machine
PATIENCE = 280.0


@cache
def night_of(alerts: int) -> list[bytes]:
    return [packet.data for packet in simulate(alerts, seed=71)]


def expected_of(night: list[bytes]) -> dict[str, Marshalled]:
    found = marshalled(night)
    passed = {filter_id for known in found.values() for _, filter_id in known.candidates}
    assert passed == {each.filter_id for each in FILTERS} - {20}, "one filter lets nothing pass, all others something"
    assert {group for known in found.values() for group in known.groups} == {1, 2, 3, 4, 5}
    assert {allocation for known in found.values() for allocation in known.requests} == {5, 7}
    return found


def streaming(chain: Chain, night: list[bytes]) -> None:
    """The filters are active and the night is in Kafka, in its order."""
    chain.put_filters(*(filter_document(each.filter_id, each.twin.pipeline, **each.document()) for each in FILTERS))
    with Publisher(chain.system.config.kafka.bootstrap_servers) as publisher:
        for number, data in enumerate(night):
            publisher.send(chain.topic, data, f"packet {number}")


def done(chain: Chain, alerts: int) -> bool:
    """All alerts are stored and nothing waits to be sent."""
    stored = chain.stored() == alerts and chain.committed(partitions=1) == alerts
    return stored and not chain.pending()


def differences(chain: Chain, expected: dict[str, Marshalled]) -> list[str]:
    """What SkyPortal has of the objects, where it is not as expected."""
    told = []
    for name, known in expected.items():
        found = chain.received_of(name)
        for what, (ours, theirs) in compared(known, found).items():
            if ours != theirs:
                told.append(f"{name} {what}: expected {ours}, found {theirs}")
    return told


def compared(known: Marshalled, found: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Pairs of what is expected and what was received."""
    rows = found["photometry"]
    plain = {(row["mjd"], row["filter"]): row["flux"] for row in rows if row["origin"] == "None"}
    payloads = [(one["allocation_id"], one["payload"], one["target_groups"]) for one in found["followup_requests"]]
    requests = {allocation: (payload["priority"], tuple(each["id"] for each in groups)) for allocation, payload, groups in payloads}  # fmt: skip
    annotations = {int(one["origin"].rpartition(" ")[2]): one["data"] for one in found["annotations"]}
    fluxes = {key: None if flux is None else pytest.approx(flux, rel=1e-5) for key, flux in known.points.items()}
    return {
        "candidates": (sorted(known.candidates), sorted((one["candid"], one["filter_id"]) for one in found["candidates"])),
        "annotations": (known.annotations, annotations),
        "groups": ({str(group): saver for group, saver in known.groups.items()}, found["groups"]),
        "comments": (sorted(known.comments), sorted((one["text"], tuple(one["group_ids"])) for one in found["comments"])),
        "requests": (known.requests, requests),
        "number of requests": (len(known.requests), len(payloads)),
        "points": (fluxes, plain),
        "forced points": (sorted(known.forced), sorted(row["mjd"] for row in rows if row["origin"] == "alert_fp")),
        "thumbnails": (["new", "ref", "sub"], sorted(found["thumbnails"])),
    }  # fmt: skip


AILING = ["--fail-one-in", "5", "--delay", "0.02"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("alerts", "trouble"),
    [
        (SHORT, AILING),
        pytest.param(LONG, [], marks=pytest.mark.long),
        pytest.param(LONG, AILING, marks=pytest.mark.long),
    ],
    ids=["short", "well", "ailing"],
)
def test_night(alerts: int, trouble: list[str], local_system: Callable[..., LocalSystem]) -> None:
    """Also when SkyPortal fails one call in five, is slow, and is killed and started again half-way."""
    night = night_of(alerts)
    expected = expected_of(night)
    # one worker, so that alerts of an object are judged in the order of their times
    changes = {
        "dask": {"n_workers": 1},
        "kafka": {"metadata_refresh": 1},
        "filters": {"max_time_ms": 20_000},
        "outbox": {"max_backoff": 2},
    }
    system = local_system(changes, extra={RECEIVER: [*GROUPS, *trouble]})
    system.start()
    chain = Chain(system)
    began = time.monotonic()
    streaming(chain, night)
    if trouble:
        half = sum(len(known.candidates) for known in expected.values()) // 2
        delivered = {"kind": "candidate", "state": "delivered"}
        chain.wait(lambda: chain.database.outbox.count_documents(delivered) > half, "half of it posted", PATIENCE)
        system.kill(RECEIVER)
    chain.wait(lambda: done(chain, alerts), "the night done", PATIENCE)
    print(f"{'ailing' if trouble else 'well'}: {time.monotonic() - began:.0f} s")
    received = chain.received()
    assert received["violations"] == []
    assert received["objects"] == len(expected)
    assert differences(chain, expected) == []
    assert {document["state"] for document in chain.database.outbox.find({}, {"state": 1})} == {"delivered"}
