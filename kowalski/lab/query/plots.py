"""An answer as a plot: one column over another, or how often values of one occur."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from kowalski.lab.plot_looks import COLOURS, drawn

if TYPE_CHECKING:
    from bokeh.plotting import figure

#: bins of a histogram at most
BINS = 60
#: how catalogues and surveys call magnitudes: magpsf, srmag1, phot_g_mean_mag, FUVmag, j_m, w1mpro
MAGNITUDE = re.compile(r"^mag|mag\d?$|^[jhk]_m$|^w[1-4]mpro$", re.IGNORECASE)


def scatter(points: list[dict[str, Any]], x: str, y: str, logs: tuple[bool, bool], theme: str, title: str) -> "figure":
    """One point per row, with its name under the pointer; magnitudes grow downwards. What has no logarithm is left out."""
    from bokeh.models import ColumnDataSource, DataRange1d, HoverTool

    kept = [point for point in points if (point[x] > 0 or not logs[0]) and (point[y] > 0 or not logs[1])]
    data = {
        "x": [point[x] for point in kept],
        "y": [point[y] for point in kept],
        "name": [point["_name"] for point in kept],
    }
    plot = _figure(theme, title, (x, y), logs, "pan,box_zoom,wheel_zoom,reset,save")
    plot.scatter("x", "y", source=ColumnDataSource(data), size=6, alpha=0.7, color=COLOURS[theme].accent)
    plot.add_tools(HoverTool(tooltips=[("", "@name"), ("x", "@x{0.[000000]}"), ("y", "@y{0.[000000]}")]))
    plot.x_range = DataRange1d(flipped=_is_magnitude(x))
    plot.y_range = DataRange1d(flipped=_is_magnitude(y))
    return plot


def histogram(points: list[dict[str, Any]], x: str, logs: tuple[bool, bool], theme: str, title: str) -> "figure":
    """How many rows have values in each of some intervals of the same width, or of the same ratio."""
    values = np.array([point[x] for point in points if point[x] > 0 or not logs[0]])
    values = values[np.isfinite(values)]
    counts, edges = counted(values, BINS, logs[0])
    return bars(list(map(float, edges)), list(map(int, counts)), x, "rows", logs, theme, title)


def counted(values: np.ndarray, most: int, log: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """How many values there are in each of some intervals, and their edges; all in one where they are too much the same to be told apart.

    Parameters
    ----------
    values : finite, and positive where ``log``: then the intervals are of the same ratio
    """
    if not len(values):
        return np.zeros(1, int), np.array([0.0, 1.0])
    number = min(most, max(5, int(len(values) ** 0.5)))
    scaled = np.log10(values) if log else values.astype(float)
    with np.errstate(all="ignore"):
        edges = np.linspace(scaled.min(), scaled.max(), number + 1)
    if not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
        half = max(0.5, 1e-6 * float(np.abs(values).max())) if not log else 0.0
        low, high = float(values.min()), float(values.max())
        return np.array([len(values)]), np.array([low / 2, high * 2] if log else [low - half, high + half])
    places = np.clip(np.searchsorted(edges, scaled, "right") - 1, 0, number - 1)
    return np.bincount(places, minlength=number), 10**edges if log else edges


def bars(
    edges: list[float], counts: list[int], x: str, y: str, logs: tuple[bool, bool], theme: str, title: str
) -> "figure":
    """A histogram of what is counted already; on a logarithmic axis bars begin at a half."""
    from bokeh.models import ColumnDataSource, HoverTool

    data = {
        "left": edges[:-1],
        "right": edges[1:],
        "count": counts,
        "top": [count or 0.5 for count in counts] if logs[1] else counts,
    }
    plot = _figure(theme, title, (x, y), logs, "pan,box_zoom,reset,save")
    colours = COLOURS[theme]
    plot.quad(
        left="left", right="right", top="top", bottom=0.5 if logs[1] else 0, source=ColumnDataSource(data),
        fill_color=colours.accent, line_color=colours.paper,
    )  # fmt: skip
    plot.add_tools(HoverTool(tooltips=[("from", "@left{0.[0000]}"), ("to", "@right{0.[0000]}"), ("number", "@count")]))
    return plot


def _figure(theme: str, title: str, names: tuple[str, str], logs: tuple[bool, bool], tools: str) -> "figure":
    """An empty plot."""
    from bokeh.models.annotations import Title

    kinds = [("log" if log else "linear") for log in logs]
    plot = drawn(
        theme,
        x_axis_type=kinds[0],
        y_axis_type=kinds[1],
        x_axis_label=names[0],
        y_axis_label=names[1],
        tools=tools,
        title=Title(text=title, text_color=COLOURS[theme].ink, text_font_style="normal"),
    )
    return plot


def _is_magnitude(name: str) -> bool:
    return MAGNITUDE.search(name.rpartition(".")[2]) is not None
