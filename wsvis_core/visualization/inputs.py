"""ReportInputs: everything the report shows, as plain data. Nothing here reads a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import EncodedInstances

Metrics = Mapping[str, float]


class TrackMask(NamedTuple):
    """One track in one frame: id ≥ 1, class name, score in 0..1 (None for ground truth), mask bool (H,W)."""

    track_id: int
    class_name: str
    score: float | None
    mask: np.ndarray


@dataclass(frozen=True)
class FrameColumn:
    """One moment of a video: the frame and whatever the pipeline made of it.

    frame uint8 (H,W,3) RGB · flow float32 (2,h,w), (dx, dy) in pixels of its own h×w · cam float32 (K,h,w) ≥ 0 with
    `cam_classes` naming the K channels, or a dict {class name: (h,w)} · label_map integer (h,w), 0 background,
    1..C class index + 1, 255 ignored · masks at any size (resized to the frame).
    None means "this layer was not made"; an empty set or tuple means "made, and nothing is here".
    """

    index: int
    frame: np.ndarray
    flow: np.ndarray | None = None
    cam: np.ndarray | Mapping[str, np.ndarray] | None = None
    cam_classes: Sequence[str] = ()
    label_map: np.ndarray | None = None
    pseudo_labels: EncodedInstances | InstanceSet | None = None
    predictions: EncodedInstances | InstanceSet | None = None
    tracks: Sequence[TrackMask] | None = None
    ground_truth: Sequence[TrackMask] | None = None


@dataclass(frozen=True)
class VideoStrip:
    """Some moments of one video in time order; `note` is one line under the name (length, size, class labels)."""

    name: str
    columns: Sequence[FrameColumn] = ()
    note: str = ""


@dataclass(frozen=True)
class ReportInputs:
    """What the page is made of. Every part may be empty; the page then says that it is.

    Metrics are fractions in 0..1 and are shown times 100 when their name says AP, AR, IoU, precision or recall; other
    numbers are shown as they are. NaN and negative AP/AR mean "no ground truth for it".
    class_names       the C classes in index order, for the instances' class indices and the class colours
    video_metrics     {"mAP", "AP50", "AP75", "AR1", "AR10", ...} of the tracks
    frame_metrics     {"AP50", "AP75", ...} of the single-frame masks
    pseudo_labels     labeller name -> metrics of its pseudo-labels
    categories        category name -> metrics, one row each
    precision_recall  curve name -> (recall (P,), precision (P,)), fractions
    scalars           stage name -> JSONL records, each {"iteration": int, "loss_...": float, ...}
    settings          the merged configuration, nested plain types
    split_counts      split name -> {"videos": int, "frames": int, ...}
    stage_costs       [{"rule": str, "seconds": float, "max_rss_mb": float | None}, ...] in the order they ran
    facts             short run facts, such as {"data set": "demo", "commit": "1a2b3c"}
    """

    title: str
    class_names: Sequence[str] = ()
    video_metrics: Metrics = field(default_factory=dict)
    frame_metrics: Metrics = field(default_factory=dict)
    pseudo_labels: Mapping[str, Metrics] = field(default_factory=dict)
    categories: Mapping[str, Metrics] = field(default_factory=dict)
    precision_recall: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    scalars: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    strips: Sequence[VideoStrip] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    split_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stage_costs: Sequence[Mapping[str, object]] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
