"""Frames into an mp4 file, one at a time: H.264 in yuv420p, which browsers and phones play."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import atomic_path

# Constant quality: 18 keeps thin outlines and tags sharp. One thread: equal frames give equal bytes.
ENCODER = {"crf": "18", "preset": "fast", "threads": "1"}
# Colours are converted by BT.709 and say so; untagged small videos are taken for BT.601 by some players, which
# turns track colours.
BT709, LIMITED_RANGE = 1, 1
SECONDS_PER_KEY_FRAME = 2  # a player can only jump to key frames


@dataclass(frozen=True)
class WrittenVideo:
    """What was written: number of frames, sides in pixels (even), frames per second."""

    path: Path
    frames: int
    width: int
    height: int
    fps: Fraction


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: Fraction) -> WrittenVideo:
    """Write frames uint8 (H,W,3) RGB of one size as an mp4 file, atomically.

    Frames are taken from the iterable one by one and not kept; the encoder holds a few dozen compressed ones, however
    long the video is. Odd sides get one more column or row at the right or bottom, a copy of the last one: yuv420p
    has a colour for every 2×2 pixels. No frame at all is a WsvisError. An error leaves no file behind.
    """
    with atomic_path(path) as temporary:
        try:
            return _encode(path, temporary, frames, fps)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _encode(path: Path, temporary: Path, frames: Iterable[np.ndarray], fps: Fraction) -> WrittenVideo:
    count = 0
    stream: VideoStream | None = None
    # faststart: the index goes to the front, so that a browser begins to play before it has the whole file.
    with av.open(temporary, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        for frame in frames:
            picture = even_sides(frame)
            stream = stream or _add_stream(container, picture, fps)
            container.mux(stream.encode(_video_frame(picture, count, fps)))
            count += 1
        if stream is None:
            raise WsvisError(f"{path} cannot be written: a video needs at least one frame")
        container.mux(stream.encode(None))
    return WrittenVideo(path, count, stream.width, stream.height, fps)


def even_sides(frame: np.ndarray) -> np.ndarray:
    """The frame (H,W,3) with its last row and column repeated where the side is odd."""
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return frame
    return cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


def _add_stream(container: OutputContainer, picture: np.ndarray, fps: Fraction) -> VideoStream:
    stream = container.add_stream("libx264", rate=fps, options=ENCODER)
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.gop_size = max(1, round(SECONDS_PER_KEY_FRAME * fps))
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = LIMITED_RANGE
    return stream


def _video_frame(picture: np.ndarray, position: int, fps: Fraction) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame = rgb.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE)
    frame.pts, frame.time_base = position, 1 / fps
    return frame
