"""The camera's motion fitted to a flow field, and the flow that is left without it. Not in the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from wsvis_core.errors import WsvisError

Camera = Literal["keep", "subtract", "similarity", "homography", "auto"]
CAMERAS: tuple[Camera, ...] = ("keep", "subtract", "similarity", "homography", "auto")
# Paper silent: all numbers here. A point agrees with a camera that takes it to within 0.1 % of the frame's diagonal of
# where the flow leads: 1 pixel at 854x480. Half or twice of it moves what docs/real_frames.md measures by 0.1 points.
INLIER_SHARE_OF_DIAGONAL = 0.001
# "auto" takes the homography away where at least this share of the frame agrees with it; 0.3 to 0.7 do the same.
MOST_OF_THE_FRAME = 0.5
# RANSAC sees at most this many points along the longer side; a fit takes about 5 ms on one core.
POINTS_ALONG_LONG_SIDE = 64
RANSAC_STEPS, RANSAC_CONFIDENCE = 2000, 0.999
FEWEST_POINTS = {"similarity": 2, "homography": 4}


@dataclass(frozen=True)
class CameraFit:
    """The camera's motion between two frames.

    - matrix: (3, 3) float64, takes (x, y, 1) of a point of the first frame to the second, in pixels of the frame; the
      centre of the first pixel is (0, 0).
    - inliers: share, 0..1, of the points with a finite flow that the matrix takes to within 0.1 % of the frame's
      diagonal of where their flow leads; 0 where no flow is finite.
    - model: what the matrix is; "translation" where the model that was asked for does not fit.
    """

    matrix: Tensor
    inliers: float
    model: Literal["translation", "similarity", "homography"]


def fit_camera(
    flow: Tensor, model: Literal["similarity", "homography"], frame_size: tuple[int, int] | None = None
) -> CameraFit:
    """The camera's motion that most of a flow field agrees with, by RANSAC over a coarse grid of its points.

    flow (2, H, W), (dx, dy) in pixels of a frame of `frame_size` (rows, columns), over which its H x W points are
    evenly spread; None: of the field itself. The flow may lead to the next or to the previous frame. Points with a flow
    that is not finite are left out.

    The median flow, a translation, comes back where the model does not fit: too few points, a matrix that folds or
    mirrors the frame, or a mean squared distance, each cut at the limit of an inlier, that is not below the median's.
    The same flow gives the same fit: OpenCV's RANSAC starts from its own fixed seed in every call.

    WsvisError: an unknown model, or a flow of another shape or without a pixel.
    """
    if model not in FEWEST_POINTS:
        raise WsvisError(f"camera model '{model}' is not one of {', '.join(FEWEST_POINTS)}")
    _check_shape(flow)
    rows, columns = frame_size = _frame_size(flow, frame_size)
    limit = INLIER_SHARE_OF_DIAGONAL * float(np.hypot(rows, columns))
    start, end = _sampled_points(flow, frame_size)
    median = _translation(_median_flow(flow).double())
    candidates: list[tuple[Literal["translation", "similarity", "homography"], np.ndarray]] = [("translation", median)]
    fitted = _ransac(start, end, model, limit) if len(start) >= FEWEST_POINTS[model] else None
    if fitted is not None and _keeps_the_frame_whole(fitted, frame_size):
        candidates.append((model, fitted))
    distances = [np.linalg.norm(_moved(matrix, start) - end, axis=1) for _, matrix in candidates]
    # The first of equals wins, so a frame of one speed is left without any motion at all.
    best = int(np.argmin([np.square(np.minimum(d, limit)).sum() for d in distances]))
    name, matrix = candidates[best]
    inliers = float((distances[best] <= limit).mean()) if len(start) else 0.0
    return CameraFit(torch.from_numpy(matrix.copy()), inliers, name)


def camera_flow(matrix: Tensor, size: tuple[int, int], frame_size: tuple[int, int] | None = None) -> Tensor:
    """The flow (2, H, W) float64 of a frame in which only the camera moves.

    matrix (3, 3) as in `CameraFit`; size (H, W) of the result, (dx, dy) in pixels of a frame of `frame_size`, over
    which its points are evenly spread; None: of the result itself.
    """
    points = _grid(size, frame_size or size)
    moved = _moved(matrix.detach().cpu().double().numpy(), points.reshape(-1, 2)).reshape(points.shape)
    return torch.from_numpy((moved - points).transpose(2, 0, 1).copy()).to(matrix.device)


def residual_flow(flow: Tensor, camera: Camera, frame_size: tuple[int, int] | None = None) -> Tensor:
    """The flow that is left when the camera's is taken away: (2, H, W), the dtype, device and unit of `flow`.

    flow and frame_size as in `fit_camera`. A point whose flow is not finite stays so.

    - "keep": the flow as it is, the paper.
    - "subtract": without the median of dx and of dy, right for a camera that pans.
    - "similarity": without a fitted turn, zoom and pan; "homography": also without the perspective of a plane that
      tilts, or of a camera that turns. The median where nothing fits.
    - "auto": "homography" where at least half of the frame agrees with it, "subtract" elsewhere.

    WsvisError: an unknown camera, or a flow of another shape or without a pixel.
    """
    if camera not in CAMERAS:
        raise WsvisError(f"camera '{camera}' is not one of {', '.join(CAMERAS)}")
    _check_shape(flow)
    if camera == "keep":
        return flow
    if camera != "subtract":
        fit = fit_camera(flow, "similarity" if camera == "similarity" else "homography", frame_size)
        if fit.model != "translation" and (camera != "auto" or fit.inliers >= MOST_OF_THE_FRAME):
            moved = camera_flow(fit.matrix, (flow.shape[1], flow.shape[2]), _frame_size(flow, frame_size))
            return (flow.double() - moved.to(flow.device)).to(flow.dtype)
    return flow - _median_flow(flow)[:, None, None]


def _check_shape(flow: Tensor) -> None:
    if flow.ndim != 3 or flow.shape[0] != 2 or flow.numel() == 0:
        raise WsvisError(f"flow must have the shape (2, H, W) with at least one pixel, not {tuple(flow.shape)}")


def _frame_size(flow: Tensor, frame_size: tuple[int, int] | None) -> tuple[int, int]:
    return (flow.shape[1], flow.shape[2]) if frame_size is None else frame_size


def _median_flow(flow: Tensor) -> Tensor:
    """Median (2,) of dx and of dy over the points where both are finite; 0 where there is none."""
    usable = flow.flatten(1)[:, torch.isfinite(flow).all(dim=0).flatten()]
    return usable.median(dim=1).values if usable.numel() else flow.new_zeros(2)


def _translation(shift: Tensor) -> np.ndarray:
    matrix = np.eye(3)
    matrix[:2, 2] = shift.cpu().numpy()
    return matrix


def _grid(size: tuple[int, int], frame_size: tuple[int, int]) -> np.ndarray:
    """The centres (H, W, 2) of the pixels of a field of `size`, (x, y) in pixels of a frame of `frame_size`."""
    (height, width), (rows, columns) = size, frame_size
    ys, xs = (np.arange(height) + 0.5) * rows / height - 0.5, (np.arange(width) + 0.5) * columns / width - 0.5
    return np.stack(np.meshgrid(xs, ys), axis=-1)


def _sampled_points(flow: Tensor, frame_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Where points of a coarse grid with a finite flow start and end: two arrays (N, 2) float64."""
    height, width = flow.shape[1:]
    step = -(-max(height, width) // POINTS_ALONG_LONG_SIDE)
    chosen = (slice(min(step // 2, (height - 1) // 2), None, step), slice(min(step // 2, (width - 1) // 2), None, step))
    start = _grid((height, width), frame_size)[chosen].reshape(-1, 2)
    moves = flow[:, chosen[0], chosen[1]].detach().cpu().double().flatten(1).numpy().T
    usable = np.isfinite(moves).all(axis=1)
    return start[usable], (start + moves)[usable]


def _ransac(start: np.ndarray, end: np.ndarray, model: str, limit: float) -> np.ndarray | None:
    """The matrix (3, 3) float64 that most points agree with; None where OpenCV finds none."""
    if model == "homography":
        matrix, _ = cv2.findHomography(
            start, end, cv2.RANSAC, limit, maxIters=RANSAC_STEPS, confidence=RANSAC_CONFIDENCE
        )
        return matrix
    partial, _ = cv2.estimateAffinePartial2D(
        start,
        end,
        method=cv2.RANSAC,
        ransacReprojThreshold=limit,
        maxIters=RANSAC_STEPS,
        confidence=RANSAC_CONFIDENCE,
    )
    return None if partial is None else np.vstack([partial, [0.0, 0.0, 1.0]])


def _keeps_the_frame_whole(matrix: np.ndarray, frame_size: tuple[int, int]) -> bool:
    """Does the matrix map the frame without folding it at a horizon or mirroring it?"""
    rows, columns = frame_size
    corners = np.array([[x, y, 1.0] for x in (-0.5, columns - 0.5) for y in (-0.5, rows - 0.5)])
    return bool(np.isfinite(matrix).all() and (corners @ matrix[2] > 0).all() and np.linalg.det(matrix) > 0)


def _moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 2) where the matrix takes them."""
    ends = points @ matrix[:, :2].T + matrix[:, 2]
    return ends[:, :2] / ends[:, 2:]
