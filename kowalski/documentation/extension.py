"""The Sphinx extension of docs/: what the pages leave to the code, the contents, and documents that stand elsewhere.

A page says ``<!-- generated: NAME -->`` where something made of the code belongs, so that it reads well on GitHub, too.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kowalski.config import ROOT
from kowalski.documentation.commands import commands_reference
from kowalski.documentation.gallery import filter_file
from kowalski.documentation.metrics import metrics_reference
from kowalski.documentation.pages import ELSEWHERE
from kowalski.documentation.routes import routes_reference
from kowalski.documentation.settings import settings_reference

MARK = re.compile(r"^<!-- generated: ([\w -]+) -->$", re.MULTILINE)
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
#: what a mark is replaced by
GENERATED: dict[str, Callable[[], str]] = {
    "settings": settings_reference,
    "routes": routes_reference,
    "commands": commands_reference,
    "metrics": metrics_reference,
}


def page_of(name: str) -> str:
    """What stands in the place of a mark."""
    if name in GENERATED:
        return GENERATED[name]()
    if name.startswith("filter "):
        return filter_file(name.removeprefix("filter "))
    shown = next(document for document, page in ELSEWHERE.items() if page == f"{name}.md")
    text = (ROOT / shown).read_text().partition("\n")[2]  # the page has a title of its own
    return LINK.sub(lambda link: f"{link[1]}{_from_docs(shown, link[2])}{link[3]}", text)


def _from_docs(document: str, target: str) -> str:
    """A link of a document elsewhere, as a page of docs/ has it."""
    return os.path.relpath(os.path.normpath(ROOT / document / ".." / target), ROOT / "docs")


def within_the_site(link: re.Match[str]) -> str:
    """A link to a document that a page of the site shows leads to that page, any other is as it was."""
    page = ELSEWHERE.get(os.path.normpath(Path("docs") / link[2]))
    if page is None:
        return link[0]
    return f"{link[1]}{page}{')' if page == 'index.md' else link[3]}"  # the index has other headings than the README


def contents(index: str, pages: set[str]) -> Iterator[str]:
    """The tables of contents that the index's lists of links make, by heading; pages that it doesn't name come last."""
    named = {"index"}
    for heading, text in re.findall(r"^## (.+)\n((?:(?!^## ).*\n?)*)", index, re.MULTILINE):
        linked = [page for page in re.findall(r"^- .*?\]\(([\w-]+)\.md\)", text, re.MULTILINE) if page not in named]
        named.update(linked)
        if linked:
            yield _tree(heading, linked)
    if rest := sorted(pages - named):
        yield _tree("More", rest)


def _tree(caption: str, pages: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])


def _read(app: Any, name: str, source: list[str]) -> None:
    """A page as Sphinx gets it."""
    text = MARK.sub(lambda mark: page_of(mark[1]), source[0])
    text = LINK.sub(within_the_site, text)
    if name == "index":
        text += "\n" + "\n".join(contents(text, set(app.env.found_docs)))
    source[0] = text


def _outdated(app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Pages that have something of the code are made anew each time."""
    made = {name for name in env.found_docs if MARK.search(Path(env.doc2path(name)).read_text())}
    return sorted(made | {"index"})


def setup(app: Any) -> dict[str, bool]:
    """For Sphinx."""
    app.connect("source-read", _read)
    app.connect("env-get-outdated", _outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
