"""The documentation as a site of plain files: built whole or not at all, with no script or style inside a page, and nothing from elsewhere."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from kowalski.config import ROOT
from kowalski.documentation.pages import DOCS, ELSEWHERE
from kowalski.errors import LocalError

#: where the API looks for it
SITE = ROOT / "data" / "docs"
#: in a site: what it was built from
STAMP = ".built-from"
#: what Sphinx says of its progress, and the share of the whole that is before it
STEPS = {"reading sources": (0, 60), "writing output": (60, 38)}
SAID = re.compile(r"(reading sources|writing output)\.\.\. \[ *(\d+)%\]")
#: what stands inside a page where a strict Content-Security-Policy allows none
INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
STYLED = re.compile(r"(<[a-z][^<>]*?)\sstyle=\"([^\"]*)\"")
#: what a browser fetches by itself: of pages, and of style sheets
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=[\"']?(?P<src>[^\"'\s>]+)"
    r"|<link\b(?![^>]*rel=[\"']?(?:canonical|next|prev))[^>]*?\bhref=[\"']?(?P<href>[^\"'\s>]+)"
    r"|\burl\([\"']?(?P<url>[^\"')]+)|@import\s+[\"'](?P<imported>[^\"']+)"
)

#: told how much of 100 is done
Progress = Callable[[int], None]


def sources() -> list[Path]:
    """The files that the site is made of, but for the code that its reference describes."""
    beside = [ROOT / name for name in (*ELSEWHERE, "config.defaults.yaml", "kowalski.py", "kowalski/api/routes.py")]
    pages = [path for path in DOCS.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(path for path in [*pages, *beside] if path.exists())


def digest() -> str:
    """What tells the sources from those of another day."""
    summed = hashlib.sha256()
    for path in sources():
        summed.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return summed.hexdigest()


def is_current(site: Path = SITE) -> bool:
    """Whether a site was built from what is here now."""
    stamp = site / STAMP
    return stamp.exists() and stamp.read_text() == digest()


def build_site(site: Path = SITE, progress: Progress = lambda done: None) -> None:
    """The site is there, built from what is here now; one that was there is replaced when the new one is whole.

    Raises
    ------
    LocalError : there are no sources, or Sphinx has warnings, which are in the text
    """
    if not (DOCS / "conf.py").exists():
        raise LocalError(f"there is no {DOCS}: the documentation is built in a clone of the project")
    stamp = digest()
    making = site.with_name(f".{site.name}.{os.getpid()}")
    try:
        _run_sphinx(making, progress)
        extract_inline(making)
        if elsewhere := list(fetched_from_elsewhere(making)):
            raise LocalError("pages fetch what is not theirs:\n" + "\n".join(elsewhere))
        (making / STAMP).write_text(stamp)
        if site.exists():
            shutil.rmtree(site)
        making.rename(site)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    progress(100)


def _run_sphinx(folder: Path, progress: Progress) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    kept = folder.with_name(f"{folder.name}.doctrees")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "--no-color",
        "-b",
        "html",
        "-d",
        kept,
        DOCS,
        folder,
    ]
    said: list[str] = []
    try:
        with subprocess.Popen(
            list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as sphinx:
            assert sphinx.stdout is not None
            for line in sphinx.stdout:
                said.append(line)
                if found := SAID.search(line):
                    before, share = STEPS[found[1]]
                    progress(before + share * int(found[2]) // 100)
    finally:
        shutil.rmtree(kept, ignore_errors=True)
    if sphinx.returncode:
        wrong = [line for line in said if re.search(r"\b(WARNING|ERROR|CRITICAL)\b|[Ee]rror:", line)] or said[-20:]
        raise LocalError("the documentation can't be built:\n" + "".join(wrong).rstrip())


def extract_inline(folder: Path) -> None:
    """Scripts and styles that stand inside pages are files of their own, at the same place of the page."""
    kept = folder / "_static" / "inline"
    kept.mkdir(parents=True, exist_ok=True)
    rules: dict[str, str] = {}
    for page in folder.rglob("*.html"):
        up = os.path.relpath(kept, page.parent)

        def outside(found: re.Match[str], up: str = up) -> str:
            kind, text = found[1], found[2]
            name = f"{_short(text)}.{'js' if kind == 'script' else 'css'}"
            (kept / name).write_text(text)
            if kind == "script":
                return f'<script src="{up}/{name}"></script>'
            return f'<link rel="stylesheet" type="text/css" href="{up}/{name}">'

        def by_rule(found: re.Match[str]) -> str:
            name = _short(found[2])
            rules[name] = f'[data-style="{name}"] {{{found[2]}}}'
            return f'{found[1]} data-style="{name}"'

        text = STYLED.sub(by_rule, INLINE.sub(outside, page.read_text()))
        link = f'<link rel="stylesheet" type="text/css" href="{up}/attributes.css">\n</head>'
        page.write_text(text.replace("</head>", link, 1))
    (kept / "attributes.css").write_text("\n".join(rules.values()))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fetched_from_elsewhere(folder: Path) -> Iterator[str]:
    """Page and address of all that a browser would fetch of another server."""
    for path in sorted([*folder.rglob("*.html"), *folder.rglob("*.css")]):
        for found in FETCHED.finditer(path.read_text()):
            address = next(filter(None, found.groups()))
            if re.match(r"(?:\w+:)?//", address):
                yield f"{path.relative_to(folder)}: {address}"
