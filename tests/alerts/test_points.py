"""What stored points begin with is told from their bytes as it is from their fields."""

from math import inf, nan
from typing import Any

import bson
import numpy as np
import pytest
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from hypothesis import example, given
from hypothesis import strategies as st

from kowalski.alerts import points
from kowalski.alerts.points import NONE, Heads, as_stored, heads_of, plain, same

jds = st.floats(2.4e6, 2.5e6)
candids = st.one_of(st.none(), st.integers(-(2**63) + 1, 2**63 - 1), st.booleans(), st.just("text"))
others = st.dictionaries(st.sampled_from(["fid", "jd\x01", "magpsf", "first", "alert", "x"]), st.one_of(st.text(), st.floats(allow_nan=False), st.just("\x01jd\x01\x12candid")), max_size=5)  # fmt: skip
whole = st.fixed_dictionaries(
    {"jd": jds}, optional={"candid": candids, "programid": st.one_of(candids, st.integers(0, 5))}
)
stored = st.builds(
    lambda head, rest, last, first_jd, alert: as_stored(head | rest if last else rest | head, first_jd, alert),
    whole, others, st.booleans(), st.one_of(st.just(-inf), jds), st.one_of(st.none(), st.tuples(jds, st.integers(0, 2**62))),
)  # fmt: skip


def raw(point: dict[str, Any]) -> RawBSONDocument:
    return RawBSONDocument(bson.encode(point))


def columns(heads: Heads) -> list[list[Any]]:
    return [np.nan_to_num(getattr(heads, name), nan=-1.0).tolist() for name in ("jd", "first_jd", "alert_jd", "candid", "programid")]  # fmt: skip


@example([as_stored({"jd": 2.4e6, "programid": 2**31}, 2.4e6, None)])
@given(st.lists(st.one_of(stored, whole), max_size=6))
def test_bytes_and_fields_tell_the_same(given: list[dict[str, Any]]) -> None:
    assert columns(heads_of([raw(point) for point in given])) == columns(heads_of(given))
    mixed = [raw(point) if place % 2 else point for place, point in enumerate(given)]
    assert columns(heads_of(mixed)) == columns(heads_of(given))


def test_what_they_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that nothing is decoded for it."""
    own = {"fid": 1, "programid": 2, "jd": 7.0, "candid": 5, "text": "a" * 200}
    given = [raw(as_stored(own, 3.0, (4.0, 6))), raw(as_stored(own, 3.0, None)), raw(as_stored({"jd": 1.0}, 2.0, None))]
    monkeypatch.setattr(points, "plain", lambda point: pytest.fail(f"decoded: {point}"))
    heads = heads_of(given)
    assert heads.jd.tolist() == [7, 7, 1]
    assert heads.first_jd.tolist() == [3, 3, 2]
    assert heads.alert_jd[0] == 4
    assert heads.of_last_packet.tolist() == [False, True, True]
    assert heads.candid.tolist() == [5, 5, NONE]
    assert heads.programid.tolist() == [2, 2, NONE]
    assert heads.of(np.array([False, True, False])).candid.tolist() == [5]


def test_a_point_is_stored_with_its_own_fields_and_where_it_came_from() -> None:
    own = {"fid": 1, "alert_jd": nan, "first_jd": nan, "jd": 7.0, "candid": 5}
    assert as_stored(own, -inf, None) == {"jd": 7.0, "candid": 5, "fid": 1}, "what it claims itself does not count"
    assert list(as_stored(own, 3.0, (4.0, 6)).items()) == [
        ("jd", 7.0), ("first_jd", 3.0), ("alert_jd", 4.0), ("alert_candid", 6), ("candid", 5), ("fid", 1),
    ]  # fmt: skip
    assert isinstance(as_stored(own, 3.0, None)["candid"], Int64)


def test_equal_points_are_the_same_however_they_are_held() -> None:
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert same(raw(one), other)
    assert same(raw(one), raw(other))
    assert not same(raw(one), {"a": 1})
    assert same(3, 3)
    assert plain(raw(one)) == one
    assert plain(one) is not one
