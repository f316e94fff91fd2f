"""A light curve as a plot of Bokeh, for a page that draws it: https://docs.bokeh.org.

A page's policy runs no script that comes with a plot, so that nothing here may need one (``CustomJS``, say).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kowalski.lab.curve_rows import KINDS, Row, magnitude_of
from kowalski.lab.plot_looks import COLOURS, drawn, dress
from kowalski.lab.shown import moment

#: last letter of a band's name -> colour in the light and in the dark theme: after Okabe and Ito, 3 to 1 against the paper at least
COLORS = {
    "u": ("#8546b0", "#c79be6"), "g": ("#00795a", "#2ec79b"), "r": ("#c24a00", "#ff8a4c"), "i": ("#8f6200", "#e8b43a"),
    "z": ("#0b6aa6", "#5fb8f0"), "y": ("#555555", "#bbbbbb"), "j": ("#a83c78", "#e79ac4"), "h": ("#4d4d4d", "#cccccc"),
}  # fmt: skip
OTHERS = (("#0072b2", "#56b4e9"), ("#a83c78", "#e79ac4"), ("#6b6b00", "#d6d04a"), ("#333333", "#dddddd"))
MARKERS = {"detection": "circle", "negative": "circle_x", "forced": "square", "faint": "inverted_triangle", "limit": "inverted_triangle"}  # fmt: skip
#: of linked objects' detections, so that two surveys in the same colour can be told apart
LINKED = {"detection": "diamond", "negative": "diamond_cross"}
SIZES = {"detection": 8, "negative": 9, "forced": 7, "faint": 6, "limit": 7}
MS_A_DAY, EPOCH_MJD = 86_400_000.0, 40_587.0
#: kinds whose flux, or whose magnitude, is a limit
LIMITS = {"flux": ("limit",), "mag": ("limit", "faint")}

Point = Mapping[str, Any]


def plot(rows: Sequence[Row], fit: Mapping[str, Any], survey: str, y: str, theme: str) -> dict[str, Any]:
    """What ``bokeh.embed.embed_item`` takes.

    Parameters
    ----------
    fit : with a ``curve``, which is drawn as lines
    survey : the object's own; others' detections have another marker
    y : mag or flux (microjansky)
    """
    from bokeh.embed import json_item  # takes half a second and 40 MB: of processes that draw
    from bokeh.models.annotations.legends import Legend, LegendItem

    shown = [row for row in rows if not row.withdrawn and getattr(row, y) is not None]
    colors = _colors([row.band for row in shown], theme)
    figure = _figure(shown, y, theme)
    items, points = [], []
    for band, color in colors.items():
        own = [row for row in shown if row.band == band]
        points.append(_points(figure, own, y, color, survey))
        renderers = [*_errors(figure, own, y, color), points[-1], *_model(figure, fit, band, y, color)]
        items.append(LegendItem(label=band, renderers=renderers))
    legend = Legend(items=items, click_policy="hide", orientation="horizontal", ncols=min(4, max(1, len(items))))
    _dress_legend(legend, theme)
    figure.add_layout(legend, "above")
    _hover(figure, points)
    return dict(json_item(figure))


def _figure(rows: Sequence[Row], y: str, theme: str) -> Any:
    from bokeh.models import DatetimeTicker, LinearAxis, Range1d

    first, last = _span(rows)
    low, high = _reach(rows, y)
    figure = drawn(
        theme, x_axis_type="datetime", x_range=Range1d(start=_ms(first), end=_ms(last)), y_range=Range1d(start=low, end=high), height=400,
        tools="pan,box_zoom,wheel_zoom,reset,save", active_drag="box_zoom", toolbar_location="right",
    )  # fmt: skip
    figure.extra_x_ranges = {"mjd": Range1d(start=first, end=last)}  # moved and zoomed with the other by Bokeh's tools
    above = LinearAxis(x_range_name="mjd", axis_label="MJD")
    figure.add_layout(above, "above")
    figure.xaxis[-1].axis_label = "UTC"
    figure.xaxis[-1].ticker = DatetimeTicker(desired_num_ticks=4)  # their labels have room on a phone
    figure.yaxis.axis_label = "AB magnitude of the difference" if y == "mag" else "flux of the difference (µJy)"
    figure.toolbar.autohide = False
    for axis in figure.axis:
        dress(axis, theme)
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
    return figure


def _errors(figure: Any, rows: Sequence[Row], y: str, color: str) -> list[Any]:
    bars = [(row, error) for row in rows if (error := getattr(row, f"{y}_error")) is not None]
    if not bars:
        return []
    middles = [getattr(row, y) for row, _ in bars]
    lower, upper = ([middle + sign * error for middle, (_, error) in zip(middles, bars, strict=True)] for sign in (-1, 1))  # fmt: skip
    times = [_ms(row.mjd) for row, _ in bars]
    return [figure.segment(times, lower, times, upper, color=color, line_alpha=0.6)]


def _points(figure: Any, rows: Sequence[Row], y: str, color: str, survey: str) -> Any:
    """All points of a band, each with the marker of its kind: one renderer takes a fifth of the time of one per kind."""
    from bokeh.models import ColumnDataSource

    columns = _columns(rows, y) | {
        "marker": [_marker(row, y, survey) for row in rows],
        "size": [SIZES[row.kind] + 2 * (row.survey != survey) for row in rows],
        "fill": [0.85 if row.kind == "detection" else 0.0 for row in rows],
        "edge": [0.45 if row.kind in LIMITS["mag"] else 1.0 for row in rows],
    }
    return figure.scatter(
        "x", "y", source=ColumnDataSource(columns), marker="marker", size="size", fill_alpha="fill", line_alpha="edge", line_color=color,
        fill_color=color, line_width=1.3,
    )  # fmt: skip


def _marker(row: Row, y: str, survey: str) -> str:
    if row.kind == "faint" and y == "flux":
        return MARKERS["forced"]
    return LINKED.get(row.kind, MARKERS[row.kind]) if row.survey != survey else MARKERS[row.kind]


def _columns(rows: Sequence[Row], y: str) -> dict[str, list[Any]]:
    """What is told of points; candids as text, which scripts can't hold as numbers."""
    return {
        "x": [_ms(row.mjd) for row in rows],
        "y": [getattr(row, y) for row in rows],
        "what": [f"{row.survey} {row.band}, {KINDS[row.kind]}" for row in rows],
        "value": [value_of(row, y) for row in rows],
        "utc": [moment(row.jd) for row in rows],
        "jd": [f"{row.jd:.5f} ({row.mjd:.5f})" for row in rows],
        "candid": [str(row.candid) if row.candid is not None else "–" for row in rows],
        "programme": [str(row.programme) if row.programme is not None else "–" for row in rows],
    }


def value_of(row: Row, y: str) -> str:
    """A point's magnitude or flux with its error, or limit, in words."""
    value, error = getattr(row, y), getattr(row, f"{y}_error")
    if value is None:
        return "–"
    if row.kind in LIMITS[y]:
        return f"> {value:.2f}" if y == "mag" else f"< {value:.1f} µJy"
    digits, unit = (3, "") if y == "mag" else (1, " µJy")
    return f"{value:.{digits}f}{f' ± {error:.{digits}f}' if error is not None else ''}{unit}"


def _model(figure: Any, fit: Mapping[str, Any], band: str, y: str, color: str) -> list[Any]:
    """The fitted curve of a band."""
    curve = fit.get("curve") or {}
    if band not in (curve.get("bands") or {}):
        return []
    pairs = list(zip(curve["mjd"], curve["bands"][band], strict=True))
    if y == "mag":
        pairs = [(mjd, magnitude_of(flux)) for mjd, flux in pairs if flux > 0]
    return [figure.line([_ms(mjd) for mjd, _ in pairs], [value for _, value in pairs], color=color, line_width=1.6, line_alpha=0.8)]  # fmt: skip


def _hover(figure: Any, points: Sequence[Any]) -> None:
    from bokeh.models import HoverTool

    told = [("", "@what"), ("", "@value"), ("UTC", "@utc"), ("JD (MJD)", "@jd"), ("candid", "@candid"), ("programme", "@programme")]  # fmt: skip
    figure.add_tools(HoverTool(renderers=list(points), tooltips=told, point_policy="snap_to_data"))


def _dress_legend(legend: Any, theme: str) -> None:
    colours = COLOURS[theme]
    legend.label_text_color, legend.background_fill_alpha, legend.border_line_alpha = colours.ink, 0.0, 0.0
    legend.margin, legend.padding = 4, 2
    legend.label_text_font_size, legend.inactive_fill_color = "13px", colours.paper


def _span(rows: Sequence[Row]) -> tuple[float, float]:
    """MJDs that are shown: of what was detected, with some of what was before and after."""
    seen = [row.mjd for row in rows if row.kind in ("detection", "negative", "forced")] or [row.mjd for row in rows]
    if not seen:
        return 59_000.0, 59_001.0
    first, last = min(seen), max(seen)
    margin = max(0.06 * (last - first), 0.5)
    return first - max(margin, min(30.0, first - min(row.mjd for row in rows))), last + margin


def _reach(rows: Sequence[Row], y: str) -> tuple[float, float]:
    """The lower and the upper end of the axis: magnitudes are brighter upwards."""
    values = [getattr(row, y) + sign * (getattr(row, f"{y}_error") or 0) for row in rows for sign in (-1, 1) if row.kind not in LIMITS[y]]  # fmt: skip
    values = values or [getattr(row, y) for row in rows] or [0.0, 1.0]
    limits = sorted(getattr(row, y) for row in rows if row.kind in LIMITS[y]) if y == "mag" else []
    low, high = min(values), max([*values, *limits[: len(limits) * 98 // 100 + 1]])
    margin = max(0.08 * (high - low), 0.05 if y == "mag" else 1.0)
    return (high + margin, low - margin) if y == "mag" else (low - margin, high + margin)


def _colors(bands: Sequence[str], theme: str) -> dict[str, str]:
    """band -> colour, in the order of wavelengths as far as that is known."""
    order = list(COLORS)

    def place(band: str) -> tuple[int, str]:
        return (order.index(band[-1]) if band[-1] in COLORS and "filter" not in band else len(order), band)

    number, rest, found = list(COLOURS).index(theme), 0, dict[str, str]()
    for band in sorted(set(bands), key=place):
        if place(band)[0] < len(order):
            found[band] = COLORS[band[-1]][number]
        else:
            found[band] = OTHERS[rest % len(OTHERS)][number]
            rest += 1
    return found


def _ms(mjd: float) -> float:
    """Milliseconds since 1970 of an MJD, as an axis of dates wants it."""
    return (mjd - EPOCH_MJD) * MS_A_DAY
