"""Many files: each fetched to a place beside its own, verified there, and moved over."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import requests

from kowalski.downloads.transfer import STALL, download, drop, finish
from kowalski.errors import SourceError

#: hexadecimal digits of a checksum -> how it is made
KINDS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}


@dataclass(frozen=True)
class File:
    """A file that is wanted.

    Attributes
    ----------
    target : where it is to lie
    checksum : its MD5, SHA-1, SHA-256 or SHA-512 in hexadecimal digits; None: not known
    check : looks at a file whose checksum is not known; raises `SourceError` where it is not whole
    """

    url: str
    target: Path
    checksum: str | None = None
    check: Callable[[Path], None] | None = None

    @property
    def part(self) -> Path:
        """Where it grows."""
        return self.target.with_name(f"{self.target.name}.part")


class Outcome(NamedTuple):
    """What became of a file: ``fetched``, ``present`` or ``failed``, and details in words."""

    file: File
    state: str
    detail: str = ""


def valid_checksum(text: str, name: str) -> str:
    """A checksum as files' own are given.

    Raises
    ------
    SourceError : it is none
    """
    value = text.strip().lower()
    if not re.fullmatch(r"[0-9a-f]+", value) or len(value) not in KINDS:
        raise SourceError(
            f"{name}: {text.strip()[:80]!r} is no checksum: 32 hexadecimal digits are an MD5, 64 a SHA-256"
        )
    return value


def checksum_of(path: Path, digits: int) -> str:
    """The checksum of a file that has so many hexadecimal digits."""
    made = hashlib.new(KINDS[digits], usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            made.update(chunk)
    return made.hexdigest()


def fetch_all(
    files: Sequence[File],
    jobs: int,
    session: Callable[[], requests.Session],
    stall: float = STALL,
    progress: Callable[[File, int], None] | None = None,
) -> Iterator[Outcome]:
    """Bring all files to their places, some at a time; each outcome as soon as it is known.

    Parameters
    ----------
    session : makes what one thread asks with
    progress : is told how many bytes of a file have come
    """
    stopping = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_fetch, file, session, stall, progress, stopping) for file in files]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            stopping.set()
            for future in futures:
                future.cancel()


def state_of(file: File) -> tuple[str, int]:
    """``present``, ``part`` or ``missing``, and how many bytes of it there are; without its checksum, what is at its place is whole."""
    if file.target.exists():
        same = file.checksum is None or checksum_of(file.target, len(file.checksum)) == file.checksum
        if same:
            return "present", file.target.stat().st_size
    if file.part.exists():
        return "part", file.part.stat().st_size
    return "missing", 0


def _fetch(
    file: File,
    session: Callable[[], requests.Session],
    stall: float,
    progress: Callable[[File, int], None] | None,
    stopping: threading.Event,
) -> Outcome:
    if stopping.is_set():
        return Outcome(file, "failed", "stopped")
    try:
        if state_of(file)[0] == "present":
            return Outcome(file, "present")
        file.target.parent.mkdir(parents=True, exist_ok=True)
        resumed = file.part.exists()
        for again in (True, False) if resumed else (False,):
            download(
                file.url,
                file.part,
                (lambda have, total: progress(file, have)) if progress else None,
                session(),
                stall,
                stopping,
            )
            try:
                _verify(file)
                break
            except SourceError:
                drop(file.part)
                if not again:  # what was gone on from may have been of another version
                    raise
        finish(file.part, file.target)
    except (SourceError, OSError) as error:
        return Outcome(file, "failed", str(error))
    return Outcome(file, "fetched")


def _verify(file: File) -> None:
    if file.checksum is not None:
        found = checksum_of(file.part, len(file.checksum))
        if found != file.checksum:
            raise SourceError(f"{file.url}: its {KINDS[len(found)]} is {found}, not {file.checksum}")
    elif file.check:
        file.check(file.part)
