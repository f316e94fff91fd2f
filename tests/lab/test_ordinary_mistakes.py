"""What users may well do: long filters, odd columns, numbers beyond all bounds, forms sent twice; nobody waits for it, and nothing fails."""

import numpy as np
import pytest
from api_harness import ADMIN, PASSWORD, Api
from visitor import Visitor

from kowalski.lab.filters.versions import MOST, side_by_side
from kowalski.lab.query.flat import WIDEST, flat
from kowalski.lab.query.plots import counted
from kowalski.lab.shown import NOTHING, moment


def test_texts_of_many_equal_lines_are_compared_as_far_as_is_quick() -> None:
    lines = side_by_side("1,\n" * 100_000, "1,\n" * 99_999 + "2,\n")
    assert len(lines) < 3 * MOST
    assert any("more lines are not compared" in line.left for line in lines)


def test_a_document_of_a_million_names_is_taken_in_part() -> None:
    assert len(flat({f"name{number}": number for number in range(1_000_000)}, WIDEST)) == WIDEST


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [2616150000115015005.0], [1e308, -1e308], [1.0, 1.0 + 1e-16], []])
@pytest.mark.parametrize("log", [False, True])
def test_values_that_are_all_but_the_same_are_in_one_bin(values: list[float], log: bool) -> None:
    kept = np.array([value for value in values if value > 0 or not log])
    counts, edges = counted(kept, 24, log)
    assert counts.sum() == len(kept)
    assert (np.diff(edges) > 0).all()


def test_other_values_are_where_they_belong() -> None:
    values = np.array([1.0, 10.0, 100.0, 1000.0] * 25)
    counts, edges = counted(values, 24, True)
    assert (counts.sum(), len(edges)) == (100, len(counts) + 1)
    assert (edges[0], edges[-1]) == (pytest.approx(1.0), pytest.approx(1000.0))
    assert counts[0] == counts[-1] == 25


def test_a_time_beyond_all_years_is_none() -> None:
    assert [moment(jd) for jd in (1e12, -1e12, float("nan"), float("inf"))] == [NOTHING] * 4


def test_who_has_an_old_token_can_log_in(lab: Api, visitor: Visitor) -> None:
    visitor.cookies.set("kowalski_lab", "ended", domain="127.0.0.1", path="/lab")
    answer = visitor.log_in(ADMIN, PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/lab")


def test_a_form_that_can_not_be_read_is_refused(lab: Api, visitor: Visitor) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=no-such"}
    answer = visitor.post(lab.url + "/lab/login", data=b"a=b", headers=headers, timeout=30)
    assert answer.status_code == 400
    assert visitor.page(f"/lab/assets/x/{'a' * 300}.css").status_code == 404
