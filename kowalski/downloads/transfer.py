"""One file over HTTP: what a broken or stalled connection has brought is kept, and the next try goes on there."""

import fcntl
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import requests

from kowalski.errors import SourceError
from kowalski.http_source import ask

#: tries of which none brings `PROGRESS` bytes before a file is given up
ATTEMPTS = 5
PROGRESS = 1 << 20
#: s of the first pause between tries, and the longest
PAUSE, LONGEST_PAUSE = 1.0, 60.0
#: s to connect, and s without a byte
CONNECT, STALL = 10.0, 60.0
CHUNK = 1 << 16

Progress = Callable[[int, int], None]
"""Called with bytes so far and bytes in all (0: unknown)."""


def download(
    url: str,
    part: Path,
    progress: Progress | None = None,
    session: requests.Session | None = None,
    stall: float = STALL,
    stopping: threading.Event | None = None,
) -> None:
    """The whole file lies at ``part``; what lies there already is gone on from, where the server's file is still the same.

    Parameters
    ----------
    stall : s without a byte after which a connection counts as broken
    stopping : once set, what is under way ends

    Raises
    ------
    SourceError : it can't be had, after `ATTEMPTS` tries where another one may help; what came stays at ``part``
    """
    with _alone(part), session or requests.Session() as session:
        tries = 0
        while True:
            before = _size(part)
            try:
                return _transfer(url, part, progress, session, stall, stopping or threading.Event())
            except SourceError as error:
                tries = 1 if _size(part) >= before + PROGRESS else tries + 1
                if not error.retriable or tries >= ATTEMPTS:
                    raise
                pause = min(LONGEST_PAUSE, PAUSE * 2 ** (tries - 1)) * random.uniform(0.5, 1)  # nosec B311
                if (stopping or threading.Event()).wait(max(pause, error.wait_s or 0)):
                    raise


def drop(part: Path) -> None:
    """Nothing is kept of a file that is not whole yet."""
    for path in (part, _tag_of(part)):
        path.unlink(missing_ok=True)


def finish(part: Path, target: Path) -> None:
    """What came is at its place, at once and whole."""
    part.replace(target)
    drop(part)


def _transfer(
    url: str, part: Path, progress: Progress | None, session: requests.Session, stall: float, stopping: threading.Event
) -> None:
    have = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag := _tag_of(part).read_text() if _tag_of(part).exists() else "":
            headers["If-Range"] = tag
    with ask(session, "GET", url, headers=headers, stream=True, timeout=(CONNECT, stall)) as answer:
        if answer.status_code == 416:
            return _beyond_the_end(url, part, have, answer)
        if answer.status_code not in (200, 206):
            raise SourceError(f"{url}: HTTP {answer.status_code} {answer.reason}")
        resumed = answer.status_code == 206
        if resumed and _place(answer)[0] != have:
            drop(part)
            raise SourceError(f"{url}: another part came than was asked for", retriable=True)
        total = _place(answer)[1] if resumed else int(answer.headers.get("Content-Length", 0))
        _tag_of(part).write_text(_validator(answer))
        with part.open("ab" if resumed else "wb") as file:
            _receive(url, answer, file, total, progress, stopping)
    if total and _size(part) != total:
        if _size(part) > total:
            drop(part)
        raise SourceError(f"{url}: {_size(part)} of {total} bytes came", retriable=True)


def _receive(
    url: str,
    answer: requests.Response,
    file: BinaryIO,
    total: int,
    progress: Progress | None,
    stopping: threading.Event,
) -> None:
    try:
        for chunk in answer.iter_content(CHUNK):
            file.write(chunk)
            if progress:
                progress(file.tell(), total)
            if stopping.is_set():
                raise SourceError(f"{url}: stopped")
    except (requests.RequestException, ValueError) as error:  # ValueError: chunks without a length
        broken = "stalled" if "timed out" in str(error) else "broke off"
        raise SourceError(f"{url}: the connection {broken} after {file.tell()} bytes", retriable=True) from error


def _beyond_the_end(url: str, part: Path, have: int, answer: requests.Response) -> None:
    """All of it is there, or it is something else than the server has now."""
    if _place(answer)[1] != have:
        drop(part)
        raise SourceError(f"{url}: it has changed", retriable=True)


def _place(answer: requests.Response) -> tuple[int, int]:
    """Where the bytes of an answer begin, and how many the file has; -1 and 0: not said."""
    header = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
    if header is None:
        return -1, 0
    begin, total = header.groups()
    return int(begin or -1), int(total) if total.isdigit() else 0


def _validator(answer: requests.Response) -> str:
    """What tells this version of the file from others; weak tags do not."""
    tag = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _tag_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """No other process fetches the same file to the same place meanwhile."""
    lock = part.with_name(f"{part.name}.lock")
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SourceError(f"{part.name} is being fetched by another process") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
