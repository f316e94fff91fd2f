"""What users may well do: long filters, odd columns, numbers beyond all bounds, forms sent twice; nobody waits for it, and nothing fails."""

import numpy as np
import pytest
from api_harness import ADMIN, PASSWORD, Api
from night import Observed
from visitor import Visitor

from kowalski.lab.addresses import object_address
from kowalski.lab.cookies import PROOF_HEADER
from kowalski.lab.filters.versions import MOST, side_by_side
from kowalski.lab.query.flat import WIDEST, flat
from kowalski.lab.query.plots import MAGNITUDE, counted
from kowalski.lab.shown import NOTHING, figure, moment
from kowalski.nesting import LEVELS


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


PARTS = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("headers", "data"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded; charset=no-such"}, b"a=b"),
        ({"Content-Type": PARTS}, b"--x\r\nno colon\r\n\r\n1\r\n--x--\r\n"),
        ({"Content-Type": PARTS}, b'--x\r\nContent-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: none\r\n\r\n1\r\n--x--\r\n'),
        ({"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}, b"no gzip"),
    ],
)  # fmt: skip
def test_a_form_that_can_not_be_read_is_refused(
    lab: Api, visitor: Visitor, headers: dict[str, str], data: bytes
) -> None:
    assert visitor.post(lab.url + "/lab/login", data=data, headers=headers, timeout=30).status_code == 400


def test_half_a_character_is_no_fault_of_the_servers(admin: Visitor) -> None:
    proof = admin.proof("/lab/query")
    answer = admin.submit("/lab/query", kind="find", catalog="ZTF_alerts", filter='{"$\\ud800": 1}', proof=proof)
    assert answer.status_code == 303
    assert admin.page(answer.headers["Location"]).status_code == 400
    admin.submit(f"{answer.headers['Location']}/forget", proof=proof)


@pytest.mark.parametrize("levels", [LEVELS, 300, 600, 900])
def test_what_is_nested_too_deep_is_said_to_be(admin: Visitor, levels: int) -> None:
    deep = "[" * levels + "]" * levels
    proof = admin.proof("/lab/query")
    said = admin.submit("/lab/query", kind="find", catalog="ZTF_alerts", filter=f'{{"x": {deep}}}', proof=proof)
    assert (said.status_code, "nested deeper than" in said.text) == (400, True)
    told = admin.post(
        f"{admin.lab.url}/lab/filters/check",
        data={
            "catalog": "ZTF_alerts",
            "filter_id": "5",
            "group_id": "1",
            "permissions": "1",
            "pipeline": f'[{{"$match": {{"x": {deep}}}}}]',
        },
        headers={PROOF_HEADER: admin.proof("/lab/filters/new")},
        timeout=30,
    )
    assert (told.status_code, told.json()["ok"], "nested deeper than" in told.json()["message"]) == (200, False, True)


def test_a_host_without_sense_changes_the_examples_alone(admin: Visitor, observed: Observed) -> None:
    alert = observed.database["ZTF_alerts"].find_one()
    assert alert is not None
    address = admin.lab.url + object_address("ZTF", alert["objectId"])
    assert admin.get(address, headers={"Host": "a:b"}, timeout=30).status_code == 200


@pytest.mark.parametrize("counts", ["9" * 400, "1,2", "x", "-1"])
@pytest.mark.parametrize("edges", ["0,1", "0,inf", "nan,1"])
def test_a_histogram_of_anything(admin: Visitor, edges: str, counts: str) -> None:
    assert admin.page(f"/lab/filters/bars.json?edges={edges}&counts={counts}").status_code in (200, 400)


def test_an_alert_of_no_time_is_in_nobodys_way(admin: Visitor, observed: Observed) -> None:
    alert = observed.database["ZTF_alerts"].find_one({}, {"_id": 0})
    assert alert is not None
    odd = alert | {"candid": 79, "objectId": "ZTF99late", "candidate": alert["candidate"] | {"jd": 1e12, "candid": 79}}
    observed.database["ZTF_alerts"].insert_one(odd)
    try:
        assert admin.page("/lab/filters/new").status_code == 200
    finally:
        observed.database["ZTF_alerts"].delete_one({"candid": 79})


def test_numbers_of_any_size_are_shown() -> None:
    assert [figure(value) for value in (0.0042, 3e-13, 1.5, 123456789.0, 7, "x", None)] == [
        "0.0042", "3e-13", "1.5", "1.23457e+08", "7", "x", NOTHING,
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "is_one"), [("candidate.magpsf", True), ("srmag1", True), ("phot_g_mean_mag", True), ("FUVmag", True), ("j_m", True),
                                              ("w1mpro", True), ("candidate.sigmapsf", False), ("z", False), ("image_m", False)])  # fmt: skip
def test_magnitudes_are_known_by_their_names(name: str, is_one: bool) -> None:
    assert (MAGNITUDE.search(name.rpartition(".")[2]) is not None) is is_one


def test_a_name_that_is_too_long_is_no_file(visitor: Visitor) -> None:
    assert visitor.page(f"/lab/assets/x/{'a' * 300}.css").status_code == 404
