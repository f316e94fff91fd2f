"""A night's report as one HTML page."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kowalski.database.client import MongoDatabase
from kowalski.html_report import page_of, paragraph, picture, table
from kowalski.night.course import State
from kowalski.night.report.figures import NightFigures, SurveyNight, duration, figures_of
from kowalski.night.report.plots import plots_of
from kowalski.settings import Config

#: columns of the ledger's table
LEDGER = ("received", "stored", "known", "filtered", "passed", "withdrawn", "unread", "balance")


def report_of(night: str, database: MongoDatabase, config: Config) -> bytes:
    """The report of a night (YYYYMMDD), as far as it has come."""
    return page(figures_of(night, database, config))


def page(figures: NightFigures) -> bytes:
    """The page of these figures."""
    year, month, day = figures.night[:4], figures.night[4:6], figures.night[6:]
    return page_of(f"Kowalski, night {year}-{month}-{day}", _parts(figures))


def _parts(figures: NightFigures) -> Iterator[str]:
    for survey in figures.surveys:
        for sentence, bad in sentences(survey):
            yield paragraph(f"{survey.survey}: {sentence}", bad)
    yield table(("survey", *LEDGER, "quarantined", "missed by a gap"), [_ledger_row(each) for each in figures.surveys])
    if any(len(each.stored) for each in figures.surveys):
        yield table(
            ("until stored", "from Kafka, median", "95 %", "from exposure, median", "95 %"), _latencies(figures)
        )
    for name, figure, about in plots_of(figures):
        yield picture(name, figure, about)
    yield "<h2>Course</h2>"
    yield table(("survey", "UTC", "state", "why"), _steps(figures), words=True)


def sentences(survey: SurveyNight) -> Iterator[tuple[str, bool]]:
    """What is to be known of a survey's night before all else, and whether it is bad news."""
    conducted = survey.conducted
    if not len(survey.stored) and not survey.accounts:
        yield "no alert came.", False
    else:
        balance = sum(account.balance for account in survey.accounts)
        if balance:
            yield f"{balance:,} messages are unaccounted for: ./kowalski.py ledger tells which.", True
        else:
            yield f"{len(survey.stored):,} alerts stored; every message that was read is accounted for.", False
    if missed := _missed(survey):
        yield f"{missed:,} messages were never read: there is a gap.", True
    if conducted and conducted.state not in (State.DONE, State.REPORTED):
        yield f"it is not over yet ({conducted.state}: {conducted.why}).", False
    elif conducted:
        why = next((step["why"] for step in reversed(conducted.steps) if step["state"] == State.DONE), "")
        if why.startswith("given up"):
            yield f"{why}.", True
    if survey.dark:
        yield f"dark from {survey.dark.begins:%H:%M} to {survey.dark.ends:%H:%M} UTC.", False


def _ledger_row(survey: SurveyNight) -> list[object]:
    sums = [sum(getattr(account, name) for account in survey.accounts) for name in LEDGER]
    return [survey.survey, *sums, sum(survey.quarantined.values()), _missed(survey)]


def _missed(survey: SurveyNight) -> int:
    return sum(gap["messages"] for account in survey.accounts for gap in account.gaps)


def _latencies(figures: NightFigures) -> Iterator[list[str]]:
    for survey in figures.surveys:
        if len(survey.stored):
            spans = [
                np.quantile(survey.latency(begins), share)
                for begins in ("received", "exposed")
                for share in (0.5, 0.95)
            ]
            yield [survey.survey, *(duration(each) for each in spans)]


def _steps(figures: NightFigures) -> Iterator[list[Any]]:
    for survey in figures.surveys:
        for step in survey.conducted.steps if survey.conducted else ():
            yield [survey.survey, f"{step['at']:%Y-%m-%d %H:%M:%S}", step["state"], step["why"]]
