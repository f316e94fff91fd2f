"""The errors: one tree, each telling what to do, whole after the way back from a worker process."""

import pickle

import pytest

from kowalski import errors
from kowalski.database.filters import FilterTimeout
from kowalski.errors import (
    ArchiveUnavailable,
    DatabaseUnavailable,
    KowalskiError,
    OutputUnavailable,
    PacketError,
    SkyPortalError,
)

EXAMPLES = [
    *(kind("what is wrong") for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, KowalskiError) and kind is not PacketError),
    PacketError("truncated", "ends early"),
    SkyPortalError("busy", 503, retriable=True),
    FilterTimeout("slow"),
]  # fmt: skip


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error: KowalskiError) -> None:
    """dask sends them from worker to broker."""
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert (back.retriable, back.http_status) == (error.retriable, error.http_status)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_only_what_passes_by_itself_is_retriable(error: KowalskiError) -> None:
    unavailable = isinstance(error, DatabaseUnavailable | ArchiveUnavailable | OutputUnavailable)
    passing = unavailable or (isinstance(error, SkyPortalError) and error.status == 503)
    assert error.retriable is passing
    assert 400 <= error.http_status < 600


def test_a_packets_fault_is_named() -> None:
    error = PacketError("truncated", "ends early")
    assert (str(error), error.reason, error.detail) == ("truncated: ends early", "truncated", "ends early")
