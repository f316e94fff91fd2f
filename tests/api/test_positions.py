"""Positions in all the forms that clients use."""

from typing import Any

import pytest

from kowalski.api.models.positions import MAX_POSITIONS, read_positions

PAIR = (68.578209, 49.0871395)


@pytest.mark.parametrize(
    ("radec", "key"),
    [
        ({"ZTF18abacqpw": [68.578209, 49.0871395]}, "ZTF18abacqpw"),
        ({"a.b": "68.578209 49.0871395"}, "a_b"),
        ([[68.578209, 49.0871395]], "[68_578209, 49_0871395]"),
        ([68.578209, 49.0871395], "[68_578209, 49_0871395]"),
        (["68.578209", "49.0871395"], "['68_578209', '49_0871395']"),
        (["68.578209 49.0871395"], "68_578209 49_0871395"),
        ("68.578209 49.0871395", "68_578209 49_0871395"),
        ("68.578209, 49.0871395", "68_578209, 49_0871395"),
        ("[[68.578209, 49.0871395]]", "[68_578209, 49_0871395]"),
        ("[(68.578209, 49.0871395)]", "(68_578209, 49_0871395)"),
        ("{'obj': (68.578209, 49.0871395)}", "obj"),
        ([["04:34:18.77016", "49:05:13.7022"]], "['04:34:18_77016', '49:05:13_7022']"),
        ({"x": ["04h34m18.77016s", "+49d05m13.7022s"]}, "x"),
        ({"x": "04:34:18.77016 49:05:13.7022"}, "x"),
    ],
)
def test_one_position(radec: Any, key: str) -> None:
    assert read_positions(radec) == {key: pytest.approx(PAIR, abs=1e-9)}


def test_many_keep_their_order() -> None:
    radec = {f"o{number}": [number, -number] for number in range(50)}
    assert list(read_positions(radec)) == list(radec)


@pytest.mark.parametrize(
    ("text", "dec"), [("-00:30:00", -0.5), ("-00d30m00s", -0.5), ("00:30:00", 0.5), ("-89:59:60", -90)]
)
def test_the_sign_of_a_declination_between_0_and_minus_1(text: str, dec: float) -> None:
    assert read_positions({"x": ["0", text]})["x"] == (0.0, pytest.approx(dec))


@pytest.mark.parametrize("ra", [0, 360, 359.9999])
def test_the_whole_circle(ra: float) -> None:
    assert read_positions([[ra, 0]]).popitem()[1] == (ra, 0)


@pytest.mark.parametrize(
    "radec",
    [
        [[-0.1, 0]],
        [[361, 0]],
        [[0, 90.1]],
        [[float("nan"), 0]],
        [[0, float("inf")]],
        [[10**400, 0]],
        [[True, 0]],
        [[None, 0]],
        [[0]],
        [[0, 0, 0]],
        [],
        {},
        None,
        7,
        "",
        "12",
        "[1, 2",
        "{1, 2}",
        "-" * 100_000,
        "[" * 100_000,
        [["25:00:00", "0"]],
        [["10:61:00", "0"]],
        [["10:00:61", "0"]],
        ["__import__('os').getcwd()"],
        {"x": {"ra": 1, "dec": 2}},
    ],
)
def test_what_is_no_position_is_refused(radec: Any) -> None:
    with pytest.raises(ValueError, match=r"radec|literal"):
        read_positions(radec)


@pytest.mark.parametrize("radec", [[[1, 2], [1, 2]], {"a.b": [1, 2], "a_b": [3, 4]}])
def test_keys_that_collide_are_refused(radec: Any) -> None:
    with pytest.raises(ValueError, match="name them apart"):
        read_positions(radec)


def test_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="10001 positions"):
        read_positions({str(number): [0, 0] for number in range(MAX_POSITIONS + 1)})
