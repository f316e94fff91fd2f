"""The plots of a night's report, drawn without a screen."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, StrMethodFormatter

from kowalski.alerts.times import SECONDS
from kowalski.html_report import COLORS
from kowalski.night.report.figures import NightFigures, SurveyNight, duration

#: inches across, and down for each panel
WIDTH, HEIGHT = 11.0, 2.6
#: s in a bin of alerts against time, at least; and how many bins there are at most
BIN, MOST_BINS = 60.0, 150
#: filters that are shown
MOST_FILTERS = 25
#: times that differ by no more than this factor are shown on a linear axis
WIDE = 10.0
THOUSANDS = StrMethodFormatter("{x:,g}")


def alerts_plot(figures: NightFigures) -> Figure:
    """Alerts by the time of their exposure, the dark hours shaded."""
    surveys = [each for each in figures.surveys if len(each.exposed)]
    figure, panels = _panels(len(surveys))
    for axes, survey in zip(panels, surveys, strict=False):
        first, last = survey.exposed.min(), survey.exposed.max()
        width = max(BIN, (last - first) / MOST_BINS)
        edges = np.arange(first, last + 2 * width, width)
        counts, _ = np.histogram(survey.exposed, edges)
        axes.stairs(counts * 60 / width, _days(edges), fill=True, color=_color(figures, survey))
        _over_time(axes, f"{survey.survey}\nalerts per minute")
        if survey.dark and first < survey.dark.ends.timestamp() and last > survey.dark.begins.timestamp():
            axes.axvspan(*date2num(survey.dark), color="0.92", zorder=0)
    return _finished(figure, panels, "UTC of the exposure; dark hours are grey")


def latency_plot(figures: NightFigures) -> Figure:
    """How long alerts took: from exposure, and from Kafka, to storage."""
    figure, panels = _panels(2)
    for axes, begins, name in zip(panels, ("received", "exposed"), ("Kafka", "exposure"), strict=True):
        for survey in figures.surveys:
            spent = survey.latency(begins)
            if not len(spent):
                continue
            spent = np.sort(np.maximum(spent, 0.01))  # 0 s has no place on a logarithmic axis
            axes.plot(spent, np.arange(1, len(spent) + 1) / len(spent), color=_color(figures, survey), label=survey.survey)  # fmt: skip
        if axes.dataLim.xmax > WIDE * axes.dataLim.xmin:
            axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration(seconds)))
        axes.set_ylim(0, 1.02)
        axes.set_ylabel(f"share of alerts\nstored, from {name}")
        _dressed(axes)
    panels[-1].set_xlabel("time until it was stored, at most")
    return figure


def waiting_plot(figures: NightFigures) -> Figure:
    """Messages that waited in Kafka, and the dask workers there were."""
    figure, panels = _panels(2)
    for survey in figures.surveys:
        if not survey.samples:
            continue
        at = date2num([each["at"] for each in survey.samples])
        for axes, name in zip(panels, ("lag", "workers"), strict=True):
            axes.step(at, [each[name] for each in survey.samples], where="post", color=_color(figures, survey), label=survey.survey)  # fmt: skip
    for axes, label in zip(panels, ("messages\nwaiting in Kafka", "dask workers"), strict=True):
        _over_time(axes, label)
        _dressed(axes)
    return _finished(figure, panels, "UTC of the processing")


def scores_plot(figures: NightFigures) -> Figure:
    """Histograms of each model's scores."""
    models = sorted({model for survey in figures.surveys for model in survey.scores})
    columns = min(3, max(1, len(models)))
    rows = max(1, -(-len(models) // columns))
    figure = Figure(figsize=(WIDTH, HEIGHT * rows), layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axes, model in zip(grid, models, strict=False):
        for survey in figures.surveys:
            if model in survey.scores:
                axes.hist(survey.scores[model], bins=np.linspace(0, 1, 41), histtype="step", color=_color(figures, survey), label=survey.survey)  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlabel(model)
        axes.grid(alpha=0.3)
    for axes in grid[len(models) :]:
        axes.set_axis_off()
    grid[0].set_ylabel("alerts")
    if not models:
        _nothing(grid[0], "no model scored an alert")
    return figure


def filters_plot(figures: NightFigures) -> Figure:
    """How many alerts each filter let through."""
    passes = [(survey, each) for survey in figures.surveys for each in survey.passes if each.passed]
    passes = sorted(passes, key=lambda pair: -pair[1].passed)[:MOST_FILTERS][::-1]
    names = [f"{survey.survey} {each.filter_id}" for survey, each in passes]
    numbers = [each.passed for _, each in passes]
    return _bars(names, numbers, [_color(figures, survey) for survey, _ in passes], "alerts passed", "no filter let an alert through")  # fmt: skip


def quarantine_plot(figures: NightFigures) -> Figure:
    """How many packets are in quarantine, by reason."""
    found = [
        (survey, reason, number) for survey in figures.surveys for reason, number in sorted(survey.quarantined.items())
    ]
    names = [f"{survey.survey} {reason}" for survey, reason, _ in found]
    colors = [_color(figures, survey) for survey, _, _ in found]
    return _bars(
        names, [number for *_, number in found], colors, "packets in quarantine", "no packet went to quarantine"
    )


def _bars(names: Sequence[str], numbers: Sequence[int], colors: Sequence[str], label: str, otherwise: str) -> Figure:
    figure = Figure(figsize=(WIDTH, max(1.3, 0.8 + 0.28 * len(names))), layout="constrained")
    axes = figure.subplots()
    if names:
        bars = axes.barh(range(len(names)), numbers, color=colors)
        axes.set_yticks(range(len(names)), names)
        axes.bar_label(bars, labels=[f"{number:,}" for number in numbers], padding=3)
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(THOUSANDS)
        axes.margins(x=0.08)
    else:
        _nothing(axes, otherwise)
    return figure


def _panels(number: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, HEIGHT * max(1, number)), layout="constrained")
    grid: Any = figure.subplots(max(1, number), 1, squeeze=False)
    return figure, list(grid[:, 0])


def _over_time(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(THOUSANDS)
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    axes.grid(alpha=0.3)


def _finished(figure: Figure, panels: Sequence[Axes], label: str) -> Figure:
    for axes in panels:
        if not axes.has_data():
            _nothing(axes, "there is nothing to show")
    panels[-1].set_xlabel(label)
    return figure


def _dressed(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    if axes.has_data():
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    else:
        _nothing(axes, "there is nothing to show")


def _nothing(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color="gray")
    axes.set_axis_off()


def _color(figures: NightFigures, survey: SurveyNight) -> str:
    return COLORS[list(figures.surveys).index(survey) % len(COLORS)]


def _days(seconds: np.ndarray) -> np.ndarray:
    """Unix times as matplotlib counts them, in days."""
    return seconds / SECONDS


def plots_of(figures: NightFigures) -> Iterator[tuple[str, Figure, str]]:
    """Name, plot, and what is to be said of it, in the order of the page."""
    yield "Alerts", alerts_plot(figures), ""
    yield (
        "Latency",
        latency_plot(figures),
        "Of alerts that an older version stored, the time of storage is known to a second.",
    )
    yield "Waiting", waiting_plot(figures), "As the conductor saw it while the night was under way."
    yield "Scores", scores_plot(figures), ""
    yield "Filters", filters_plot(figures), "Alerts that each filter let through while the night was under way."
    yield "Quarantine", quarantine_plot(figures), ""
