"""Gather what the report shows from a run's artefacts."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsvis_core.cam.infer import CamReader
from wsvis_core.config import ReportSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.evaluation.ground_truth import has_masks
from wsvis_core.evaluation.infer import NOT_EVALUATED
from wsvis_core.flow.load import FlowReader
from wsvis_core.quality.files import read_quality
from wsvis_core.quality.routes import read_choice
from wsvis_core.storage.files import read_json
from wsvis_core.storage.instance_shards import open_instances
from wsvis_core.tracking.results import read_results
from wsvis_core.visualization.collect_labels import label_examples, label_metrics, label_quality
from wsvis_core.visualization.collect_videos import VideoLayers, by_video, collect_gallery, collect_strips, trained_on
from wsvis_core.visualization.collect_way import collect_way
from wsvis_core.visualization.inputs import (
    LabelExample,
    ReportInputs,
    TrackCategory,
    TrackQuality,
    TransferSheet,
    TransferView,
)
from wsvis_core.visualization.markup import duration
from wsvis_core.visualization.tables import read_table
from wsvis_core.visualization.transfers import read_transfers
from wsvis_core.visualization.versions import code_version


@dataclass(frozen=True)
class RunFiles:
    """Where the artefacts of one pipeline lie. Labellers, rounds and tables map a name to its files, in page order.

    flow, cams, pseudo_labels, predictions: shards of the videos shown · transfers: round -> (its transfers, its
    training records) · consistency: of the last round's masks · quality, quality_metrics: estimates of the tracks'
    quality, and what they are worth · routes: what was published, where there was a choice (quality/routes.py).
    """

    dataset: Path
    ground_truth: Path
    flow: Sequence[Path]
    cams: Sequence[Path]
    pseudo_labels: Sequence[Path]
    predictions: Sequence[Path]
    tracks: Path
    video_metrics: Path
    frame_metrics: Mapping[str, Path]
    pseudo_label_metrics: Mapping[str, Path]
    train_ground_truth: Path
    train_labels: Mapping[str, Sequence[Path]]
    records: Mapping[str, Path]
    benchmarks: Path
    tables: Mapping[str, Path] = field(default_factory=dict)
    transfers: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)
    consistency: Path | None = None
    quality: Path | None = None
    quality_metrics: Path | None = None
    routes: Path | None = None


def collect_report(
    name: str, files: RunFiles, pipeline: Mapping[str, Any], run_settings: Mapping[str, Any], settings: ReportSettings
) -> ReportInputs:
    """Everything on the report page of data set `name`."""
    dataset = VideoDataset.load(files.dataset.parent)
    video_metrics = _metrics(files.video_metrics)
    frame_metrics = {round_name: _metrics(path) for round_name, path in files.frame_metrics.items()}
    last_round = list(frame_metrics)[-1]
    scored = {labeller: _metrics(path) for labeller, path in files.pseudo_label_metrics.items()}
    labels = {labeller: found for labeller, found in scored.items() if found}
    quality = _quality(files)
    layers = _layers(dataset, files, quality)
    costs = stage_costs(files.benchmarks)
    splits = {split: _counts(dataset.split(split)) for split in ("train", "val")}
    return ReportInputs(
        title=f"wsvis · {name}",
        class_names=[category.name for category in dataset.categories],
        video_metrics=_numbers(video_metrics),
        track_quality=track_quality(video_metrics),
        frame_metrics=_numbers(frame_metrics[last_round]) | _rounds(frame_metrics) | _consistency(files.consistency),
        pseudo_labels={labeller: label_metrics(found) for labeller, found in labels.items()},
        label_quality={labeller: label_quality(found) for labeller, found in labels.items()},
        label_examples=_label_examples(dataset, files, labels),
        tables={table: read_table(path) for table, path in files.tables.items()},
        categories=_categories(video_metrics, frame_metrics[last_round]),
        scalars={stage: _records(path) for stage, path in files.records.items()},
        transfers={name: _transfers(dataset, *paths) for name, paths in files.transfers.items()},
        gallery=collect_gallery(layers, settings),
        quality=quality,
        way=collect_way(layers, quality, None if files.routes is None else read_choice(files.routes), settings),
        strips=collect_strips(layers, settings),
        settings=run_settings,
        split_counts=splits,
        stage_costs=costs,
        facts={
            "data set": name,
            "videos": f"{splits['val']['videos']}, trained on and looked at"
            if trained_on(dataset)
            else f"{splits['train']['videos']} training, {splits['val']['videos']} held-out",
            "classes": str(len(dataset.categories)),
            **({} if video_metrics else {"ground truth": "none: class labels only, nothing to evaluate"}),
            **{key: str(value) for key, value in pipeline.items() if isinstance(value, str | int)},
            "time": f"{duration(sum(float(str(row['seconds'])) for row in costs))} in {len(costs)} stages",
            "code": code_version(),
        },
    )


def _quality(files: RunFiles) -> dict[str, Any] | None:
    """The estimates with their evaluation, None where none were made."""
    if files.quality is None:
        return None
    found = dict(read_quality(files.quality))
    if files.quality_metrics is not None:
        found["evaluation"] = read_json(files.quality_metrics, made_by="rule evaluate_quality")
    return found


def _layers(dataset: VideoDataset, files: RunFiles, quality: Mapping[str, Any] | None) -> VideoLayers:
    truth = read_json(files.ground_truth, made_by="rule prepare_dataset")
    rows = [] if quality is None else quality["tracks"]
    return VideoLayers(
        dataset,
        FlowReader(files.flow),
        CamReader(files.cams),
        open_instances(files.pseudo_labels),
        open_instances(files.predictions),
        by_video(read_results(files.tracks)),
        by_video(truth["annotations"]) if has_masks(truth) else None,
        {(row["video_id"], row["track"]): row["estimate"] for row in rows},
    )


def _consistency(path: Path | None) -> dict[str, float]:
    """Temporal consistency, which needs no ground truth."""
    return {} if path is None else {"TC": float(read_json(path, made_by="rule evaluate_consistency")["TC"])}


def _label_examples(
    dataset: VideoDataset, files: RunFiles, labels: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[LabelExample]]:
    """Frames of the first labeller, which the pipeline goes on with; the other labellers' labels beside its own."""
    if not labels:
        return {}
    first = next(iter(labels))
    truth = read_json(files.train_ground_truth, made_by="rule prepare_dataset")
    return label_examples(dataset, truth, files.train_labels, labels[first]["examples"], first)


def _metrics(path: Path) -> dict[str, Any]:
    """The metrics in a file, {} where there was no mask to compare with."""
    found = read_json(path, made_by="the evaluate rules")
    return {} if NOT_EVALUATED in found else found


def _transfers(dataset: VideoDataset, path: Path, records: Path) -> TransferSheet:
    """The pairs in a file of rule show_transfers with their frames."""
    found = read_transfers(path)
    views = []
    for pair in found.pairs:
        video = dataset.video(pair.video_id)
        frames = (dataset.read_frame(video, index) for index in (pair.source, pair.target))
        views.append(TransferView(video.name, *frames, pair))
    return TransferSheet(found.transfer, found.looked_at, found.with_transfer, views, _records(records))


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.items() if isinstance(value, int | float)}


def track_quality(metrics: Mapping[str, Any]) -> TrackQuality:
    """Intervals, categories and curves from the metrics of rule evaluate_video; empty without ground truth."""
    if not metrics:
        return TrackQuality()
    curves, how = metrics["precision_recall"], metrics.get("bootstrap", {})
    columns = ("AP50", "mAP", "AR10", "ground_truth_tracks", "result_tracks")
    return TrackQuality(
        intervals=metrics.get("intervals", {}),
        confidence=how.get("confidence", 0.0),
        resamples=how.get("resamples", 0),
        categories={
            row["name"]: TrackCategory({key: row[key] for key in columns}, row.get("intervals", {}))
            for row in metrics["per_category"]
        },
        curves=curves["mean"],
        category_precision={row["name"]: row["AP50"] for row in curves["per_category"]},
    )


def _rounds(frame_metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """AP50 of every round beside the last one's, to see what self-training did."""
    return {f"AP50 {name}".replace(" ", "_"): float(found["AP50"]) for name, found in frame_metrics.items() if found}


def _categories(video: Mapping[str, Any], frames: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    of_videos, of_frames = video.get("per_category", ()), frames.get("per_category", ())
    rows = {row["name"]: {"video_AP50": row["AP50"], "video_mAP": row["mAP"]} for row in of_videos}
    for row in of_frames:
        rows.setdefault(row["name"], {})["frame_AP50"] = row["AP50"]
    return rows


def _counts(videos: Sequence[Video]) -> dict[str, int]:
    return {"videos": len(videos), "frames": sum(len(video) for video in videos)}


def _records(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def stage_costs(folder: Path) -> list[dict[str, object]]:
    """Wall seconds (summed over a rule's jobs) and largest memory from Snakemake's benchmark files, dearest first.

    Memory is None where every job of the rule was too short for a reading.
    """
    costs: dict[str, list[tuple[float, float | None]]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        with open(path) as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        costs.setdefault(rule, []).extend((float(row["s"]), _number(row["max_rss"])) for row in rows)
    summary: list[dict[str, object]] = [
        {
            "rule": rule,
            "jobs": len(jobs),
            "seconds": sum(seconds for seconds, _ in jobs),
            "max_rss_mb": max((memory for _, memory in jobs if memory is not None), default=None),
        }
        for rule, jobs in costs.items()
        if jobs
    ]
    return sorted(summary, key=lambda row: -float(str(row["seconds"])))


def _number(text: str) -> float | None:
    """A benchmark cell; very short jobs have no memory reading."""
    return float(text) if text not in ("", "-", "NA") else None
