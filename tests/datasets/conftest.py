"""A tiny generated set in the YouTube-VIS layout, and helpers to break it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wsvis_core.datasets import SyntheticSettings, write_dataset

TINY = SyntheticSettings(num_videos=6, frames_per_video=3, height=48, width=64, seed=3, one_frame_video=2)


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "set"
    write_dataset(folder, TINY, write_flow=True)
    return folder


@pytest.fixture
def tiny_set(tiny_source: Path, tmp_path: Path) -> Path:
    """A copy of the tiny set that a test may break."""
    return Path(shutil.copytree(tiny_source, tmp_path / "set"))


@pytest.fixture
def edit(tiny_set: Path) -> Callable[[Callable[[dict[str, Any]], None]], None]:
    """Apply a change to the tiny set's train.json."""

    def apply(change: Callable[[dict[str, Any]], None]) -> None:
        path = tiny_set / "train.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply
