"""Charts of pseudo-label quality: precision over recall, scores, and how well the best labels fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from wsvis_core.visualization.drawing import (
    INK,
    SERIES,
    STRONG,
    Chart,
    Series,
    bare,
    css_colour,
    drawing_style,
    new_figure,
    to_svg,
)
from wsvis_core.visualization.inputs import LabelQuality
from wsvis_core.visualization.markup import number

WIDTH, HEIGHT = 3.6, 2.5
QUARTERS = (0, 25, 50, 75, 100)
MISSED_BINS = 2  # of 20: best IoU below 0.1


def label_charts(labeller: str, quality: LabelQuality, *, most_labels: int, most_objects: int) -> list[Chart]:
    """The charts of one labeller; a chart of nothing is left out.

    most_labels, most_objects: the largest bin of all labellers on the page, so that their histograms compare.
    """
    charts = [
        category_curves(labeller, quality.mean_precision, quality.category_precision),
        score_chart(labeller, quality.matched_scores, quality.unmatched_scores, top=most_labels),
        best_iou_chart(labeller, quality.best_ious, top=most_objects),
    ]
    return [chart for chart in charts if chart is not None]


def category_curves(labeller: str, mean: Sequence[float], categories: Mapping[str, Sequence[float]]) -> Chart | None:
    """Precision over recall at IoU 0.5: the mean as a strong line, categories as thin ones; None without any curve.

    Each curve is the precision at R evenly spaced recalls 0..1. More categories than colours are drawn alike, and the
    legend counts them.
    """
    curves = {name: curve for name, curve in categories.items() if len(curve)}
    if not len(mean) and not curves:
        return None
    many = len(curves) > len(SERIES)
    colours = [INK] * len(curves) if many else list(SERIES[: len(curves)])
    lines = [(curve, colour, 0.5 if many else 1.0) for curve, colour in zip(curves.values(), colours, strict=True)]
    named = [] if many else [_series(name, curve, c) for (name, curve), c in zip(curves.items(), colours, strict=True)]
    if many:
        named = [Series(f"each of {len(curves)} categories", css_colour(INK), "")]
    if len(mean):
        lines.append((mean, STRONG, 2.0))
        named.insert(0, _series("mean", mean, STRONG))
    return _curves(f"precision over recall of {labeller}", lines, named)


def labeller_curves(means: Mapping[str, Sequence[float]]) -> Chart | None:
    """The mean curves of up to eight labellers in one chart; None unless two labellers have one."""
    curves = {name: curve for name, curve in means.items() if len(curve)}
    if len(curves) < 2:
        return None
    lines = [(curve, colour, 1.6) for curve, colour in zip(curves.values(), SERIES, strict=False)]
    named = [_series(name, curve, colour) for (name, curve), colour in zip(curves.items(), SERIES, strict=False)]
    return _curves("precision over recall of labellers", lines, named)


def threshold_curves(curves: Mapping[str, Sequence[float]]) -> Chart | None:
    """The curves of up to eight IoU thresholds, by name, in one chart; None without any."""
    known = {name: curve for name, curve in curves.items() if len(curve)}
    if not known:
        return None
    lines = [(curve, colour, 1.6) for curve, colour in zip(known.values(), SERIES, strict=False)]
    named = [_series(name, curve, colour) for (name, curve), colour in zip(known.items(), SERIES, strict=False)]
    return _curves("precision over recall of tracks", lines, named, "as the mean of categories")


def score_chart(labeller: str, matched: Sequence[int], unmatched: Sequence[int], *, top: int) -> Chart | None:
    """Numbers of labels over their score, right ones (a true positive at IoU 0.5) below wrong ones; None of nothing."""
    layers = [("matched", matched, SERIES[0]), ("unmatched", unmatched, SERIES[1])]
    return _histogram(f"scores of {labeller}", "labels over score", layers, top)


def best_iou_chart(labeller: str, best_ious: Sequence[int], *, top: int) -> Chart | None:
    """Numbers of objects over the IoU of their best label, missed ones apart; None of nothing."""
    missed = [count if place < MISSED_BINS else 0 for place, count in enumerate(best_ious)]
    found = [count - less for count, less in zip(best_ious, missed, strict=True)]
    layers = [("found", found, SERIES[2]), ("missed", missed, SERIES[5])]
    return _histogram(f"best IoUs of {labeller}", "objects over IoU of their best label", layers, top)


def _series(name: str, curve: Sequence[float], colour: str) -> Series:
    """A legend entry with the curve's average precision."""
    return Series(name, css_colour(colour), f"{100 * float(np.mean(curve)):.1f}")


def _curves(
    salt: str,
    lines: Sequence[tuple[Sequence[float], str, float]],
    named: Sequence[Series],
    which: str = "at IoU 0.5",
) -> Chart:
    with drawing_style(salt):
        figure = new_figure(WIDTH, HEIGHT)
        axes = _percent_axes(bare(figure.add_subplot()))
        for curve, colour, width in lines:
            # Precision at a recall is the best one at or beyond it, so it holds from the recall before.
            recall, precision = np.linspace(0, 100, len(curve)), np.asarray(curve) * 100
            axes.step(recall, precision, where="pre", color=colour, linewidth=width)
        axes.set(ylim=(0, 102), xlabel="recall", ylabel="precision", yticks=QUARTERS)
        svg = to_svg(figure, f"{salt} {which}")
    return Chart(f"precision over recall {which}", svg, tuple(named))


def _histogram(salt: str, title: str, layers: Sequence[tuple[str, Sequence[int], str]], top: int) -> Chart | None:
    total = sum(sum(counts) for _, counts, _ in layers)
    if total == 0:
        return None
    with drawing_style(salt):
        figure = new_figure(WIDTH, HEIGHT)
        axes = _percent_axes(bare(figure.add_subplot()))
        base = np.zeros(len(layers[0][1]))
        width = 100 / len(base)
        for _, counts, colour in layers:
            axes.bar(np.arange(len(base)) * width, counts, width * 0.86, base, align="edge", color=colour, linewidth=0)
            base = base + np.asarray(counts)
        axes.set(ylim=(0, 1.05 * max(top, 1)))
        svg = to_svg(figure, f"{salt}: histogram of {total}")
    named = [Series(name, css_colour(colour), number(int(sum(counts)))) for name, counts, colour in layers]
    return Chart(title, svg, tuple(named))


def _percent_axes(axes: Axes) -> Axes:
    axes.set_xlim(0, 100)
    axes.set_xticks(QUARTERS)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return axes
