"""A report of a day as files: one HTML page that needs nothing beside itself, and a PDF."""

import io

from matplotlib.backends.backend_pdf import PdfPages

from kowalski.html_report import page_of, paragraph, picture, table
from kowalski.watchers.day import FROM_LEDGER, Day
from kowalski.watchers.plots import plots_of, sentences, table_of


def html_of(day: Day) -> bytes:
    """The page."""
    parts = [paragraph(each) for each in sentences(day)]
    if day.ledger:
        rows = [[survey, *(row[name] for name in FROM_LEDGER)] for survey, row in day.ledger]
        parts.append(table(("survey", *FROM_LEDGER), rows))
    parts += [picture(name, figure) for name, figure in plots_of(day).items()]
    return page_of(f"Kowalski, {day.date:%Y-%m-%d} (UTC)", parts)


def pdf_of(day: Day) -> bytes:
    """The same as a PDF, a page for the table and one for each of the plots."""
    content = io.BytesIO()
    with PdfPages(content, metadata={"Title": f"Kowalski, {day.date:%Y-%m-%d}"}) as pages:
        pages.savefig(table_of(day))
        for name, figure in plots_of(day).items():
            figure.suptitle(f"{name}, {day.date:%Y-%m-%d}")
            pages.savefig(figure)
    return content.getvalue()
