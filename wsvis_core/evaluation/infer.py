"""Metrics of stored artefacts against ground truth, written as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from wsvis_core.config import EvaluationSettings
from wsvis_core.datasets.video import VideoDataset
from wsvis_core.evaluation.frames import FramePrediction, evaluate_frame_predictions
from wsvis_core.evaluation.pseudo_labels import evaluate_pseudo_labels
from wsvis_core.evaluation.video import evaluate_video_results
from wsvis_core.storage.files import read_json, write_json
from wsvis_core.storage.instance_shards import open_instances
from wsvis_core.tracking.results import read_results

MADE_BY = "rule prepare_dataset"


def score_frames(
    dataset: VideoDataset,
    split: str,
    instances: Sequence[Path],
    ground_truth: Path,
    settings: EvaluationSettings,
    output: Path,
) -> None:
    """Frame metrics (§7.1) of the instances of a split; pseudo-labels (split "train") get diagnostics too (§7.2)."""
    truth = read_json(ground_truth, made_by=MADE_BY)
    category_ids = [category.id for category in dataset.categories]
    found = frame_predictions(dataset, split, instances)
    thresholds = settings.instance_count_thresholds
    score = evaluate_pseudo_labels if split == "train" else evaluate_frame_predictions
    write_json(output, score(truth, found, category_ids, score_thresholds=thresholds), indent=1)


def frame_predictions(dataset: VideoDataset, split: str, instances: Sequence[Path]) -> Iterator[FramePrediction]:
    """(video id, frame index, instances) of every frame of a split."""
    reader = open_instances(instances)
    for video in dataset.split(split):
        for index in range(len(video)):
            yield video.id, index, reader.frame(video.id, index)


def score_tracks(tracks: Path, ground_truth: Path, output: Path) -> None:
    """VIS metrics (§5.4) of a result file."""
    truth = read_json(ground_truth, made_by=MADE_BY)
    write_json(output, evaluate_video_results(truth, read_results(tracks)), indent=1)
