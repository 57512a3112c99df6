"""HDF5 files that are written although the disk may be full."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file to fill. An OSError of the disk is raised when it is closed, at the latest.

    HDF5 cannot close a file that it failed to write, and a process that has one open ends in a segmentation fault
    (seen with HDF5 2.0). So it never hears of the failure, and what it writes afterwards goes nowhere.
    """
    with open(path, "w+b", buffering=0) as stream:
        output = _Output(stream)
        try:
            with h5py.File(output, "w", libver="latest") as file:
                yield file
        finally:
            if output.error is not None:
                raise output.error


class _Output(io.RawIOBase):
    """A file whose first failure to write is kept in `error`, and not told."""

    def __init__(self, stream: io.FileIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:
        return self._stream.readinto(buffer)

    def write(self, data: memoryview) -> int:
        left = memoryview(data)
        while len(left) and self.error is None:
            try:
                left = left[self._stream.write(left) :]
            except OSError as error:
                self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._stream.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return self._stream.tell() if size is None else size
