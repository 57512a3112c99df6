"""The frames of a video file or a folder of frames, upright, one after the other, and what of them is lost."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.stream import Disposition
from av.video.stream import VideoStream

from wsvis_core.datasets.frame_files import FrameFileError, read_rgb
from wsvis_core.importing.sources import Source

# A file must not make the decoder open other files or addresses.
OPTIONS = {"protocol_whitelist": "file"}
# Native indices further apart make no pair of frames (flow.max_index_gap).
MAX_STEP = 10
SIDE_DATA = "DISPLAYMATRIX"
UNDECODABLE = "not decodable"
Matrix = tuple[int, int, int, int]


class UnusableVideoError(ValueError):
    """A video that cannot be imported. ``kind`` groups it in reports; the text says what is wrong with this one."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass(frozen=True)
class NativeFrame:
    """A decoded frame.

    index: its number in the video, as in the CSV · time: seconds from the file's zero · aspect: width of a pixel
    over its height · matrix: see `display_matrix`.
    """

    index: int
    time: Fraction
    content: av.VideoFrame | np.ndarray
    aspect: Fraction = Fraction(1)
    matrix: Matrix | None = None

    @property
    def stored_size(self) -> tuple[int, int]:
        """(height, width) before it is turned."""
        if isinstance(self.content, np.ndarray):
            return self.content.shape[0], self.content.shape[1]
        return self.content.height, self.content.width

    def image(self) -> np.ndarray:
        """uint8 (H,W,3) RGB with square pixels, turned as the file says."""
        if isinstance(self.content, np.ndarray):
            return self.content
        picture = self.content.to_ndarray(format="rgb24")
        if self.aspect != 1:
            width = max(1, round(picture.shape[1] * self.aspect))
            picture = cv2.resize(picture, (width, picture.shape[0]), interpolation=cv2.INTER_AREA)
        return upright(picture, self.matrix)


@dataclass(frozen=True)
class Probe:
    """What is known of a video before it is decoded.

    frames: pictures in the file · promised: pictures its own index names, at least `frames` · numbers: of the frames,
    where they are not 0, 1, …, frames − 1 · stamps (frames,) int64: their times in increasing order; None: the file
    has no usable ones · notes: oddities.
    """

    frames: int
    promised: int
    fps: Fraction | None = None
    numbers: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    stamps: np.ndarray | None = None

    def has(self, number: int) -> bool:
        """Whether the video has, or had before it was cut off, a frame of this number."""
        return 0 <= number < self.promised if self.numbers is None else number in self.numbers

    @property
    def last(self) -> int:
        return self.promised - 1 if self.numbers is None else self.numbers[-1]

    @property
    def first(self) -> int:
        return 0 if self.numbers is None else self.numbers[0]


@dataclass
class Losses:
    """Frames that are in the file, or should be, and cannot be used: one entry each, {"frame", "why"}."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    def add(self, frame: int, why: str) -> None:
        self.entries.append({"frame": frame, "why": why})

    def summary(self) -> str:
        """How many of each kind; "" without any."""
        counts = Counter(entry["why"] for entry in self.entries)
        return ", ".join(f"{count} {why}" for why, count in counts.items())


def probe(source: Source, folder_fps: Fraction | None = None) -> Probe:
    """Look at a video without decoding it; raises UnusableVideoError with what is wrong with it."""
    return _probe_images(source, folder_fps) if source.images is not None else _probe_file(source.path)


def native_frames(source: Source, known: Probe, losses: Losses) -> Iterator[NativeFrame]:
    """The frames that can be decoded, in order of display, times increasing; the others go to `losses`."""
    return _read_images(source, known, losses) if source.images is not None else _decode(source.path, known, losses)


# ---- video files ----------------------------------------------------------------------------------------------------


def _open(path: Path) -> av.container.InputContainer:
    try:
        # An absolute path cannot be taken for an address.
        return av.open(str(path.resolve()), options=OPTIONS, metadata_errors="replace")
    except av.FFmpegError as error:
        if path.stat().st_size == 0:
            raise UnusableVideoError("empty file", f"{path}: 0 bytes") from None
        raise UnusableVideoError(
            "file cannot be opened as a video",
            f"{path}: {error.strerror} (no video, or a recording that was cut off before its index was written)",
        ) from None


def _video_stream(container: av.container.InputContainer, path: Path) -> VideoStream:
    """The first stream of moving pictures; cover pictures of sound files are none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    sound = [stream.codec_context.name for stream in container.streams.audio if stream.codec_context]
    what = f"sound only ({', '.join(sound)})" if sound else "no stream of pictures"
    raise UnusableVideoError("file without pictures", f"{path}: {what}")


def _probe_file(path: Path) -> Probe:
    with _open(path) as container:
        stream = _video_stream(container, path)
        if stream.codec_context is None:
            raise UnusableVideoError("video in a coding that is not known here", f"{path}; convert it to H.264 mp4")
        stamps, unstamped = array("q"), 0
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    unstamped += packet.pts is None
                    stamps.append(packet.pts or 0)
        except av.FFmpegError:
            pass  # the file ends too early; what is missing shows against what it promises
        if not stamps:
            raise UnusableVideoError("video without a frame", f"{path}: it has a video stream with nothing in it")
        ordered = np.sort(np.asarray(stamps))
        usable = unstamped == 0 and bool((np.diff(ordered) > 0).all())
        promised = max(stream.frames, len(stamps))
        rate = _measured_rate(ordered, stream.time_base) if usable else None
        return Probe(len(stamps), promised, rate or stream.average_rate, stamps=ordered if usable else None)


def _measured_rate(stamps: np.ndarray, time_base: Fraction | None) -> Fraction | None:
    """Frames per second by the time stamps (frames,), in increasing order; None for one frame.

    What a file states of itself may be another rate: a webm of variable frame rate states that of its encoder.
    """
    if len(stamps) < 2 or not time_base:
        return None
    return (len(stamps) - 1) / (int(stamps[-1] - stamps[0]) * time_base)


def _decode(path: Path, known: Probe, losses: Losses) -> Iterator[NativeFrame]:
    """The frames of a file; a frame's number is the place of its time stamp among those of all pictures in the file.

    So frames that the decoder drops silently do not shift the numbers of later ones. Without usable time stamps frames
    are counted, and one is left out for every error.
    """
    due, last, matrix = 0, None, None
    period = 1 / known.fps if known.fps else Fraction(1, 25)
    with _open(path) as container:
        stream = _video_stream(container, path)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        for frame in _pictures(container, stream):
            if frame is None:
                if known.stamps is None:
                    losses.add(due, UNDECODABLE)
                    due += 1
                continue
            index = _number(frame, known, due)
            for missing in range(due, index):
                losses.add(missing, UNDECODABLE)
            due = index + 1
            if frame.is_corrupt:
                losses.add(index, "damaged")
                continue
            time = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            if last is not None and (time is None or time <= last):
                time = last + period
            if last is None:
                # Once per file: asking a frame for its side data keeps it in memory until Python collects cycles.
                matrix = display_matrix(frame)
            last = Fraction(0) if time is None else time
            yield NativeFrame(index, last, frame, aspect, matrix)
    for missing in range(due, known.promised):
        losses.add(missing, UNDECODABLE if missing < known.frames else "missing at the end of the file")


def _number(frame: av.VideoFrame, known: Probe, due: int) -> int:
    """The number of a frame, at least `due`."""
    if known.stamps is None or frame.pts is None:
        return due
    place = int(np.searchsorted(known.stamps, frame.pts))
    exact = place < len(known.stamps) and known.stamps[place] == frame.pts
    return max(place, due) if exact else due


def _pictures(container: av.container.InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame | None]:
    """Decoded frames, and None for every packet that cannot be decoded."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return  # the rest of the file cannot be read
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.FFmpegError:
            yield None


def display_matrix(frame: av.VideoFrame) -> Matrix | None:
    """Signs (a, b, c, d) of a frame's display matrix: x' = a x + c y, y' = b x + d y; None: as stored.

    None as well for angles that are no multiple of 90 degrees.
    """
    data = frame.side_data.get(SIDE_DATA)
    if data is None:
        return None
    numbers = np.frombuffer(data, np.int32)
    a, b, c, d = (int(value) for value in np.sign(numbers[[0, 1, 3, 4]]))
    turned = (a == d == 0 and b != 0 != c) or (b == c == 0 and a != 0 != d)
    return (a, b, c, d) if turned else None


def upright(picture: np.ndarray, matrix: Matrix | None) -> np.ndarray:
    """The picture (H,W,3) as it is meant to be seen; see `display_matrix`."""
    if matrix is None:
        return picture
    a, b, c, d = matrix
    if a == 0:  # x' comes from y: columns become rows
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: d or 1, :: a or 1])


# ---- folders of frames ----------------------------------------------------------------------------------------------


def _probe_images(source: Source, folder_fps: Fraction | None) -> Probe:
    images = source.images or ()
    numbers, note = _numbers_in_names(images), ()
    steps = [after - before for before, after in zip(numbers, numbers[1:], strict=False)]
    if len(numbers) < len(images) or min(steps, default=1) < 1:
        numbers, note = (
            (),
            ("file names do not end in increasing numbers: frames are counted from 0, in order of name",),
        )
    elif min(steps, default=1) > MAX_STEP:
        note = (f"numbers in file names are {min(steps)} or more apart: frames are counted from 0 instead",)
        numbers = ()
    return Probe(len(images), len(images), folder_fps, numbers or None, note)


def _numbers_in_names(images: Sequence[Path]) -> tuple[int, ...]:
    """The last number in each file name that has one."""
    found = (re.findall(r"[0-9]+", path.stem) for path in images)
    return tuple(int(digits[-1]) for digits in found if digits)


def _read_images(source: Source, known: Probe, losses: Losses) -> Iterator[NativeFrame]:
    images = source.images or ()
    for number, path in zip(known.numbers or range(len(images)), images, strict=True):
        try:
            picture = read_rgb(path, upright=True)
        except FrameFileError as error:
            losses.add(number, f"{error.kind} ({path.name})")
            continue
        yield NativeFrame(number, number / (known.fps or Fraction(1)), picture)
