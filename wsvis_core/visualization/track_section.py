"""The report's part on tracks: metrics with intervals, curves, and a table of categories."""

from __future__ import annotations

from collections.abc import Mapping

from wsvis_core.visualization.inputs import Interval, Metrics, ReportInputs, TrackCategory, TrackQuality
from wsvis_core.visualization.label_charts import category_curves, threshold_curves
from wsvis_core.visualization.markup import MISSING, bar, escape, fraction, metric, number, table
from wsvis_core.visualization.sections import by_quality, figure_html

CURVE_NAMES = {"AP50": "IoU .50", "AP75": "IoU .75", "mAP": "mean of .50:.95"}


def tracks_part(inputs: ReportInputs) -> str:
    """Everything on tracks beside the headline; an empty text where nothing is known."""
    quality = inputs.track_quality
    if not quality.categories and not quality.intervals:
        return ""
    tables = [_whole(inputs.video_metrics, quality), _categories(quality.categories)]
    charts = [
        threshold_curves({CURVE_NAMES.get(name, name): curve for name, curve in quality.curves.items()}),
        category_curves("tracks", quality.curves.get("AP50", ()), quality.category_precision),
    ]
    figures = "".join(figure_html(chart) for chart in charts if chart is not None)
    return (
        f'<section class="stage"><header><h3>Tracks</h3><p class="note">{escape(_note(quality))}</p></header>'
        f'<div class="tables">{"".join(tables)}</div><div class="charts">{figures}</div></section>'
    )


def _note(quality: TrackQuality) -> str:
    if not quality.resamples:
        return "No intervals: evaluation.bootstrap_resamples is 0."
    share = f"{100 * quality.confidence:g} % of {number(quality.resamples)}"
    return f"Intervals hold {share} draws of as many held-out videos, with replacement."


def _whole(metrics: Metrics, quality: TrackQuality) -> str:
    rows = {
        name: [_bar(name, value), _interval(quality.intervals.get(name))]
        for name, value in metrics.items()
        if fraction(name, value) is not None
    }
    return table("Tracks on held-out videos", ["value", "interval"], rows, head_of_rows="metric", kind="metrics")


def _categories(categories: Mapping[str, TrackCategory]) -> str:
    order = by_quality({name: found.metrics for name, found in categories.items()})
    names = list(dict.fromkeys(key for row in order.values() for key in row))
    rows = {}
    for name, metrics in order.items():
        bounds = categories[name].intervals
        rows[name] = [_bar(key, metrics.get(key)) + _small(bounds.get(key)) for key in names]
    heads = [name.replace("_", " ") for name in names]
    return table("Tracks per category, best first", heads, rows, head_of_rows="category", kind="metrics")


def _bar(name: str, value: object) -> str:
    share = fraction(name, value)
    return metric(name, value) + ("" if share is None else bar(share))


def _interval(bounds: Interval) -> str:
    return MISSING if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}"


def _small(bounds: Interval) -> str:
    return "" if bounds is None else f'<span class="note">{_interval(bounds)}</span>'
