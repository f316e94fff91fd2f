"""Copy ZTF's exposure log: ``python -m kowalski.watchers.ztf_ops [--once]``.

The log only grows: what was read is not asked for again, where the server gives parts of files, and skipped where it doesn't.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import requests

from kowalski.config import load_config
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.watching import Exposures, Progress
from kowalski.errors import ConfigError, SourceError
from kowalski.http_source import ask, require_private
from kowalski.log import get_logger
from kowalski.program import once_available, run_program
from kowalski.settings import ZTFOps
from kowalski.watchers.exposures import exposure_of, is_heading
from kowalski.watchers.programs import WATCHERS
from kowalski.watchers.watch import Watch, stop_on_signals

log = get_logger(__name__)

PROGRAM = WATCHERS["ztf_ops"]
#: bytes of the log that are asked for again, to see that it is still the same
SEEN = 512
#: bytes that are read at a time, lines that are stored at a time, and bytes that a line may have
CHUNK, LINES, LONGEST = 1 << 18, 5000, 1 << 14
#: of so many lines or more, half may be unreadable; beyond, the table is another one than is known
FEW = 20
#: unreadable lines that are noted in `watchers`
KEPT = 20


class OperationsLog:
    """Keeps ``ZTF_ops`` as the log is."""

    def __init__(self, settings: ZTFOps, database: MongoDatabase):
        if not (settings.username and settings.password):
            raise ConfigError("ztf_ops.username and ztf_ops.password are not set: the log is not public")
        require_private(settings.url, "ztf_ops.url")
        self.exposures = Exposures(database)
        self.progress = Progress(database, PROGRAM)
        self._url = settings.url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = (settings.username, settings.password)

    def step(self) -> None:
        """All whole lines that the log has got since are stored.

        Raises
        ------
        SourceError : the log can't be had, or most of its lines are not what they were
        """
        known = self.progress.read()
        offset, seen = known.get("offset", 0), known.get("seen", b"")
        if not self._read_on(offset, seen):
            log.warning("%s is not the file that it was: it is read from its beginning", self._url)
            self.progress.note(offset=0, seen=b"")
            self._read_on(0, b"")

    def _read_on(self, offset: int, seen: bytes) -> bool:
        """Read what follows an offset; False: what lies before it is not what was seen there."""
        begin = offset - len(seen)
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={begin}-"} if begin else {})
        with ask(self._session, "GET", self._url, headers=headers, stream=True) as answer:
            if answer.status_code == 416:
                return False
            if answer.status_code in (404, 410):
                raise SourceError(f"{self._url} is not there (ztf_ops.url)")
            chunks = _chunks(answer, self._url)
            content = _after(chunks, 0 if answer.status_code == 206 else begin)
            if _exactly(content, len(seen)) != seen:
                return False
            self._store(content, offset, seen)
        return True

    def _store(self, content: "Content", offset: int, seen: bytes) -> None:
        """Lines are stored, some thousand at a time, and how far that is."""
        new = 0
        for lines in _whole_lines(content):
            rows, refused = self._read(lines)
            for each in refused:
                log.warning("a line is not stored: %s", each)
            new += self.exposures.add(rows)
            offset += sum(map(len, lines))
            seen = (seen + b"".join(lines))[-SEEN:]
            marks = {"refused": refused[:KEPT]} if refused else {}
            self.progress.note(offset=offset, seen=seen, **marks)
        if new:
            log.info("%d new exposures", new)

    def _read(self, lines: list[bytes]) -> tuple[list[dict[str, Any]], list[str]]:
        """The exposures of lines, and what is wrong with lines that are none."""
        rows, refused = [], []
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            try:
                if not is_heading(text):
                    rows.append(exposure_of(text))
            except SourceError as error:
                refused.append(f"{text[:22].strip()}: {error}")
        if len(refused) * 2 > len(lines) and (len(lines) >= FEW or not rows):
            raise SourceError(f"{self._url} is no exposure log as it is known; the first of {len(refused)} bad lines: {refused[0]}")  # fmt: skip
        return rows, refused


class Content:
    """Bytes that come chunk by chunk; what was taken too much is put back."""

    def __init__(self, chunks: Iterator[bytes]):
        self._chunks = chunks
        self._left = b""

    def take(self) -> bytes:
        """Some bytes; none: that was all."""
        if self._left:
            left, self._left = self._left, b""
            return left
        return next(self._chunks, b"")

    def put_back(self, content: bytes) -> None:
        """These come first again."""
        self._left = content + self._left


def _chunks(answer: requests.Response, url: str) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(CHUNK)
    except requests.RequestException as error:
        raise SourceError(f"{url} breaks off: {type(error).__name__}", retriable=True) from error


def _after(chunks: Iterator[bytes], skipped: int) -> Content:
    """What follows the first bytes, so many of them."""
    content = Content(chunks)
    while skipped > 0 and (chunk := content.take()):
        content.put_back(chunk[skipped:])
        skipped -= min(skipped, len(chunk))
    return content


def _exactly(content: Content, size: int) -> bytes:
    """So many bytes, or as many as there are."""
    found = b""
    while len(found) < size and (chunk := content.take()):
        found += chunk
    content.put_back(found[size:])
    return found[:size]


def _whole_lines(content: Content) -> Iterator[list[bytes]]:
    """The lines, some thousand at a time; one that is not ended yet is left out."""
    rest, lines = b"", []
    while chunk := content.take():
        *whole, rest = (rest + chunk).split(b"\n")
        lines += [line + b"\n" for line in whole]
        if len(rest) > LONGEST:
            raise SourceError(f"a line is longer than {LONGEST} bytes: this is no exposure log")
        if len(lines) >= LINES:
            yield lines
            lines = []
    if lines:
        yield lines


def main() -> None:
    """Watch until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Copy ZTF's exposure log into the collection ZTF_ops")
    parser.add_argument("--once", action="store_true", help="read it once")
    arguments = parser.parse_args()
    stop_on_signals()
    config = load_config()
    database = connect(config.database)
    watched = OperationsLog(config.ztf_ops, database)
    once_available(watched.exposures.ensure_indexes)
    Watch(PROGRAM, database).run(watched.step, config.ztf_ops.interval, arguments.once)


if __name__ == "__main__":
    run_program(PROGRAM, main)
