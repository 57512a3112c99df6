"""The report's section on pseudo-labels: how good they are, where they fail, and what that looks like."""

from __future__ import annotations

from wsvis_core.visualization.gallery import gallery_html
from wsvis_core.visualization.inputs import LabelQuality, ReportInputs
from wsvis_core.visualization.label_charts import label_charts, labeller_curves
from wsvis_core.visualization.markup import escape, metric_table, number
from wsvis_core.visualization.sections import by_quality, empty, figure_html

LEGEND = (
    "White line: the object as annotated. Colour: the pseudo-labels, by class. "
    "Number: IoU of the object's best label; missed: below 10."
)


def pseudo_labels_section(inputs: ReportInputs) -> str:
    """Metrics of all labellers, charts and categories of each, and sheets of worst and best frames."""
    overall = metric_table("Pseudo-labels on the training frames", inputs.pseudo_labels, head_of_rows="labeller")
    return overall + _labellers(inputs) + _categories(inputs) + _galleries(inputs)


def _labellers(inputs: ReportInputs) -> str:
    """The charts of every labeller; the curves of all of them together come first."""
    quality = inputs.label_quality
    both = labeller_curves({name: found.mean_precision for name, found in quality.items()})
    parts = [_stage("all labellers", "", figure_html(both))] if both else []
    most_labels = max((max(_labels(found), default=0) for found in quality.values()), default=0)
    most_objects = max((max(found.best_ious, default=0) for found in quality.values()), default=0)
    for name, found in quality.items():
        charts = label_charts(name, found, most_labels=most_labels, most_objects=most_objects)
        note = f"{number(sum(_labels(found)))} labels, {number(sum(found.best_ious))} objects"
        body = "".join(map(figure_html, charts)) or empty("No labels and no objects.")
        parts.append(_stage(name, note, body))
    return "".join(parts)


def _labels(quality: LabelQuality) -> list[int]:
    """Labels per bin of their score, right and wrong ones together."""
    return [a + b for a, b in zip(quality.matched_scores, quality.unmatched_scores, strict=True)]


def _stage(title: str, note: str, charts: str) -> str:
    return (
        f'<section class="stage"><header><h3>{escape(title)}</h3><p class="note">{escape(note)}</p></header>'
        f'<div class="charts">{charts}</div></section>'
    )


def _categories(inputs: ReportInputs) -> str:
    tables = [
        metric_table(f"Pseudo-labels of {name} per category", by_quality(found.categories), head_of_rows="category")
        for name, found in inputs.label_quality.items()
        if found.categories
    ]
    return f'<div class="tables">{"".join(tables)}</div>' if tables else ""


def _galleries(inputs: ReportInputs) -> str:
    if not inputs.label_examples:
        return ""
    sheets = [gallery_html(title, shown, inputs.class_names) for title, shown in inputs.label_examples.items()]
    return f'<div class="galleries"><p class="note">{escape(LEGEND)}</p>{"".join(sheets)}</div>'
