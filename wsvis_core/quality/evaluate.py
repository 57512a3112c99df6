"""How good the estimates are, where there is ground truth to hold them against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.ground_truth import check_ground_truth
from wsvis_core.evaluation.infer import not_evaluated
from wsvis_core.evaluation.result_files import check_result_file
from wsvis_core.evaluation.validation import raise_problems
from wsvis_core.quality.files import read_quality
from wsvis_core.quality.parts import PARTS
from wsvis_core.quality.reliability import auc, brier, calibration_error, reliability_bins
from wsvis_core.storage.files import read_json, write_json


def evaluate_quality(quality: Path, tracks: Path, ground_truth: Path, output: Path) -> None:
    """Write what `quality_metrics` gives, or why there is nothing to compare with."""
    truth = read_json(ground_truth, made_by="rule prepare_dataset")
    if not_evaluated(truth, output):
        return
    write_json(output, quality_metrics(read_quality(quality)["tracks"], right_tracks(tracks, truth)), indent=1)


def right_tracks(tracks: Path, ground_truth: Any) -> np.ndarray:
    """Which tracks of a result file have IoU ≥ 0.5 with a true track of their class, (N,) bool in the file's order."""
    truth, problems = check_ground_truth(ground_truth)
    raise_problems("the ground truth", problems)
    found, problems = check_result_file(tracks, truth, 1, made_by="rule track_instances")
    raise_problems(f"result file {tracks}", problems)
    return np.array([track.ious.max(initial=0.0) >= 0.5 for track in found], bool)


def quality_metrics(tracks: list[dict[str, Any]], right: np.ndarray) -> dict[str, Any]:
    """tracks, right_tracks (numbers) · AUC of the estimate and of each part alone, on the tracks that have it ·
    Brier, ECE and bins of the estimate. null where there is nothing to compute it from.

    tracks: rows of a quality.json · right (N,) bool, in the same order.
    """
    if len(tracks) != len(right):
        raise WsvisError(f"{len(tracks)} tracks have a quality, but the result file has {len(right)}: run both again")
    estimates = np.array([track["estimate"] for track in tracks], np.float64)
    bins = reliability_bins(estimates, right)
    return {
        "tracks": len(tracks),
        "right_tracks": int(right.sum()),
        "AUC": {name: _auc_of(name, tracks, right) for name in ("estimate", *PARTS)},
        "Brier": brier(estimates, right),
        "ECE": calibration_error(bins),
        "bins": bins,
    }


def _auc_of(name: str, tracks: list[dict[str, Any]], right: np.ndarray) -> float | None:
    known = [i for i, track in enumerate(tracks) if track[name] is not None]
    return auc(np.array([tracks[i][name] for i in known]), right[known])
