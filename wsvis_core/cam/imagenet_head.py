"""A classifier that begins with what ImageNet knows, for data sets too small to teach it (ours; the paper has none).

With one or two videos of a class the background tells the class as well as the object does, and a classifier that
begins at random learns the background. ImageNet's own classifier looks at objects: a trunk that was trained on it
answers a frame with probabilities of 1000 things, and what it answers more often for frames with a class than for
frames without is that class in ImageNet's words, whatever it is called here.

Letters: F frames, C classes, K classes of ImageNet (1000), D channels of the trunk's last map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsvis_core.backbones import trunk_classifier
from wsvis_core.cam.network import CamNet
from wsvis_core.config import CamSettings
from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.images import resize_image, scaled_size, to_tensor

IMAGENET_CLASSES = 1000
# Its natural scenes (alp, cliff, coral reef, geyser, lakeside, promontory, sandbar, seashore, valley, volcano).
# Where persons are filmed outdoors, these would be the class: with them CAMs of paragliders lie on the sky.
PLACES = (970, 972, 973, 974, 975, 976, 977, 978, 979, 980)
MOST_FRAMES = 100  # looked at to find a class in ImageNet's words, spread evenly
LOGIT_SPREAD = 2.0  # standard deviation of the first logits over frames and classes
ROUNDING = 1e-5  # of probabilities, and of logits beside the largest: smaller differences are none


def begin_with_imagenet(
    net: CamNet,
    dataset: VideoDataset,
    frames: Sequence[tuple[Video, int]],
    labels: dict[int, np.ndarray],
    settings: CamSettings,
    device: torch.device,
) -> None:
    """Give the classifier of `net` rows mixed from those of ImageNet's, in place.

    frames: (video, index) of the training frames · labels: video id -> bool (T,C). Raises WsvisError where the
    trunk's weights come without ImageNet's classifier.
    """
    weight, bias = things(*trunk_classifier(settings.backbone, settings.backbone_weights))
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).round().astype(int)]
    was_training = net.training
    net.eval()
    pooled = torch.stack([_pooled(net, dataset.read_frame(*frame), settings, device) for frame in chosen])
    net.train(was_training)
    present = torch.from_numpy(np.stack([labels[video.id][t] for video, t in chosen]))
    rows = mixed_rows(pooled, present, weight, bias)
    net.classifier.weight.data.copy_(rows[:, :, None, None])


def things(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """ImageNet's classifier without its PLACES: weight (K,D), bias (K,) → fewer rows; unchanged with other classes."""
    if len(weight) != IMAGENET_CLASSES:
        return weight, bias
    kept = [k for k in range(IMAGENET_CLASSES) if k not in PLACES]
    return weight[kept], bias[kept]


def mixed_rows(pooled: Tensor, present: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Classifier rows (C,D) float32, mixed from ImageNet's rows by how much more often it sees them with a class.

    pooled (F,D): the trunk's last map, averaged over each frame · present (F,C) bool: the frames' class labels ·
    weight (K,D), bias (K,): ImageNet's classifier. A class whose frames show nothing that others do not gets the
    mean of what they show; one without a frame gets a row of zeros. The common scale makes the standard deviation of
    the logits LOGIT_SPREAD; rows whose logits are all the same stay as they are.
    """
    answers = torch.softmax(pooled @ weight.T + bias, dim=1)
    with_class = _mean_rows(answers, present)
    surplus = (with_class - _mean_rows(answers, ~present)).clamp_min(0)
    shares = torch.where(surplus.sum(dim=1, keepdim=True) > ROUNDING, surplus, with_class)
    shares = shares / shares.sum(dim=1, keepdim=True).clamp_min(1e-12)
    # Less the mean row: a row of ImageNet tells its class from the others, so only differences mean anything.
    rows = shares @ weight - shares.sum(dim=1, keepdim=True) * weight.mean(dim=0)
    logits = pooled @ rows.T
    spread = logits.std(correction=0)
    return rows * (LOGIT_SPREAD / spread) if spread > ROUNDING * logits.abs().max() else rows


def _mean_rows(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of values (F,K) over the frames of each column of chosen (F,C) → (C,K); zeros where there is none."""
    counts = chosen.sum(dim=0).clamp_min(1)
    return chosen.T.to(values.dtype) @ values / counts[:, None]


@torch.inference_mode()
def _pooled(net: CamNet, image: np.ndarray, settings: CamSettings, device: torch.device) -> Tensor:
    """The trunk's last map of a whole frame, averaged → (D,) on the CPU; the frame at the middle training size."""
    size = scaled_size(*image.shape[:2], round(sum(settings.resize_long) / 2))
    features = net.backbone(to_tensor(resize_image(image, size))[None].to(device))[-1]
    return F.adaptive_avg_pool2d(features, 1).flatten().float().cpu()
