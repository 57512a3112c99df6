"""Gather what the report shows from a run's artefacts."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wsvis_core.cam.infer import CamReader
from wsvis_core.config import ReportSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.evaluation.ground_truth import has_masks
from wsvis_core.evaluation.infer import NOT_EVALUATED
from wsvis_core.flow.load import FlowReader
from wsvis_core.storage.files import read_json
from wsvis_core.storage.instance_shards import InstanceReader, open_instances
from wsvis_core.storage.rle import decode_mask
from wsvis_core.tracking.results import read_results
from wsvis_core.visualization.collect_labels import label_examples, label_metrics, label_quality
from wsvis_core.visualization.inputs import (
    FrameColumn,
    LabelExample,
    ReportInputs,
    TrackCategory,
    TrackMask,
    TrackQuality,
    TransferSheet,
    TransferView,
    VideoStrip,
)
from wsvis_core.visualization.tables import read_table
from wsvis_core.visualization.transfers import read_transfers


@dataclass(frozen=True)
class RunFiles:
    """Where the artefacts of one pipeline lie. Labellers, rounds and tables map a name to its files, in page order.

    transfers: round -> (its transfers, its training records).
    """

    dataset: Path
    ground_truth: Path
    flow: Path
    cams: Path
    pseudo_labels: Path
    predictions: Path
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


@dataclass(frozen=True)
class _Layers:
    """Open readers of everything a strip shows, and tracks and ground truth by video."""

    dataset: VideoDataset
    flow: FlowReader
    cams: CamReader
    pseudo_labels: InstanceReader
    predictions: InstanceReader
    tracks: dict[int, list[dict[str, Any]]]
    ground_truth: dict[int, list[dict[str, Any]]] | None


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
    return ReportInputs(
        title=f"wsvis · {name}",
        class_names=[category.name for category in dataset.categories],
        video_metrics=_numbers(video_metrics),
        track_quality=track_quality(video_metrics),
        frame_metrics=_numbers(frame_metrics[last_round]) | _rounds(frame_metrics),
        pseudo_labels={labeller: label_metrics(found) for labeller, found in labels.items()},
        label_quality={labeller: label_quality(found) for labeller, found in labels.items()},
        label_examples=_label_examples(dataset, files, labels),
        tables={table: read_table(path) for table, path in files.tables.items()},
        categories=_categories(video_metrics, frame_metrics[last_round]),
        scalars={stage: _records(path) for stage, path in files.records.items()},
        transfers={name: _transfers(dataset, *paths) for name, paths in files.transfers.items()},
        strips=_strips(dataset, files, settings),
        settings=run_settings,
        split_counts={split: _counts(dataset.split(split)) for split in ("train", "val")},
        stage_costs=stage_costs(files.benchmarks),
        facts={
            "data set": name,
            **({} if video_metrics else {"ground truth": "none: class labels only, nothing to evaluate"}),
            **{key: str(value) for key, value in pipeline.items() if isinstance(value, str | int)},
        },
    )


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


def _strips(dataset: VideoDataset, files: RunFiles, settings: ReportSettings) -> list[VideoStrip]:
    """The first held-out videos of the shard whose CAMs and pseudo-labels were made for the report."""
    truth = read_json(files.ground_truth, made_by="rule prepare_dataset")
    layers = _Layers(
        dataset,
        FlowReader([files.flow]),
        CamReader([files.cams]),
        open_instances([files.pseudo_labels]),
        open_instances([files.predictions]),
        _by_video(read_results(files.tracks)),
        _by_video(truth["annotations"]) if has_masks(truth) else None,
    )
    shown = [video for video in dataset.split("val") if video.id in layers.predictions][: settings.videos]
    return [_strip(layers, video, settings.frames_per_video) for video in shown]


def _by_video(entries: Sequence[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    groups: dict[int, list[dict[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(entry["video_id"], []).append(entry)
    return groups


def _strip(layers: _Layers, video: Video, frames: int) -> VideoStrip:
    """Evenly spaced frames of a video, first and last among them."""
    moments = sorted({round(t) for t in np.linspace(0, len(video) - 1, min(frames, len(video)))})
    classes = np.flatnonzero(layers.dataset.class_labels(video).any(axis=0))
    names = ", ".join(layers.dataset.categories[c].name for c in classes) or "none"
    note = f"{len(video)} frames of {video.width}×{video.height}; classes: {names}"
    return VideoStrip(video.name, [_column(layers, video, t) for t in moments], note)


def _column(layers: _Layers, video: Video, t: int) -> FrameColumn:
    cams = layers.cams.frame(video.id, t)
    names = [category.name for category in layers.dataset.categories]
    return FrameColumn(
        index=t,
        frame=layers.dataset.read_frame(video, t),
        flow=layers.flow.next_flow(video.id, t, (video.height, video.width)).flow.numpy(),
        cam=cams.high_res,
        cam_classes=[names[key] for key in cams.keys],
        pseudo_labels=layers.pseudo_labels.frame(video.id, t),
        predictions=layers.predictions.frame(video.id, t),
        tracks=_masks_at(layers, layers.tracks.get(video.id, []), t),
        ground_truth=None
        if layers.ground_truth is None
        else _masks_at(layers, layers.ground_truth.get(video.id, []), t),
    )


def _masks_at(layers: _Layers, entries: Sequence[dict[str, Any]], t: int) -> list[TrackMask]:
    """The tracks or annotated objects that exist in frame t; ids count the video's entries from 1."""
    categories = layers.dataset.categories
    found = []
    for number, entry in enumerate(entries, start=1):
        rle = entry["segmentations"][t]
        if rle is not None:
            name = categories[layers.dataset.class_index(entry["category_id"])].name
            found.append(TrackMask(number, name, entry.get("score"), decode_mask(rle)))
    return found
