"""The plots of a report, drawn without a screen."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, HourLocator, date2num
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from matplotlib.transforms import Bbox

from kowalski.html_report import COLORS
from kowalski.watchers.day import FROM_LEDGER, Day, Series, bounds

#: inches of a page of the PDF, A4 across
PAGE = (11.69, 8.27)
THOUSANDS = StrMethodFormatter("{x:,g}")


def plots_of(day: Day) -> dict[str, Figure]:
    """What they show -> the figures, in the order of the report."""
    return {"Alerts": _alerts(day), "API": _api(day)}


def table_of(day: Day) -> Figure:
    """The figure that is the PDF's first page: what the ledger says, in a table."""
    figure = _page()
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_title(f"Kowalski, {day.date:%Y-%m-%d} (UTC)", fontsize=20, loc="left", pad=12)
    axes.text(0, 0.98, "\n".join(sentences(day)), fontsize=12, va="top", transform=axes.transAxes)
    if day.ledger:
        cells = [[survey, *(f"{row[name]:,}" for name in FROM_LEDGER)] for survey, row in day.ledger]
        table = axes.table(cells, colLabels=["survey", *FROM_LEDGER], cellLoc="right", bbox=Bbox.from_bounds(0, 0.75 - 0.07 * len(cells), 1, 0.07 * (len(cells) + 1)))  # fmt: skip
        table.auto_set_font_size(False)
        table.set_fontsize(11)
    return figure


def sentences(day: Day) -> list[str]:
    """What is to be known before the plots, in words."""
    said = [f"{day.readings:,} readings of the metrics."]
    if day.ledger is None:
        said.append("The ledger has nothing of this night.")
    elif day.balance:
        said.append(f"{day.balance:,} messages are unaccounted for: ./kowalski.py ledger {day.date:%Y%m%d}")
    else:
        said.append("The ledger balances: every message that was read is accounted for.")
    for survey, series in day.stored.items():
        if len(series.values) and series.values.max() > 0:
            busiest = int(series.values.argmax())
            said.append(f"{survey}: at most {series.values[busiest]:,.0f} alerts stored in a minute, at {series.at[busiest]:%H:%M}.")  # fmt: skip
    return said


def _alerts(day: Day) -> Figure:
    figure, (stored, lag, outbox) = _panels()
    _draw(stored, day.stored, "alerts stored\nper minute")
    _draw(lag, day.lag, "messages\nwaiting in Kafka")
    _draw(outbox, day.outbox, "messages\nfor SkyPortal")
    _over_the_day(day, stored, lag, outbox)
    return figure


def _api(day: Day) -> Figure:
    figure, (requests, times, shares) = _panels()
    _draw(requests, day.requests, "answers\nper minute")
    _draw(times, day.quantiles, "s to an answer", logarithmic=True)
    _over_the_day(day, requests, times)
    shares.set_ylabel("answers that day")
    if sum(day.durations.values()):
        shares.bar(range(len(day.durations)), list(day.durations.values()), color=COLORS[0])
        shares.set_xticks(range(len(day.durations)), [_bound(each) for each in day.durations])
        shares.yaxis.set_major_formatter(THOUSANDS)
    else:
        _nothing(shares)
    shares.set_xlabel("s to an answer, at most")
    return figure


def _bound(value: float) -> str:
    return f"{value:g}" if value < float("inf") else "more"


def _page() -> Figure:
    return Figure(figsize=PAGE, layout=ConstrainedLayoutEngine(w_pad=0.25, h_pad=0.15))


def _panels() -> tuple[Figure, list[Axes]]:
    figure = _page()
    axes: Any = figure.subplots(3, 1)
    return figure, list(axes)


def _draw(axes: Axes, lines: Mapping[str, Series], label: str, logarithmic: bool = False) -> None:
    axes.set_ylabel(label)
    drawn = {name: series for name, series in lines.items() if len(series.values)}
    for index, (name, series) in enumerate(drawn.items()):
        axes.plot(date2num(series.at), series.values, color=COLORS[index % len(COLORS)], linewidth=1, label=name)
    if not drawn:
        return _nothing(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.grid(alpha=0.3)
    if logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(5, min_n_ticks=3))
        axes.yaxis.set_major_formatter(THOUSANDS)


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "nothing was read", ha="center", va="center", transform=axes.transAxes, color="gray")
    axes.set_yticks([])


def _over_the_day(day: Day, *panels: Axes) -> None:
    for axes in panels:
        axes.set_xlim(*date2num(bounds(day.date)))
        axes.xaxis.set_major_locator(HourLocator(byhour=range(0, 24, 3)))
        axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    panels[-1].set_xlabel("UTC")
