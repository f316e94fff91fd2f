"""How many alerts were stored over the last hour, as a plot."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kowalski.database.latencies import SLOT
from kowalski.html_report import COLORS
from kowalski.lab.plot_looks import COLOURS, drawn

if TYPE_CHECKING:
    from bokeh.plotting import figure

Rates = Sequence[tuple[datetime, float]]
#: colours that stand out from a dark paper as well, after Okabe and Ito
ON_DARK = ("#56b4e9", "#ff8a4c", "#2ec79b", "#e79ac4", "#e8b43a", "#dddddd")


def plot(rates: Mapping[str, Rates], theme: str, now: datetime) -> "figure":
    """Alerts/s by survey over the last hour; where nothing was stored the line is at zero."""
    from bokeh.models import DataRange1d
    from bokeh.models.annotations import Title

    start = now - timedelta(hours=1)
    made = drawn(theme, height=240, y_range=DataRange1d(start=0), x_axis_type="datetime", x_range=(_naive(start), _naive(now)), tools="pan,xwheel_zoom,reset,save,hover", tooltips=[("survey", "$name"), ("UTC", "@x{%H:%M:%S}"), ("alerts/s", "@y{0.0}")])  # fmt: skip
    made.hover.formatters = {"@x": "datetime"}
    made.yaxis.axis_label, made.xaxis.axis_label = "alerts/s", "UTC"
    for (survey, own), color in zip(rates.items(), ON_DARK if theme == "dark" else COLORS, strict=False):
        times, values = zip(*_steps(own, start, now), strict=True)
        made.line([_naive(each) for each in times], values, color=color, line_width=2, legend_label=survey, name=survey)
    if not rates:
        made.title = Title(text="Nothing was stored in the last hour", text_color=COLOURS[theme].ink)
    if rates:
        made.legend.click_policy, made.legend.location, made.legend.orientation = "hide", "top_left", "horizontal"
        made.legend.background_fill_alpha, made.legend.border_line_alpha = 0, 0
        made.legend.label_text_color = COLOURS[theme].ink
    return made


def _steps(rates: Rates, start: datetime, now: datetime) -> Iterator[tuple[datetime, float]]:
    """The rates with zeros on both sides of each stretch in which nothing was stored."""
    before, slot = start, timedelta(seconds=SLOT)
    yield start, 0.0
    for at, rate in rates:
        if at - before > slot:
            yield before, 0.0
            yield at - slot, 0.0
        yield at, rate
        before = at
    if now - before > 2 * slot:
        yield before + slot, 0.0
        yield now, 0.0


def _naive(moment: datetime) -> datetime:
    """As Bokeh takes moments: UTC, unsaid."""
    return moment.astimezone(UTC).replace(tzinfo=None)
