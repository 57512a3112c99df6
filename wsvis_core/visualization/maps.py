"""Dense maps as pictures: optical flow as a colour wheel, CAMs as tinted heat, label maps as class colours."""

from __future__ import annotations

import cv2
import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.visualization.overlays import check_frame, class_colours, mute

IGNORED = 255


def flow_to_rgb(flow: np.ndarray, max_magnitude: float | None = None) -> tuple[np.ndarray, float]:
    """Flow as colours, uint8 (H,W,3), and the magnitude in pixels that full colour stands for.

    flow (2,H,W), (dx, dy) in pixels. Hue is the direction (right red, down yellow-green, left cyan, up violet),
    strength the magnitude over `max_magnitude` (default: the largest finite one), cut at 1; no motion is black.
    Pixels that are not finite are grey. Several frames are comparable only under one max_magnitude.
    """
    check_flow(flow)
    finite = np.isfinite(flow).all(axis=0)
    dx, dy = np.where(finite, flow, 0).astype(np.float32)
    magnitude = np.hypot(dx, dy)
    if max_magnitude is None:
        max_magnitude = float(magnitude.max(initial=0))
    strength = np.clip(magnitude / max_magnitude, 0, 1) if max_magnitude > 0 else np.zeros_like(magnitude)
    hue = (np.arctan2(dy, dx) / (2 * np.pi)) % 1.0 * 360
    # Below 1, so that slow motion is not lost in black.
    hsv = np.stack([hue, np.full_like(hue, 0.75), strength**0.7], axis=-1).astype(np.float32)
    rgb = np.round(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).astype(np.uint8)
    rgb[~finite] = 128
    return rgb, max_magnitude


def check_flow(flow: np.ndarray) -> None:
    """Nothing, or a WsvisError when the flow is not (2,H,W)."""
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise WsvisError(f"a flow of shape {tuple(flow.shape)} cannot be drawn; expected (2,H,W) with (dx, dy)")


def flow_wheel(size: int = 48) -> np.ndarray:
    """The key to flow_to_rgb, uint8 (size,size,3): the colour at a point is that of the flow from the centre to it."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    flow = np.stack(np.meshgrid(axis, axis))
    wheel, _ = flow_to_rgb(flow, 1.0)
    wheel[np.hypot(*flow) > 1] = 0
    return wheel


def cam_overlay(frame: np.ndarray, cam: np.ndarray, colours: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """The frame in grey, tinted by the strongest class at each pixel, uint8 (H,W,3).

    frame uint8 (H,W,3); cam (K,h,w) ≥ 0, resized to the frame and cut at 1 (f-CAM may exceed it); colours uint8 (K,3).
    The tint's weight is the activation; a thin line follows the level `threshold`. K = 0 gives the grey frame.
    """
    check_frame(frame)
    grey = mute(frame, 1.0).astype(np.float32) * 0.7
    if len(cam) == 0:
        return np.round(grey).astype(np.uint8)
    if cam.ndim != 3 or len(cam) != len(colours):
        raise WsvisError(f"a CAM of shape {tuple(cam.shape)} needs {len(cam)} colours in (K,h,w), got {len(colours)}")
    height, width = frame.shape[:2]
    activations = np.stack([_resize_map(channel, height, width) for channel in cam])
    winner, weight = activations.argmax(axis=0), np.clip(activations.max(axis=0), 0, 1)[..., None]
    tinted = grey * (1 - 0.8 * weight) + colours[winner].astype(np.float32) * 0.8 * weight
    picture = np.round(tinted).astype(np.uint8)
    above = (weight[..., 0] >= threshold).astype(np.uint8)
    contours, _ = cv2.findContours(above, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, (255, 255, 255), 1)
    return picture


def label_map_to_rgb(label_map: np.ndarray, frame: np.ndarray | None = None) -> np.ndarray:
    """A label map in class colours, uint8 (h,w,3), or over the grey frame (H,W,3) when one is given.

    label_map integer (h,w): 0 background, 1..C class index + 1, 255 ignored (hatched white on grey).
    """
    height, width = label_map.shape if frame is None else frame.shape[:2]
    labels = cv2.resize(label_map.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    ground = np.full((height, width, 3), 24, np.uint8) if frame is None else mute(frame, 1.0) // 3
    classes = [value for value in np.unique(labels) if value not in (0, IGNORED)]
    colours = class_colours([int(value) - 1 for value in classes]).astype(np.float32)
    for value, colour in zip(classes, colours, strict=True):
        inside = labels == value
        ground[inside] = np.round(ground[inside] * 0.25 + colour * 0.75).astype(np.uint8)
    rows, columns = np.indices(labels.shape)
    hatched = (labels == IGNORED) & ((rows + columns) % 4 == 0)
    ground[hatched] = 210
    return ground


def _resize_map(values: np.ndarray, height: int, width: int) -> np.ndarray:
    finite = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    return cv2.resize(finite, (width, height), interpolation=cv2.INTER_LINEAR)
