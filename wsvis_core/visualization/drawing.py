"""Inline SVG that takes its colours from the page, so that one drawing serves light and dark; and SVG files."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from wsvis_core.storage.files import atomic_path
from wsvis_core.visualization.assets import light_colours
from wsvis_core.visualization.markup import escape

# Drawn with these stand-ins, which become CSS variables of the page afterwards.
INK, RULE, STRONG = "#0a0001", "#0a0002", "#0a0003"
SERIES = tuple(f"#0b00{i:02x}" for i in range(1, 9))
VARIABLES = {INK: "--muted", RULE: "--rule", STRONG: "--ink"} | {
    colour: f"--series-{i}" for i, colour in enumerate(SERIES, start=1)
}
STYLE = {
    "svg.fonttype": "none",
    # The page sets charts in its monospaced face; measured in another one, long names would leave the drawing.
    "font.family": "monospace",
    "font.size": 9,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}


@dataclass(frozen=True)
class Series:
    """One line of a chart for its legend: name, CSS colour, last value as text (empty where it says nothing)."""

    name: str
    colour: str
    last: str


@dataclass(frozen=True)
class Chart:
    """An inline SVG element and the lines it holds, to be named beside it."""

    title: str
    svg: str
    series: tuple[Series, ...]


def css_colour(stand_in: str) -> str:
    """The CSS value that a stand-in colour becomes on the page."""
    return f"var({VARIABLES[stand_in]})"


@contextmanager
def drawing_style(salt: str) -> Iterator[None]:
    """The look of every chart, for a figure's whole life; `salt` makes the ids in its SVG its own and repeatable."""
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": salt}):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, width × height inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def bare(axes: Axes, *, grid: str = "y") -> Axes:
    """The axes without frame and ticks, with faint lines across the `grid` axis; returned for chaining."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.grid(axis=grid, color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return axes


def to_svg(figure: Figure, description: str) -> str:
    """The figure as an <svg> element for a page that defines the colours; `description` says in words what it shows."""
    drawing = _coloured(figure, {colour: css_colour(colour) for colour in VARIABLES}, transparent=True)
    view_box = re.search(r'viewBox="([^"]+)"', drawing)
    body = drawing[drawing.index(">") + 1 :]
    box = view_box.group(1) if view_box else "0 0 1 1"
    # In HTML an <svg> needs no namespace, and plain href has replaced xlink:href.
    body = body.replace("xlink:href", "href")
    # Group names repeat from chart to chart; only ids that are referred to may stay, and those are salted.
    used = set(re.findall(r"#([\w-]+)", body))
    body = re.sub(r' id="([\w.-]+)"', lambda found: found.group(0) if found.group(1) in used else "", body)
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(description)}">{body}'


def write_svg(figure: Figure, output: Path) -> None:
    """Write the figure as an SVG file in the page's light colours on white, atomically."""
    light = light_colours()
    drawing = _coloured(figure, {colour: light[name] for colour, name in VARIABLES.items()}, transparent=False)
    with atomic_path(output) as temporary:
        temporary.write_text('<?xml version="1.0" encoding="utf-8"?>\n' + drawing, encoding="utf-8")


def _coloured(figure: Figure, colours: Mapping[str, str], *, transparent: bool) -> str:
    """The SVG element of a figure, stand-in colours replaced."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=transparent, metadata={"Date": None, "Creator": None})
    drawing = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    drawing = drawing[drawing.index("<svg") :]
    for stand_in, colour in colours.items():
        drawing = drawing.replace(stand_in, colour)
    return drawing
