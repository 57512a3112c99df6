"""What happens in a generated video: which objects, along which paths, with which single-frame gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsvis_core.datasets.synthetic_settings import Gap, SyntheticSettings, scene_weights

GOLDEN = 0.6180339887498949
# Six kinds, so that each is rare: what a classifier sees often it copes with, and stage 1 would not miss it.
GAP_KINDS = ("blur", "darken", "wash", "fade", "tint", "occlude")


@dataclass(frozen=True)
class ObjectPlan:
    """One object's course: class, length, and per native frame its centre, turn and size factor."""

    class_index: int
    length: float
    centres: np.ndarray  # float64 (T,2), (x, y) in frame pixels
    angles: np.ndarray  # float64 (T,), radians, positive turns x towards y
    scales: np.ndarray  # float64 (T,)
    faces_left: bool


@dataclass(frozen=True)
class ScenePlan:
    """A whole clip. ``camera`` (T,2) is where the backdrop's points move to, relative to frame 0."""

    kind: str
    objects: tuple[ObjectPlan, ...]
    camera: np.ndarray
    gaps: tuple[Gap, ...]


def scene_kind(index: int, settings: SyntheticSettings) -> str:
    """Scene kind of video ``index``: a golden-ratio sequence, so that every kind comes early and in its share."""
    weights = scene_weights(settings)
    place = ((index + 1) * GOLDEN + settings.seed * 0.37) % 1.0 * sum(weights.values())
    for kind, weight in weights.items():
        if place < weight:
            return kind
        place -= weight
    return next(kind for kind, weight in reversed(weights.items()) if weight > 0)


def plan_scene(rng: np.random.Generator, index: int, num_frames: int, settings: SyntheticSettings) -> ScenePlan:
    """The plan of video ``index`` over ``num_frames`` native frames."""
    kind = scene_kind(index, settings) if num_frames > 1 else "single"
    camera = _camera_path(rng, num_frames, settings)
    makers = {
        "single": _single,
        "crossing": _crossing,
        "enter_leave": _enter_leave,
        "pair": _pair,
        "static": _static,
        "together": _together,
    }
    objects = tuple(makers[kind](rng, num_frames, camera, settings))
    return ScenePlan(kind, objects, camera, _plan_gaps(rng, len(objects), num_frames, settings))


def _camera_path(rng: np.random.Generator, num_frames: int, settings: SyntheticSettings) -> np.ndarray:
    if rng.random() >= settings.camera_probability:
        return np.zeros((num_frames, 2))
    angle = rng.uniform(0, 2 * np.pi)
    step = rng.uniform(*settings.camera_speed) * np.asarray([np.cos(angle), 0.6 * np.sin(angle)])
    return np.arange(num_frames)[:, None] * step[None, :]


def _plan_gaps(
    rng: np.random.Generator, num_objects: int, num_frames: int, settings: SyntheticSettings
) -> tuple[Gap, ...]:
    """Single-frame gaps on annotated frames that have annotated neighbours on both sides, never two in a row."""
    inner = range(settings.annotation_stride, num_frames - settings.annotation_stride, settings.annotation_stride)
    gaps: list[Gap] = []
    for index in range(num_objects):
        clear = True
        for frame in inner:
            wanted = rng.random() < settings.gap_rate
            kind = str(rng.choice(GAP_KINDS))
            clear = not (wanted and clear)
            if not clear:
                gaps.append(Gap(index, frame, kind))
    return tuple(gaps)


def _length(rng: np.random.Generator, settings: SyntheticSettings) -> float:
    return float(rng.uniform(*settings.object_length)) * settings.width / 160.0


def _course(
    rng: np.random.Generator, class_index: int, length: float, start: np.ndarray, step: np.ndarray, num_frames: int
) -> ObjectPlan:
    """A path along ``step`` per frame with a gentle bob, sway and change of size."""
    time = np.arange(num_frames, dtype=np.float64)
    bob = rng.uniform(0.0, 1.8) * np.sin(2 * np.pi * time / rng.uniform(10, 18) + rng.uniform(0, 6.3))
    centres = start[None, :] + time[:, None] * step[None, :]
    centres[:, 1] += bob
    sway = np.deg2rad(rng.uniform(0, 6)) * np.sin(2 * np.pi * time / rng.uniform(16, 30) + rng.uniform(0, 6.3))
    tilt = np.arctan2(step[1], abs(step[0]) + 1e-6) * 0.4
    scales = np.exp(rng.uniform(-0.006, 0.006) * (time - num_frames / 2))
    faces_left = bool(step[0] < 0) if abs(step[0]) > 1e-9 else bool(rng.random() < 0.5)
    return ObjectPlan(class_index, length, centres, sway + (-tilt if faces_left else tilt), scales, faces_left)


def _inside(rng: np.random.Generator, class_index: int, num_frames: int, settings: SyntheticSettings) -> ObjectPlan:
    """An object whose whole path keeps its centre well inside the frame."""
    length = _length(rng, settings)
    frames = max(num_frames - 1, 1)
    room_x = settings.width - 0.7 * length
    room_y = settings.height - 0.62 * length
    direction = rng.choice([-1.0, 1.0])
    speed = min(float(rng.uniform(*settings.speed)), max(room_x, 8.0) / frames)
    step = np.asarray([direction * speed, rng.uniform(-0.35, 0.35) * speed])
    step[1] = np.clip(step[1], -0.8 * room_y / frames, 0.8 * room_y / frames)
    span = step * frames
    low = np.asarray([0.35, 0.30]) * length + np.maximum(-span, 0.0)
    high = np.asarray([settings.width, settings.height]) - np.asarray([0.35, 0.32]) * length - np.maximum(span, 0.0)
    start = low + rng.random(2) * np.maximum(high - low, 0.0)
    return _course(rng, class_index, length, start, step, num_frames)


def _random_class(rng: np.random.Generator, settings: SyntheticSettings) -> int:
    return int(rng.integers(settings.num_classes))


def _single(
    rng: np.random.Generator, num_frames: int, camera: np.ndarray, settings: SyntheticSettings
) -> list[ObjectPlan]:
    return [_inside(rng, _random_class(rng, settings), num_frames, settings)]


def _pair(
    rng: np.random.Generator, num_frames: int, camera: np.ndarray, settings: SyntheticSettings
) -> list[ObjectPlan]:
    count = 3 if rng.random() < 0.2 else 2
    return [_inside(rng, _random_class(rng, settings), num_frames, settings) for _ in range(count)]


def _crossing(
    rng: np.random.Generator, num_frames: int, camera: np.ndarray, settings: SyntheticSettings
) -> list[ObjectPlan]:
    """Two of one class that meet in the middle of the clip, going opposite ways or one overtaking the other."""
    class_index = _random_class(rng, settings)
    middle = np.asarray([settings.width, settings.height]) * rng.uniform([0.42, 0.42], [0.58, 0.58])
    first = rng.uniform(settings.speed[0], 0.7 * settings.speed[1])
    overtakes = rng.random() < 0.3
    second = first * 0.25 if overtakes else -rng.uniform(settings.speed[0], 0.6 * settings.speed[1])
    offset = rng.uniform(-0.12, 0.12) * settings.height
    plans = []
    for velocity, shift in ((first, offset / 2), (second, -offset / 2)):
        step = np.asarray([velocity, rng.uniform(-0.15, 0.15)])
        start = middle + np.asarray([0.0, shift]) - step * (num_frames - 1) / 2
        plans.append(_course(rng, class_index, _length(rng, settings), start, step, num_frames))
    return plans if rng.random() < 0.5 else plans[::-1]


def _enter_leave(
    rng: np.random.Generator, num_frames: int, camera: np.ndarray, settings: SyntheticSettings
) -> list[ObjectPlan]:
    """One object that comes in late or is gone early, so that some frames hold no object at all."""
    length = _length(rng, settings)
    direction = float(rng.choice([-1.0, 1.0]))
    absent = rng.uniform(0.15, 0.3) * num_frames
    present = max(num_frames - absent, 1.0)
    speed = min(max(np.mean(settings.speed), 1.1 * length / present), settings.speed[1])
    if rng.random() < 0.5:  # enters: its front reaches the edge after `absent` frames
        edge = -0.5 * length if direction > 0 else settings.width + 0.5 * length
        x_start = edge - direction * speed * absent
    else:  # leaves: its back is past the edge after `present` frames
        edge = settings.width + 0.55 * length if direction > 0 else -0.55 * length
        x_start = edge - direction * speed * present
    start = np.asarray([x_start, rng.uniform(0.38, 0.62) * settings.height])
    step = np.asarray([direction * speed, rng.uniform(-0.2, 0.2)])
    return [_course(rng, _random_class(rng, settings), length, start, step, num_frames)]


def _static(
    rng: np.random.Generator, num_frames: int, camera: np.ndarray, settings: SyntheticSettings
) -> list[ObjectPlan]:
    """An object at rest on the ground (limbs too), sometimes with a moving one."""
    length = _length(rng, settings)
    place = rng.uniform([0.3, 0.4], [0.7, 0.6]) * np.asarray([settings.width, settings.height])
    place -= camera[-1] / 2
    still = ObjectPlan(
        _random_class(rng, settings),
        length,
        place[None, :] + camera,
        np.full(num_frames, rng.uniform(-0.1, 0.1)),
        np.ones(num_frames),
        bool(rng.random() < 0.5),
    )
    moving = [_inside(rng, _random_class(rng, settings), num_frames, settings)] if rng.random() < 0.5 else []
    return [still, *moving]


def _together(
    rng: np.random.Generator, num_frames: int, camera: np.ndarray, settings: SyntheticSettings
) -> list[ObjectPlan]:
    """Two objects of two classes (where there are two) that touch and share one motion."""
    first_class = _random_class(rng, settings)
    second_class = (first_class + 1 + int(rng.integers(max(settings.num_classes - 1, 1)))) % settings.num_classes
    leader = _inside(rng, first_class, num_frames, settings)
    length = _length(rng, settings)
    behind = np.asarray([-0.62, 0.0]) if rng.random() < 0.5 else np.asarray([-0.15, -0.36])
    sign = -1.0 if leader.faces_left else 1.0
    gap = behind * np.asarray([sign, 1.0]) * 0.5 * (length + leader.length)
    if leader.centres[:, 1].mean() < 0.45 * settings.height:
        gap[1] = -gap[1]
    follower = ObjectPlan(second_class, length, leader.centres + gap, leader.angles, leader.scales, leader.faces_left)
    return [follower, leader]
