"""HDF5 shards: one file per shard of videos, one group per video, columns inside a video.

A shard is built from one small part file per video in `<shard>.parts/`, each written to a temporary name and
renamed. When all videos are there, the parts are copied into `<shard>.tmp`, which is reopened, verified against its
digests, and renamed. A killed job therefore leaves finished videos behind, which the next attempt keeps if they were
made with the same settings, and nothing that could be taken for a whole shard.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wsvis_core.errors import WsvisError
from wsvis_core.progress import Progress
from wsvis_core.storage.files import atomic_path, settings_digest
from wsvis_core.storage.hdf5 import new_hdf5

FORMAT_VERSION = 1
# Bytes of a chunk at least: a chunk costs about 100 bytes and a look-up, whatever it holds.
SMALLEST_CHUNK = 2**14
_VIDEOS_BETWEEN_CLOSES = 256
# What h5py raises on a damaged file, depending on where the damage is.
_UNREADABLE = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)
Columns = dict[str, np.ndarray]


def write_shard(
    path: Path,
    *,
    kind: str,
    videos: Sequence[Any],
    make_columns: Callable[[Any], Columns],
    settings: dict[str, Any],
    attributes: dict[str, Any] | None = None,
) -> None:
    """Write the shard `path` with one group per video, resuming from the videos an earlier attempt finished.

    kind names the artefact ("flow", "cam", "instances" …). videos have `.id`. make_columns(video) gives the
    video's columns; a column whose first axis is time is stored with one frame per chunk. attributes carry unit,
    direction and resolution. A column with a non-finite value is refused with the video's id.
    """
    digest = settings_digest(settings)
    header = {"kind": kind, "digest": digest, "format_version": FORMAT_VERSION, **(attributes or {})}
    parts = _open_parts_folder(path, digest)
    progress = Progress(f"{kind} {path.name}", total=len(videos), unit="video")
    for video in videos:
        part = parts / f"{video.id}.h5"
        if not _part_is_whole(part):
            _write_part(part, make_columns(video), f"{kind} of video {video.id}")
        progress.advance()
    progress.close()
    _merge(path, [(str(video.id), parts / f"{video.id}.h5") for video in videos], header)
    shutil.rmtree(parts)


def _open_parts_folder(path: Path, digest: str) -> Path:
    """The folder of part files, emptied when it was made with other settings."""
    parts = path.with_name(path.name + ".parts")
    marker = parts / "digest"
    if parts.exists() and (not marker.exists() or marker.read_text() != digest):
        shutil.rmtree(parts)
    if not marker.exists():
        with atomic_path(marker) as temporary:
            temporary.write_text(digest)
    return parts


def _part_is_whole(part: Path) -> bool:
    if not part.exists():
        return False
    try:
        with h5py.File(part, "r") as file:
            return _matches_digest(file["video"])
    except _UNREADABLE:
        return False


def _write_part(part: Path, columns: Columns, what: str) -> None:
    for name, column in columns.items():
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise WsvisError(f"{what}: column '{name}' holds NaN or infinity; nothing was written")
    with atomic_path(part) as temporary, new_hdf5(temporary) as file:
        group = file.create_group("video")
        for name, column in columns.items():
            group.create_dataset(name, data=column, **_layout(column))
        group.attrs["content_digest"] = _content_digest(group)


def _layout(column: np.ndarray) -> dict[str, Any]:
    """Chunked by frame, short rows together, compressed with what every HDF5 reader has; small columns contiguous."""
    if column.ndim < 2 or column.size < 256:
        return {}
    # gzip for integers (masks, labels); lzf for floats, where gzip costs 3× the time for 13 % less size.
    compression = (
        {"compression": "gzip", "compression_opts": 4} if column.dtype.kind in "iub" else {"compression": "lzf"}
    )
    row_bytes = column.dtype.itemsize * math.prod(column.shape[1:])
    rows = min(max(SMALLEST_CHUNK // row_bytes, 1), len(column))
    return {"chunks": (rows, *column.shape[1:]), "shuffle": True, **compression}


def _content_digest(group: h5py.Group) -> str:
    """SHA-256 over names, types, shapes and values of a video's columns."""
    digest = hashlib.sha256()
    for name in sorted(group):
        column = group[name]
        digest.update(f"{name} {column.dtype} {column.shape}".encode())
        digest.update(np.ascontiguousarray(column[()]).tobytes())
    return digest.hexdigest()


def _merge(path: Path, parts: Iterable[tuple[str, Path]], header: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        with new_hdf5(temporary) as file:
            file.attrs.update(header)
            videos = file.create_group("videos")
            for name, part in parts:
                with h5py.File(part, "r") as source:
                    source.copy("video", videos, name=name)
            file.attrs["complete"] = True
        verify_shard(temporary)


def verify_shard(path: Path) -> None:
    """Read every column of a shard and compare it with its digest; raises WsvisError on any difference."""
    with _open(path) as file, _readable(path):
        for name in file["videos"]:
            if not _matches_digest(file["videos"][name]):
                raise WsvisError(f"{path}: video {name} does not match its digest; delete the file and run again")


def _matches_digest(group: h5py.Group) -> bool:
    return group.attrs.get("content_digest") == _content_digest(group)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what h5py raises on a damaged file into a WsvisError."""
    try:
        yield
    except _UNREADABLE as error:
        raise WsvisError(f"{path} is damaged ({error}); delete it and run again") from None


def _open(path: Path) -> h5py.File:
    try:
        file = h5py.File(path, "r", locking="best-effort")
    except FileNotFoundError:
        raise WsvisError(f"{path} does not exist; run snakemake again to make it") from None
    except OSError as error:
        raise WsvisError(f"{path} is not a readable HDF5 file ({error}); delete it and run again") from None
    try:
        _check_header(path, file)
    except WsvisError:
        file.close()
        raise
    return file


def _check_header(path: Path, file: h5py.File) -> None:
    with _readable(path):
        complete, found = file.attrs.get("complete", False), file.attrs.get("format_version")
    if not complete:
        raise WsvisError(f"{path} is incomplete; delete it and run snakemake again")
    if found != FORMAT_VERSION:
        raise WsvisError(
            f"{path} has format version {found}, this wsvis reads {FORMAT_VERSION}; delete it and run again"
        )


class ShardReader:
    """Columns of videos spread over shard files. Opens lazily, once per process; may cross a fork, and threads."""

    def __init__(self, paths: Sequence[Path], *, kind: str) -> None:
        self._paths = [Path(path) for path in paths]
        self._kind = kind
        self._files: dict[Path, h5py.File] = {}
        self._owner = -1
        self._opening = threading.Lock()
        self._index: dict[str, Path] = {}
        for path in self._paths:
            with _open(path) as file, _readable(path):
                if file.attrs["kind"] != kind:
                    raise WsvisError(f"{path} holds '{file.attrs['kind']}', expected '{kind}'")
                self._index.update(dict.fromkeys(file["videos"], path))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}, "_owner": -1, "_opening": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "_opening": threading.Lock()}

    def __contains__(self, video_id: int) -> bool:
        return str(video_id) in self._index

    def columns(self, video_id: int) -> h5py.Group:
        """The HDF5 group of a video; slice its datasets to read frames singly."""
        path = self._index.get(str(video_id))
        if path is None:
            listed = ", ".join(map(str, self._paths))
            raise WsvisError(f"video {video_id} is in none of the '{self._kind}' shards: {listed}")
        with self._opening:
            if self._owner != os.getpid():
                self._files, self._owner = {}, os.getpid()
            if path not in self._files:
                self._files[path] = _open(path)
            file = self._files[path]
        with _readable(path):
            return file["videos"][str(video_id)]

    def close(self) -> None:
        """Close what is open; what `columns` has given is of no use any more. The next call opens it again."""
        with self._opening:
            for file in self._files.values() if self._owner == os.getpid() else ():
                file.close()
            self._files = {}

    def attributes(self) -> dict[str, Any]:
        """Attributes of the first shard (unit, direction, settings digest …)."""
        with _open(self._paths[0]) as file, _readable(self._paths[0]):
            return dict(file.attrs)


def one_by_one(videos: Iterable[Any], *readers: Any) -> Iterator[Any]:
    """The videos, for a loop that looks at each once; `readers` have `close`, and nothing is kept open for long.

    HDF5 keeps some 40 kB of every video it has seen in a file until the file is closed.
    """
    for number, video in enumerate(videos, 1):
        yield video
        if number % _VIDEOS_BETWEEN_CLOSES == 0:
            for reader in readers:
                reader.close()
