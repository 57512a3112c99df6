"""Instances and tracks drawn on a frame: a tinted fill, a contour with a dark rim, an optional short label."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from wsvis_core.errors import WsvisError

# Bright colours that hold on photographs and on black, found by a search for the largest smallest distance between any
# two as seen by trichromats, protanopes, deuteranopes and tritanopes: CIE Lab distance 17 or more for all four (32 for
# the first). The first ones differ most.
PALETTE = np.array(
    [
        (160, 80, 255),
        (255, 0, 0),
        (0, 255, 255),
        (255, 230, 120),
        (255, 40, 120),
        (120, 160, 255),
        (160, 230, 160),
        (200, 80, 160),
        (80, 230, 0),
        (230, 120, 80),
        (230, 0, 200),
        (255, 160, 200),
    ],
    dtype=np.uint8,
)
WHITE = np.full(3, 255, np.uint8)
GOLDEN_RATIO = 0.6180339887498949


def track_colour(track_id: int) -> tuple[int, int, int]:
    """RGB of a track id (ids begin at 1): always the same, the palette first, then hues a golden angle apart."""
    position = int(track_id) - 1
    if 0 <= position < len(PALETTE):
        red, green, blue = PALETTE[position].tolist()
        return red, green, blue
    hue = (position * GOLDEN_RATIO) % 1.0
    value = (255, 225, 195)[position % 3]
    pixel = np.array([[(hue * 180, 150, value)]], dtype=np.uint8)
    red, green, blue = cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def track_colours(track_ids: Sequence[int]) -> np.ndarray:
    """Colours uint8 (N,3) of N track ids."""
    return np.array([track_colour(track_id) for track_id in track_ids], dtype=np.uint8).reshape(-1, 3)


def class_colours(classes: Sequence[int]) -> np.ndarray:
    """Colours uint8 (N,3) of N class indices 0..C-1."""
    return track_colours([int(index) + 1 for index in classes])


def hex_colour(colour: Sequence[int]) -> str:
    """An RGB triple as #rrggbb."""
    return "#" + "".join(f"{int(part):02x}" for part in colour)


def check_frame(frame: np.ndarray) -> None:
    """Nothing, or a WsvisError when the frame is not uint8 (H,W,3)."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise WsvisError(
            f"a frame of shape {tuple(frame.shape)} and type {frame.dtype} cannot be drawn; "
            "expected RGB uint8 (H,W,3) with at least one pixel"
        )


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A bool mask (h,w) at another size: bilinear, kept where ≥ 0.5."""
    if mask.shape == (height, width):
        return mask.astype(bool)
    resized = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return resized >= 0.5


def enlarge(frame: np.ndarray, scale: float) -> np.ndarray:
    """The frame with its sides times `scale` (at least one pixel each): cubic up, area average down."""
    if scale == 1:
        return frame
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return cv2.resize(frame, (width, height), interpolation=method)


def mute(frame: np.ndarray, amount: float) -> np.ndarray:
    """The frame moved towards its own grey by `amount` in 0..1, so that drawn colours stand out."""
    grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(frame, 1 - amount, grey, amount, 0)


def draw_instances(
    frame: np.ndarray,
    masks: np.ndarray,
    colours: np.ndarray,
    labels: Sequence[str] | None = None,
    *,
    scale: float = 1,
    alpha: float = 0.35,
    muted: float = 0.6,
) -> np.ndarray:
    """The frame with N masks on it, uint8 (round(H·scale), round(W·scale), 3).

    frame uint8 (H,W,3) RGB; masks bool (N,h,w), resized to the result; colours uint8 (N,3); labels N short strings or
    None; alpha weight of the fill; muted: how far the frame goes grey first. Large masks are drawn first, so that a
    small one on top of them stays visible. N = 0 gives the muted frame.
    """
    check_frame(frame)
    canvas = mute(enlarge(frame, scale), muted)
    height, width = canvas.shape[:2]
    resized = [resize_mask(mask, height, width) for mask in np.asarray(masks)]
    order = sorted(range(len(resized)), key=lambda i: -int(resized[i].sum()))
    for i in order:
        _tint(canvas, resized[i], colours[i], alpha)
    for i in order:
        _outline(canvas, resized[i], colours[i])
    for i in order if labels is not None else ():
        _write(canvas, resized[i], labels[i], colours[i])
    return canvas


def draw_tracks(
    frame: np.ndarray, track_ids: Sequence[int], masks: np.ndarray, *, with_ids: bool = True, scale: float = 1
) -> np.ndarray:
    """The frame with the masks bool (N,h,w) of N tracks, each in its track's own colour, with its id if asked."""
    labels = [str(track_id) for track_id in track_ids] if with_ids else None
    return draw_instances(frame, masks, track_colours(track_ids), labels, scale=scale)


def draw_labels(
    frame: np.ndarray, labels: np.ndarray, colours: np.ndarray, truth: Sequence[np.ndarray], *, scale: float = 1
) -> np.ndarray:
    """The frame with N labels in colour and true masks as thin white lines on top; arguments as `draw_instances`."""
    canvas = draw_instances(frame, labels, colours, scale=scale, alpha=0.22, muted=0.5)
    for mask in truth:
        _outline(canvas, resize_mask(mask, *canvas.shape[:2]), WHITE, thickness=1)
    return canvas


def _tint(canvas: np.ndarray, mask: np.ndarray, colour: np.ndarray, alpha: float) -> None:
    blended = canvas[mask] * (1 - alpha) + colour.astype(np.float32) * alpha
    canvas[mask] = np.round(blended).astype(np.uint8)


def _outline(canvas: np.ndarray, mask: np.ndarray, colour: np.ndarray, thickness: int | None = None) -> None:
    """A coloured line just inside the mask and a dark one just outside: touching masks of one colour stay apart."""
    thickness = thickness or max(1, round(max(canvas.shape[:2]) / 160))
    flat, kernel = mask.astype(np.uint8), np.ones((3, 3), np.uint8)
    inner = cv2.erode(flat, kernel, iterations=thickness, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    outer = cv2.dilate(flat, kernel) > 0
    canvas[mask & ~inner] = colour
    canvas[outer & ~mask] = canvas[outer & ~mask] // 3


def _write(canvas: np.ndarray, mask: np.ndarray, text: str, colour: np.ndarray) -> None:
    """A small tag in the mask's colour at the top of the mask, moved inside the picture."""
    if not mask.any() or not text:
        return
    font, size = cv2.FONT_HERSHEY_SIMPLEX, max(0.42, max(canvas.shape[:2]) / 760)
    (width, height), _ = cv2.getTextSize(text, font, size, 1)
    ys, xs = np.nonzero(mask)
    left = int(np.clip(round(xs[ys == ys[0]].mean()) - width // 2, 3, max(3, canvas.shape[1] - width - 4)))
    base = int(np.clip(ys[0] + height + 3, height + 3, max(height + 3, canvas.shape[0] - 4)))
    corner, opposite = (left - 3, base - height - 3), (left + width + 2, base + 3)
    cv2.rectangle(canvas, corner, opposite, colour.tolist(), -1)
    cv2.putText(canvas, text, (left, base), font, size, (12, 12, 12), 1, cv2.LINE_AA)
