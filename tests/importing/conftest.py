"""Small films made with PyAV, with everything that real ones come with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

HEIGHT, WIDTH = 48, 64
BITS = 8


def picture(number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Frame `number` of every film: the bits of its number stand at the bottom, the corner at the top left is red."""
    frame = np.full((*size, 3), 100, np.uint8)
    frame[: size[0] // 3, : size[1] // 2] = (255, 0, 0)
    for bit in range(BITS):
        frame[-8:, 8 * bit : 8 * bit + 8] = 255 * (number >> bit & 1)
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number of a film's frame, read from its bottom."""
    return sum(int(frame[-6:-2, 8 * bit + 2 : 8 * bit + 6].mean() > 128) << bit for bit in range(BITS))


def write_film(
    path: Path,
    frames: int = 30,
    *,
    fps: int = 30,
    codec: str = "libx264",
    rotation: int | None = None,
    milliseconds: Sequence[int] | None = None,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    noise: bool = False,
    aspect: Fraction | None = None,
) -> Path:
    """A film of `picture(0)`, `picture(1)`, …; milliseconds: times of the frames, instead of a constant rate."""
    path.parent.mkdir(parents=True, exist_ok=True)
    base = Fraction(1, 1000) if milliseconds else Fraction(1, fps)
    options = {"movflags": "+faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            shown = picture(number, size)
            if noise:  # so that the file is long enough to be cut
                shown[:-8] ^= np.random.default_rng(number).integers(0, 64, shown[:-8].shape, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
            frame.pts, frame.time_base = (milliseconds[number] if milliseconds else number), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A file with sound and no pictures."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_frames(folder: Path, names: Sequence[str]) -> Path:
    """A folder of frames `picture(0)`, … with these file names."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), picture(number)[..., ::-1])
    return folder


@pytest.fixture(scope="session")
def film() -> Callable[..., Path]:
    return write_film


@pytest.fixture(scope="session")
def frames_folder() -> Callable[..., Path]:
    return write_frames


@pytest.fixture(scope="session")
def sound() -> Callable[..., Path]:
    return write_sound


@pytest.fixture(scope="session")
def number() -> Callable[[np.ndarray], int]:
    return number_of
