"""What a catalogue was made of: the recipe, and the files by their names, bytes and sha256."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kowalski.errors import IngestError
from kowalski.ingesters.recipe import Recipe

#: names of files that are noted; matchfiles are a hundred thousand
NAMED = 20


def source_of(
    recipe: Recipe, tag: str | None, path: Path, files: Sequence[Path], most: int | None, kowalski: str,
    progress: Callable[[int], None], threads: int = 2,
) -> dict[str, Any]:  # fmt: skip
    """The source of an ingestion; the files are read once more, and ``progress`` is told of the bytes.

    Returns
    -------
    ``sha256`` : of the one file, or of the lines that ``sha256sum`` prints of them all, sorted by name
    ``options`` : what the recipe ``catalog`` was told of the file
    ``most`` : documents after which it was to stop; None: it was not

    Raises
    ------
    IngestError : a file can't be read any more
    """
    root = path if path.is_dir() else path.parent
    names = [file.relative_to(root).as_posix() for file in files]

    def sha256(file: Path) -> str:
        try:
            with file.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
            progress(file.stat().st_size)
        except OSError as error:
            raise IngestError(f"{file}: {error.strerror}: its checksum can't be noted; --resume goes on") from None
        return found

    with ThreadPoolExecutor(threads) as pool:
        sums = dict(zip(names, pool.map(sha256, files), strict=True))
    lines = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    return {
        "recipe": recipe.name,
        "tag": tag or recipe.tag,
        "options": recipe.options,
        "kowalski": kowalski,
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "names": sorted(names)[:NAMED],
        "sha256": next(iter(sums.values())) if len(sums) == 1 else hashlib.sha256(lines.encode()).hexdigest(),
        "most": most,
    }
