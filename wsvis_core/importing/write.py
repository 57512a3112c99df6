"""The import itself: decodes the planned videos one frame at a time and writes the data set, whole or not at all."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from wsvis_core.datasets.findings import Findings
from wsvis_core.datasets.youtube_vis import Layout
from wsvis_core.importing.block import BlockFacts, block_text
from wsvis_core.importing.native_frames import Losses, NativeFrame, native_frames
from wsvis_core.importing.plan import PlannedVideo, class_ids, plan_import
from wsvis_core.importing.ticks import first_of_each_tick, nearest_to_ticks
from wsvis_core.storage.files import write_json
from wsvis_core.storage.folder import whole_folder

VERSION = 1
# A stream may change its resolution on the way, but not its shape: sides may differ by rounding.
SHAPE_TOLERANCE = 0.02
Use = Literal["annotated", "native"]


@dataclass(frozen=True)
class ImportOptions:
    """What the user asks for.

    fps: annotated frames per second · folder_fps: rate of folders of frames; None: every frame is annotated · max_side:
    pixels; larger frames are reduced · native_flow: keep the neighbour of each annotated frame.
    """

    videos: Sequence[Path]
    labels: Path
    output: Path
    name: str
    fps: Fraction = Fraction(6)
    folder_fps: Fraction | None = None
    max_side: int | None = None
    jpeg_quality: int = 95
    native_flow: bool = True
    skip_unlabelled: bool = False


@dataclass(frozen=True)
class ImportedVideo:
    """What became of one video: sizes in pixels, native indices of the annotated frames, number of neighbours kept."""

    planned: PlannedVideo
    width: int
    height: int
    indices: tuple[int, ...]
    neighbours: int
    losses: Losses

    @property
    def stride(self) -> float:
        """Native frames from one annotated frame to the next, as a rule; 0 for a single one."""
        steps = [after - before for before, after in zip(self.indices, self.indices[1:], strict=False)]
        return statistics.median(steps) if steps else 0


def import_videos(
    options: ImportOptions, findings: Findings, say: Callable[[str], None] = print
) -> list[ImportedVideo]:
    """Write the data set and its configuration block into `options.output`; what is odd goes to `findings`.

    Raises one WsvisError with everything that is wrong, and then leaves nothing at `options.output`.
    """
    planned = plan_import(
        options.videos,
        options.labels,
        findings,
        folder_fps=options.folder_fps,
        skip_unlabelled=options.skip_unlabelled,
    )
    if options.output.exists() and (not options.output.is_dir() or any(options.output.iterdir())):
        findings.error("output is there already", f"{options.output}; give another name or remove it")
    _raise(findings)
    with whole_folder(options.output) as folder:
        imported = []
        for number, video in enumerate(planned, 1):
            done = _import_video(video, folder, options)
            if done is None:
                findings.error("no frame can be used", f"{video.source.path}: none is decodable, or has a label")
                continue
            imported.append(done)
            say(f"{number}/{len(planned)} {_line(done)}")
        _note_results(imported, findings)
        _raise(findings)
        ids = class_ids(planned)
        write_json(folder / Layout().annotation_file, _annotation_file(imported, ids))
        write_json(folder / "import.json", _record(options, imported, ids, findings), indent=1)
        facts = BlockFacts(
            name=options.name,
            root=options.output.as_posix(),
            videos=len(imported),
            frames=sum(len(video.indices) for video in imported),
            classes=len(ids),
            long_side=max(max(video.width, video.height) for video in imported),
            stride=max(video.stride for video in imported),
        )
        (folder / f"{options.name}.yaml").write_text(block_text(facts), encoding="utf-8")
    return imported


def _raise(findings: Findings) -> None:
    findings.raise_errors("nothing was imported", "Repair what is named, then run the same command again.")


def _import_video(video: PlannedVideo, folder: Path, options: ImportOptions) -> ImportedVideo | None:
    """Write the frames of one video; None where there is none to write."""
    layout, name = Layout(), video.source.name
    folders = {"annotated": folder / layout.frames_folder / name, "native": folder / layout.all_frames_folder / name}
    losses, indices, neighbours, size = Losses(), [], 0, None
    frames = of_one_shape(native_frames(video.source, video.probe, losses), losses)
    for frame, use in with_neighbours(_chosen(frames, video, options), options.native_flow):
        picture = frame.image()
        size = size or _reduced(picture.shape[1], picture.shape[0], options.max_side)
        if (picture.shape[1], picture.shape[0]) != size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        _write_jpeg(folders[use] / f"{frame.index:08d}.jpg", picture, options.jpeg_quality)
        if use == "annotated":
            indices.append(frame.index)
        else:
            neighbours += 1
    return None if size is None else ImportedVideo(video, *size, tuple(indices), neighbours, losses)


def _chosen(
    frames: Iterable[NativeFrame], video: PlannedVideo, options: ImportOptions
) -> Iterator[tuple[NativeFrame, bool]]:
    """Every frame with whether it becomes an annotated one."""
    labelled = video.labels.frames
    if labelled is not None:
        return first_of_each_tick(frames, options.fps, lambda frame: frame.index in labelled)
    if video.source.images is not None and options.folder_fps is None:
        return ((frame, True) for frame in frames)
    return nearest_to_ticks(frames, options.fps)


def of_one_shape(frames: Iterable[NativeFrame], losses: Losses) -> Iterator[NativeFrame]:
    """The frames with the shape of the first; where another is taller or wider, masks could not be carried over."""
    first = None
    for frame in frames:
        height, width = frame.stored_size
        first = first or width / height
        if abs(width / height / first - 1) > SHAPE_TOLERANCE:
            losses.add(frame.index, f"of another shape ({width}×{height})")
        else:
            yield frame


def with_neighbours(chosen: Iterable[tuple[NativeFrame, bool]], native: bool) -> Iterator[tuple[NativeFrame, Use]]:
    """The chosen frames, and with `native` the frame after each; before it where the last chosen one has none.

    Two frames are held back, no more.
    """
    before: tuple[NativeFrame, bool] | None = None
    last: tuple[NativeFrame, bool] | None = None
    for frame, taken in chosen:
        follows = last is not None and last[1] and frame.index == last[0].index + 1
        if taken:
            yield frame, "annotated"
        elif native and follows:
            yield frame, "native"
        before, last = last, (frame, taken)
    if native and last is not None and last[1] and before is not None and not before[1]:
        if before[0].index == last[0].index - 1:
            yield before[0], "native"


def _reduced(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """(width, height) with the larger one at most `max_side`."""
    scale = min(1.0, (max_side or max(width, height)) / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _write_jpeg(path: Path, picture: np.ndarray, quality: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    path.write_bytes(encoded.tobytes())


def _line(video: ImportedVideo) -> str:
    """What became of a video, in a line."""
    known, lost = video.planned.probe, video.losses.summary()
    rate = f" at {float(known.fps):.4g} fps" if known.fps else ""
    return (
        f"{video.planned.source.name}: {known.promised} frames{rate}, {len(video.indices)} kept"
        f" and {video.neighbours} beside them for flow, {video.width}×{video.height}"
        + (f"; lost: {lost}" if lost else "")
    )


def _note_results(imported: Sequence[ImportedVideo], findings: Findings) -> None:
    """What is odd about the frames as they came out."""
    shown: dict[str, int] = {}
    for video in imported:
        if video.losses.entries:
            total = len(video.losses.entries)
            findings.warn(
                "video with frames that could not be used (listed in import.json)",
                f"{video.planned.source.name}: {total} of {video.planned.probe.promised}: {video.losses.summary()}",
            )
        if len(video.indices) == 1:
            findings.warn("video with one annotated frame (nothing moves in it)", video.planned.source.name)
        for index in video.indices:
            for name in video.planned.labels.at(index):
                shown[name] = shown.get(name, 0) + 1
    frames = sum(len(video.indices) for video in imported)
    for name in sorted(set().union(*(video.planned.labels.names() for video in imported))):
        if name not in shown:
            findings.warn("class without a kept frame (its frames lie between those that --fps keeps)", repr(name))
        elif shown[name] == frames:
            findings.warn("class in every frame (nothing to tell it from; add videos without it)", repr(name))
    if imported and not shown:
        findings.error("no kept frame has a class", "raise --fps, or widen the ranges of the label file")


def _labels(video: ImportedVideo, ids: Mapping[str, int]) -> list[list[int]]:
    return [sorted(ids[name] for name in video.planned.labels.at(index)) for index in video.indices]


def _annotation_file(imported: Sequence[ImportedVideo], ids: Mapping[str, int]) -> dict[str, Any]:
    """A YouTube-VIS annotation file without masks; see `datasets.folder`."""
    return {
        "info": {"version": VERSION, "description": "class labels without masks, made by wsvis import"},
        "licenses": [],
        "videos": [
            {
                "id": number,
                "width": video.width,
                "height": video.height,
                "length": len(video.indices),
                "file_names": [f"{video.planned.source.name}/{index:08d}.jpg" for index in video.indices],
                "class_labels": _labels(video, ids),
            }
            for number, video in enumerate(imported, 1)
        ],
        "categories": [{"id": number, "name": name, "supercategory": "object"} for name, number in ids.items()],
        "annotations": None,
    }


def _record(
    options: ImportOptions, imported: Sequence[ImportedVideo], ids: Mapping[str, int], findings: Findings
) -> dict[str, Any]:
    """The content of import.json: what was asked for, what became of every video, what was lost."""
    labels = [_labels(video, ids) for video in imported]
    return {
        "version": VERSION,
        "labels": str(options.labels),
        "options": {
            "fps": float(options.fps),
            "folder_fps": None if options.folder_fps is None else float(options.folder_fps),
            "max_side": options.max_side,
            "jpeg_quality": options.jpeg_quality,
            "native_flow": options.native_flow,
        },
        "classes": [
            {
                "id": number,
                "name": name,
                "videos": sum(any(number in frame for frame in rows) for rows in labels),
                "frames": sum(number in frame for rows in labels for frame in rows),
            }
            for name, number in ids.items()
        ],
        "videos": [_video_record(number, video) for number, video in enumerate(imported, 1)],
        "warnings": findings.warning_list(),
    }


def _video_record(number: int, video: ImportedVideo) -> dict[str, Any]:
    known = video.planned.probe
    return {
        "id": number,
        "name": video.planned.source.name,
        "source": str(video.planned.source.path),
        "width": video.width,
        "height": video.height,
        "native_frames": known.promised,
        "native_fps": None if known.fps is None else float(known.fps),
        "annotated_frames": len(video.indices),
        "neighbours": video.neighbours,
        "lost": len(video.losses.entries),
        "lost_frames": video.losses.entries,
    }
