"""How many workers what waits asks for."""

import pytest

from kowalski.night.crew import Crew, wanted_workers


@pytest.mark.parametrize(
    ("lag", "current", "expected"),
    [
        (0, 2, 2),
        (4999, 2, 2),
        (5000, 2, 3),
        (12_000, 2, 4),
        (1_000_000, 2, 5),
        (4000, 4, 4),  # what was started stays until half of its share is done
        (2500, 4, 2),
        (0, 5, 2),
    ],
)
def test_workers_by_what_waits(lag: int, current: int, expected: int) -> None:
    assert wanted_workers(lag, current, least=2, most=5, per_worker=5000) == expected


def test_without_a_supervisor_nothing_is_started() -> None:
    crew = Crew(None)
    assert not crew.bring("ZTF")
    assert not crew.rest("ZTF")
    assert crew.scale("ZTF", 10**6, most=8, per_worker=1) == 0
