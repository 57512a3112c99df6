"""ReportInputs: everything the report shows, as plain data. Nothing here reads a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.visualization.transfers import PairTransfer
from wsvis_core.visualization.way import Way

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
    """Some moments of one video in time order."""

    name: str
    columns: Sequence[FrameColumn] = ()


class ClipMark(NamedTuple):
    """One instance of a clip's moment: class index, score 0..1, mask as the text of a compressed RLE."""

    class_index: int
    score: float
    mask: str


@dataclass(frozen=True)
class ClipTrack:
    """One track of a clip, or one annotated object.

    number: from 1 within its video · score: 0..1, None for an object · masks: for each of the clip's N moments the
    text of a compressed RLE, or None where it is absent · estimate: how far it is to be trusted, 0..1, where known.
    """

    number: int
    class_index: int
    score: float | None
    masks: Sequence[str | None]
    estimate: float | None = None


@dataclass(frozen=True)
class Clip:
    """One video of the gallery at N ≥ 1 moments, encoded for the page's player. A layer that was not made is None.

    video_id     the data set's id
    size         (h, w) of pictures and masks
    length       frames of the whole video; `frames` says which of them the N moments are, ascending
    pictures     N JPEGs
    flow         N JPEGs of the flow as colours, at a size of their own; full_flow: pixels that full colour stands for
    cam          N WebPs (h', w', RGBA): the strongest class's colour, its activation as opacity
    cam_classes  for each moment the class indices of its CAMs
    pseudo_labels, predictions   for each moment its instances, best score first
    tracks, truth                of the whole video, in the order of their numbers
    classes      class indices that the video is labelled with
    quality      0..1 or None; what best and worst mean in the gallery
    cover        a JPEG of one moment with its tracks
    """

    video_id: int
    name: str
    note: str
    size: tuple[int, int]
    length: int
    frames: Sequence[int]
    pictures: Sequence[bytes]
    flow: Sequence[bytes] | None
    full_flow: float
    cam: Sequence[bytes] | None
    cam_classes: Sequence[Sequence[int]]
    pseudo_labels: Sequence[Sequence[ClipMark]] | None
    predictions: Sequence[Sequence[ClipMark]] | None
    tracks: Sequence[ClipTrack] | None
    truth: Sequence[ClipTrack] | None
    classes: Sequence[int]
    quality: float | None
    cover: bytes


@dataclass(frozen=True)
class Gallery:
    """The videos that can be watched on the page.

    held_out: videos of the split · trained_on: they are those that were trained on too · candidates: those whose layers
    were made for the report · quality_name, quality_note: what the clips' `quality` is, in two words and in a sentence.
    """

    clips: Sequence[Clip] = ()
    held_out: int = 0
    candidates: int = 0
    quality_name: str = ""
    quality_note: str = ""
    trained_on: bool = False


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
    gallery           videos to watch
    quality           estimates of the tracks' quality, as `quality_section` takes them; None without
    way               from label to track, video by video; None for held-out videos with ground truth
    strips            single moments of the first videos, for the picture beside the page
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
    gallery: Gallery = field(default_factory=Gallery)
    quality: Mapping[str, Any] | None = None
    way: Way | None = None
    strips: Sequence[VideoStrip] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    split_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stage_costs: Sequence[Mapping[str, object]] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
