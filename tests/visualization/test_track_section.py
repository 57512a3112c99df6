"""The report's part on tracks: intervals, categories best first, curves; and nothing of nothing."""

from __future__ import annotations

from wsvis_core.visualization.collect import track_quality
from wsvis_core.visualization.inputs import ReportInputs
from wsvis_core.visualization.track_section import tracks_part

ROW = {"mAP": 0.3, "AP50": 0.5, "AR10": 0.4, "ground_truth_tracks": 7, "result_tracks": 1200}
METRICS = {
    "mAP": 0.25,
    "AP50": 0.375,
    "AP_large": -1.0,
    "videos": 3,
    "intervals": {"mAP": [0.125, 0.5], "AP50": None, "AP_large": None},
    "bootstrap": {"resamples": 1000, "confidence": 0.9, "seed": 0},
    "per_category": [
        ROW | {"category_id": 1, "name": "<cat>", "AP50": 0.25, "intervals": {"AP50": [0.2, 0.3]}},
        ROW | {"category_id": 2, "name": "dog", "intervals": {"AP50": None}},
    ],
    "precision_recall": {
        "mean": {"AP50": [1.0, 0.5], "AP75": [0.5, 0.0], "mAP": [0.5, 0.25]},
        "per_category": [{"category_id": 1, "name": "<cat>", "AP50": [1.0, 0.5]}, {"name": "dog", "AP50": []}],
    },
}


def inputs_of(metrics):
    return ReportInputs("t", video_metrics={"mAP": 0.25, "AP_large": -1.0}, track_quality=track_quality(metrics))


def test_intervals_categories_and_curves():
    html = tracks_part(inputs_of(METRICS))
    assert "Intervals hold 90 % of 1\u202f000 draws" in html
    assert "12.5 to 50.0" in html and "20.0 to 30.0" in html and "AP_large" not in html
    assert "&lt;cat&gt;" in html and "<cat>" not in html
    assert html.index("dog") < html.index("&lt;cat&gt;")  # best first
    assert html.count("<svg") == 2 and "IoU .75" in html and "mean of .50:.95" in html


def test_without_resamples_and_without_metrics():
    plain = {key: value for key, value in METRICS.items() if key not in ("intervals", "bootstrap")}
    plain["per_category"] = [ROW | {"category_id": 1, "name": "cat"}]
    html = tracks_part(inputs_of(plain))
    assert "No intervals" in html and " to " not in html.split("<svg")[0].split("</header>")[1]
    assert tracks_part(ReportInputs("t")) == ""
