"""ReportInputs: everything the report shows, as plain data. Nothing here reads a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.visualization.transfers import PairTransfer

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
class LabelQuality:
    """What is known of a labeller's pseudo-labels beside its metrics; every part may be empty.

    mean_precision, category_precision  precision 0..1 at R evenly spaced recalls 0..1, IoU 0.5
    matched_scores, unmatched_scores    numbers of right and wrong labels in B equal bins of their score 0..1
    best_ious                           numbers of objects in B equal bins of the IoU of their best label
    categories                          category name -> metrics
    """

    mean_precision: Sequence[float] = ()
    category_precision: Mapping[str, Sequence[float]] = field(default_factory=dict)
    matched_scores: Sequence[int] = ()
    unmatched_scores: Sequence[int] = ()
    best_ious: Sequence[int] = ()
    categories: Mapping[str, Metrics] = field(default_factory=dict)


Interval = Sequence[float] | None


@dataclass(frozen=True)
class TrackCategory:
    """One category's metrics of tracks, with intervals (low, high) for some of them."""

    metrics: Metrics
    intervals: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class TrackQuality:
    """What is known of the tracks beside their metrics; every part may be empty.

    intervals           metric name -> (low, high), 0..1, None where there is none; confidence, resamples: of what
    categories          category name -> its metrics and their intervals
    curves              AP50, AP75, mAP -> precision 0..1 at R evenly spaced recalls 0..1, mean over categories
    category_precision  category name -> the same at IoU 0.5
    """

    intervals: Mapping[str, Interval] = field(default_factory=dict)
    confidence: float = 0.0
    resamples: int = 0
    categories: Mapping[str, TrackCategory] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    category_precision: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelView:
    """One labeller's labels of a frame, and for each of the frame's objects the IoU of its best label."""

    labels: EncodedInstances
    best_ious: Sequence[float]


@dataclass(frozen=True)
class LabelExample:
    """One frame uint8 (H,W,3) with its true objects (class name, mask bool (H,W)), as each labeller labels it."""

    title: str
    frame: np.ndarray
    objects: Sequence[tuple[str, np.ndarray]]
    views: Mapping[str, LabelView]


@dataclass(frozen=True)
class ResultTable:
    """A table of results as it was written: column names, and rows of as many cells; the first cell names its row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class TransferView:
    """A training pair with its two frames uint8 (H,W,3), of the same size; masks at any size."""

    title: str
    source_frame: np.ndarray
    target_frame: np.ndarray
    pair: PairTransfer


@dataclass(frozen=True)
class TransferSheet:
    """What is known of the transfers of one round: the training records, and pairs to look at.

    transfer: False for a plain Mask R-CNN · looked_at, with_transfer: pairs tried, and those with a transferred label.
    """

    transfer: bool
    looked_at: int = 0
    with_transfer: int = 0
    views: Sequence[TransferView] = ()
    records: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True)
class ReportInputs:
    """What the page is made of. Every part may be empty; the page then says that it is.

    Metrics are fractions in 0..1 and are shown times 100 when their name says AP, AR, TC, IoU, share, precision or
    recall; other numbers are shown as they are. NaN and negative AP/AR mean "no ground truth for it".
    class_names       the C classes in index order, for the instances' class indices and the class colours
    video_metrics     {"mAP", "AP50", "AP75", "AR1", "AR10", ...} of the tracks
    track_quality     intervals, categories and curves of the tracks
    frame_metrics     {"AP50", "AP75", ...} of the single-frame masks
    pseudo_labels     labeller name -> metrics of its pseudo-labels
    label_quality     labeller name -> charts' data of its pseudo-labels
    label_examples    title -> frames to look at ("Worst frames of ...")
    categories        category name -> metrics, one row each
    tables            name ("table4") -> a table over many runs
    scalars           stage name -> JSONL records, each {"iteration": int, "loss_...": float, ...}
    transfers         round name -> MaskConsist's transfers
    settings          the merged configuration, nested plain types
    split_counts      split name -> {"videos": int, "frames": int, ...}
    stage_costs       [{"rule": str, "seconds": float, "max_rss_mb": float | None}, ...] in the order they ran
    facts             short run facts, such as {"data set": "demo", "commit": "1a2b3c"}
    """

    title: str
    class_names: Sequence[str] = ()
    video_metrics: Metrics = field(default_factory=dict)
    track_quality: TrackQuality = field(default_factory=TrackQuality)
    frame_metrics: Metrics = field(default_factory=dict)
    pseudo_labels: Mapping[str, Metrics] = field(default_factory=dict)
    label_quality: Mapping[str, LabelQuality] = field(default_factory=dict)
    label_examples: Mapping[str, Sequence[LabelExample]] = field(default_factory=dict)
    categories: Mapping[str, Metrics] = field(default_factory=dict)
    tables: Mapping[str, ResultTable] = field(default_factory=dict)
    scalars: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    transfers: Mapping[str, TransferSheet] = field(default_factory=dict)
    strips: Sequence[VideoStrip] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    split_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stage_costs: Sequence[Mapping[str, object]] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
