"""Charts of pseudo-label quality: what they hold, what they say, and that nothing gives no chart."""

from __future__ import annotations

import re

from wsvis_core.visualization.inputs import LabelQuality, ReportInputs
from wsvis_core.visualization.label_charts import (
    best_iou_chart,
    category_curves,
    label_charts,
    labeller_curves,
    score_chart,
)
from wsvis_core.visualization.label_section import pseudo_labels_section

CURVE = [1.0, 0.5, 0.0]
QUALITY = LabelQuality(CURVE, {"fox": CURVE, "crab": []}, [0, 3], [1, 1], [4] + [1] * 19, {"fox": {"AP50": 0.5}})


def bars(svg: str) -> int:
    """Filled shapes in a series colour, which are the bars and nothing else in a histogram."""
    return len(re.findall(r"<path[^>]*clip-path[^>]*fill: var\(--series", svg))


def test_the_mean_leads_and_every_curve_has_its_average_in_the_legend():
    chart = category_curves("irn", CURVE, {"fox": [1.0, 1.0], "crab": [0.2, 0.0], "owl": []})
    named = [(line.name, line.last) for line in chart.series]
    assert named == [("mean", "50.0"), ("fox", "100.0"), ("crab", "10.0")]
    assert chart.series[0].colour == "var(--ink)" and chart.series[1].colour == "var(--series-1)"
    assert 'aria-label="precision over recall of irn at IoU 0.5"' in chart.svg


def test_a_step_holds_from_the_recall_before_it():
    chart = category_curves("irn", [], {"fox": [1.0, 0.25]})
    (line,) = re.findall(r'd="(M[^"]*)"\s+clip-path[^>]*stroke: var\(--series-1\)', chart.svg)
    x, y = zip(*[tuple(map(float, point)) for point in re.findall(r"[ML] ([\d.]+) ([\d.]+)", line)], strict=True)
    # Down at once to the precision of the next point, then along it to its recall.
    assert x[0] == x[1] < x[2] and y[0] < y[1] == y[2]


def test_more_categories_than_colours_share_one():
    chart = category_curves("irn", CURVE, {f"c{n}": CURVE for n in range(40)})
    assert [line.name for line in chart.series] == ["mean", "each of 40 categories"]


def test_labellers_share_a_chart_where_there_are_two():
    assert labeller_curves({}) is None and labeller_curves({"irn": CURVE, "flowirn": []}) is None
    chart = labeller_curves({"irn": CURVE, "flowirn": [1.0, 1.0, 1.0]})
    assert [(line.name, line.last) for line in chart.series] == [("irn", "50.0"), ("flowirn", "100.0")]


def test_histograms_name_their_sums_and_draw_a_bar_per_bin_and_layer():
    scores = score_chart("irn", [0, 3], [1, 1], top=4)
    assert [(line.name, line.last) for line in scores.series] == [("matched", "3"), ("unmatched", "2")]
    ious = best_iou_chart("irn", [4, 2] + [1] * 18, top=10)
    assert [(line.name, line.last) for line in ious.series] == [("found", "18"), ("missed", "6")]
    assert bars(scores.svg) == 4 and bars(ious.svg) == 40


def test_nothing_gives_no_chart():
    assert category_curves("irn", [], {"fox": []}) is None
    assert score_chart("irn", [0, 0], [0, 0], top=0) is None and score_chart("irn", [], [], top=0) is None
    assert best_iou_chart("irn", [0] * 20, top=0) is None
    assert label_charts("irn", LabelQuality(), most_labels=0, most_objects=0) == []
    assert len(label_charts("irn", QUALITY, most_labels=4, most_objects=4)) == 3


def test_histograms_of_two_labellers_have_the_same_height():
    small = LabelQuality(matched_scores=[1, 0], unmatched_scores=[0, 0])
    big = LabelQuality(matched_scores=[900, 0], unmatched_scores=[0, 50])
    html = pseudo_labels_section(ReportInputs("t", label_quality={"a": small, "b": big}))
    assert html.count(">750</text>") == 2


def test_the_section_names_labellers_safely_and_an_empty_one_says_so():
    html = pseudo_labels_section(ReportInputs("t", label_quality={"<irn>": QUALITY, "none": LabelQuality()}))
    assert "&lt;irn&gt;" in html and "<irn>" not in html and "all labellers" not in html
    assert "No labels and no objects." in html and "5 labels, 23 objects" in html
