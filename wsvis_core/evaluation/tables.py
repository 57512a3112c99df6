"""The paper's tables: one row per variant, mean and standard error over data sets that differ in a seed."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import atomic_path, read_json

# AP50 of the paper's Table 4 on YouTube-VIS, in percent.
PAPER_TABLE4 = {"irn": 25.42, "irn_fbound": 26.60, "irn_fcam": 27.47, "flowirn": 28.45}
TABLE4_METRICS = ("AP50", "AP75", "mean_best_iou", "missed_share", "instances_per_frame")
Row = dict[str, str]


def table4(metrics: Mapping[str, Sequence[dict[str, Any]]]) -> list[Row]:
    """Rows of Table 4: pseudo-label quality of labellers, without the videos that options were chosen on (§7.2, §7.6).

    metrics: labeller -> the metrics of `score_pseudo_labels` for every replicate, replicates in the same order. Each
    row has `<metric>_mean` and `<metric>_se` for AP50, AP75, the two diagnostics (mean IoU of the best label of each
    object; share of objects without one) and labels per frame; `gain` is the difference of AP50 to the first row,
    replicate by replicate; `paper_AP50` and `paper_gain` are the paper's, 0..1. Unknown values are empty.
    """
    values = {name: [_values(one) for one in runs] for name, runs in metrics.items()}
    first = next(iter(values))
    return [_row(name, runs, values[first], PAPER_TABLE4.get(first)) for name, runs in values.items()]


def _values(metrics: dict[str, Any]) -> dict[str, float]:
    rest = metrics["rest"]
    if rest is None:
        raise WsvisError("no training video is left beside those of evaluation.selection_share; lower that share")
    # Labels are exported without a threshold on their score, so every label counts.
    per_frame = rest["predictions"] / max(rest["frames"], 1)
    return {
        "AP50": rest["AP50"],
        "AP75": rest["AP75"],
        "mean_best_iou": rest["diagnostics"]["mean_best_iou"],
        "missed_share": rest["diagnostics"]["missed_share"],
        "instances_per_frame": per_frame,
    }


def _row(name: str, runs: list[dict[str, float]], first: list[dict[str, float]], paper_first: float | None) -> Row:
    row = {"labeller": name, "replicates": str(len(runs))}
    for metric in TABLE4_METRICS:
        row |= _mean_and_error(metric, [run[metric] for run in runs])
        if metric == "AP50":
            row |= _mean_and_error("gain", [a["AP50"] - b["AP50"] for a, b in zip(runs, first, strict=True)])
    paper = PAPER_TABLE4.get(name)
    row["paper_AP50"] = "" if paper is None else f"{paper / 100:.4f}"
    row["paper_gain"] = "" if paper is None or paper_first is None else f"{(paper - paper_first) / 100:.4f}"
    return row | {f"AP50_{number}": f"{run['AP50']:.4f}" for number, run in enumerate(runs, 1)}


def _mean_and_error(name: str, values: Sequence[float]) -> Row:
    """`<name>_mean` and `<name>_se`, the standard error of the mean; no error from a single value."""
    mean = f"{statistics.fmean(values):.4f}"
    error = "" if len(values) < 2 else f"{statistics.stdev(values) / math.sqrt(len(values)):.4f}"
    return {f"{name}_mean": mean, f"{name}_se": error}


def write_table4(metrics: Mapping[str, Sequence[Path]], output: Path) -> None:
    """Write Table 4 as CSV from the pseudo-label metrics of every labeller and replicate."""
    read = {
        name: [read_json(path, made_by="rule evaluate_pseudo_labels") for path in paths]
        for name, paths in metrics.items()
    }
    rows = table4(read)
    with atomic_path(output) as temporary, open(temporary, "w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
