"""A receiver with two groups, empty or with one object."""

import pytest
from receiver_calls import CANDIDATE, Call, calls

from kowalski.skyportal.receiver import ReceiverState


@pytest.fixture
def state() -> ReceiverState:
    return ReceiverState({1: [1, 2, 3], 2: [4]})


@pytest.fixture
def call(state: ReceiverState) -> Call:
    return calls(state)


@pytest.fixture
def filled(call: Call) -> Call:
    """A receiver that has the object."""
    assert call("POST", "candidates", CANDIDATE).status == 200
    return call
