"""The configuration block of an imported data set, with the reason of every setting beside it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

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
    pipeline: {{rounds: {0 if few else 1}, compare_labellers: []}}
    evaluation: {{selection_share: 0}}
"""
    return head + _pairs(facts.stride) + (_few(facts) if few else _many())


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
    iterations = max(300, 5 * facts.frames)
    warmup, start = iterations // 6, 2 * iterations // 5
    return f"""\
    # The rest is for few videos on a CPU, measured on six (docs/real_frames.md). With one or two videos per class the
    # background alone tells the class, and every further step of training moves the CAM there: train little, and raise
    # the thresholds. With a GPU: stage1.long_side 512 and short_side 480 see finer outlines. 'torchvision' downloads
    # ImageNet weights of a ResNet-50 when training starts; a path of such a state dict needs no network.
    stage1: {{long_side: 320}}
    # If the camera follows the object (the default is the paper's, for cameras that stand still):
    # f_cam: {{camera: subtract}}
    cam:
      backbone_weights: torchvision
      frozen_stages: 3 # the last stage and the classifier alone learn
      epochs: {cam_epochs} # about 20 steps; stop when the loss is about 0.05 to 0.15, no earlier
      batch_size: 8
      lr: 0.02 # 0.1 suits 20 classes, with 5 it diverges
      resize_long: [256, 384]
      crop: 256
      scales: [1.0, 0.75, 1.5]
    label_maps: {{fg_threshold: 0.5, bg_threshold: 0.25, crf_bilateral_std: 30}}
    flowirn:
      backbone_weights: torchvision
      epochs: {irn_epochs} # about 170 steps
      batch_size: 8
      lr: 0.05
      rescale: [0.75, 1.25]
      crop: 256
    pseudo_labels: {{background_threshold: 0.4, exp_times: 6}}
    maskconsist:
      backbone_weights: torchvision
      iterations: {iterations} # each frame about ten times
      optimizer: adamw # SGD needs more steps than this
      lr: 0.0001
      weight_decay: 0.01
      warmup_iterations: {warmup}
      short_side: 240
      grad_clip: 10
      anchor_sizes: [16, 32, 64, 128, 256]
      roi_canonical_size: 112
      post_nms: [500, 300]
      roi_batch: 128
      max_detections: 20
      start_iteration: {start} # earlier predictions are arbitrary
    prediction: {{short_side: 240, max_detections: 20}}
"""


def _many() -> str:
    return """\
    # The paper's settings (config.yaml, docs/settings.md) hold for everything else: they want a GPU. 'torchvision', the
    # default of *.backbone_weights, downloads ImageNet weights of a ResNet-50 when training starts.
"""
