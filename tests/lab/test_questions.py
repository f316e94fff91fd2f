"""What astronomers may write when they look for an object."""

import pytest

from kowalski.api.models.questions import read_question

HERE = (155.94, 12.582222)


@pytest.mark.parametrize(
    ("text", "radius"),
    [
        ("155.94 12.582222", 5),
        ("155.94, +12.582222", 5),
        ("155.94d +12.582222d", 5),
        ("ra=155.94 dec=12.582222 r=7", 7),
        ("155.94 12.582222 30", 30),
        ('155.94 12.582222 30"', 30),
        ("155.94 12.582222 30arcsec", 30),
        ("155.94 12.582222, 1.5 arcmin", 90),
        ("155.94° 12.582222° 2′", 120),
        ("10:23:45.6 +12:34:56", 5),
        ("10:23:45.6+12:34:56", 5),
        ("10 23 45.6 12 34 56", 5),
        ("10h23m45.6s +12d34m56s", 5),
        ("10h 23m 45.6s +12° 34′ 56″ 10", 10),
        ("  10:23:45.60 , 12:34:56.0  radius 20 arcsec ", 20),
        ("J102345.6+123456", 5),
        ("j102345.60+123456.0 1'", 60),
    ],
)
def test_positions_of_all_kinds(text: str, radius: float) -> None:
    asked = read_question(text)
    assert asked.position == pytest.approx(HERE, abs=1e-6)
    assert asked.radius == radius
    assert (asked.candid, asked.ids, asked.name) == (None, (), None)


def test_the_south_is_where_the_sign_says() -> None:
    assert read_question("00:00:00 -00:30:00").position == (0.0, -0.5)
    assert read_question("0 \u22120.5").position == (0.0, -0.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("400 10", "not on the sky"),
        ("10 95", "not on the sky"),
        ("10:61:00 +10:00:00", "more than 60"),
        ("10 10 6 arcmin", "up to 5 arcmin"),
        ("10 10 5 parsec", "not in parsec"),
        ("10 10 0", "more than 0"),
    ],
)
def test_what_is_wrong_with_a_position_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_question(text)


def test_an_id_in_any_case() -> None:
    assert "ZTF18abcdefg" in read_question("ztf18ABCDEFG").ids
    assert "WNTR23abcde" in read_question("wntr23abcde").ids
    assert read_question("ZTF18abcdefg").ids[0] == "ZTF18abcdefg"


def test_an_id_in_an_address_or_behind_its_survey() -> None:
    assert read_question("https://marshal.example.org/source/ZTF18abcdefg").ids[0] == "ZTF18abcdefg"
    assert read_question("ZTF:ZTF18abcdefg").ids[0] == "ZTF18abcdefg"


def test_digits_are_a_candid_and_an_id() -> None:
    asked = read_question("169813006111211555")
    assert (asked.candid, asked.ids) == (169813006111211555, ("169813006111211555",))
    assert read_question("9" * 19).candid is None


@pytest.mark.parametrize("text", ["SN 2023ixf", "sn2023IXF", "AT2023ixf", "2023ixf", "TNS AT 2023ixf", "SN_2023ixf"])
def test_names_of_tns(text: str) -> None:
    assert read_question(text).name == "2023ixf"


def test_a_name_of_one_letter_is_a_capital() -> None:
    assert read_question("sn2023a").name == "2023A"


@pytest.mark.parametrize(
    "text", ["", "what is this", "💥" * 300, "<script>", "'; drop", "1e400 5", "\x00", "a/b", "://", ":"]
)
def test_anything_can_be_asked(text: str) -> None:
    asked = read_question(text)
    assert asked.position is None
    assert len(asked.text) <= 200
