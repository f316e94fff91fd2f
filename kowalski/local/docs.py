"""./kowalski.py docs: the documentation as a site, which the API serves at /docs."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from kowalski.documentation.pages import DOCS
from kowalski.documentation.site import SITE, build_site, is_current
from kowalski.errors import LocalError
from kowalski.local.bars import counting_bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--out", type=Path, default=SITE, metavar="DIR", help="where to (default: data/docs, of which the API serves it)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="build it even where nothing has changed")


def run(arguments: argparse.Namespace) -> int:
    """Build it, where it isn't built from what is here now; a warning is an error."""
    site = arguments.out.resolve()
    if site.exists() and not (is_site(site) or not any(site.iterdir())):
        raise LocalError(f"{site} has other things than documentation in it, which would be lost: name a new folder")
    if is_current(site) and not arguments.force:
        print(f"{site} is as it should be")
        return 0
    with counting_bar(100, "documentation") as bar:
        build_site(site, bar)
    print(f"built {site}: a running API serves data/docs at /docs; by itself: python3 -m http.server -d {site}")
    return 0


def is_site(folder: Path) -> bool:
    """Whether a folder is one that Sphinx wrote."""
    return folder.is_dir() and (folder / "objects.inv").exists()


def ensure_built() -> None:
    """A site is there, where its sources are; what keeps it from being built is said, and is no error: Kowalski runs without."""
    if is_current() or not (DOCS / "conf.py").exists():
        return
    try:
        with counting_bar(100, "building the documentation") as bar:
            build_site(progress=bar)
    except (LocalError, OSError) as error:
        Console(stderr=True).print(f"no documentation at /docs: {error}", markup=False)
    else:
        print("  documentation: built", file=sys.stderr, flush=True)
