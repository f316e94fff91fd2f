"""Reports as one HTML page that needs nothing beside itself: text, tables, and plots as pictures."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # takes a while, and is not in memory where nobody draws
    from matplotlib.figure import Figure

STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; margin: .8rem 0 } th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ccc }
th:first-child, td:first-child { text-align: left } .words td, .words th { text-align: left } img { width: 100% }
.wide { overflow-x: auto } .bad { color: #a40000; font-weight: 600 }
"""
#: dots per inch of the pictures
DPI = 110
#: of lines in plots: those of Okabe and Ito, which the colour-blind can tell apart
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def page_of(title: str, parts: Iterable[str]) -> bytes:
    """The page, of parts that are HTML."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style>'  # fmt: skip
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'.encode()


def paragraph(text: str, bad: bool = False) -> str:
    """A sentence or two; bad news stands out."""
    return f"<p{' class=bad' if bad else ''}>{escape(text)}</p>"


def picture(name: str, figure: "Figure", about: str = "") -> str:
    """A plot under its name, with what there is to say of it."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    data = base64.b64encode(content.getvalue()).decode()
    text = f"\n{paragraph(about)}" if about else ""
    return f'<h2>{escape(name)}</h2>{text}\n<img alt="{escape(name)}" src="data:image/png;base64,{data}">'


def table(head: Sequence[str], rows: Iterable[Sequence[object]], words: bool = False) -> str:
    """A table; numbers are given thousands' separators and stand right, unless its cells are words."""
    lines = ["".join(f"<th>{escape(name)}</th>" for name in head)]
    lines += ["".join(f"<td>{escape(_shown(cell))}</td>" for cell in row) for row in rows]
    return f'<div class="wide"><table{" class=words" if words else ""}><tr>{"</tr><tr>".join(lines)}</tr></table></div>'


def _shown(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
