"""Metrics of stored artefacts against ground truth, written as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wsvis_core.config import EvaluationSettings
from wsvis_core.datasets.splits import selection_videos
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.evaluation.bootstrap import Bootstrap
from wsvis_core.evaluation.consistency import FlowPair, temporal_consistency
from wsvis_core.evaluation.frames import FramePrediction, evaluate_frame_predictions
from wsvis_core.evaluation.ground_truth import has_masks, parse_ground_truth
from wsvis_core.evaluation.pseudo_labels import label_metrics, score_labels
from wsvis_core.evaluation.scoring import score_result_files
from wsvis_core.flow.load import FlowReader
from wsvis_core.storage.files import read_json, write_json
from wsvis_core.storage.instance_shards import InstanceReader, open_instances
from wsvis_core.storage.shards import one_by_one

MADE_BY = "rule prepare_dataset"
NOT_EVALUATED = "not_evaluated"


def not_evaluated(ground_truth: Mapping[str, Any], output: Path) -> bool:
    """Whether there is no mask to compare with; the file of metrics then says so, and has no number."""
    if has_masks(ground_truth):
        return False
    reason = "the data set has class labels only, no masks to compare with"
    print(f"nothing to evaluate: {reason}")
    write_json(output, {NOT_EVALUATED: reason}, indent=1)
    return True


def score_frames(
    dataset: VideoDataset, instances: Sequence[Path], ground_truth: Path, settings: EvaluationSettings, output: Path
) -> None:
    """Frame metrics (§7.1) of predictions on the held-out videos."""
    truth = read_json(ground_truth, made_by=MADE_BY)
    if not_evaluated(truth, output):
        return
    category_ids = [category.id for category in dataset.categories]
    found = frame_predictions(dataset, "val", instances)
    thresholds = settings.instance_count_thresholds
    write_json(output, evaluate_frame_predictions(truth, found, category_ids, score_thresholds=thresholds), indent=1)


def score_pseudo_labels(
    dataset: VideoDataset, instances: Sequence[Path], ground_truth: Path, settings: EvaluationSettings, output: Path
) -> None:
    """Metrics and diagnostics of the pseudo-labels of the training videos (§7.2).

    Beside those of all videos, the same for two parts (§7.6): "selection", the videos options may be chosen on, and
    "rest", all others, which tables report. null where a part has no video.
    """
    truth = read_json(ground_truth, made_by=MADE_BY)
    if not_evaluated(truth, output):
        return
    category_ids = [category.id for category in dataset.categories]
    ids = [video.id for video in dataset.split("train")]
    selection = selection_videos(ids, settings.selection_share)
    known = parse_ground_truth(truth)
    scores = score_labels(known, frame_predictions(dataset, "train", instances), category_ids)

    def metrics(videos: set[int]) -> dict[str, Any]:
        part = [score for score in scores if score.frame.place[0] in videos]
        return label_metrics(part, known, category_ids, score_thresholds=settings.instance_count_thresholds)

    rest = set(ids) - selection
    parts = {name: metrics(part) if part else None for name, part in (("selection", selection), ("rest", rest))}
    write_json(output, metrics(set(ids)) | parts, indent=1)


def score_consistency(
    dataset: VideoDataset,
    instances: Sequence[Path],
    flow: Sequence[Path],
    settings: EvaluationSettings,
    output: Path,
) -> None:
    """Temporal consistency (§7.5) of predictions on the held-out videos, in the direction of the settings.

    All keys of `temporal_consistency` with predictions of at least the first threshold as truth; TC_by_threshold: TC
    with those of at least each threshold; left_out_pairs: neighbours too far apart in time for a flow between them.
    """
    category_ids = [category.id for category in dataset.categories]
    predictions, flows = open_instances(instances), FlowReader(flow)
    direction, ignore_occluded = settings.consistency_direction, settings.consistency_ignore_occluded
    both = direction != "forward" or ignore_occluded
    metrics = {
        str(threshold): temporal_consistency(
            neighbour_pairs(dataset, "val", predictions, flows, both=both),
            category_ids,
            direction=direction,
            truth_score_threshold=threshold,
            ignore_occluded=ignore_occluded,
        )
        for threshold in settings.consistency_thresholds
    }
    first = metrics[str(settings.consistency_thresholds[0])]
    left_out = sum(flows.pair_valid(video.id).count(False) for video in dataset.split("val"))
    by_threshold = {threshold: found["TC"] for threshold, found in metrics.items()}
    write_json(output, first | {"left_out_pairs": left_out, "TC_by_threshold": by_threshold}, indent=1)


def neighbour_pairs(
    dataset: VideoDataset, split: str, predictions: InstanceReader, flow: FlowReader, *, both: bool = False
) -> Iterator[FlowPair]:
    """Neighbouring frames of every video of a split that are close enough in time, with the flow that brings t to t+1.

    both: with the flow that brings t+1 to t as well.

    Paper silent: pairs that are too far apart for training (flow.max_index_gap) are too far apart here as well.
    """
    for video in one_by_one(dataset.split(split), predictions, flow):
        near = [t for t, valid in enumerate(flow.pair_valid(video.id)) if valid]
        for t in near:
            first, second = (predictions.frame(video.id, index) for index in (t, t + 1))
            forward = flow.forward(video.id, t) if both else None
            yield FlowPair(first, second, backward=flow.backward(video.id, t), forward=forward)


def frame_predictions(dataset: VideoDataset, split: str, instances: Sequence[Path]) -> Iterator[FramePrediction]:
    """(video id, frame index, instances) of every frame of a split."""
    reader = open_instances(instances)
    for video in one_by_one(dataset.split(split), reader):
        for index in range(len(video)):
            yield video.id, index, reader.frame(video.id, index)


def score_tracks(
    tracks: Path, ground_truth: Path, settings: EvaluationSettings, output: Path, *, processes: int = 1
) -> None:
    """VIS metrics (§5.4) of a result file, with intervals and curves; what `wsvis evaluate` computes."""
    if not_evaluated(read_json(ground_truth, made_by=MADE_BY), output):
        return
    bootstrap = Bootstrap(settings.bootstrap_resamples, settings.confidence, settings.bootstrap_seed)
    [scores] = score_result_files(ground_truth, [tracks], bootstrap, truth_made_by=MADE_BY, processes=processes)
    write_json(output, scores.metrics, indent=1)
