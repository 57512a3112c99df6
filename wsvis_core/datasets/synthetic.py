"""The generated data set: small articulated creatures with exact masks, tracks, classes and flow.

It holds what the method has to cope with: a class cue on a small part only, same-class objects that overlap while
moving differently, single frames in which an object is hard to see, objects of two classes moving as one, camera
motion, objects that enter, leave or rest, frames without objects and a one-frame video.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wsvis_core.datasets.synthetic_objects import Creature, make_creature
from wsvis_core.datasets.synthetic_render import (
    BACKGROUND,
    OCCLUDER,
    Layer,
    creature_layers,
    disturb,
    exact_flow,
    paint,
)
from wsvis_core.datasets.synthetic_scenes import ScenePlan, plan_scene
from wsvis_core.datasets.synthetic_settings import CLASS_NAMES, Gap, SyntheticSettings, SyntheticVideo
from wsvis_core.datasets.synthetic_textures import background_texture, body_texture, hue_to_rgb
from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import atomic_path, write_json
from wsvis_core.storage.space import explain_full_disk

__all__ = ["CLASS_NAMES", "Gap", "SyntheticSettings", "SyntheticVideo", "generate_video", "write_dataset"]


def generate_video(index: int, settings: SyntheticSettings) -> SyntheticVideo:
    """Video ``index`` of the set at its native frame rate, decided by (settings.seed, index) alone."""
    rng = np.random.default_rng([settings.seed, index])
    num_frames = 1 if index == settings.one_frame_index else settings.native_frames
    plan = plan_scene(rng, index, num_frames, settings)
    creatures = [make_creature(rng, item.class_index, item.length, settings) for item in plan.objects]
    layers = _scene_layers(rng, plan, creatures, settings)
    frames, masks, seen = _paint_clip(rng, layers, plan, settings)
    flow, visible = _clip_flow(layers, seen)
    keep = masks.any(axis=(1, 2, 3))
    renumber = np.cumsum(keep) - 1
    gaps = tuple(
        dataclasses.replace(gap, object_index=int(renumber[gap.object_index]))
        for gap in plan.gaps
        if keep[gap.object_index]
    )
    return SyntheticVideo(
        frames=frames,
        masks=masks[keep],
        classes=np.asarray([item.class_index for item in plan.objects], dtype=np.int64)[keep],
        flow=flow,
        visible=visible,
        scene=plan.kind,
        camera_moves=bool(np.any(plan.camera != 0)),
        cue_hidden=np.asarray([creature.cue_hidden for creature in creatures], dtype=bool)[keep],
        gaps=gaps,
    )


def _scene_layers(
    rng: np.random.Generator, plan: ScenePlan, creatures: list[Creature], settings: SyntheticSettings
) -> list[Layer]:
    layers = [_backdrop(rng, plan.camera, settings)]
    for owner, (creature, item) in enumerate(zip(creatures, plan.objects, strict=True)):
        still = plan.kind == "static" and owner == 0
        layers += creature_layers(creature, item, owner, still)
    layers += [_occluder(rng, plan, gap) for gap in plan.gaps if gap.kind == "occlude"]
    return layers


def _backdrop(rng: np.random.Generator, camera: np.ndarray, settings: SyntheticSettings) -> Layer:
    """The ground, large enough that the camera never leaves it."""
    margin = int(np.ceil(np.abs(camera).max())) + 3
    texture = background_texture(rng, settings.height + 2 * margin, settings.width + 2 * margin)
    sprite = np.dstack([texture.clip(0, 255), np.ones(texture.shape[:2], dtype=np.float32)]).astype(np.float32)
    matrices = np.tile(np.eye(2, 3), (len(camera), 1, 1))
    matrices[:, :, 2] = camera - margin
    return Layer(sprite, matrices, np.ones(len(camera), dtype=bool), BACKGROUND)


def _occluder(rng: np.random.Generator, plan: ScenePlan, gap: Gap) -> Layer:
    """A textured slab that hides most of one object in one frame."""
    item = plan.objects[gap.object_index]
    width, height = int(1.05 * item.length), int(0.62 * item.length)
    colour = hue_to_rgb(rng.uniform(0, 360), rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.7))
    texture = body_texture(rng, "mottled", colour, height, width, 3.0).clip(0, 255)
    shape = np.zeros((height, width), dtype=np.float32)
    cv2.ellipse(shape, ((width / 2, height / 2), (width - 3.0, height - 3.0), 0.0), 1.0, -1)
    shape = cv2.GaussianBlur(shape, (0, 0), 0.8)
    sprite = np.dstack([texture * shape[:, :, None], shape]).astype(np.float32)
    frames = len(item.centres)
    matrices = np.tile(np.eye(2, 3), (frames, 1, 1))
    matrices[:, :, 2] = item.centres[gap.frame] - [width / 2, height / 2] + rng.uniform(-4, 4, 2)
    return Layer(sprite, matrices, np.arange(frames) == gap.frame, OCCLUDER)


def _paint_clip(
    rng: np.random.Generator, layers: list[Layer], plan: ScenePlan, settings: SyntheticSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All frames uint8 (T,H,W,3), object masks bool (N,T,H,W) and seen layers int16 (T,H,W)."""
    size = (len(plan.camera), settings.height, settings.width)
    frames = np.zeros((*size, 3), dtype=np.uint8)
    seen = np.zeros(size, dtype=np.int16)
    masks = np.zeros((len(plan.objects), *size), dtype=bool)
    owners = np.asarray([layer.owner for layer in layers])
    for t in range(size[0]):
        image, seen[t] = paint(layers, t, settings.height, settings.width)
        owner_map = owners[seen[t]]
        for n in range(len(masks)):
            mask = owner_map == n
            if mask.sum() >= settings.min_visible_pixels:
                masks[n, t] = mask
        for gap in plan.gaps:
            if gap.frame == t and gap.kind != "occlude":
                disturb(image, masks[gap.object_index, t], gap.kind)
        image += settings.noise_level * rng.standard_normal(image.shape, dtype=np.float32)
        frames[t] = np.rint(image).clip(0, 255)
    return frames, masks, seen


def _clip_flow(layers: list[Layer], seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    num_frames, height, width = seen.shape
    flow = np.zeros((num_frames - 1, 2, height, width), dtype=np.float32)
    visible = np.zeros((num_frames - 1, height, width), dtype=bool)
    for t in range(num_frames - 1):
        flow[t], visible[t] = exact_flow(layers, seen[t], seen[t + 1], t)
    return flow, visible


def write_dataset(folder: Path, settings: SyntheticSettings, *, write_flow: bool = False) -> dict[str, Any]:
    """Write the set in the YouTube-VIS 2019 layout and return its counts.

    ``train.json`` (uncompressed RLE on annotated frames), ``train/JPEGImages`` (annotated frames),
    ``train_all_frames/JPEGImages`` (all native frames), ``synthetic.json`` (settings, scenes, gaps) and, on request,
    ``exact_flow/<video>.npz`` with ``flow`` float32 (T-1,2,H,W) and ``visible`` bool (T-1,H,W).
    An earlier generated set in the folder is replaced; a ``train.json`` that is not the generator's is refused.
    ``train.json`` is written last: without it the folder is not a data set.
    """
    annotation_file = folder / "train.json"
    _clear_folder(folder)
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    scenes: list[dict[str, Any]] = []
    for index in range(settings.num_videos):
        video = generate_video(index, settings)
        name = f"synthetic_{index:04d}"
        native = list(range(0, max(len(video) - 1, 1), settings.annotation_stride))
        _write_frames(folder, name, video, native, settings)
        if write_flow:
            _write_flow(folder / "exact_flow" / f"{name}.npz", video)
        videos.append(_video_entry(index, name, native, settings))
        annotations += _annotation_entries(index + 1, video, native, len(annotations) + 1)
        scenes.append(_scene_entry(index + 1, video))
    info = {"settings": dataclasses.asdict(settings), "videos": scenes}
    write_json(folder / "synthetic.json", info)
    write_json(annotation_file, _annotation_file(videos, annotations, settings))
    return {"videos": len(videos), "annotated_frames": sum(v["length"] for v in videos), "tracks": len(annotations)}


def _clear_folder(folder: Path) -> None:
    """Take away an earlier generated set, so that none of its frames is left; refuse to touch anybody else's data."""
    annotation_file = folder / "train.json"
    if annotation_file.exists() and not (folder / "synthetic.json").exists():
        raise WsvisError(
            f"{annotation_file} was not made by the generator (there is no synthetic.json beside it) and is kept;"
            " give the generated data set a folder of its own"
        )
    annotation_file.unlink(missing_ok=True)
    for frames in ("train/JPEGImages", "train_all_frames/JPEGImages"):
        for video in sorted((folder / frames).glob("synthetic_[0-9][0-9][0-9][0-9]*")):
            shutil.rmtree(video)


def _write_frames(
    folder: Path, name: str, video: SyntheticVideo, native: list[int], settings: SyntheticSettings
) -> None:
    annotated = folder / "train" / "JPEGImages" / name
    everything = folder / "train_all_frames" / "JPEGImages" / name
    annotated.mkdir(parents=True, exist_ok=True)
    everything.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    for t, frame in enumerate(video.frames):
        done, data = cv2.imencode(".jpg", frame[:, :, ::-1], options)
        if not done:
            raise WsvisError(f"OpenCV could not encode frame {t} of {name} as JPEG; check the OpenCV installation")
        for folder in [everything, annotated] if t in native else [everything]:
            path = folder / f"{t:05d}.jpg"
            with explain_full_disk(path, half=path):
                path.write_bytes(data.tobytes())


def _write_flow(path: Path, video: SyntheticVideo) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, flow=video.flow, visible=video.visible)


def _video_entry(index: int, name: str, native: list[int], settings: SyntheticSettings) -> dict[str, Any]:
    return {
        "id": index + 1,
        "width": settings.width,
        "height": settings.height,
        "length": len(native),
        "file_names": [f"{name}/{t:05d}.jpg" for t in native],
    }


def _annotation_entries(video_id: int, video: SyntheticVideo, native: list[int], first_id: int) -> list[dict[str, Any]]:
    """One entry per object that is seen in at least one annotated frame."""
    entries: list[dict[str, Any]] = []
    for masks, class_index in zip(video.masks[:, native], video.classes, strict=True):
        if not masks.any():
            continue
        present = [bool(mask.any()) for mask in masks]
        entries.append(
            {
                "id": first_id + len(entries),
                "video_id": video_id,
                "category_id": int(class_index) + 1,
                "iscrowd": 0,
                "width": masks.shape[2],
                "height": masks.shape[1],
                "length": len(masks),
                "segmentations": [_uncompressed_rle(m) if p else None for m, p in zip(masks, present, strict=True)],
                "bboxes": [_box_xywh(m) if p else None for m, p in zip(masks, present, strict=True)],
                "areas": [int(m.sum()) if p else None for m, p in zip(masks, present, strict=True)],
            }
        )
    return entries


def _uncompressed_rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO run lengths of a mask (H,W): column by column, beginning with the zeros."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": counts.tolist()}


def _box_xywh(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def _scene_entry(video_id: int, video: SyntheticVideo) -> dict[str, Any]:
    return {
        "id": video_id,
        "scene": video.scene,
        "camera_moves": video.camera_moves,
        "classes": [int(c) for c in video.classes],
        "cue_hidden": [bool(h) for h in video.cue_hidden],
        "gaps": [dataclasses.asdict(gap) for gap in video.gaps],
    }


def _annotation_file(
    videos: list[dict[str, Any]], annotations: list[dict[str, Any]], settings: SyntheticSettings
) -> dict[str, Any]:
    names = CLASS_NAMES[: settings.num_classes]
    return {
        "info": {"description": "generated data set of wsvis", "seed": settings.seed},
        "licenses": [],
        "videos": videos,
        "categories": [
            {"id": index + 1, "name": name, "supercategory": "creature"} for index, name in enumerate(names)
        ],
        "annotations": annotations,
    }
