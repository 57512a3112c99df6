"""From CAMs to the label map that supervises IRNet: confident foreground, confident background, or ignored."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.crf import pairwise_kernels, refine_labels

IGNORE = 255
Refine = Callable[[Tensor, int], Tensor]


def label_map(
    cam: Tensor,
    class_ids: Tensor,
    *,
    fg_threshold: float = 0.30,
    bg_threshold: float = 0.05,
    refine: Refine | None = None,
) -> Tensor:
    """The label of every pixel (§1.4): uint8 (H, W), 0 background, class id + 1, or 255 where the CAMs are undecided.

    cam (K, H, W) in 0..1, the high-resolution CAMs of the K classes `class_ids` (K,), ids 0 .. 253, of the frame's
    label. A pixel is foreground (background) when its strongest CAM is above `fg_threshold` (not above `bg_threshold`).
    `refine(labels (2, H, W), number of labels)` adjusts both decisions to the image (see `crf_refinement`); its labels
    are 0 = background, k + 1 = row k of cam. None leaves them as they are. A frame without classes is all background.
    """
    if len(class_ids) and int(class_ids.max()) + 1 >= IGNORE:
        raise WsvisError(f"class id {int(class_ids.max())} does not fit a label map: at most 254 classes are possible")
    decisions = torch.stack([above_threshold(cam, limit) for limit in (fg_threshold, bg_threshold)])
    if refine is not None:
        decisions = refine(decisions, len(cam) + 1)
    return combine_decisions(decisions[0], decisions[1], class_ids)


def above_threshold(cam: Tensor, threshold: float) -> Tensor:
    """`argmax over [threshold, cam_1 .. cam_K]`: int64 (H, W), 0 where no CAM is greater, else row + 1."""
    constant = cam.new_full((1, *cam.shape[-2:]), threshold)
    return torch.cat([constant, cam]).argmax(dim=0)


def combine_decisions(foreground: Tensor, background: Tensor, class_ids: Tensor) -> Tensor:
    """Label map uint8 (H, W) of two decisions (H, W), each 0 = background or row + 1 of `class_ids`.

    Foreground decision not 0: its class. Foreground 0, background decision not 0: 255. Both 0: background.
    """
    values = torch.cat([class_ids.new_zeros(1), class_ids + 1])
    undecided = (foreground == 0) & (background != 0)
    return torch.where(undecided, IGNORE, values[foreground]).to(torch.uint8)


def crf_refinement(
    image: Tensor,
    *,
    iterations: int = 10,
    gt_prob: float = 0.7,
    position_std: float = 3.0,
    position_weight: float = 3.0,
    bilateral_std: float = 50.0,
    color_std: float = 5.0,
    bilateral_weight: float = 10.0,
) -> Refine:
    """A `refine` for `label_map`: mean field on the image (3, H, W), 0 .. 255. See `crf.pairwise_kernels`.

    The kernels are built once, here; one mean field refines all labellings (N, H, W) of a call.
    """
    kernels = pairwise_kernels(
        image.unsqueeze(0),
        position_std=position_std,
        position_weight=position_weight,
        bilateral_std=bilateral_std,
        color_std=color_std,
        bilateral_weight=bilateral_weight,
    )

    def refine(labels: Tensor, num_labels: int) -> Tensor:
        return refine_labels(labels.unsqueeze(0), num_labels, kernels, gt_prob=gt_prob, iterations=iterations)[0]

    return refine
