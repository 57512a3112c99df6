"""Every setting: one pydantic model per stage, with the paper's value as default where it has one.

A run's settings are merged in this order, later ones win: the models' defaults, the sections of `config.yaml` (and of
every further --configfile), the data set's block, the named variant (flow, labeller, segmenter, tracker).
Evidence for each default is in docs/method.md; what the paper leaves open says "paper silent".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from wsvis_core.errors import WsvisError

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def _ordered(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    if pair[0] > pair[1]:
        raise ValueError("the first number must not be greater than the second")
    return pair


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, numbers are finite, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    def influences(self) -> dict[str, Any]:
        """The values that influence a result, plain and sorted: all of them, where a section does not say otherwise."""
        values = self.model_dump(mode="json", by_alias=True)
        inner = {name: getattr(self, name) for name in type(self).model_fields}
        values |= {name: value.influences() for name, value in inner.items() if isinstance(value, Section)}
        return dict(sorted(values.items()))


def without_defaults(section: Section, *later: str) -> dict[str, Any]:
    """What `Section.influences` gives, less the settings named `later` where they have their default.

    For settings younger than results that must stay valid: what was always done goes without saying.
    """
    fields = type(section).model_fields
    unsaid = {name for name in later if getattr(section, name) == fields[name].default}
    return {key: value for key, value in Section.influences(section).items() if key not in unsaid}


class SplitSettings(Section):
    """Which videos are held out (docs/method.md §8.1)."""

    mode: Literal["sampled", "all"] = Field(
        "sampled", description="'sampled' draws held-out videos per category; 'all' uses every video for both"
    )
    val_per_category: Count = Field(10, description="held-out videos drawn of every category (paper: 10)")
    target_union: int | None = Field(None, ge=1, description="held-out videos in all; seeds are tried until it fits")
    seed: int = Field(0, ge=0, description="first seed tried")


class ShardSettings(Section):
    """How many files, and jobs, the videos of a split are spread over."""

    train: int = Field(56, ge=1, le=999, description="shards of training videos")
    val: int = Field(8, ge=1, le=999, description="shards of held-out videos")


class DatasetSettings(Section):
    """Where the videos are, and how they are split."""

    kind: Literal["youtube_vis", "folder", "synthetic"] = Field(
        "youtube_vis",
        description="'youtube_vis': annotated with masks; 'folder': your own videos with class labels alone, made by "
        "`wsvis import`; 'synthetic': generated",
    )
    root: str = Field(description="folder of the data set, relative to the working directory")
    annotation_file: str = Field("train.json", description="YouTube-VIS annotation file under root")
    frames_folder: str = Field("train/JPEGImages", description="annotated frames under root")
    all_frames_folder: str = Field("train_all_frames/JPEGImages", description="all native frames, optional")
    check_images: Literal["decode", "header", "none"] = Field("decode", description="how hard frames are checked")
    split: SplitSettings = SplitSettings()
    shards: ShardSettings = ShardSettings()
    synthetic: dict[str, Any] = Field({}, description="settings of the generator, for kind: synthetic")
    seed: int | None = Field(None, ge=0, description="of training on this data set, instead of the run's seed")
    replicates: tuple[str, ...] = Field(
        (), description="data sets that differ from this one in a seed only; tables give mean and error over all"
    )


class Stage1Settings(Section):
    """Working size of the pseudo-label stages: IRN's constants assume frames of about 500 pixels (§1.12)."""

    long_side: int = Field(512, ge=32, description="pixels; frames are scaled to this long side, up or down")
    irnet_scale: float = Field(1.0, ge=1, le=4, description="IRNet sees frames this much larger, for finer cells")


class FlowSettings(Section):
    """Optical flow (paper: DDFlow trained without labels; here OpenCV DIS, which needs no training)."""

    estimator: Literal["dis"] = Field("dis", description="the method")
    preset: Literal["ultrafast", "fast", "medium"] = Field("medium", description="DIS quality")
    estimate_long_side: int = Field(854, ge=32, description="pixels; larger frames are reduced before estimation")
    store_short_side: int = Field(240, ge=8, description="pixels; flow is stored at most this large")
    max_index_gap: Count = Field(10, description="native frames; a larger gap between annotated frames is no pair")


class CamSettings(Section):
    """Frame classifier and class activation maps (§1.1–1.3)."""

    backbone: Literal["resnet50", "resnet34", "resnet18", "resnet_tiny"] = Field(
        "resnet50", description="trunk; 'resnet_tiny' is a small one for small frames without ImageNet weights"
    )
    backbone_weights: str = Field("torchvision", description="'torchvision', 'none', or the path of a state dict")
    output_stride: Literal[8, 16, 32] = Field(16, description="pixels per cell of the last map")
    frozen_stages: int = Field(2, ge=0, le=4, description="gradient stops after this stage (IRN: layer2)")
    initial_head: Literal["random", "imagenet"] = Field(
        "random",
        description="'imagenet': the classifier begins with rows mixed from ImageNet's own, for few videos "
        "(docs/real_frames.md)",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the network while it trains; 'bfloat16' is faster where the device has it"
    )
    epochs: Positive = Field(5, description="passes over the training frames")
    batch_size: Count = Field(16, description="crops per step")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="IRN: 'sgd'; 'adamw' for training from scratch")
    lr: Positive = Field(
        0.1, description="of the trunk at the first step; lower it where there are few classes (docs/real_frames.md)"
    )
    head_lr_multiplier: Positive = Field(10.0, description="the classifier's rate relative to the trunk's")
    momentum: Fraction = Field(0.0, description="effectively 0 in IRN's public code")
    weight_decay: NotNegative = Field(1e-4, description="of all weights that train")
    poly_power: Positive = Field(0.9, description="the rate falls as (1 − step / steps)^power")
    resize_long: Annotated[tuple[Count, Count], AfterValidator(_ordered)] = Field(
        (320, 640), description="pixels; range of the random long side"
    )
    crop: int = Field(512, ge=32, description="pixels, square")
    scales: tuple[Positive, ...] = Field((1.0, 0.5, 1.5, 2.0), min_length=1, description="of the frame, summed")

    def influences(self) -> dict[str, Any]:
        return without_defaults(self, "initial_head")


class FCamSettings(Section):
    """f-CAM, Eq. 2: CAMs amplified where the frame moves."""

    enabled: bool = Field(True, description="false (in a labeller also `f_cam: false`): plain CAMs")
    A: float = Field(2.0, ge=1, description="amplification (paper: 2 on YouTube-VIS, 5 on Cityscapes)")
    percentile: float = Field(80.0, ge=0, le=100, description="of the frame's flow magnitude (paper: 80 / 50)")
    order: Literal["normalise_then_amplify", "amplify_then_normalise"] = Field(
        "normalise_then_amplify",
        description="'normalise_then_amplify': each class by its maximum, then A, and not again; paper silent",
    )
    labels: bool = Field(True, description="amplify the CAMs that make label maps")
    seeds: Literal["saturate", "raw", "none"] = Field("saturate", description="amplify random-walk seeds")
    camera: Literal["keep", "subtract", "similarity", "homography", "auto"] = Field(
        "keep",
        description="taken away from the flow first: nothing (paper), its median, or a fitted camera motion; 'auto': "
        "the homography where half of the frame agrees with it, else the median",
    )
    min_motion_px: NotNegative = Field(0.0, description="native pixels; slower motion is never amplified")


class LabelMapSettings(Section):
    """CAM → inter-pixel relation labels (§1.4)."""

    fg_threshold: Fraction = Field(0.30, description="a pixel is foreground where a CAM is above it")
    bg_threshold: Fraction = Field(
        0.05, description="a pixel is background where all CAMs are below it; between the two it is undecided"
    )
    crf: Literal["mean_field", "none"] = Field(
        "mean_field", description="refinement along the colours of the frame: a dense CRF, or none"
    )
    crf_iterations: Count = Field(10, description="of the mean field")
    crf_gt_prob: float = Field(0.7, gt=0, lt=1, description="how far the thresholds' decision is trusted")
    crf_position_std: Positive = Field(3.0, description="pixels")
    crf_position_weight: NotNegative = Field(3.0, description="of the kernel over positions")
    crf_bilateral_std: Positive = Field(50.0, description="pixels")
    crf_color_std: Positive = Field(5.0, description="grey levels, 0..255")
    crf_bilateral_weight: NotNegative = Field(10.0, description="of the kernel over positions and colours")


class FlowirnSettings(Section):
    """IRNet and its training (§1.6–1.8)."""

    backbone: Literal["resnet50", "resnet34", "resnet18", "resnet_tiny"] = Field(
        "resnet50", description="trunk, as cam.backbone"
    )
    backbone_weights: str = Field("torchvision", description="as cam.backbone_weights, or 'cam': the classifier's")
    output_stride: Literal[8, 16, 32] = Field(16, description="pixels per cell of the last map")
    train_backbone: bool = Field(False, description="IRN trains the two branches only")
    branch_width: float = Field(1.0, gt=0, le=1, description="channels of both branches relative to IRN's")
    radius: float = Field(10, ge=2, description="cells of stride 4; pairs this close are compared")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the network while it trains; 'bfloat16' is faster where the device has it"
    )
    epochs: Positive = Field(6, description="paper: 6 for flowIRN; IRN: 3")
    batch_size: Count = Field(32, description="crops per step")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="IRN: 'sgd'; 'adamw' for training from scratch")
    lr: Positive = Field(0.1, description="of the boundary branch, and of the trunk if it trains, at the first step")
    displacement_lr_multiplier: Positive = Field(10.0, description="the displacement branch's rate relative to lr")
    momentum: Fraction = Field(0.0, description="effectively 0 in IRN's public code")
    weight_decay: NotNegative = Field(1e-4, description="of all weights that train")
    poly_power: Positive = Field(0.9, description="the rate falls as (1 − step / steps)^power")
    rescale: Annotated[tuple[Positive, Positive], AfterValidator(_ordered)] = Field(
        (0.5, 1.5), description="range of the random scale"
    )
    crop: int = Field(512, ge=32, description="pixels, square")


class FBoundSettings(Section):
    """Flow-boundary loss, Eq. 3 (§2.2)."""

    enabled: bool = Field(True, description="false (in a labeller also `f_bound: false`): IRN's losses alone")
    weight: NotNegative = Field(1.0, description="of Eq. 3 beside IRN's losses; paper silent")
    lambda_: NotNegative = Field(2.0, alias="lambda", description="paper: 2")
    fprime: Literal["jacobian", "magnitude", "partials"] = Field(
        "jacobian",
        description="what F′ is: all four derivatives, those of the magnitude, or ‖∂F/∂x‖ and ‖∂F/∂y‖; paper silent",
    )
    difference: Literal["forward", "central", "sobel"] = Field(
        "forward", description="how derivatives are taken between cells; 'forward' keeps a step in one cell"
    )
    pair_cost: Literal["endpoint", "path_max"] = Field(
        "endpoint", description="'endpoint': F′ of both ends (paper); 'path_max': the largest difference along the path"
    )
    pairs: Literal["all", "fg_only"] = Field(
        "all", description="'all' within the radius, or those with both ends on foreground labels"
    )
    reduce: Literal["mean", "sum_j_mean_i"] = Field(
        "mean", description="mean over pairs, or sum over a cell's partners and mean over cells; paper silent"
    )
    clip: float | None = Field(20.0, gt=0, description="largest difference of F′ that counts; none: no limit")
    flow_units: Literal["native", "working"] = Field(
        "native",
        description="'native': pixels of the original frame per native frame; 'working': pixels of the working size",
    )
    flow_value_scale: Positive = Field(1.0, description="factor on flow before F′ is taken")
    camera: Literal["keep", "subtract", "similarity", "homography", "auto"] = Field(
        "keep", description="taken away from the flow before F′ is taken, as f_cam.camera"
    )
    gradient_scale: Positive | Literal["quantile"] = Field(
        "quantile", description="factor on F′; 'quantile': what brings that quantile of |F′| of a batch to its value"
    )
    quantile: float = Field(0.95, gt=0, le=1, description="of |F′| over the cells of a batch")
    quantile_value: Positive = Field(4.0, description="what the quantile of |F′| becomes, beside lambda")

    def influences(self) -> dict[str, Any]:
        # The flow as it is goes without saying: networks from before there was a choice stay valid.
        return {key: value for key, value in super().influences().items() if (key, value) != ("camera", "keep")}


class PseudoLabelSettings(Section):
    """Instance grouping, random walk and decoding (§1.9–1.10)."""

    kind: Literal["irnet"] = Field("irnet", description="the labeller: IRNet, with or without flow")
    radius: float = Field(5, ge=2, description="cells; neighbourhood of the random walk")
    beta: Positive = Field(10.0, description="power of the affinities in the random walk")
    exp_times: int = Field(8, ge=0, le=12, description="2^this random-walk steps")
    background_threshold: Fraction = Field(
        0.25, description="share of the walk's maximum below which a pixel is background"
    )
    cluster_threshold: Positive = Field(2.5, description="cells; weak displacement region")
    centroid_iterations: Count = Field(300, description="steps along the displacement field")
    min_area_fraction: Fraction = Field(0.01, description="of the frame; smaller fragments score 0")
    max_cover: Fraction | None = Field(
        None,
        description="share of the frame; a larger label, or one along three sides, is taken for background and left "
        "out; none keeps all (paper)",
    )

    def influences(self) -> dict[str, Any]:
        return without_defaults(self, "kind", "max_cover")


class MaskconsistSettings(Section):
    """Mask R-CNN and MaskConsist (§3)."""

    kind: Literal["detector", "labels"] = Field(
        "detector", description="'labels': the pseudo-labels themselves instead of a detector that learns from them"
    )
    backend: Literal["torchvision", "detectron2"] = Field(
        "torchvision", description="the framework of the Mask R-CNN (docs/detectron2.md)"
    )
    backbone: Literal["resnet50", "resnet34", "resnet18", "resnet_tiny"] = Field(
        "resnet50", description="trunk, as cam.backbone"
    )
    backbone_weights: str = Field("torchvision", description="as cam.backbone_weights, or 'cam': the classifier's")
    output_stride: Literal[8, 16, 32] = Field(32, description="pixels per cell of the trunk's last map")
    trainable_stages: int = Field(3, ge=0, le=5, description="stages that train, counted from the last")
    iterations: Count = Field(90_000, description="steps (paper: 90 000 YouTube-VIS, 75 000 Cityscapes)")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the network while it trains; labels, overlaps and losses are float32 either way"
    )
    pairs_per_step: Count = Field(
        1, description="frame pairs of a batch; 1 = 2 images, which lr 0.002 fits; paper silent"
    )
    accumulate: Count = Field(
        1, description="batches of a step, whose gradients are averaged; several GPUs share them (docs/training.md)"
    )
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="paper: 'sgd'; 'adamw' for training from scratch")
    lr: Positive = Field(0.002, description="paper: 0.002; never scaled by itself (docs/training.md)")
    head_lr_multiplier: Positive = Field(
        1.0,
        description="rate of all that is not the trunk, relative to `lr`; more where there are few steps",
    )
    gamma: Fraction = Field(0.1, description="factor on lr at each of `steps`")
    steps: tuple[Fraction, ...] = Field((0.75, 0.88), description="share of the run after which lr drops")
    momentum: Fraction = Field(0.9, description="of SGD")
    weight_decay: NotNegative = Field(1e-4, description="of all weights that train")
    warmup_iterations: int = Field(1000, ge=0, description="steps in which lr rises from a thousandth")
    grad_clip: float | None = Field(None, gt=0, description="largest gradient norm; none in the paper")
    short_side: int = Field(480, ge=32, description="pixels, of training frames; paper silent")
    max_side: int = Field(1333, ge=32, description="pixels; limit of the long side of training frames")
    flip: Fraction = Field(0.5, description="probability of mirroring a pair")
    scale_jitter: Annotated[tuple[Positive, Positive], AfterValidator(_ordered)] = Field(
        (1.0, 1.0),
        description="range of a random factor on short_side, one for both frames of a pair; paper silent",
    )
    sampling: Literal["uniform", "balanced"] = Field(
        "uniform",
        description="'uniform': every pair equally often; 'balanced': every class, and in it every video; paper silent",
    )
    fpn_channels: Count = Field(256, description="of the feature pyramid")
    representation_size: Count = Field(1024, description="width of the box head, and length of the appearance vectors")
    box_layers: Count = Field(2, description="fully connected layers of the box head")
    box_pool_size: Count = Field(7, description="cells per side of a region, for the box head")
    mask_channels: Count = Field(256, description="of the mask head")
    mask_layers: Count = Field(4, description="convolutions of the mask head")
    mask_pool_size: Count = Field(
        14, description="cells per side of a region, for the mask head; masks have twice as many"
    )
    class_agnostic_masks: bool = Field(
        False, description="one mask per region for all classes: learns from few videos; paper: one per class"
    )
    head_norm: Literal["none", "group"] = Field("none", description="'group' for training from scratch")
    anchor_sizes: tuple[Count, ...] = Field((32, 64, 128, 256, 512), description="pixels, one per pyramid level")
    roi_canonical_size: Positive = Field(224, description="pixels; boxes this large are read at stride 16")
    rpn_batch: Count = Field(256, description="anchors sampled per image")
    roi_batch: Count = Field(512, description="regions sampled per image")
    pre_nms: tuple[Count, Count] = Field((2000, 1000), description="proposals before NMS (training, test)")
    post_nms: tuple[Count, Count] = Field((1000, 1000), description="proposals after NMS (training, test)")
    # Predictions made while training, as at test time (§3.2).
    score_threshold: Fraction = Field(0.05, description="of predictions made while training")
    nms_threshold: Fraction = Field(0.5, description="box IoU within a class, of predictions made while training")
    max_detections: Count = Field(100, description="per frame, of predictions made while training")
    mask_threshold: Fraction = Field(0.5, description="a pixel belongs to a predicted mask from this probability on")
    # MaskConsist itself; all off = plain Mask R-CNN.
    intra_frame: bool = Field(
        True, description="unite predictions of a frame that agree with one label (paper, Table 5)"
    )
    inter_frame: bool = Field(True, description="transfer labels between the two frames (paper, Table 5)")
    iom_nms: bool = Field(True, description="of overlapping targets keep the larger (paper, Table 5)")
    start_iteration: int = Field(0, ge=0, description="earlier steps train on stage-1 labels alone")
    intra_box_iou: Fraction = Field(
        0.5, description="box IoU with a label from which on a prediction agrees with it (paper)"
    )
    gate_box_iou: Fraction = Field(
        0.5, description="box IoU with a label of its frame that a transferred prediction needs (paper)"
    )
    iom_threshold: Fraction = Field(
        0.5, description="intersection over the smaller mask above which the smaller is dropped (paper)"
    )
    min_edge: Fraction = Field(0.0, description="matches need a larger mask IoU than this")
    min_candidate_score: Fraction = Field(0.0, description="predictions below it are not transferred")
    class_aware_iom: bool = Field(True, description="only masks of one class suppress each other; paper silent")
    shared_matching: bool = Field(False, description="one matching for both directions, instead of one each")
    merge_rule: Literal["union", "prediction", "warped", "intersection"] = Field(
        "union",
        description="mask of a matched pair; 'union' is the paper's, the segmenter `maskconsist` takes 'intersection'",
    )
    label_priority: Literal["area", "labels_first"] = Field(
        "area", description="which of two overlapping targets stays: the larger (paper), or stage-1 labels first"
    )
    fill_only: bool = Field(False, description="transferred labels only fill gaps of the stage-1 labels")
    require_agreement: bool = Field(False, description="the target frame's own label must pass the gate too")
    growth_cap: float | None = Field(None, ge=1, description="largest union relative to its gating label")
    match_stride: Count = Field(1, description="pixels per cell at which overlaps of masks are compared")
    empty_targets: Literal["drop", "keep"] = Field("drop", description="frames left without a target")

    def influences(self) -> dict[str, Any]:
        if self.kind == "labels":
            return {"kind": self.kind}
        return without_defaults(self, "kind", "head_lr_multiplier", "scale_jitter", "sampling", "class_agnostic_masks")


class PredictionSettings(Section):
    """Test-time inference of the segmenter (§3.10)."""

    short_side: int = Field(480, ge=32, description="pixels")
    max_side: int = Field(1333, ge=32, description="pixels; limit of the long side")
    score_threshold: Fraction = Field(0.05, description="detections below it are not kept")
    nms_threshold: Fraction = Field(
        0.5, description="box IoU within a class above which the weaker detection is dropped"
    )
    max_detections: Count = Field(100, description="per frame, the best ones")
    mask_threshold: Fraction = Field(0.5, description="a pixel belongs to a mask from this probability on")
    given_labels: bool = Field(
        True,
        description="in frames of training videos only the classes of their labels are told apart; false: all classes, "
        "as in held-out videos. Tracks keep to the labels either way",
    )


class SelfTrainingSettings(Section):
    """Labels of round N from the predictions of round N−1 (§3.11)."""

    score_threshold: Fraction = Field(
        0.5, description="detections of a labelled class from this score on become labels"
    )
    fallback_threshold: Fraction = Field(0.05, description="a labelled class without detection takes its best above")
    iom_threshold: Fraction = Field(
        0.5, description="intersection over the smaller mask above which the smaller is dropped"
    )


class UnovostSettings(Section):
    """UnOVOST: flow-linked tracklets, joined by forest path cutting (§5.1)."""

    link_threshold: Fraction = Field(0.05, description="least mask IoU of a flow link, exclusive")
    link_long_side: int | None = Field(
        None, ge=16, description="pixels; masks are linked at this size instead of the frame's, for speed"
    )
    assignment: Literal["hungarian", "greedy"] = Field("hungarian", description="of flow links in a pair of frames")
    keep_last_frame: bool = Field(True, description="published: false, what appears only in the last frame is lost")
    merge: bool = Field(True, description="false (published as no_merge): every tracklet is a track of its own")
    parent_rule: Literal["published", "nearest"] = Field(
        "published", description="'nearest': never the second nearest, a child of the nearest"
    )
    cover_measure: Literal["published", "frames"] = Field(
        "published", description="published: end − start, which is 0 for a single frame; 'frames' counts them all"
    )
    cover_weight: NotNegative = Field(0.9, description="of a path's share of the video")
    appearance_weight: NotNegative = Field(0.1, description="of the best similarity of two tracklets in a path")
    ranking: Literal["score", "published"] = Field(
        "score", description="which tracks are kept; published: mean over tracklets of score × frames so far"
    )


class IouTrackerSettings(Section):
    """IoUTracker+: greedy by box IoU, frame after frame (§6.7)."""

    min_iou: Fraction = Field(0.5, description="σ_iou, with the last box of the track")
    min_best_score: Fraction = Field(0.05, description="σ_h, the best score a track must reach (published: 0.5)")
    min_length: Count = Field(1, description="t_min, frames a track must have (published: 2)")
    same_class: bool = Field(True, description="a track takes proposals of its own class only (the '+')")
    score_in_cost: bool = Field(True, description="of several, the largest IoU × score instead of IoU (the '+')")


class DeepsortSettings(Section):
    """DeepSORT: Kalman filter, appearance, matching cascade (§6.7)."""

    max_appearance_distance: float = Field(0.2, ge=0, le=2, description="cosine distance to the closest stored vector")
    gate: Positive = Field(9.4877, description="squared Mahalanobis distance (χ², 4 degrees of freedom, 95 %)")
    max_iou_distance: Fraction = Field(0.7, description="1 − box IoU, for what appearance left over")
    max_age: Count = Field(30, description="frames a track outlives without a match")
    confirm_hits: Count = Field(1, description="matches, the first one included, that make a track (published: 3)")
    gallery: int | None = Field(None, ge=1, description="vectors a track keeps, the latest; none: all of them")
    same_class: bool = Field(True, description="a track takes proposals of its own class only (not published)")
    position_std: Positive = Field(1 / 20, description="of the filter's positions, times the box height")
    velocity_std: Positive = Field(1 / 160, description="of the filter's velocities per frame, times the box height")


class MasktrackSettings(Section):
    """MaskTrack R-CNN's online matching, with our appearance vectors in place of its track head (§6.7)."""

    max_proposals: Count = Field(10, description="of a frame, the best ones")
    score_weight: NotNegative = Field(1.0, description="of the logarithm of the detection score")
    iou_weight: NotNegative = Field(2.0, description="of the box IoU with the track's last box")
    class_weight: NotNegative = Field(10.0, description="of having the track's class; a new track has it always")
    # The published logits are products of vectors that were trained to be above 0 for the same object. Ours are not.
    similarity_scale: NotNegative = Field(10.0, description="logit = scale · (cosine − new_similarity); not published")
    new_similarity: float = Field(0.8, ge=-1, le=1, description="cosine at which appearance is undecided about new")


class TrackingSettings(Section):
    """From masks per frame to tracks (§5.1–5.2, §6.7)."""

    kind: Literal["unovost", "iou", "deepsort", "masktrack"] = Field(
        "unovost", description="the tracker; of the sections below only its own matters"
    )
    min_score: Fraction = Field(0.05, description="proposals below are not used, by any tracker")
    overlap_threshold: Fraction = Field(
        0.2, description="of two proposals of a frame that overlap this much the better stays; 1 removes copies only"
    )
    overlap_measure: Literal["iou", "iom"] = Field("iou", description="'iom' is published as use_iom")
    per_class: bool = Field(False, description="track every class by itself; max_tracks then counts per class")
    appearance: Literal["box_head", "backbone", "none"] = Field(
        "box_head", description="vectors of the detector's box head, of an ImageNet network on crops (slow), or none"
    )
    backbone: Literal["resnet50", "resnet34", "resnet18"] = Field("resnet50", description="for appearance: backbone")
    backbone_weights: str = Field("torchvision", description="'torchvision', or the path of a state dict")
    category: Literal["summed_score", "majority"] = Field("summed_score", description="how a track's class is elected")
    length_weighted_score: bool = Field(False, description="multiply a track's score by its share of the video")
    max_tracks: Count = Field(20, description="tracks of a video, the best ones")
    second_hypothesis: bool = Field(False, description="export each track again with its second-best class")
    unovost: UnovostSettings = UnovostSettings()
    iou: IouTrackerSettings = IouTrackerSettings()
    deepsort: DeepsortSettings = DeepsortSettings()
    masktrack: MasktrackSettings = MasktrackSettings()

    @field_validator("backbone_weights")
    @classmethod
    def _trained(cls, value: str) -> str:
        if value == "none":
            raise ValueError("features of an untrained network tell nothing; give the path of a state dict")
        return value

    def influences(self) -> dict[str, Any]:
        sections = {name for name in type(self).model_fields if isinstance(getattr(self, name), Section)}
        unused = sections - {self.kind}
        if self.kind == "iou":
            unused.add("appearance")
        if self.kind == "iou" or self.appearance != "backbone":
            unused |= {"backbone", "backbone_weights"}
        return {key: value for key, value in super().influences().items() if key not in unused}


class EvaluationSettings(Section):
    """Which diagnostics are computed beside the official metrics."""

    instance_count_thresholds: tuple[Fraction, ...] = Field((0.05, 0.5), description="for instances per frame")
    selection_share: float = Field(
        0.1, ge=0, lt=1, description="of the training videos: options are chosen on these, tables leave them out (§7.6)"
    )
    consistency_thresholds: tuple[Fraction, ...] = Field(
        (0.05, 0.5), min_length=1, description="least scores of the predictions TC takes as truth; the first is `TC`"
    )
    consistency_direction: Literal["forward", "backward", "both"] = Field(
        "forward", description="TC: masks of t judge those of t+1, the reverse (as in ETC), or the mean of both (A37)"
    )
    consistency_ignore_occluded: bool = Field(
        False, description="TC leaves out pixels whose flow there and back disagrees (A37)"
    )
    bootstrap_resamples: int = Field(
        1000, ge=0, description="draws of videos behind the intervals of the VIS metrics; 0: no intervals"
    )
    bootstrap_seed: int = Field(0, ge=0, description="of these draws; the same for all runs, so that they compare")
    confidence: float = Field(0.95, gt=0, lt=1, description="share of the draws that an interval holds")


class QualitySettings(Section):
    """How far a track can be trusted, without ground truth (docs/quality.md)."""

    calibration: str | None = Field(
        None, description="file of `python -m benchmarks.track_quality`, fitted on other data; none: the built-in one"
    )


class ReportSettings(Section):
    """The report page."""

    videos: int = Field(24, ge=0, description="held-out videos shown at most, spread evenly")
    frames_per_video: Count = Field(36, description="of a longer video as many frames, spread evenly")
    long_side: int = Field(320, ge=32, le=1920, description="longer side of the player's pictures at most, pixels")
    megabytes: float = Field(12.0, gt=0, description="videos are left out once they take more of the page")
    tables: tuple[Literal["table1", "table3", "table4", "table5", "table6"], ...] = Field(
        (), description="tables shown; their runs are made for the report"
    )
    transfers: int = Field(3, ge=0, description="training pairs shown with the labels MaskConsist transfers")
    transfer_pairs: Count = Field(100, description="training pairs searched for them at most")


class Table3Settings(Section):
    """Tracks: masks of some segmenters with every tracker."""

    masks: tuple[str, ...] = Field(
        ("irn/maskrcnn", "flowirn/maskconsist"),
        min_length=1,
        description="labeller/segmenter, or labeller/segmenter@round; gains are over the first, with the same tracker",
    )
    trackers: tuple[str, ...] = Field(
        ("unovost", "iou_tracker", "deepsort", "masktrack"), min_length=1, description="for each of the masks"
    )


class Table6Settings(Section):
    """Every labeller with every segmenter."""

    labellers: tuple[str, ...] = Field(("irn", "flowirn"), min_length=1, description="whose labels are learnt from")
    segmenters: tuple[str, ...] = Field(
        ("maskrcnn", "maskconsist"), min_length=1, description="for each labeller; gains are over the first"
    )


class TablesSettings(Section):
    """Which variants the paper's tables compare, in the order of their rows."""

    table1: tuple[str, ...] = Field(
        ("irn/maskrcnn", "flowirn/maskconsist", "flowirn/maskconsist@1"),
        min_length=1,
        description="labeller/segmenter, or labeller/segmenter@round of self-training; gains are over the first",
    )
    table3: Table3Settings = Table3Settings()
    table4: tuple[str, ...] = Field(
        ("irn", "irn_fbound", "irn_fcam", "flowirn"), min_length=1, description="labellers; gains are over the first"
    )
    table5: tuple[str, ...] = Field(
        (
            "maskrcnn",
            "maskconsist_no_intra",
            "maskconsist_no_inter",
            "maskconsist_no_iom",
            "maskconsist",
            "maskconsist@1",
        ),
        min_length=1,
        description="segmenters on the pipeline's labels, or segmenter@round; gains are over the first",
    )
    table6: Table6Settings = Table6Settings()


class PipelineSettings(Section):
    """The variants that `results/<dataset>_vis.json` is made with."""

    flow: str = Field("dis", description="one of `flows`")
    labeller: str = Field("flowirn", description="one of `labellers`")
    segmenter: str = Field("maskconsist", description="one of `segmenters`")
    rounds: int = Field(1, ge=0, le=9, description="self-training rounds after round 0 (paper: 1)")
    tracker: str = Field("unovost", description="one of `trackers`")
    compare_labellers: tuple[str, ...] = Field(("irn",), description="also made and scored for the report")
    compare_segmenters: tuple[str, ...] = Field(
        (),
        description="tracked too, where split.mode is all; the tracks that look best are published (docs/routes.md)",
    )


SECTIONS: dict[str, type[Section]] = {
    "stage1": Stage1Settings,
    "flow": FlowSettings,
    "cam": CamSettings,
    "f_cam": FCamSettings,
    "label_maps": LabelMapSettings,
    "flowirn": FlowirnSettings,
    "f_bound": FBoundSettings,
    "pseudo_labels": PseudoLabelSettings,
    "maskconsist": MaskconsistSettings,
    "prediction": PredictionSettings,
    "self_training": SelfTrainingSettings,
    "tracking": TrackingSettings,
    "evaluation": EvaluationSettings,
    "quality": QualitySettings,
    "report": ReportSettings,
    "tables": TablesSettings,
    "pipeline": PipelineSettings,
}
# A variant of `flows` overrides section `flow`, and so on; a labeller may override several sections, by name.
VARIANT_SECTION = {"flows": "flow", "segmenters": "maskconsist", "trackers": "tracking"}
LABELLER_SECTIONS = ("f_cam", "label_maps", "flowirn", "f_bound", "pseudo_labels")
# Folders that stages make beside those named after variants.
FOLDER_NAMES = {
    "dataset",
    "flow",
    "cam",
    "label_maps",
    "pseudo_labels",
    "predictions",
    "training",
    "tensorboard",
    "tables",
}
TOP_LEVEL = ("seed", "datasets", "flows", "labellers", "segmenters", "trackers", *SECTIONS)


@dataclass(frozen=True)
class TableRow:
    """One row of a table: the labels of a labeller, a segmenter that learnt from them, or tracks of its masks.

    segmenter: None for the labels themselves · round: of self-training; 0: the segmenter learns from the labels ·
    tracker: None for the masks themselves.
    """

    labeller: str
    segmenter: str | None = None
    round: int = 0
    tracker: str | None = None

    def __str__(self) -> str:
        rounds = f"@{self.round}" if self.round else ""
        masks = self.labeller if self.segmenter is None else f"{self.labeller}/{self.segmenter}{rounds}"
        return masks if self.tracker is None else f"{masks}/{self.tracker}"


class Config:
    """A checked configuration: raw merged mapping in, settings of a stage for a data set and variants out."""

    def __init__(self, raw: dict[str, Any], *, source: str = "config.yaml") -> None:
        """Check every section, data set and variant; raises WsvisError naming source, key, value and range."""
        self._raw, self._source = raw, source
        _refuse_unknown(raw, TOP_LEVEL, source, "")
        self.seed = self._checked_seed(raw.get("seed", 0))
        self._check_variants()
        self.datasets = {name: self._dataset(name) for name in self._names("datasets")}
        self._check_combinations()

    def _checked_seed(self, seed: Any) -> int:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise WsvisError(f"{self._source}: seed: {seed!r} is not a whole number ≥ 0")
        return seed

    def _names(self, group: str) -> list[str]:
        value = self._raw.get(group) or {}
        if not isinstance(value, dict):
            raise WsvisError(f"{self._source}: {group} must be a mapping of names to settings, not {value!r}")
        return list(value)

    def variants(self, group: str) -> list[str]:
        """Names of the variants of a group: flows, labellers, segmenters or trackers."""
        return self._names(group)

    def _check_variants(self) -> None:
        for group in ("datasets", *VARIANT_SECTION, "labellers"):
            for name in self._names(group):
                self._check_name(group, name)
        for group, section in VARIANT_SECTION.items():
            for name in self._names(group):
                self._build(section, [self._raw[group][name]], f"{group}.{name}")
        for name in self._names("labellers"):
            for section, override in self._labeller_overrides(name).items():
                self._build(section, [override], f"labellers.{name}.{section}")

    def _check_name(self, group: str, name: str) -> None:
        """A name becomes a folder: it must be plain, and no folder that a stage makes may have it."""
        if not re.fullmatch(r"[A-Za-z0-9_-]+", str(name)):
            raise WsvisError(f"{self._source}: {group}: name {name!r} may only have letters, digits, '_' and '-'")
        if name in FOLDER_NAMES:
            taken = ", ".join(sorted(FOLDER_NAMES))
            raise WsvisError(f"{self._source}: {group}: the name '{name}' is taken by a stage's own folder ({taken})")

    def _check_combinations(self) -> None:
        for dataset in self.datasets:
            for section in SECTIONS:
                self.section(section, dataset)
            pipeline = self.section("pipeline", dataset)
            self._require(pipeline.flow, "flows", dataset)
            for segmenter in (pipeline.segmenter, *pipeline.compare_segmenters):
                self._require(segmenter, "segmenters", dataset)
            self._check_routes(pipeline, dataset)
            self._require(pipeline.tracker, "trackers", dataset)
            for labeller in (pipeline.labeller, *pipeline.compare_labellers):
                self._require(labeller, "labellers", dataset)
            # The defaults name variants that a configuration of one's own need not have.
            blocks = (self._raw.get("tables"), (self._raw["datasets"][dataset] or {}).get("tables"))
            for table in sorted({name for block in blocks for name in block or ()}):
                self.table_rows(table, dataset)
            for other in self.datasets[dataset].replicates:
                if other not in self.datasets:
                    raise WsvisError(
                        f"{self._source}: datasets.{dataset}: replicates: '{other}' is not one of the datasets "
                        f"({', '.join(self.datasets)}){_nearest(other, list(self.datasets))}"
                    )

    def _check_routes(self, pipeline: PipelineSettings, dataset: str) -> None:
        """Pseudo-labels cannot be trained again, and the class labels of held-out videos choose nothing."""
        if pipeline.compare_segmenters and self.datasets[dataset].split.mode != "all":
            raise WsvisError(
                f"{self._source}: pipeline of data set '{dataset}': compare_segmenters chooses by the class labels of "
                "the videos that are looked at, which nothing may know of held-out ones; set split: {mode: all}, or "
                "leave compare_segmenters out and ask for the tracks of each segmenter by its path"
            )
        if pipeline.rounds and self._passes_labels_on(dataset, pipeline.segmenter):
            raise WsvisError(
                f"{self._source}: pipeline of data set '{dataset}': segmenter '{pipeline.segmenter}' passes the "
                f"pseudo-labels on and learns nothing, so rounds = {pipeline.rounds} of self-training is not possible; "
                "set rounds to 0 or choose another segmenter"
            )

    def _passes_labels_on(self, dataset: str, segmenter: str) -> bool:
        return self.section("maskconsist", dataset, segmenter=segmenter).kind == "labels"

    def _require(self, name: str, group: str, dataset: str) -> None:
        names = self._names(group)
        if name not in names:
            raise WsvisError(
                f"{self._source}: data set '{dataset}' asks for '{name}', which is not one of the "
                f"{group} ({', '.join(names)}){_nearest(name, names)}"
            )

    def table_rows(self, table: str, dataset: str) -> list[TableRow]:
        """The rows of a table; raises WsvisError naming a variant the configuration lacks, or an entry given twice."""
        named = getattr(self.section("tables", dataset), table)
        if table == "table6":
            rows = [TableRow(labeller, name) for labeller in named.labellers for name in named.segmenters]
        elif table == "table3":
            masks = [self._table_row(entry, table, dataset, None) for entry in named.masks]
            rows = [replace(row, tracker=name) for row in masks for name in named.trackers]
        elif table == "table4":
            rows = [TableRow(labeller) for labeller in named]
        else:
            labeller = self.section("pipeline", dataset).labeller if table == "table5" else None
            rows = [self._table_row(entry, table, dataset, labeller) for entry in named]
        for number, row in enumerate(rows):
            self._require(row.labeller, "labellers", dataset)
            if row.segmenter is not None:
                self._require(row.segmenter, "segmenters", dataset)
                if row.round and self._passes_labels_on(dataset, row.segmenter):
                    raise WsvisError(
                        f"{self._source}: tables.{table} of data set '{dataset}': {row}: segmenter '{row.segmenter}' "
                        "passes the pseudo-labels on and learns nothing, so it has no later round; leave the '@' out"
                    )
            if row.tracker is not None:
                self._require(row.tracker, "trackers", dataset)
            if row in rows[:number]:
                raise WsvisError(
                    f"{self._source}: tables.{table} of data set '{dataset}' has {row} twice; name it once"
                )
        return rows

    def _table_row(self, entry: str, table: str, dataset: str, labeller: str | None) -> TableRow:
        """The row of "segmenter@round", or of "labeller/segmenter@round" where the table has no labeller of its own."""
        found = re.fullmatch(r"(?:([^/@]+)/)?([^/@]+)(?:@([0-9]))?", entry)
        if found is None or (found[1] is None) == (labeller is None):
            form = "labeller/segmenter" if labeller is None else "segmenter"
            raise WsvisError(
                f"{self._source}: tables.{table} of data set '{dataset}': '{entry}' must be '{form}', or "
                f"'{form}@round' for a round of self-training from 0 to 9, such as "
                f"'{'flowirn/' if labeller is None else ''}maskconsist@1'"
            )
        return TableRow(labeller or found[1], found[2], int(found[3] or 0))

    def _labeller_overrides(self, name: str) -> dict[str, dict[str, Any]]:
        where = f"labellers.{name}"
        raw = self._raw["labellers"][name] or {}
        _refuse_unknown(raw, LABELLER_SECTIONS, self._source, where)
        # `f_cam: false` is short for `f_cam: {enabled: false}`.
        return {key: {"enabled": value} if isinstance(value, bool) else value for key, value in raw.items()}

    def _dataset(self, name: str) -> DatasetSettings:
        block = self._raw["datasets"][name] or {}
        known = [*DatasetSettings.model_fields, *SECTIONS]
        _refuse_unknown(block, known, self._source, f"datasets.{name}")
        own = {key: value for key, value in block.items() if key in DatasetSettings.model_fields}
        checked = _validate(DatasetSettings, own, self._source, f"datasets.{name}")
        if checked.kind == "synthetic" and checked.root != f"data/{name}":
            raise WsvisError(
                f"{self._source}: datasets.{name}: root = {checked.root!r}: a generated data set is written to "
                f"data/<its name>, here 'data/{name}'"
            )
        return checked

    def section(self, section: str, dataset: str, **variants: str) -> Any:
        """The settings model of a section for a data set and variants (flow=, labeller=, segmenter=, tracker=)."""
        if dataset not in self._names("datasets"):
            names = self._names("datasets")
            raise WsvisError(
                f"data set '{dataset}' is not in {self._source}: it has {', '.join(names)}{_nearest(dataset, names)}"
            )
        block = self._raw["datasets"][dataset] or {}
        layers = [self._raw.get(section), block.get(section)]
        for kind, name in variants.items():
            group = f"{kind}s"
            if name not in self._names(group):
                names = self._names(group)
                raise WsvisError(f"{kind} '{name}' is not one of the {group} in {self._source}{_nearest(name, names)}")
            if group == "labellers":
                layers.append(self._labeller_overrides(name).get(section))
            elif VARIANT_SECTION[group] == section:
                layers.append(self._raw[group][name])
        return self._build(section, layers, f"{section} of data set '{dataset}'")

    def _build(self, section: str, layers: Iterable[dict[str, Any] | bool | None], where: str) -> Section:
        merged: dict[str, Any] = {}
        for layer in layers:
            if layer is None:
                continue
            if not isinstance(layer, dict):
                raise WsvisError(f"{self._source}: {where} must be a mapping of settings, not {layer!r}")
            merged = _merge(merged, layer)
        return _validate(SECTIONS[section], merged, self._source, where)

    def stage(self, sections: Iterable[str], dataset: str, **variants: str) -> dict[str, Any]:
        """One plain, sorted dict of everything in these sections: what a rule puts into `params`.

        A section that is switched off is reduced to `{"enabled": False}`, so that its other values rerun nothing.
        """
        own = self.datasets[dataset].seed
        chosen = {"seed": self.seed if own is None else own}
        for name in sorted(sections):
            dumped = self.section(name, dataset, **variants).influences()
            chosen[name] = {"enabled": False} if dumped.get("enabled") is False else dumped
        return dict(sorted(chosen.items()))


def build_section(section: str, values: dict[str, Any]) -> Any:
    """A settings model again from the plain dict that travelled through `params`."""
    return SECTIONS[section].model_validate(values)


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both mappings in one: `over` wins key by key, inside sections of a section too."""
    both = {key: _merge(under[key], over[key]) for key in over if _are_mappings(under.get(key), over[key])}
    return {**under, **over, **both}


def _are_mappings(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def _validate(model: type[Section], values: dict[str, Any], source: str, where: str) -> Any:
    names = [field.alias or name for name, field in model.model_fields.items()]
    _refuse_unknown(values, names, source, where)
    for name, field in model.model_fields.items():
        if isinstance(field.default, Section) and name in values:
            _refuse_unknown(values[name], type(field.default).model_fields, source, f"{where}: {name}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_describe(model, item, source, where) for item in error.errors()]
        raise WsvisError("\n".join(lines)) from None


def _describe(model: type[Section], item: Any, source: str, where: str) -> str:
    # Pydantic adds the branch of a union ("constrained-float", "literal[…]") to the place; no user wrote that.
    key = ".".join(
        str(part) for part in item["loc"] if not re.search(r"constrained-|\[|^(float|int|str|none)$", str(part))
    )
    field = next((f for n, f in model.model_fields.items() if (f.alias or n) == item["loc"][0]), None)
    meaning = f" ({field.description})" if field is not None and field.description else ""
    if item["type"] == "missing":
        return f"{source}: {where}: key '{key}' is missing{meaning}"
    return f"{source}: {where}: {key} = {item['input']!r}: {item['msg']}{meaning}"


def _refuse_unknown(values: Any, known: Iterable[str], source: str, where: str) -> None:
    if not isinstance(values, dict):
        raise WsvisError(f"{source}: {where or 'the configuration'} must be a mapping of settings, not {values!r}")
    known = list(known)
    for key in values:
        if key not in known:
            place = f"{where}: " if where else ""
            listed = ", ".join(sorted(known))
            raise WsvisError(f"{source}: {place}unknown key '{key}'{_nearest(str(key), known)}; known keys: {listed}")


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""
