"""Charts of a training stage's records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from wsvis_core.visualization.drawing import (
    INK,
    SERIES,
    Chart,
    Series,
    bare,
    css_colour,
    drawing_style,
    new_figure,
    to_svg,
)
from wsvis_core.visualization.markup import number

BOOKKEEPING = {"iteration", "epoch", "seconds", "seconds_per_iteration", "rate", "eta", "time", "timestamp"}
POINTS = 60


def scalar_charts(stage: str, records: Sequence[Mapping[str, float]], *, without: Collection[str] = ()) -> list[Chart]:
    """The charts of one training stage: all losses together first, then one small chart per other scalar.

    records: JSONL rows {"iteration": int, name: number, ...}, in any order; names may be missing from some rows.
    Rows without a finite number for a name are left out of that line. No usable number gives no chart, nor do the
    names in `without`.
    """
    names = [name for name in _scalar_names(records) if name not in without]
    losses = [name for name in names if "loss" in name]
    chunks = [losses[i : i + len(SERIES)] for i in range(0, len(losses), len(SERIES))]
    groups = [("losses" if len(chunk) > 1 else _readable(chunk[0]), chunk) for chunk in chunks]
    groups += [(_readable(name), [name]) for name in names if "loss" not in name]
    return _line_charts(stage, groups, records)


def grouped_charts(
    stage: str, groups: Mapping[str, Sequence[str]], records: Sequence[Mapping[str, float]]
) -> list[Chart]:
    """One chart for each title of `groups` with the scalars it names; records as in `scalar_charts`."""
    return _line_charts(stage, list(groups.items()), records)


def _line_charts(
    stage: str, groups: Sequence[tuple[str, Sequence[str]]], records: Sequence[Mapping[str, float]]
) -> list[Chart]:
    charts = [_line_chart(stage, title, {n: _points(records, n) for n in group}) for title, group in groups]
    return [chart for chart in charts if chart is not None]


def binned(iterations: np.ndarray, values: np.ndarray, bins: int = POINTS) -> dict[str, np.ndarray]:
    """A long line as at most `bins` points: x, mean, low, high, each float64 (K,), K = min(bins, N).

    The N points are cut into K runs of nearly equal length in order of iteration; low and high are the run's extremes.
    """
    order = np.argsort(iterations, kind="stable")
    groups = np.array_split(order, min(bins, len(order))) if len(order) else []
    rows = [(iterations[g].mean(), values[g].mean(), values[g].min(), values[g].max()) for g in groups]
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return dict(zip(("x", "mean", "low", "high"), table.T, strict=True))


def _scalar_names(records: Sequence[Mapping[str, float]]) -> list[str]:
    names: dict[str, None] = {}
    for record in records:
        for name, value in record.items():
            if name not in BOOKKEEPING and isinstance(value, int | float) and not isinstance(value, bool):
                names.setdefault(name)
    # The total first, then the parts as the trainer wrote them.
    return sorted(names, key=lambda name: name not in ("loss", "total_loss", "loss_total"))


def _points(records: Sequence[Mapping[str, float]], name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [
        (float(record.get("iteration", position)), float(record[name]))
        for position, record in enumerate(records)
        if isinstance(record.get(name), int | float) and np.isfinite(record[name])
    ]
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _line_chart(stage: str, title: str, lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Chart | None:
    usable = {name: points for name, points in lines.items() if len(points[0])}
    if not usable:
        return None
    with drawing_style(f"{stage} {list(usable)}"):
        figure = new_figure(3.6, 2.1)
        axes = bare(figure.add_subplot())
        bins = [binned(*points) for points in usable.values()]
        for colour, line in zip(SERIES, bins, strict=False):
            axes.fill_between(line["x"], line["low"], line["high"], color=colour, alpha=0.16, linewidth=0)
            marker = "o" if len(line["x"]) == 1 else None
            axes.plot(line["x"], line["mean"], color=colour, linewidth=1.4, marker=marker, markersize=3)
        _scale_values(axes, bins, losses="loss" in title)
        if "ratio" in title:
            axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        svg = to_svg(figure, f"{title} of {stage} over iterations")
    series = [
        Series(name, css_colour(colour), number(points[1][-1]))
        for colour, (name, points) in zip(SERIES, usable.items(), strict=False)
    ]
    scale = ", log scale" if axes.get_yscale() == "log" else ""
    return Chart(title + scale, svg, tuple(series))


def _scale_values(axes: Axes, bins: Sequence[Mapping[str, np.ndarray]], *, losses: bool) -> None:
    """Losses from zero, or on a log scale when they lie far apart; other scalars fill their axis."""
    means = np.concatenate([line["mean"] for line in bins])
    lows = np.concatenate([line["low"] for line in bins])
    if losses and lows.min() > 0 and means.max() / means.min() > 30:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_minor_locator(NullLocator())
        return
    axes.yaxis.set_major_locator(MaxNLocator(4))
    if losses and lows.min() >= 0:
        axes.set_ylim(bottom=0)


def _readable(name: str) -> str:
    return name.replace("_", " ")
