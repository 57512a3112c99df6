"""Reads a set in the YouTube-VIS 2019 layout and notes everything that is wrong with its annotation file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from wsvis_core.datasets.findings import Findings
from wsvis_core.datasets.frame_files import FrameFileError, resolve_inside
from wsvis_core.datasets.segmentations import checked_rle, compact_counts
from wsvis_core.datasets.video import Category, Frame, Video
from wsvis_core.errors import WsvisError
from wsvis_core.storage.rle import Rle

YOUTUBE_VIS_2019_NAMES = (
    "person giant_panda lizard parrot skateboard sedan ape dog snake monkey hand rabbit duck cat cow fish train horse"
    " turtle bear motorbike giraffe leopard fox deer owl surfboard airplane truck zebra tiger elephant snowboard boat"
    " shark mouse frog eagle earless_seal tennis_racket"
).split()


@dataclass(frozen=True)
class Layout:
    """Where the parts of a set lie, relative to its root."""

    annotation_file: str = "train.json"
    frames_folder: str = "train/JPEGImages"
    all_frames_folder: str = "train_all_frames/JPEGImages"


@dataclass(frozen=True)
class Annotation:
    """One object of one video: T compressed RLEs, None where it is not seen."""

    id: int
    video_id: int
    category_id: int
    iscrowd: int
    segmentations: tuple[Rle | None, ...]


@dataclass(frozen=True)
class YoutubeVisData:
    """What an annotation file says, without the entries that are wrong; each part sorted by id.

    labels: video id -> frame-level labels bool (T,C) of a set without masks; None: they follow from the annotations.
    """

    categories: tuple[Category, ...]
    videos: tuple[Video, ...]
    annotations: tuple[Annotation, ...]
    labels: dict[int, np.ndarray] | None = None


def read_youtube_vis(root: Path, layout: Layout, findings: Findings, name: str = "ytvis") -> YoutubeVisData:
    """The content of an annotation file; whatever is wrong with it goes to ``findings``, nothing is skipped silently.

    Native frame indices come from the file names (the integer of the base name). Frame files are not opened.
    Raises WsvisError at once when the layout or the JSON itself is missing or broken.
    """
    check_layout(root, layout, name)
    content = load_json(root / layout.annotation_file)
    categories = read_categories(content["categories"], findings)
    videos = read_videos(content["videos"], root, layout, findings)
    known = {entry["id"] for entry in content["videos"] if isinstance(entry, dict) and _is_id(entry.get("id"))}
    annotations = _annotations(content["annotations"], videos, known, categories, findings)
    return YoutubeVisData(tuple(categories.values()), tuple(videos.values()), annotations)


def check_layout(root: Path, layout: Layout, name: str) -> None:
    """Raise a WsvisError that shows the expected folders when the annotation file or the frames are not there."""
    missing = [path for path in (layout.annotation_file, layout.frames_folder) if not (root / path).exists()]
    if not missing:
        return
    frame = "<video>/<frame number>.jpg"
    rows = [
        (layout.annotation_file, "annotations in YouTube-VIS 2019 format"),
        (f"{layout.frames_folder}/{frame}", "the annotated frames"),
        (f"{layout.all_frames_folder}/{frame}", "every frame, for flow to the next one (optional)"),
    ]
    width = max(len(path) for path, _ in rows)
    tree = "\n".join(f"    {path:<{width}}  {meaning}" for path, meaning in rows)
    raise WsvisError(
        f"data set '{name}': {' and '.join(str(root / path) for path in missing)} not found.\n"
        f"Put the data (for YouTube-VIS 2019: the training set from https://youtube-vos.org/dataset/vis/) there:\n"
        f"  {root}/\n{tree}\n"
        f"or set datasets.{name}.root to where it is. `make demo` needs no data: it generates its own."
    )


def load_json(path: Path, keys: tuple[str, ...] = ("videos", "categories", "annotations")) -> dict[str, list[Any]]:
    """The content of an annotation file, whose `keys` are lists; WsvisError where it is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_hook=compact_counts)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WsvisError(f"{path} is not valid JSON ({error}); download or export it again") from None
    wrong = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if wrong:
        raise WsvisError(
            f"{path} is not a YouTube-VIS annotation file: expected lists named {', '.join(keys)},"
            f" missing: {', '.join(wrong)}"
            " (the public test and validation files have no annotations; use the training set. Your own videos without"
            " masks: `wsvis import` and kind: folder)"
        )
    return content


def _is_id(value: Any) -> bool:
    return type(value) is int and value >= 1


def _unique_entries(entries: list[Any], what: str, findings: Findings) -> list[dict[str, Any]]:
    """The entries with a usable id of their own, in id order."""
    found: dict[int, dict[str, Any]] = {}
    for position, entry in enumerate(entries):
        identity = entry.get("id") if isinstance(entry, dict) else None
        if not _is_id(identity):
            shown = f"id {identity!r}" if isinstance(entry, dict) else "not an object"
            findings.error(
                f"{what} id is not a whole number from 1 up (0 means 'unmatched' in COCO tools)",
                f"entry {position} of the list: {shown}",
            )
        elif identity in found:
            findings.error(f"{what} id is used twice", f"id {identity}")
        else:
            found[identity] = entry
    return [found[identity] for identity in sorted(found)]


def read_categories(entries: list[Any], findings: Findings) -> dict[int, Category]:
    """The categories by id; what is wrong with them goes to `findings`."""
    categories: dict[int, Category] = {}
    for entry in _unique_entries(entries, "category", findings):
        label = entry.get("name")
        if not isinstance(label, str) or not label:
            findings.error("category has no name", f"id {entry['id']}")
            label = str(entry["id"])
        categories[entry["id"]] = Category(entry["id"], label)
    if not entries:
        findings.error("no categories", "the list 'categories' is empty")
    names = [category.name for category in categories.values()]
    if len(names) == len(YOUTUBE_VIS_2019_NAMES) and names != YOUTUBE_VIS_2019_NAMES:
        pairs = zip(categories.values(), YOUTUBE_VIS_2019_NAMES, strict=True)
        for category, expected in pairs:
            if category.name != expected:
                findings.warn(
                    "category order differs from YouTube-VIS 2019 (the names of the file are used)",
                    f"id {category.id} is {category.name}, there it is {expected}",
                )
    return categories


def read_videos(entries: list[Any], root: Path, layout: Layout, findings: Findings) -> dict[int, Video]:
    """The videos by id, frames with their native neighbours; what is wrong with them goes to `findings`."""
    videos: dict[int, Video] = {}
    owner_of_file: dict[str, int] = {}
    all_frames = _AllFrames(root / layout.all_frames_folder)
    for entry in _unique_entries(entries, "video", findings):
        if not _video_values_valid(entry, findings):
            continue
        frames = _frames(entry, root, layout, all_frames, findings)
        for name in entry["file_names"]:
            if owner_of_file.setdefault(name, entry["id"]) != entry["id"]:
                findings.error(
                    "frame file belongs to two videos", f"{name}: videos {owner_of_file[name]} and {entry['id']}"
                )
        if frames is not None:
            title = str(PurePosixPath(entry["file_names"][0]).parent)
            videos[entry["id"]] = Video(entry["id"], title, entry["width"], entry["height"], frames)
    if not entries:
        findings.error("no videos", "the list 'videos' is empty")
    return videos


def _video_values_valid(entry: dict[str, Any], findings: Findings) -> bool:
    where = f"video {entry['id']}"
    names = entry.get("file_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        findings.error("video has no list of frame files", f"{where}: file_names")
        return False
    size = [entry.get("width"), entry.get("height")]
    if not all(type(side) is int and side >= 1 for side in size):
        findings.error(
            "video size is not two positive whole numbers", f"{where}: width {size[0]!r}, height {size[1]!r}"
        )
        return False
    if "length" in entry and entry["length"] != len(names):
        findings.error(
            "video length differs from its number of frame files",
            f"{where}: length {entry['length']}, {len(names)} files",
        )
    return True


def _frames(
    entry: dict[str, Any], root: Path, layout: Layout, all_frames: _AllFrames, findings: Findings
) -> tuple[Frame, ...] | None:
    """The frames of one video, or None when its file names cannot be used (then it is in the findings)."""
    names, where = entry["file_names"], f"video {entry['id']}"
    sound = True
    for name in names:
        try:
            resolve_inside(root / layout.frames_folder, name)
        except FrameFileError as error:
            findings.error(error.kind, f"{where}: {error}")
            sound = False
        else:
            stem = PurePosixPath(name).stem
            if not (stem.isascii() and stem.isdigit()):
                findings.error("frame file name is not a number", f"{where}: {name}")
                sound = False
    if not sound:
        return None
    native = [int(PurePosixPath(name).stem) for name in names]
    for before, after, name in zip(native, native[1:], names[1:], strict=False):
        if after <= before:
            findings.error("frame numbers do not increase", f"{where}: {name} comes after number {before}")
            sound = False
        elif after - before > 10:
            findings.warn("gap of more than 10 native frames (no pair across it)", f"{where}: before {name}")
    if len({str(PurePosixPath(name).parent) for name in names}) > 1:
        findings.error("frames of one video lie in several folders", where)
        sound = False
    if not sound:
        return None
    annotated = {index: f"{layout.frames_folder}/{name}" for index, name in zip(native, names, strict=True)}

    def neighbour(name: str, index: int) -> str | None:
        found = all_frames.find(name, index, lambda error: findings.error(error.kind, f"{where}: {error}"))
        return f"{layout.all_frames_folder}/{found}" if found else annotated.get(index)

    return tuple(
        Frame(annotated[index], index, neighbour(name, index + 1), neighbour(name, index - 1))
        for index, name in zip(native, names, strict=True)
    )


class _AllFrames:
    """Looks up native frames in the all-frames folder, one directory listing per video."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listings: dict[str, dict[tuple[int, str], str]] = {}

    def find(self, name: str, index: int, report: Callable[[FrameFileError], None]) -> str | None:
        """File name, relative to the folder, of native frame ``index`` of the video that ``name`` belongs to."""
        path = PurePosixPath(name)
        parent = str(path.parent)
        if parent not in self.listings:
            self.listings[parent] = self._list(parent, report)
        found = self.listings[parent].get((index, path.suffix.lower()))
        if found is not None:
            try:
                resolve_inside(self.folder, found)
            except FrameFileError as error:
                report(error)
                return None
        return found

    def _list(self, parent: str, report: Callable[[FrameFileError], None]) -> dict[tuple[int, str], str]:
        try:
            directory = resolve_inside(self.folder, parent)
        except FrameFileError as error:
            report(error)
            return {}
        if not directory.is_dir():
            return {}
        paths = sorted(PurePosixPath(entry) for entry in (child.name for child in directory.iterdir()))
        numbered = [path for path in paths if path.stem.isascii() and path.stem.isdigit()]
        return {(int(path.stem), path.suffix.lower()): str(PurePosixPath(parent) / path) for path in numbered}


def _annotations(
    entries: list[Any],
    videos: dict[int, Video],
    known_videos: set[int],
    categories: dict[int, Category],
    findings: Findings,
) -> tuple[Annotation, ...]:
    annotations = []
    for entry in _unique_entries(entries, "annotation", findings):
        where = f"annotation {entry['id']}"
        video_id, category_id = entry.get("video_id"), entry.get("category_id")
        if not _is_id(video_id) or video_id not in known_videos:
            findings.error("annotation of an unknown video", f"{where}: video_id {video_id!r}")
        if not _is_id(category_id) or category_id not in categories:
            findings.error("annotation of an unknown category", f"{where}: category_id {category_id!r}")
        elif _is_id(video_id) and video_id in videos:
            tracked = _segmentations(entry, videos[video_id], findings)
            if tracked is not None:
                crowd = int(bool(entry.get("iscrowd", 0)))
                annotations.append(Annotation(entry["id"], video_id, category_id, crowd, tracked))
    return tuple(annotations)


def _segmentations(entry: dict[str, Any], video: Video, findings: Findings) -> tuple[Rle | None, ...] | None:
    """T compressed RLEs of one annotation; masks without a pixel count as absent."""
    where = f"annotation {entry['id']}"
    for key in ("segmentations", "bboxes", "areas"):
        values = entry.get(key)
        if values is None and key != "segmentations":
            continue  # boxes and areas are recomputed from the masks, their lists may be left out
        if not isinstance(values, list) or len(values) != len(video):
            length = len(values) if isinstance(values, list) else "no list"
            findings.error(
                "annotation lists differ in length from the video",
                f"{where}: {key} {length}, video {video.id} has {len(video)} frames",
            )
            return None
    tracked: list[Rle | None] = []
    for t, segmentation in enumerate(entry["segmentations"]):
        rle = None
        if segmentation is not None:
            try:
                rle = checked_rle(segmentation, video.height, video.width)
            except ValueError as error:
                findings.error("segmentation cannot be read", f"{where}, frame {t}: {error}")
            else:
                if rle is None:
                    findings.warn("mask without a pixel, taken as absent", f"{where}, frame {t}")
        tracked.append(rle)
    return tuple(tracked)
