"""The paper's tables: one row per variant, mean and standard error over data sets that differ in a seed."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wsvis_core.config import TableRow
from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.infer import NOT_EVALUATED
from wsvis_core.storage.files import atomic_path, read_json

# The paper on YouTube-VIS, by row: AP, AR and TC in percent. AP50 of labels: Table 4; AP50 of held-out frames: Tables
# 1, 5 and 6, which agree where they share a row; TC: Table 6; AP75 and instances per frame: in the paper's text.
# Tracks: Table 3, on the videos held out of the training set, and `val_…` by the official server; its "Ours" is taken
# to be without self-training, as in the paper's text.
PAPER: dict[str, dict[str, float]] = {
    "irn": {"AP50": 25.42},
    "irn_fbound": {"AP50": 26.60},
    "irn_fcam": {"AP50": 27.47},
    "flowirn": {"AP50": 28.45},
    "irn/maskrcnn": {"AP50": 29.64, "AP75": 9.47, "TC": 80.98, "instances_per_frame": 1.50},
    "irn/maskconsist": {"AP50": 31.51, "TC": 82.04},
    "flowirn/maskrcnn": {"AP50": 31.43, "TC": 80.43},
    "flowirn/maskconsist_no_intra": {"AP50": 33.75},
    "flowirn/maskconsist_no_inter": {"AP50": 31.08},
    "flowirn/maskconsist_no_iom": {"AP50": 33.65},
    "flowirn/maskconsist": {"AP50": 34.66, "AP75": 12.06, "TC": 84.36, "instances_per_frame": 1.81},
    "flowirn/maskconsist@1": {"AP50": 36.00},
    "irn/maskrcnn/unovost": {
        **{"mAP": 10.8, "AP50": 26.4, "AP75": 7.7, "AR1": 12.6, "AR10": 14.4},
        **{"val_mAP": 7.3, "val_AP50": 18.0, "val_AP75": 3.0, "val_AR1": 9.0, "val_AR10": 10.7},
    },
    "flowirn/maskconsist/unovost": {
        **{"mAP": 14.1, "AP50": 34.4, "AP75": 9.4, "AR1": 16.0, "AR10": 17.9},
        **{"val_mAP": 10.5, "val_AP50": 27.2, "val_AP75": 6.2, "val_AR1": 12.3, "val_AR10": 13.6},
    },
}
# Table 3's rows of other trackers: on a detector trained with masks, so beside ours for the tracker's sake only.
SUPERVISED: dict[str | None, dict[str, float]] = {
    "iou_tracker": {"supervised_val_mAP": 23.6, "supervised_val_AP50": 39.2},
    "deepsort": {"supervised_val_mAP": 26.1, "supervised_val_AP50": 42.9},
    "masktrack": {"supervised_val_mAP": 30.3, "supervised_val_AP50": 51.1},
}
HEADINGS = {
    "table1": "labels / segmenter",
    "table3": "labels / segmenter / tracker",
    "table4": "labeller",
    "table5": "segmenter",
    "table6": "labels / segmenter",
}
Values = Mapping[str, float | None]
Cells = dict[str, str]


def table_lines(table: str, rows: Sequence[TableRow], runs: Sequence[Sequence[Values]]) -> list[Cells]:
    """The lines of a table, cells by column; every line has the same columns.

    runs: for every row its metrics on every replicate, replicates in the same order; None is unknown. A line has
    `<metric>_mean` and `<metric>_se` over the replicates for every metric of any row; `gain` (of AP50, in Table 3 of
    mAP) and `TC_gain`: differences to the row named in `gain_over`, replicate by replicate; `paper_<metric>` and
    `paper_gain`: the paper's, as fractions too; `AP50_1` … (`mAP_1` …): the value of each replicate. A cell is empty
    where a value of any replicate is unknown, a standard error also with a single replicate.
    """
    metrics = list(dict.fromkeys(name for row in runs for run in row for name in run))
    paper = list(dict.fromkeys(name for row in rows for name in _paper_values(row)))
    main = main_metric(table)
    lines = []
    for row, own in zip(rows, runs, strict=True):
        base = base_row(table, rows, row)
        line = {HEADINGS[table]: row_name(table, row), "replicates": str(len(own))}
        for metric in metrics:
            line |= _metric_cells(metric, own, runs[rows.index(base)], {main: "gain", "TC": "TC_gain"})
        line["gain_over"] = _gain_over(table, base)
        lines.append(line | _paper_cells(row, base, paper, main) | _single_values(main, own))
    return lines


def main_metric(table: str) -> str:
    """The metric whose differences between rows are the table's point."""
    return "mAP" if table == "table3" else "AP50"


def row_name(table: str, row: TableRow) -> str:
    """A row as it is called in a table; Table 5 has one labeller and leaves it out."""
    if row.segmenter is None:
        return row.labeller
    name = row.segmenter if table == "table5" else f"{row.labeller} / {row.segmenter}"
    rounds = "" if row.round < 2 else f" ×{row.round}"
    name = f"{name} + self-training{rounds}" if row.round else name
    return name if row.tracker is None else f"{name} / {row.tracker}"


def base_row(table: str, rows: Sequence[TableRow], row: TableRow) -> TableRow:
    """The row that gains of `row` are over: the first, in Table 6 with the same labels, in Table 3 the same tracker."""
    if table == "table6":
        return next(other for other in rows if other.labeller == row.labeller)
    return next(other for other in rows if other.tracker == row.tracker)


def _gain_over(table: str, base: TableRow) -> str:
    if table == "table6":
        return f"{base.segmenter}, same labels"
    # Every row has the tracker of its own base row; named once, the masks head the column.
    return row_name(table, replace(base, tracker=None))


def label_values(metrics: Mapping[str, Any]) -> Values:
    """Of pseudo-labels (`score_pseudo_labels`), without the videos that options were chosen on (§7.2, §7.6).

    AP50, AP75, the two diagnostics (mean IoU of the best label of each object; share of objects without one) and
    labels per frame.
    """
    if NOT_EVALUATED in metrics:
        return {}
    rest = metrics["rest"]
    if rest is None:
        raise WsvisError("no training video is left beside those of evaluation.selection_share; lower that share")
    return {
        "AP50": _known(rest["AP50"]),
        "AP75": _known(rest["AP75"]),
        "mean_best_iou": rest["diagnostics"]["mean_best_iou"],
        "missed_share": rest["diagnostics"]["missed_share"],
        # Labels are exported without a threshold on their score, so every label counts.
        "instances_per_frame": rest["predictions"] / max(rest["frames"], 1),
    }


def mask_values(frames: Mapping[str, Any], consistency: Mapping[str, Any]) -> Values:
    """Of a segmenter on held-out videos (`score_frames`, `score_consistency`).

    AP50, AP75, TC, TC where only predictions with at least a higher score are taken as truth, and instances per frame
    with at least each score that was counted.
    """
    if NOT_EVALUATED in frames:
        return {"TC": _known(consistency["TC"])}
    values = {"AP50": _known(frames["AP50"]), "AP75": _known(frames["AP75"]), "TC": _known(consistency["TC"])}
    others = list(consistency["TC_by_threshold"].items())[1:]
    values |= {f"TC_at_{threshold}": _known(value) for threshold, value in others}
    return values | {f"instances_at_{threshold}": value for threshold, value in frames["instances_per_frame"].items()}


def track_values(metrics: Mapping[str, Any]) -> Values:
    """Of tracks on held-out videos (`score_tracks`): the columns of Table 3."""
    if NOT_EVALUATED in metrics:
        return {}
    return {name: _known(metrics[name]) for name in ("mAP", "AP50", "AP75", "AR1", "AR10")}


def write_table(
    table: str, rows: Sequence[TableRow], quality: Sequence[Path], consistency: Sequence[Path], output: Path
) -> None:
    """Write a table ("table1", "table4", …) as CSV.

    quality: metrics of the labels, of the held-out frames or of the tracks, all replicates of the first row, then of
    the next; consistency: the same for TC, empty for a table of labels or tracks.
    """
    each = len(quality) // len(rows)
    if rows[0].tracker is not None:
        found = [track_values(read_json(path, made_by="rule evaluate_video")) for path in quality]
    elif consistency:
        found = [
            mask_values(read_json(a, made_by="rule evaluate_frames"), read_json(b, made_by="rule evaluate_consistency"))
            for a, b in zip(quality, consistency, strict=True)
        ]
    else:
        found = [label_values(read_json(path, made_by="rule evaluate_pseudo_labels")) for path in quality]
    lines = table_lines(table, rows, [found[i * each : (i + 1) * each] for i in range(len(rows))])
    with atomic_path(output) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _known(value: float) -> float | None:
    """None for −1, which stands for "nothing to measure against"."""
    return None if value < 0 else value


def _metric_cells(metric: str, own: Sequence[Values], base: Sequence[Values], gains_of: Mapping[str, str]) -> Cells:
    """Mean and error of a metric, and of what it gains over the base row where `gains_of` has a name for that."""
    mine, theirs = ([run.get(metric) for run in runs] for runs in (own, base))
    cells = _mean_and_error(metric, mine)
    if metric in gains_of:
        gains = [None if a is None or b is None else a - b for a, b in zip(mine, theirs, strict=True)]
        cells |= _mean_and_error(gains_of[metric], gains)
    return cells


def _mean_and_error(name: str, values: Sequence[float | None]) -> Cells:
    """`<name>_mean` and `<name>_se`, the standard error of the mean; no error from a single value.

    A mean over fewer replicates than the other rows have would not compare with theirs: one unknown value, no mean.
    """
    known = [value for value in values if value is not None]
    if not values or len(known) < len(values):
        return {f"{name}_mean": "", f"{name}_se": ""}
    error = "" if len(known) < 2 else f"{statistics.stdev(known) / math.sqrt(len(known)):.4f}"
    return {f"{name}_mean": f"{statistics.fmean(known):.4f}", f"{name}_se": error}


def _paper_values(row: TableRow) -> dict[str, float]:
    return PAPER.get(str(row), {}) | SUPERVISED.get(row.tracker, {})


def _paper_cells(row: TableRow, base: TableRow, metrics: Sequence[str], main: str) -> Cells:
    own, theirs = _paper_values(row), _paper_values(base)
    cells = {f"paper_{metric}": _paper_cell(metric, own.get(metric)) for metric in metrics}
    both = main in own and main in theirs
    return cells | {"paper_gain": f"{(own[main] - theirs[main]) / 100:.4f}" if both else ""}


def _paper_cell(metric: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if metric == "instances_per_frame" else f"{value / 100:.4f}"


def _single_values(metric: str, runs: Sequence[Values]) -> Cells:
    values = [run.get(metric) for run in runs]
    return {f"{metric}_{n}": "" if value is None else f"{value:.4f}" for n, value in enumerate(values, 1)}
