"""Frame files on disk: safe paths, image headers, decoding."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

import cv2
import numpy as np

ImageCheck = Literal["decode", "header", "none"]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class FrameFileError(ValueError):
    """A frame file that cannot be used. ``kind`` groups it in reports; the text says what is wrong with this one."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def unsafe_reason(name: str) -> str | None:
    """Why a relative file name from a data file is refused, or None when it is harmless."""
    if not name or "\0" in name or "\\" in name:
        return "it is empty or holds a NUL or a backslash"
    path = PurePosixPath(name)
    if path.is_absolute() or (len(name) > 1 and name[1] == ":"):
        return "it is an absolute path"
    if ".." in path.parts:
        return "it holds '..'"
    return None


def resolve_inside(folder: Path, name: str) -> Path:
    """The real path of ``folder/name``; raises FrameFileError when it lies outside of ``folder``.

    ``folder`` itself may be a symbolic link (data sets often are): its target is then what counts.
    """
    kind = "file name leads outside of the data set"
    reason = unsafe_reason(name)
    if reason:
        raise FrameFileError(kind, f"{name!r}: {reason}")
    real = (folder / name).resolve()
    if not real.is_relative_to(folder.resolve()):
        raise FrameFileError(kind, f"{name!r}: a symbolic link leads to {real}, outside of {folder}")
    return real


def read_rgb(path: Path, *, upright: bool = False) -> np.ndarray:
    """uint8 (H,W,3) RGB of a JPEG or PNG file, as stored; with `upright` turned as its EXIF orientation says.

    Raises FrameFileError for a missing, damaged or cut-off file.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FrameFileError("frame file is missing", str(path)) from None
    except OSError as error:
        raise FrameFileError("frame file cannot be read", f"{path}: {error.strerror}") from None
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-1024:]:
        # OpenCV would fill the missing part with grey and say nothing.
        raise FrameFileError("frame cannot be decoded", f"{path}: the JPEG data ends too early ({len(data)} bytes)")
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise FrameFileError("frame cannot be decoded", f"{path}: not a readable image ({len(data)} bytes)")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def header_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header of a JPEG or PNG file, without decoding it. Raises FrameFileError."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(24)
            if start[:8] == PNG_SIGNATURE and len(start) == 24:
                return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
            size = _jpeg_size(stream) if start[:2] == b"\xff\xd8" else None
    except FileNotFoundError:
        raise FrameFileError("frame file is missing", str(path)) from None
    except OSError as error:
        raise FrameFileError("frame file cannot be read", f"{path}: {error.strerror}") from None
    if size is None:
        raise FrameFileError("frame cannot be decoded", f"{path}: no JPEG or PNG header")
    return size


def _jpeg_size(stream: BinaryIO) -> tuple[int, int] | None:
    """(width, height) of the frame header of a JPEG stream; None when there is none before the image data."""
    stream.seek(2)
    while True:
        marker = stream.read(2)
        while len(marker) == 2 and marker == b"\xff\xff":  # fill bytes before a marker
            marker = marker[1:] + stream.read(1)
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in (0xD9, 0xDA):
            return None
        length = int.from_bytes(stream.read(2), "big")
        # SOF0..SOF15 hold the size; C4, C8 and CC in that range are tables.
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            header = stream.read(5)
            return (
                (int.from_bytes(header[3:5], "big"), int.from_bytes(header[1:3], "big")) if len(header) == 5 else None
            )
        if length < 2:
            return None
        stream.seek(length - 2, 1)


def check_frame(path: Path, width: int, height: int, mode: ImageCheck) -> FrameFileError | None:
    """What is wrong with a frame file, or None. ``mode`` none: it exists; header: its size; decode: its pixels too."""
    try:
        if mode == "none":
            if not path.is_file():
                raise FrameFileError("frame file is missing", str(path))
            return None
        size = header_size(path) if mode == "header" else read_rgb(path).shape[1::-1]
        if tuple(size) != (width, height):
            raise FrameFileError(
                "frame size differs from the annotation file",
                f"{path}: {size[0]}x{size[1]}, expected {width}x{height} (width x height)",
            )
    except FrameFileError as error:
        return error
    return None
