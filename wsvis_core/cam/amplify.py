"""f-CAM: class activation maps amplified where the frame moves (Eq. 2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from wsvis_core.errors import WsvisError
from wsvis_core.flow.camera import CAMERAS, Camera, residual_flow
from wsvis_core.mask_ops import resize_nearest

NORMALISER_EPSILON = 1e-5


def amplify_cams(
    cam: Tensor,
    high_res: Tensor,
    flow: Tensor | None,
    *,
    amplification: float = 2.0,
    percentile: float = 80.0,
    min_motion_px: float = 0.0,
    order: Literal["normalise_then_amplify", "amplify_then_normalise"] = "normalise_then_amplify",
    labels: bool = True,
    seeds: Literal["saturate", "raw", "none"] = "saturate",
    camera: Camera = "keep",
    frame_size: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """The seed CAMs (K, h, w) and the label CAMs (K, H, W) of a frame, multiplied by A where it moves.

    cam (K, h, w) feeds the random walk, high_res (K, H, W) the label map; both >= 0, each class divided by its
    maximum. flow (2, Hf, Wf), (dx, dy) of this frame on the grid it was computed or stored on, to the next or the
    previous frame (only the magnitude counts); the percentile is taken there and the mask of moving pixels brought to
    the CAMs by nearest. None: nothing is amplified. Defaults are the paper's for YouTube-VIS; Cityscapes has A = 5
    and percentile 50.

    - labels: amplify high_res. The foreground threshold becomes `threshold / A` where the frame moves.
    - seeds: "raw" multiplies by A as Eq. 2 says; "saturate" by `min(A, 1 / strongest class)` at each cell, so that
      no cell exceeds 1 and resting objects keep their share of the walk, whose result is divided by its maximum;
      "none" leaves them. All three keep the order of the classes in every cell.
    - order: "amplify_then_normalise" divides each amplified class by its maximum again (labels and "raw" seeds), which
      lowers resting objects instead of completing moving ones. Paper silent.
    - camera: what is taken away from the flow first, so that motion against the background counts, also where the
      camera follows it; see `residual_flow`. "keep" is the paper.
    - frame_size: (rows, columns) of the frame whose pixels are the unit of `flow`, for a fitted camera; None: (Hf, Wf).
    - min_motion_px: motion at or below this, in the unit of `flow`, is never amplified; 0 is the paper.
    """
    _check(amplification, percentile, order, seeds, camera)
    if flow is None:
        return cam, high_res
    flow = residual_flow(flow, camera, frame_size)
    moving = motion_mask(flow, percentile=percentile, min_motion_px=min_motion_px)
    renormalise = order == "amplify_then_normalise"
    if labels:
        high_res = _multiply(high_res, moving, amplification, renormalise)
    if seeds == "raw":
        cam = _multiply(cam, moving, amplification, renormalise)
    elif seeds == "saturate":
        cam = saturate(cam, resize_nearest(moving, cam.shape[-2:]), amplification)
    return cam, high_res


def motion_mask(flow: Tensor, *, percentile: float = 80.0, min_motion_px: float = 0.0) -> Tensor:
    """Where a frame moves more than most of it: bool (H, W), `|F| > T` with T a percentile of the frame's own |F|.

    flow (2, H, W), pixels. T is interpolated linearly between the two nearest values; a frame of one speed is nowhere
    above it. Multiplying the flow by a number changes nothing while min_motion_px is 0.
    """
    # Paper silent: the percentile is per frame, not per video; the notation takes the frame's own flow.
    speed = torch.linalg.vector_norm(flow.double(), dim=0)
    return (speed > linear_percentile(speed, percentile)) & (speed > min_motion_px)


def linear_percentile(values: Tensor, percentile: float) -> Tensor:
    """The percentile (0..100) of all values of a non-empty tensor, linear between neighbours: a scalar tensor."""
    flat = values.flatten()
    # In this order of the operations a whole percentile that falls on a value gives exactly that value.
    position = percentile * (len(flat) - 1) / 100
    rank = min(int(position), len(flat) - 1)
    lower = flat.kthvalue(rank + 1).values
    if position == rank:
        return lower
    return torch.lerp(lower, flat.kthvalue(rank + 2).values, position - rank)


def saturate(cam: Tensor, moving: Tensor, amplification: float) -> Tensor:
    """`cam_c * min(A, 1 / max_c cam_c)` where moving (h, w), cam (K, h, w) elsewhere."""
    strongest = cam.amax(dim=0) if len(cam) else cam.new_zeros(cam.shape[-2:])
    factor = strongest.reciprocal().clamp_max(amplification)
    return cam * torch.where(moving, factor, 1).to(cam.dtype)


def _multiply(cam: Tensor, moving: Tensor, amplification: float, renormalise: bool) -> Tensor:
    result = cam * torch.where(resize_nearest(moving, cam.shape[-2:]), amplification, 1.0).to(cam.dtype)
    if renormalise and len(cam):
        result = result / (result.amax(dim=(-2, -1), keepdim=True) + NORMALISER_EPSILON)
    return result


def _check(amplification: float, percentile: float, order: str, seeds: str, camera: str) -> None:
    if not amplification > 0:
        raise WsvisError(f"f-CAM amplification A = {amplification} must be greater than 0")
    if not 0 <= percentile <= 100:
        raise WsvisError(f"f-CAM percentile {percentile} is not in 0..100")
    for name, value, allowed in (
        ("order", order, ("normalise_then_amplify", "amplify_then_normalise")),
        ("seeds", seeds, ("saturate", "raw", "none")),
        ("camera", camera, CAMERAS),
    ):
        if value not in allowed:
            raise WsvisError(f"f-CAM {name} '{value}' is not one of {', '.join(allowed)}")
