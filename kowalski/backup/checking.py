"""Checking a backup: every file is there and holds what was written, to the last bit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kowalski.backup.chunks import Chunk, read
from kowalski.backup.making import THREADS, Progress
from kowalski.backup.manifest import Manifest
from kowalski.errors import BackupError


def problems_of(folder: Path, made: Manifest, progress: Progress) -> Iterator[str]:
    """What is broken, file by file; nothing if the backup is whole."""

    def look(chunk: Chunk) -> str | None:
        try:
            read(folder, chunk)
        except BackupError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        for each in made.collections:
            for chunk, problem in zip(each.chunks, pool.map(look, each.chunks), strict=True):
                progress(f"checking {each.name}", chunk.bytes)
                if problem:
                    yield f"{each.name}: {problem}"
