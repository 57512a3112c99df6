"""Settings and value types of the generated data set."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from wsvis_core.errors import WsvisError

CLASS_NAMES = ("ember", "moss", "tide", "plum", "amber", "reed", "cobalt", "rose")


@dataclass(frozen=True)
class SyntheticSettings:
    """Everything that decides the bytes of a generated data set.

    Lengths are pixels, speeds pixels per native frame, probabilities 0..1, ``*_weight`` relative shares of
    the scene kinds. Video ``i`` depends on (``seed``, ``i``) and the other values, never on its neighbours
    (``num_videos`` only bounds the place of the one-frame video).
    """

    num_videos: int = 84
    frames_per_video: int = 10  # annotated frames
    annotation_stride: int = 2  # native frames from one annotated frame to the next
    height: int = 96
    width: int = 160
    num_classes: int = 4
    seed: int = 0
    object_length: tuple[float, float] = (45.0, 75.0)  # nose to tail; scaled with width / 160
    speed: tuple[float, float] = (1.0, 4.0)
    cue_hidden_probability: float = 0.35  # objects whose class-specific head shows no cue
    cue_contrast: float = 0.55  # 0: head looks like the body, 1: pure cue
    tint_spread_degrees: float = 35.0  # standard deviation of the body hue round its class's hue
    texture_match_probability: float = 0.6  # body texture is the class's own, else any
    single_weight: float = 0.30  # one moving object
    pair_weight: float = 0.15  # two or three objects on paths of their own
    crossing_weight: float = 0.20  # same class, overlapping, moving differently
    together_weight: float = 0.12  # two classes, touching, moving as one
    enter_leave_weight: float = 0.13  # object enters or leaves: frames without any object
    static_weight: float = 0.10  # an object that does not move
    gap_rate: float = 0.05  # chance of an inner annotated frame to be a gap of an object that was clear before
    camera_probability: float = 0.3
    camera_speed: tuple[float, float] = (0.3, 1.2)
    noise_level: float = 1.5  # standard deviation of the sensor noise, grey levels
    min_visible_pixels: int = 12  # fewer visible pixels: no mask and no label in that frame
    one_frame_video: int | None = 3  # index of the only video with a single frame; None: no such video
    jpeg_quality: int = 95

    def __post_init__(self) -> None:
        _check_settings(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SyntheticSettings:
        """Settings from a config block (lists become tuples); an unknown key is an error that names the nearest."""
        known = [item.name for item in fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
                raise WsvisError(f"synthetic data set: unknown setting {key!r}, the nearest known one is {near!r}")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})

    @property
    def native_frames(self) -> int:
        """Native frames of an ordinary video; the last annotated frame still has its t+1."""
        return (self.frames_per_video - 1) * self.annotation_stride + 2

    @property
    def one_frame_index(self) -> int | None:
        """Index of the one-frame video inside the set, None when there is none."""
        return None if self.one_frame_video is None else min(self.one_frame_video, self.num_videos - 1)


def _check_settings(settings: SyntheticSettings) -> None:
    bounds: dict[str, tuple[float, float]] = {
        "num_videos": (1, 100_000),
        "frames_per_video": (1, 1000),
        "annotation_stride": (1, 30),
        "height": (48, 2000),
        "width": (48, 2000),
        "num_classes": (1, len(CLASS_NAMES)),
        "cue_hidden_probability": (0, 1),
        "cue_contrast": (0, 1),
        "texture_match_probability": (0, 1),
        "gap_rate": (0, 1),
        "camera_probability": (0, 1),
        "jpeg_quality": (1, 100),
    }
    for key, (low, high) in bounds.items():
        value = getattr(settings, key)
        if not low <= value <= high:
            raise WsvisError(
                f"synthetic data set: {key} is {value}, expected {low} to {high}; change it in the data set's settings"
            )
    if sum(scene_weights(settings).values()) <= 0:
        raise WsvisError("synthetic data set: all scene weights are 0; give at least one of them a positive value")


def scene_weights(settings: SyntheticSettings) -> dict[str, float]:
    """Share of every scene kind, in the fixed order the scenes are drawn in."""
    kinds = ("single", "crossing", "enter_leave", "pair", "static", "together")
    return {kind: float(getattr(settings, f"{kind}_weight")) for kind in kinds}


@dataclass(frozen=True)
class Gap:
    """A single-frame failure of an object in native frame ``frame``; ``kind``: as in `disturb`, or occlude."""

    object_index: int
    frame: int
    kind: str


@dataclass(frozen=True)
class SyntheticVideo:
    """One generated clip at its native frame rate, with everything that is exactly known about it.

    ``flow[t]`` is F_{t->t+1} on frame t's pixels, (u, v) = (dx, dy) in pixels. ``visible[t]`` is True where the
    surface point seen at a pixel of t is also seen in t+1. T may be 1 (then flow has no entry), N may be 0.
    """

    frames: np.ndarray  # uint8 (T,H,W,3) RGB
    masks: np.ndarray  # bool (N,T,H,W), visible pixels only, never overlapping
    classes: np.ndarray  # int64 (N,), 0..C-1
    flow: np.ndarray  # float32 (T-1,2,H,W)
    visible: np.ndarray  # bool (T-1,H,W)
    scene: str
    camera_moves: bool
    cue_hidden: np.ndarray  # bool (N,)
    gaps: tuple[Gap, ...] = field(default=())

    def __len__(self) -> int:
        return int(self.frames.shape[0])
