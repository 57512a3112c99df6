"""Precision over recall of tracks, as data: in the metrics file, and as CSV or JSON files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.averages import AT_50, AT_75, Tables
from wsvis_core.evaluation.matching import RECALL_POINTS
from wsvis_core.storage.files import atomic_path, write_json

CURVES = ("AP50", "AP75", "mAP")


def precision_curves(tables: Tables, categories: Mapping[int, str]) -> dict[str, Any]:
    """Precision at recall 0, 0.01, …, 1, 4 digits: {"mean": curves, "per_category": [{category_id, name, **curves}]}.

    A curve's name says whose mean it has: AP50 and AP75 at one IoU, mAP the mean over .50:.05:.95. "mean" is over the
    categories with ground truth. A list is empty without ground truth. All areas, 100 detections.
    """
    curves = tables.curves if tables.curves is not None else np.zeros((0, 10, len(RECALL_POINTS)))
    picked = np.stack([curves[:, AT_50], curves[:, AT_75], curves.mean(axis=1)], axis=1)
    known = ~np.isnan(picked).any(axis=(1, 2))
    rows = [
        {"category_id": category, "name": name} | _named(picked[k] if known[k] else None)
        for k, (category, name) in enumerate(categories.items())
    ]
    return {"mean": _named(picked[known].mean(axis=0) if known.any() else None), "per_category": rows}


def _named(lines: np.ndarray | None) -> dict[str, list[float]]:
    if lines is None:
        return {name: [] for name in CURVES}
    return {name: [round(float(v), 4) for v in line] for name, line in zip(CURVES, lines, strict=True)}


def write_curves(path: Path, curves: Mapping[str, Any]) -> None:
    """Write `precision_curves` as JSON, or as CSV with one row per category and recall; the first rows are the mean.

    CSV columns: category_id (empty for the mean), name, recall, AP50, AP75, mAP. WsvisError for another ending.
    """
    check_curves_path(path)
    if path.suffix == ".json":
        write_json(path, {"recall": [round(float(r), 2) for r in RECALL_POINTS], **curves})
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("category_id", "name", "recall", *CURVES))
    for row in ({"category_id": "", "name": "mean", **curves["mean"]}, *curves["per_category"]):
        points = zip(RECALL_POINTS, *(row[name] for name in CURVES), strict=False)
        writer.writerows([row["category_id"], row["name"], f"{recall:.2f}", *values] for recall, *values in points)
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def check_curves_path(path: Path) -> None:
    """WsvisError unless the file's ending says how curves are to be written."""
    if path.suffix not in (".csv", ".json"):
        raise WsvisError(f"{path}: curves are written as .csv or .json; give the file one of these endings")
