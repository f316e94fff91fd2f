"""A report of a day as files: one HTML page that needs nothing beside itself, and a PDF."""

import base64
import io
from html import escape

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from kowalski.watchers.day import FROM_LEDGER, Day
from kowalski.watchers.plots import plots_of, sentences, table_of

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ccc }
th:first-child, td:first-child { text-align: left } img { width: 100% }
"""
#: dots per inch of the pictures in the page
DPI = 110


def html_of(day: Day) -> bytes:
    """The page."""
    title = f"Kowalski, {day.date:%Y-%m-%d} (UTC)"
    parts = [f"<h1>{title}</h1>", *(f"<p>{escape(each)}</p>" for each in sentences(day)), _table(day)]
    for name, figure in plots_of(day).items():
        picture = base64.b64encode(_png(figure)).decode()
        parts += [f"<h2>{escape(name)}</h2>", f'<img alt="{escape(name)}" src="data:image/png;base64,{picture}">']
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{chr(10).join(parts)}\n</body></html>\n'.encode()


def pdf_of(day: Day) -> bytes:
    """The same as a PDF, a page for the table and one for each of the plots."""
    content = io.BytesIO()
    with PdfPages(content, metadata={"Title": f"Kowalski, {day.date:%Y-%m-%d}"}) as pages:
        pages.savefig(table_of(day))
        for name, figure in plots_of(day).items():
            figure.suptitle(f"{name}, {day.date:%Y-%m-%d}")
            pages.savefig(figure)
    return content.getvalue()


def _table(day: Day) -> str:
    if not day.ledger:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("survey", *FROM_LEDGER))
    rows = [
        f"<tr><td>{escape(survey)}</td>{''.join(f'<td>{row[name]:,}</td>' for name in FROM_LEDGER)}</tr>"
        for survey, row in day.ledger
    ]
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue()
