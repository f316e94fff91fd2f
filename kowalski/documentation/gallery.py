"""The gallery of filters: the files of docs/filters, as the pages show them."""

from pathlib import Path

from kowalski.config import ROOT

FOLDER = ROOT / "docs" / "filters"


def filter_files() -> list[Path]:
    """All of the gallery, by name."""
    return sorted(FOLDER.glob("*.yaml"))


def filter_file(name: str) -> str:
    """A filter of the gallery as a block of code."""
    return f"```yaml\n{(FOLDER / f'{name}.yaml').read_text().strip()}\n```\n"
