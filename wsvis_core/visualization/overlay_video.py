"""A video with the tracks of a result file on it: colour, number, class and score of every object, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from wsvis_core.datasets.video import Video, VideoDataset
from wsvis_core.evaluation.ground_truth import GroundTruth, TruthVideo
from wsvis_core.evaluation.track_iou import Masks
from wsvis_core.evaluation.validation import result_problems
from wsvis_core.storage.rle import decode_mask
from wsvis_core.visualization.overlays import draw_instances, track_colours

FILL = 0.35  # weight of the track's colour inside its outline
LEGIBLE_SIDE = 360  # pixels of the shorter side from which a tag of the usual size is read with ease
LARGEST_SIDE = 1920
GAP = 6  # columns between results and ground truth
CAPTIONS = ("tracks", "ground truth")


@dataclass(frozen=True)
class DrawnTrack:
    """One track as it is drawn: its number from 1, which also gives its colour; a text; T RLEs or None."""

    number: int
    text: str
    masks: Masks


def result_tracks(
    entries: Sequence[dict[str, Any]], names: dict[int, str], *, min_score: float = 0.0, max_tracks: int | None = None
) -> list[DrawnTrack]:
    """The tracks of one video with a score of at least `min_score`, the `max_tracks` best of them.

    entries: the video's results in the file's order · names: category id → name. A track's number is its place among
    all entries, so leaving others out changes neither number nor colour.
    """
    order = sorted(range(len(entries)), key=lambda i: -entries[i]["score"])
    kept = sorted(i for i in order[:max_tracks] if entries[i]["score"] >= min_score)
    return [
        DrawnTrack(
            i + 1,
            f"{i + 1} {names[entries[i]['category_id']]} {entries[i]['score']:.2f}",
            entries[i]["segmentations"],
        )
        for i in kept
    ]


def true_tracks(truth: GroundTruth, video_id: int) -> list[DrawnTrack]:
    """The annotated tracks of one video, numbered in the file's order."""
    tracks = [track for track in truth.tracks if track.video_id == video_id]
    return [
        DrawnTrack(n, f"{n} {truth.categories[track.category_id]}", track.masks) for n, track in enumerate(tracks, 1)
    ]


def whole_scale(height: int, width: int) -> int:
    """The whole factor by which a small frame is enlarged before it is drawn on; 1 for a shorter side ≥ 360.

    The smallest one that gives the shorter side 360 pixels, unless that makes the longer side exceed 1920.
    """
    wanted = -(-LEGIBLE_SIDE // min(height, width))
    return max(1, min(wanted, LARGEST_SIDE // max(height, width)))


def overlay_frames(
    read_frame: Callable[[int], np.ndarray],
    length: int,
    tracks: Sequence[DrawnTrack],
    truth: Sequence[DrawnTrack] | None = None,
) -> Iterator[np.ndarray]:
    """The drawn frames of a video, uint8 (H',W',3), in time order; with `truth`, results left and truth right.

    read_frame(t) gives frame t of `length` as uint8 (H,W,3). Frame t+1 is not read before frame t was taken, and none
    is kept: memory does not depend on the length.
    """
    for t in range(length):
        frame = read_frame(t)
        if truth is None:
            yield _draw(frame, tracks, t)
        else:
            sides = zip((tracks, truth), CAPTIONS, strict=True)
            yield _side_by_side([_caption(_draw(frame, drawn, t), text) for drawn, text in sides])


def _draw(frame: np.ndarray, tracks: Sequence[DrawnTrack], t: int) -> np.ndarray:
    height, width = frame.shape[:2]
    found = [(track, mask) for track in tracks if (mask := track.masks[t]) is not None]
    masks = np.zeros((len(found), height, width), bool)
    for position, (_, mask) in enumerate(found):
        masks[position] = decode_mask(mask)
    colours = track_colours([track.number for track, _ in found])
    texts = [track.text for track, _ in found]
    return draw_instances(frame, masks, colours, texts, scale=whole_scale(height, width), alpha=FILL, muted=0)


def _caption(picture: np.ndarray, text: str) -> np.ndarray:
    """White on black in the lower left corner."""
    size = max(0.42, max(picture.shape[:2]) / 1000)
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    top = max(0, picture.shape[0] - height - below - 6)
    picture[top:, : width + 8] = 0
    place = (4, picture.shape[0] - below - 2)
    return cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1, cv2.LINE_AA)


def _side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([pictures[0], gap, pictures[1]], axis=1)


def misfits(results: Any, dataset: VideoDataset) -> list[str]:
    """What in a result list does not fit the data set's videos and categories, one line each."""
    videos = {video.id: TruthVideo(video.id, video.height, video.width, len(video)) for video in dataset.videos}
    return result_problems(results, GroundTruth(videos, {c.id: c.name for c in dataset.categories}, ()))


def truth_misfit(truth: GroundTruth, video: Video) -> str | None:
    """Why a ground truth cannot be drawn beside a video's results, or None."""
    known = truth.videos.get(video.id)
    if known is None:
        return f"it has no video {video.id} ({video.name})"
    if (known.length, known.height, known.width) != (len(video), video.height, video.width):
        return (
            f"its video {video.id} has {known.length} frames of {known.width}x{known.height}, "
            f"the data set's ({video.name}) {len(video)} of {video.width}x{video.height}"
        )
    return None
