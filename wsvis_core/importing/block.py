"""The configuration block of an imported data set, with the reason of every setting beside it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

# Above this many training frames the paper's settings are left alone.
FEW_FRAMES = 2000
MAX_INDEX_GAP = 10  # default of flow.max_index_gap


@dataclass(frozen=True)
class BlockFacts:
    """What the settings depend on. frames: annotated ones · long_side: pixels · stride: native frames between them."""

    name: str
    root: str
    videos: int
    frames: int
    classes: int
    long_side: int
    stride: float


def block_text(facts: BlockFacts) -> str:
    """A YAML file to give with --configfile; merged over config.yaml."""
    few = facts.frames < FEW_FRAMES
    head = f"""\
# {facts.name}: {facts.videos} videos, {facts.frames} annotated frames, class labels without masks.
# Written by `wsvis import`, yours to edit. Give it with --configfile; it is merged over config.yaml. All settings:
# docs/settings.md.
datasets:
  {_quoted(facts.name)}:
    kind: folder
    root: {_quoted(facts.root)}
    # Every video is trained on and looked at: the point is masks of these very videos, not a score on unseen ones.
    split: {{mode: all}}
    shards: {{train: {_shards(facts.frames, 300)}, val: {_shards(facts.frames, 1000)}}}
    # Without masks nothing says which labeller is better, so no second one is made to compare with.
    pipeline: {_pipeline(few)}
    evaluation: {{selection_share: 0}}
"""
    return head + _pairs(facts.stride) + (_few(facts) if few else _many())


def _pipeline(few: bool) -> str:
    """With few videos the labels themselves may be better than what a detector learns from them."""
    if few:
        return "{rounds: 0, compare_labellers: [], compare_segmenters: [labels]} # the better tracks are published"
    return "{rounds: 1, compare_labellers: []}"


def _quoted(text: str) -> str:
    """A YAML string, in quotes where the plain text would be something else."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_/-]*", text) and yaml.safe_load(text) == text
    return text if plain else json.dumps(text, ensure_ascii=False)


def _shards(frames: int, each: int) -> int:
    return min(56, math.ceil(frames / each))


def _pairs(stride: float) -> str:
    """Annotated frames that are far apart in native frames still make pairs."""
    if stride <= MAX_INDEX_GAP:
        return ""
    gap = math.ceil(1.5 * stride)
    return f"""\
    # Annotated frames lie about {stride:g} native frames apart; more than the default of {MAX_INDEX_GAP} makes no pair.
    flow: {{max_index_gap: {gap}}}
"""


def _few(facts: BlockFacts) -> str:
    cam_epochs = min(24, max(1, math.ceil(168 / facts.frames)))
    irn_epochs = min(48, max(6, math.ceil(1400 / facts.frames)))
    iterations = max(300, 2 * facts.frames, 40 * facts.classes)
    precision = "bfloat16" if has_bfloat16() else "float32"
    return f"""\
    # The rest is for few videos on a CPU, measured on thirteen (docs/real_frames.md). With one or two videos per class
    # the background alone tells the class: begin with what ImageNet knows, and train little. With a GPU:
    # stage1.long_side 512 and short_side 480 see finer outlines. 'torchvision' downloads ImageNet weights of a
    # ResNet-50 when training starts; a path of such a state dict needs no network. precision: bfloat16 is 2-3 times
    # faster where the processor has it (`grep bf16 /proc/cpuinfo`), and slower where not.
    # A first look in minutes, without a detector: segmenter: labels, and no compare_segmenters.
    stage1: {{long_side: 320}}
    # Motion against the background counts, also where the camera follows the object (keep: the paper).
    f_cam: {{camera: subtract}}
    cam:
      backbone_weights: torchvision
      initial_head: imagenet # of what it sees in a class's frames and not in others (random: the paper)
      frozen_stages: 3 # the last stage and the classifier alone learn
      epochs: {cam_epochs} # about 20 steps; stop when the loss is about 0.05 to 0.15, no earlier
      batch_size: 8
      lr: 0.02 # 0.1 suits 20 classes, with 5 it diverges
      precision: {precision}
      resize_long: [256, 384]
      crop: 256
      scales: [1.0, 0.75, 1.5]
    label_maps: {{fg_threshold: 0.5, bg_threshold: 0.25, crf_bilateral_std: 30}}
    flowirn:
      backbone_weights: torchvision
      epochs: {irn_epochs} # about 170 steps
      batch_size: 8
      lr: 0.05
      precision: {precision}
      rescale: [0.75, 1.25]
      crop: 256
    # A label of most of the frame, or along three of its sides, is a meadow: better none (null: keep all, the paper).
    pseudo_labels: {{background_threshold: 0.4, exp_times: 6, max_cover: 0.6}}
    maskconsist:
      backbone_weights: torchvision
      iterations: {iterations} # at least 300, each frame about four times, 40 per class
      optimizer: adamw # SGD needs more steps than this
      lr: 0.0001 # of the trunk; its last stage alone learns
      trainable_stages: 1
      head_lr_multiplier: 10 # pyramid and heads begin at random
      weight_decay: 0.01
      warmup_iterations: 20
      precision: {precision}
      short_side: 240
      grad_clip: 10
      sampling: balanced # classes, and videos within a class
      class_agnostic_masks: true # one mask for all classes learns from all of them
      head_norm: group
      fpn_channels: 128
      representation_size: 512
      mask_channels: 128
      mask_layers: 2
      anchor_sizes: [16, 32, 64, 128, 256]
      roi_canonical_size: 112
      post_nms: [500, 300]
      roi_batch: 128
      max_detections: 20
      start_iteration: {2 * iterations // 5} # earlier predictions are arbitrary
    prediction: {{short_side: 240, max_detections: 20}}
"""


def has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Does this machine's processor compute with bfloat16 by itself? False where that cannot be known."""
    try:
        return re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", cpuinfo.read_text(encoding="utf-8")) is not None
    except OSError:
        return False


def _many() -> str:
    return """\
    # The paper's settings (config.yaml, docs/settings.md) hold for everything else: they want a GPU. 'torchvision', the
    # default of *.backbone_weights, downloads ImageNet weights of a ResNet-50 when training starts.
"""
