"""What servers say of the files that they have: pages of links, and lists of checksums."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

import requests

from kowalski.downloads.files import valid_checksum
from kowalski.errors import SourceError
from kowalski.http_source import ask

#: lines of md5sum and its like, and of BSD's
SUM = re.compile(r"(?P<sum>[0-9a-fA-F]{32,128})\s+\*?(?P<name>\S.*)")
BSD_SUM = re.compile(r"\w+ ?\((?P<name>.+)\) ?= ?(?P<sum>[0-9a-fA-F]{32,128})")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attributes if tag == "a" and name == "href" and value]


def text_of(session: requests.Session, url: str) -> str | None:
    """What is at a URL; None: nothing. Raises `SourceError`."""
    answer = ask(session, "GET", url)
    return answer.text if answer.status_code == 200 else None


def entries(session: requests.Session, folder: str) -> list[str]:
    """The names of what a folder's page lists right below it, those of folders with a ``/`` behind.

    Raises
    ------
    SourceError : there is no such page
    """
    text = text_of(session, folder)
    if text is None:
        raise SourceError(f"{folder} is not there")
    parser = _Links()
    parser.feed(text)
    base = folder if folder.endswith("/") else folder + "/"
    names = set()
    for link in parser.found:
        place = urlsplit(urljoin(base, link))
        above = urlsplit(base)
        name = unquote(place.path.removeprefix(above.path))
        below = place.netloc == above.netloc and place.path.startswith(above.path)
        if below and name and ".." not in name and "/" not in name.rstrip("/") and not name.startswith("?"):
            names.add(name)
    return sorted(names)


def checksums(text: str) -> dict[str, str]:
    """Name -> checksum, of a list as ``md5sum`` and its like make it; of names with folders, the last part counts.

    Raises
    ------
    SourceError : no line is one of such a list
    """
    found = {}
    for line in text.splitlines():
        if match := SUM.fullmatch(line.strip()) or BSD_SUM.fullmatch(line.strip()):
            name = match["name"].strip().rpartition("/")[2]
            found[name] = valid_checksum(match["sum"], name)
    if not found and text.strip():
        raise SourceError(f"this is no list of checksums: {text.strip()[:80]!r}")
    return found
