"""From boundary, displacement and CAMs to the instances of one frame."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy.ndimage import find_objects
from scipy.ndimage import label as connected_components
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.network import OUTPUT_STRIDE, IRNet
from wsvis_core.flowirn.random_walk import random_walk
from wsvis_core.instances import InstanceSet
from wsvis_core.mask_ops import resize_nearest

SMALLEST_SCORE = 1e-5
PADDING_MULTIPLE = 16


@torch.no_grad()
def predict_boundary_and_displacement(network: IRNet, image: Tensor) -> tuple[Tensor, Tensor]:
    """Boundary (h, w) in 0..1 and displacement (2, h, w), order (y, x), in cells, of one image.

    image (3, H, W), normalised; `h = (H - 1) // 4 + 1`. The network must be in inference mode (the mean shift
    depends on it). Boundary logits are averaged over the image and its mirror; the displacement is the image's own.
    The image is padded with 0 at the bottom and right to a multiple of 16, the result is cropped.
    """
    if network.training:
        raise WsvisError("the network is in training mode; call eval() first, or the mean shift is missing")
    height, width = image.shape[-2:]
    pair = torch.stack([image, image.flip(-1)])
    logits, displacement = network(pad(pair, (0, -width % PADDING_MULTIPLE, 0, -height % PADDING_MULTIPLE)))
    rows, columns = (height - 1) // OUTPUT_STRIDE + 1, (width - 1) // OUTPUT_STRIDE + 1
    logits = logits[:, 0, :rows, :columns]
    return average_boundary(logits), displacement[0, :, :rows, :columns]


def average_boundary(logits: Tensor) -> Tensor:
    """`B = sigmoid(mean of E[0] and the mirrored E[1])`: logits (2, h, w) of image and mirror -> (h, w)."""
    return ((logits[0] + logits[1].flip(-1)) / 2).sigmoid()


def group_instances(
    boundary: Tensor,
    displacement: Tensor,
    cam: Tensor,
    class_ids: Tensor,
    working_size: tuple[int, int],
    output_size: tuple[int, int] | None = None,
    *,
    radius: float = 5,
    beta: float = 10.0,
    exp_times: int = 8,
    background_threshold: float = 0.25,
    cluster_threshold: float = 2.5,
    centroid_iterations: int = 300,
    min_area_fraction: float = 0.01,
    resize: Literal["bilinear", "nearest"] = "bilinear",
) -> InstanceSet:
    """The instances of a frame, in the order of `class_ids`; empty when nothing rises above background.

    boundary (h, w) in 0..1 · displacement (2, h, w), order (y, x), in cells · cam (K, h, w) >= 0, the strided CAMs
    of the K classes `class_ids` (K,) of the frame's label · working_size (H, W) of the image behind the cells, in
    pixels · output_size: size of the masks, default the working size. `resize` says how they get there: "bilinear"
    resizes the scores before the decision per pixel, "nearest" resizes the decision.

    Cells are clustered by where their displacements lead; CAM times cluster seeds the random walk; a pixel takes the
    strongest seed, or background where none exceeds `background_threshold` of the frame's maximum. Each 4-connected
    piece is one instance; its score is its channel's largest normalised value, and pieces smaller than
    `min_area_fraction` of the frame are dropped (their score is 0 and scores below 1e-5 are not kept). No NMS.
    """
    output_size = output_size or working_size
    empty = InstanceSet.empty(*output_size, device=cam.device)
    if len(class_ids) == 0:
        return empty
    centroids = track_centroids(displacement, iterations=centroid_iterations)
    clusters = cluster_cells(displacement, centroids, threshold=cluster_threshold)
    seeds, owners = instance_seeds(cam, clusters)
    scores = random_walk(seeds, boundary, radius=radius, beta=beta, exp_times=exp_times)
    channels, strengths = decode(
        scores, working_size, output_size, background_threshold=background_threshold, resize=resize
    )
    return detections(channels, strengths, class_ids[owners], min_area_fraction=min_area_fraction)


def track_centroids(displacement: Tensor, *, iterations: int = 300) -> Tensor:
    """The cell each cell ends at when it follows the displacement field: int64 (2, h, w), order (y, x).

    displacement (2, h, w), order (y, x), in cells. `c <- clip(c + D(c))`, `iterations` times from `c(p) = p`, D between
    cells bilinear (IRN, §1.10); float32. Cells that meet have one future: after 16, 32, 64 ... steps only the
    different places go on, a few per centre. The result is the same.
    """
    _, height, width = displacement.shape
    last = torch.tensor([[width - 1.0], [height - 1.0]], device=displacement.device)
    # grid_sample counts places from -1 to 1, the centres of the first and the last cell, x before y.
    unit = 2 / last.clamp_min(1)
    field = (displacement.float().flip(0) * unit.unsqueeze(-1)).unsqueeze(0)
    rows, columns = torch.arange(height, device=field.device), torch.arange(width, device=field.device)
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy")).flatten(1) * unit - 1
    owner = torch.arange(height * width, device=field.device)
    for number in range(iterations):
        if number >= 16 and number.bit_count() == 1:
            pairs = torch.stack([places[0], places[1]], dim=-1).view(torch.int64).flatten()
            different, position = pairs.unique(return_inverse=True)
            places, owner = different.view(torch.float32).view(-1, 2).t().contiguous(), position[owner]
        steps = grid_sample(field, places.t()[None, None], padding_mode="border", align_corners=True)[0, :, 0]
        places = steps.add_(places).clamp_(-1, 1)
    cells = ((places[:, owner] + 1) / 2 * last).round().long()
    return cells.flip(0).view(2, height, width)


def cluster_cells(displacement: Tensor, centroids: Tensor, *, threshold: float = 2.5) -> Tensor:
    """A cluster id 0 .. N-1 for every cell (§1.10): int64 (h, w).

    displacement (2, h, w), centroids int64 (2, h, w). Cells that hardly move, `|D| < threshold` cells, form weak
    regions; each 4-connected one is a cluster, and a cell belongs to the cluster its centroid lies in. Cells whose
    centroid lies in none share one cluster. Only ids that some cell has are counted.
    """
    weak = torch.linalg.vector_norm(displacement, dim=0) < threshold
    regions = torch.from_numpy(connected_components(weak.cpu().numpy())[0].astype(np.int64)).to(displacement.device)
    ids = regions[centroids[0], centroids[1]]
    return torch.unique(ids, return_inverse=True)[1]


def instance_seeds(cam: Tensor, clusters: Tensor) -> tuple[Tensor, Tensor]:
    """Seeds `x_kn = cam_k * 1[cluster = n]` that are not empty (S, h, w), and the row k of cam of each, int64 (S,).

    cam (K, h, w) >= 0, clusters int64 (h, w). Ordered by k, then n.
    """
    seeds, owners = [cam.new_zeros((0, *cam.shape[-2:]))], []
    for k, values in enumerate(cam):
        present = torch.unique(clusters[values > 0])
        seeds.append(values * (clusters == present.view(-1, 1, 1)))
        owners += [k] * len(present)
    return torch.cat(seeds), torch.tensor(owners, dtype=torch.int64, device=cam.device)


def decode(
    scores: Tensor,
    working_size: tuple[int, int],
    output_size: tuple[int, int] | None = None,
    *,
    background_threshold: float = 0.25,
    resize: Literal["bilinear", "nearest"] = "bilinear",
) -> tuple[Tensor, Tensor]:
    """For every pixel its winning channel, int64 (H, W), -1 = background, and that channel's value, (H, W), 0..1.

    scores (S, h, w) >= 0 at stride-4 cells are upsampled 4 times (bilinear, half-pixel centres), cropped to
    `working_size` and divided by their largest value over all channels. Background wins where no channel exceeds
    `background_threshold`, also where all scores are 0. Sizes differ: see `group_instances`.
    """
    if resize not in ("bilinear", "nearest"):
        raise WsvisError(f"resize '{resize}' is not one of bilinear, nearest")
    output_size = output_size or working_size
    decision_size = output_size if resize == "bilinear" else working_size
    channels = torch.full(decision_size, -1, dtype=torch.int64, device=scores.device)
    strengths = torch.zeros(decision_size, dtype=torch.float32, device=scores.device)
    largest = _largest_value(scores, working_size)
    best = torch.full_like(strengths, background_threshold)
    for number, channel in enumerate(scores):
        # Interpolation never exceeds the cells' maximum: most channels of a cluttered frame end here.
        if largest <= 0 or float(channel.max()) <= background_threshold * largest:
            continue
        values = _resized(_at_working_size(channel, working_size) / largest, decision_size).float()
        channels.masked_fill_(values > best, number)
        torch.maximum(best, values, out=best)
    strengths = torch.where(channels >= 0, best, strengths)
    return resize_nearest(channels, output_size), resize_nearest(strengths, output_size)


def detections(channels: Tensor, strengths: Tensor, classes: Tensor, *, min_area_fraction: float = 0.01) -> InstanceSet:
    """One instance per 4-connected piece of every channel, in the order of channels, then of their first pixel.

    channels int64 (H, W), -1 = background · strengths (H, W) · classes int64 (S,), the class of each channel. The score
    is the largest strength inside the piece, 0 when its area is below `min_area_fraction * H * W`; pieces that score
    below 1e-5 are dropped.
    """
    smallest_area = min_area_fraction * channels.numel()
    numbers, values = channels.cpu().numpy(), strengths.cpu().numpy()
    masks, kept_classes, scores = [], [], []
    for channel, box in enumerate(find_objects(numbers + 1)):
        if box is None:
            continue
        regions, count = connected_components(numbers[box] == channel)
        areas = np.bincount(regions.ravel(), minlength=count + 1)
        for region in range(1, count + 1):
            score = float(values[box][regions == region].max()) if areas[region] >= smallest_area else 0.0
            if score >= SMALLEST_SCORE:
                masks.append(np.zeros(numbers.shape, bool))
                masks[-1][box] = regions == region
                kept_classes.append(int(classes[channel]))
                scores.append(score)
    if not masks:
        return InstanceSet.empty(*numbers.shape, device=channels.device)
    return InstanceSet.from_masks(
        torch.from_numpy(np.stack(masks)),
        torch.tensor(kept_classes, dtype=torch.int64),
        torch.tensor(scores, dtype=torch.float32),
    ).to(channels.device)


def _largest_value(scores: Tensor, working_size: tuple[int, int]) -> float:
    """The largest value of any channel (h, w) at the working size; 0 without a channel."""
    largest = 0.0
    # Interpolation never exceeds the cells' maximum, so most channels need not be upsampled.
    maxima, order = scores.flatten(1).amax(dim=1).sort(descending=True)
    for highest, number in zip(maxima.tolist(), order.tolist(), strict=True):
        if highest <= largest:
            break
        largest = max(largest, float(_at_working_size(scores[number], working_size).max()))
    return largest


def _at_working_size(channel: Tensor, working_size: tuple[int, int]) -> Tensor:
    """One channel (h, w) upsampled by 4 and cropped to the working size (H, W)."""
    upsampled = interpolate(channel[None, None], scale_factor=OUTPUT_STRIDE, mode="bilinear", align_corners=False)
    return upsampled[0, 0, : working_size[0], : working_size[1]]


def _resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    if values.shape == size:
        return values
    return interpolate(values[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
