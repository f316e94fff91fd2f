"""./kowalski.py watchlist: lists of objects, positions and regions, sent to a Kowalski, shown and removed."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from kowalski.errors import WatchlistError
from kowalski.local.bars import bytes_bar
from kowalski.local.filter_files import TOKEN

PATH = "/api/watchlists"
#: bytes sent at once, and s for an answer once all is sent
PIECE, PATIENCE = 1 << 18, 1800


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="put|list|show|delete")
    for name, text in {
        "put": "send a file (CSV, FITS, MOC) as a new list, or in place of one",
        "list": "the lists of your groups",
        "show": "one list and its first rows",
        "delete": "remove a list that no filter declares",
    }.items():
        action = actions.add_parser(name, help=text, description=text)
        if name != "list":
            action.add_argument("name", metavar="NAME")
        if name == "put":
            action.add_argument("file", type=Path, metavar="FILE")
            action.add_argument(
                "--kind", choices=["objects", "positions", "region"], help="told by the file unless given"
            )
            action.add_argument("--radius", type=float, help="arcsec within which alerts match (default 2)")
        action.add_argument("--group", type=int, help="its group; not needed where one of yours alone has such a list")
        action.add_argument("--url", default="http://localhost:4000", help="of the API (default %(default)s)")
        action.add_argument("--token", default=os.environ.get(TOKEN), help=f"of a user of the group (default: {TOKEN})")


def run(arguments: argparse.Namespace) -> int:
    """0 when all is well, else 1, with a line that says what isn't."""
    try:
        lists = RemoteWatchlists(arguments.url, arguments.token)
        match arguments.action:
            case "put":
                print(_put(lists, arguments))
            case "list":
                for each in lists.all(group_id=arguments.group):
                    print(_line(each))
            case "show":
                _show(lists.shown(arguments.name, arguments.group))
            case "delete":
                found = lists.find(arguments.name, arguments.group)
                print(lists.call("DELETE", f"{PATH}/{found['id']}")["message"])
    except WatchlistError as error:
        print(error)
        return 1
    return 0


class RemoteWatchlists:
    """The watchlists of a Kowalski, by its API.

    Raises
    ------
    WatchlistError : what is asked is refused, or nobody answers
    """

    def __init__(self, url: str, token: str | None):
        if not token:
            raise WatchlistError(f"a token is needed: --token or {TOKEN} (POST /api/auth or /api/tokens gives one)")
        self.url = url
        self.headers = {"Authorization": token}

    def call(self, method: str, path: str, data: Any = None, **query: Any) -> dict[str, Any]:
        """The answer to a request."""
        try:
            answer = requests.request(
                method, self.url + path, params=query, data=data, headers=self.headers, timeout=PATIENCE
            )
            content: dict[str, Any] = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise WatchlistError(f"{self.url} does not answer as a Kowalski does: {error}") from None
        if answer.status_code != 200:
            raise WatchlistError(f"{self.url}: {content.get('message')}")
        return content

    def all(self, **query: Any) -> list[dict[str, Any]]:
        """The lists of the user's groups."""
        found: list[dict[str, Any]] = self.call("GET", PATH, **query)["data"]
        return found

    def find(self, name: str, group: int | None) -> dict[str, Any]:
        """The list of a name, of a group where several have one."""
        found = self.all(name=name, group_id=group)
        if len(found) > 1:
            raise WatchlistError(
                f"groups {', '.join(str(each['group_id']) for each in found)} have a watchlist {name}: name one with --group"
            )
        if not found:
            raise WatchlistError(
                f"there is no watchlist {name}: ./kowalski.py watchlist list tells those of your groups"
            )
        return found[0]

    def shown(self, name: str, group: int | None) -> dict[str, Any]:
        """A list with its first rows."""
        found: dict[str, Any] = self.call("GET", f"{PATH}/{self.find(name, group)['id']}")["data"]
        return found

    def put(self, name: str, group: int | None, data: Iterator[bytes], **told: Any) -> str:
        """A list has the rows of a file; what is said of it."""
        known = self.all(name=name, group_id=group)
        if not known and group is None:
            raise WatchlistError(f"there is no watchlist {name}: to make it, say whose it is with --group")
        if known:
            path = f"{PATH}/{self.find(name, group)['id']}"
            return str(self.call("PUT", path, data, **told)["message"])
        return str(self.call("POST", PATH, data, name=name, group_id=group, **told)["message"])


def _put(lists: RemoteWatchlists, arguments: argparse.Namespace) -> str:
    try:
        size = arguments.file.stat().st_size
        with arguments.file.open("rb") as file, bytes_bar(size, arguments.file.name) as done:

            def pieces() -> Iterator[bytes]:
                while piece := file.read(PIECE):
                    yield piece
                    done("sent" if file.tell() == size else "sending", len(piece))

            return lists.put(arguments.name, arguments.group, pieces(), kind=arguments.kind, radius=arguments.radius)
    except OSError as error:
        raise WatchlistError(f"{arguments.file}: {error.strerror}") from None


def _line(found: dict[str, Any]) -> str:
    radius = f" within {found['radius']:g} arcsec" if found["kind"] == "positions" else ""
    return f"{found['name']:20} group {found['group_id']:<6} {found['rows']:>9} {found['kind']}{radius}, by {found['made_by']}"


def _show(found: dict[str, Any]) -> None:
    print(_line(found))
    for row in found["first"]:
        print("  " + ", ".join(f"{name} {value}" for name, value in row.items()))
