"""What astronomers write when they look for an object: an id, a candid, a position, or a name."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from kowalski.api.models.positions import Position, read_position

#: arcsec around a position unless said otherwise, and at most
RADIUS, LARGEST = 5.0, 300.0
#: arcsec in one of what may stand behind a radius
UNITS = {
    **dict.fromkeys(("", '"', "″", "''", "as", "arcsec", "arcsecs", "arcsecond", "arcseconds"), 1.0),
    **dict.fromkeys(("'", "′", "am", "arcmin", "arcmins", "arcminute", "arcminutes"), 60.0),
    **dict.fromkeys(("d", "deg", "°"), 3600.0),
}
#: characters of a question that are read
LONGEST = 200
#: numbers that a candid can have
CANDID = range(-(2**63), 2**63)

_REST = r"(?:[\s,;]+(?:r|radius)?\s*=?\s*(?P<radius>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[a-z°\"'″′]*))?"
_GAP, _SECONDS = r"[\s,;]+", r"\d{1,2}(?:\.\d*)?"
SEXAGESIMAL = re.compile(
    rf"(?P<h>\d{{1,2}})\s*[:h\s]\s*(?P<m>\d{{1,2}})\s*[:m\s]\s*(?P<s>{_SECONDS})\s*s?\s*(?:{_GAP}|(?=[+-]))"
    rf"(?P<sign>[+-]?)\s*(?P<deg>\d{{1,2}})\s*[:d°\s]\s*(?P<min>\d{{1,2}})\s*[:m'′\s]\s*(?P<sec>{_SECONDS})\s*[s\"″]?{_REST}",
    re.IGNORECASE,
)
IN_A_NAME = re.compile(
    rf"J\s*(?P<h>\d\d)(?P<m>\d\d)(?P<s>\d\d(?:\.\d*)?)(?P<sign>[+-])(?P<deg>\d\d)(?P<min>\d\d)(?P<sec>\d\d(?:\.\d*)?){_REST}",
    re.IGNORECASE,
)
DECIMAL = re.compile(
    rf"(?:ra\s*=?\s*)?(?P<ra>\d+(?:\.\d*)?)\s*(?:d|deg|°)?{_GAP}(?:dec\s*=?\s*)?(?P<dec>[+-]?\d+(?:\.\d*)?)\s*(?:d|deg|°)?{_REST}",
    re.IGNORECASE,
)
#: TNS's names: a year and letters, whatever stands before
TNS_NAME = re.compile(r"(?:TNS\s*)?(?:SN|AT|TDE|FRB|SLSN)?[\s_-]*((?:19|20)\d\d)\s*([A-Z]{1,5})", re.IGNORECASE)
OBJECT_ID = re.compile(r"[^\s/]+")


@dataclass(frozen=True)
class Question:
    """How a question can be understood; several ways may be right.

    Attributes
    ----------
    candid : of an alert
    ids : spellings of an object's id, the one as written first
    name : as TNS has it, without prefix, e.g. 2023ixf
    position, radius : (ra, dec) in deg and arcsec
    """

    text: str
    candid: int | None = None
    ids: tuple[str, ...] = ()
    name: str | None = None
    position: Position | None = None
    radius: float = RADIUS


def read_question(text: str) -> Question:
    """A question, understood.

    Raises
    ------
    ValueError : it is a position off the sky, or a radius that is too large or has another unit; the text says how to write it
    """
    text = re.sub(r"[\u2212\u2013]", "-", " ".join(text[:LONGEST].split()))
    for pattern in (SEXAGESIMAL, IN_A_NAME, DECIMAL):
        if found := pattern.fullmatch(text):
            return Question(text, position=_position(found), radius=_radius(found))
    text = _of_address(text)
    name = TNS_NAME.fullmatch(text)
    number = int(text) if re.fullmatch(r"-?\d{1,19}", text) else None
    return Question(
        text,
        candid=number if number is not None and number in CANDID else None,
        ids=_spellings(text) if OBJECT_ID.fullmatch(text) else (),
        name=f"{name[1]}{name[2].upper() if len(name[2]) == 1 else name[2].lower()}" if name else None,
    )


def _position(found: re.Match[str]) -> Position:
    told = found.groupdict()
    if "ra" in told:
        return read_position(f"{told['ra']} {told['dec']}")
    return read_position(f"{told['h']}:{told['m']}:{told['s']} {told['sign']}{told['deg']}:{told['min']}:{told['sec']}")


def _radius(found: re.Match[str]) -> float:
    if found["radius"] is None:
        return RADIUS
    unit = found["unit"].lower()
    if unit not in UNITS:
        raise ValueError(f"a radius is in arcsec, arcmin or deg, not in {found['unit']}")
    radius = float(found["radius"]) * UNITS[unit]
    if not 0 < radius <= LARGEST:
        raise ValueError(f'a radius is more than 0 and up to {LARGEST / 60:.0f} arcmin, not {radius:g}": use a query for more')
    return radius


def _of_address(text: str) -> str:
    """The last part of an address, as of a page of SkyPortal, or the id behind the survey's name."""
    if "://" in text:
        return unquote(urlsplit(text).path.rstrip("/").rpartition("/")[2])
    survey, colon, rest = text.partition(":")
    return rest.strip() if colon and survey.isalpha() and rest.strip() else text


def _spellings(text: str) -> tuple[str, ...]:
    """An id as it may be meant: surveys write theirs with capitals first and small letters last, or all in one case."""
    parts = re.fullmatch(r"([A-Za-z]+)(\d.*)", text)
    usual = [parts[1].upper() + parts[2].lower()] if parts else []
    return tuple(dict.fromkeys([text, *usual, text.upper(), text.lower()]))
