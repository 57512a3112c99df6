"""Result files against a ground truth file: metrics with intervals and curves, for the command and the workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsvis_core.evaluation.bootstrap import Bootstrap, ResampledMetrics, add_intervals, resample
from wsvis_core.evaluation.compare import compare_metrics
from wsvis_core.evaluation.curves import precision_curves
from wsvis_core.evaluation.ground_truth import GroundTruth, check_ground_truth
from wsvis_core.evaluation.json_input import read_object
from wsvis_core.evaluation.result_files import check_result_file
from wsvis_core.evaluation.validation import raise_problems
from wsvis_core.evaluation.video import AllMatches, match_video_results, summarise, tables_of

TRUTH_MADE_BY = "your data set (a YouTube-VIS annotation file)"
RESULTS_MADE_BY = "your tracker (rule track_instances)"


@dataclass(frozen=True)
class Scores:
    """The metrics of a result file (see `score_result_files`), and those of its resamples, None without any."""

    metrics: dict[str, Any]
    resampled: ResampledMetrics | None


def score_result_files(
    ground_truth: Path,
    results: Sequence[Path],
    settings: Bootstrap,
    *,
    truth_made_by: str = TRUTH_MADE_BY,
    processes: int = 1,
) -> list[Scores]:
    """The metrics of `evaluate_video_results` of each file, with precision_recall (see `precision_curves`).

    With resamples also intervals (see `add_intervals`); all files are resampled alike. Raises one WsvisError with
    everything wrong in any of the files. The results do not depend on the number of `processes` that read them.
    """
    truth, matches = _match_files(ground_truth, results, truth_made_by, processes)
    return [_score(truth, found, settings) for found in matches]


def _match_files(
    ground_truth: Path, results: Sequence[Path], truth_made_by: str, processes: int
) -> tuple[GroundTruth, list[AllMatches]]:
    """The matches of each file."""
    content, problems = read_object(ground_truth, made_by=truth_made_by)
    truth, found = check_ground_truth(content)
    problems = [f"ground truth: {problem}" for problem in problems] + found
    matches = []
    for path in results:
        tracks, found = check_result_file(path, truth, processes, made_by=RESULTS_MADE_BY)
        name = "" if len(results) == 1 else f"{path}: "
        problems += [name + problem for problem in found]
        if not problems:
            matches.append(match_video_results(truth, tracks))
    raise_problems("the evaluation input", problems)
    return truth, matches


def _score(truth: GroundTruth, matches: AllMatches, settings: Bootstrap) -> Scores:
    tables = tables_of(matches, truth)
    metrics = summarise(matches, truth, tables) | {"precision_recall": precision_curves(tables, truth.categories)}
    if not settings.resamples:
        return Scores(metrics, None)
    resampled = resample(matches, truth, settings)
    return Scores(add_intervals(metrics, resampled, settings), resampled)


def compare_scores(a: Scores, b: Scores, settings: Bootstrap) -> dict[str, Any]:
    """B against A (see `compare_metrics`)."""
    both = None if a.resampled is None or b.resampled is None else (a.resampled, b.resampled)
    return compare_metrics(a.metrics, b.metrics, both, settings)
