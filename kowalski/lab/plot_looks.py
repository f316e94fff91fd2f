"""Plots in the colours of the pages."""

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

from kowalski.lab.rendering import headers

if TYPE_CHECKING:
    from bokeh.plotting import figure


class Colours(NamedTuple):
    """Of one theme: as the style sheet has them."""

    paper: str
    ink: str
    line: str
    accent: str


COLOURS = {
    "light": Colours("#ffffff", "#1b1f24", "#d0d5db", "#0b57a4"),
    "dark": Colours("#11151a", "#e6e9ed", "#3a434e", "#7cb8f5"),
}


def drawn(theme: str, **options: Any) -> "figure":
    """An empty figure as wide as its place, in a theme's colours; options as `bokeh.plotting.figure` has them."""
    from bokeh.plotting import figure  # takes a while, and is not in memory where nobody draws

    colours = COLOURS[theme]
    made = figure(sizing_mode="stretch_width", **{"height": 340, "toolbar_location": "above", **options})
    made.background_fill_color = made.border_fill_color = colours.paper
    made.outline_line_color = colours.line
    made.toolbar.logo = None
    made.toolbar.autohide = True
    made.grid.grid_line_color = colours.line
    made.grid.grid_line_alpha = 0.5
    for axis in made.axis:
        dress(axis, theme)
    return made


def dress(axis: Any, theme: str) -> None:
    """An axis is in a theme's colours, its numbers written out."""
    from bokeh.models import BasicTickFormatter

    colours = COLOURS[theme]
    if isinstance(axis.formatter, BasicTickFormatter):
        axis.formatter.use_scientific = False  # Julian dates
    axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = colours.line
    axis.axis_label_text_color = axis.major_label_text_color = colours.ink
    axis.axis_label_text_font_style = "normal"


async def sent(draw: Callable[[], "figure"]) -> web.Response:
    """What the page's script makes a plot of; it is drawn while others are served."""

    def item() -> str:
        from bokeh.embed import json_item

        return json.dumps(json_item(draw()))

    return web.Response(text=await asyncio.to_thread(item), content_type="application/json", headers=headers())
