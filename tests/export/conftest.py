"""A small data set with results: gaps, overlaps, holes, a one-frame video, a video without tracks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from wsvis_core.cli import main
from wsvis_core.storage.rle import encode_mask


@dataclass
class Project:
    """Files of a data set and its results, and the dense masks {video id: [(category id, score, [mask or None])]}."""

    folder: Path
    dataset: Path
    results: Path
    content: dict
    tracks: dict[int, list[tuple[int, float, list]]]

    def export(self, name: str, *options: str, output: str = "out") -> Path:
        """Run `wsvis export`; the output folder."""
        assert self.run(name, *options, output=output) == 0
        return self.folder / output

    def run(self, name: str, *options: str, output: str = "out") -> int:
        """Exit code of `wsvis export`."""
        paths = ["--results", str(self.results), "--dataset", str(self.dataset)]
        return main(["export", "--format", name, *paths, "--output", str(self.folder / output), *options])

    def write_results(self, entries: list) -> None:
        """Other results."""
        self.results.write_text(json.dumps(entries))

    def size(self, video_id: int) -> tuple[int, int]:
        """(H, W) of a video."""
        video = next(v for v in self.content["videos"] if v["id"] == video_id)
        return video["height"], video["width"]


def random_mask(rng, size):
    """A blob with ragged edges and holes."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    cy, cx, r = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(3, 8)
    return ((y - cy) ** 2 + (x - cx) ** 2 < r**2) & (rng.random(size) < 0.85)


@pytest.fixture
def project(tmp_path) -> Project:
    rng = np.random.default_rng(3)
    videos = [
        {"id": 4, "width": 30, "height": 21, "length": 5, "file_names": [f"b/swan/{t:05d}.jpg" for t in range(5)]},
        {"id": 2, "width": 17, "height": 26, "length": 1, "file_names": ["a/swan/00000.jpg"]},
        {"id": 9, "width": 12, "height": 8, "length": 2, "file_names": ["empty one/00000.jpg", "empty one/00005.jpg"]},
    ]
    content = {
        "videos": videos,
        "categories": [{"id": 3, "name": "dog & <cat>"}, {"id": 1, "name": "ape"}],
        "annotations": [],
    }
    tracks = {4: [], 2: [], 9: []}
    for video in videos[:2]:
        size = (video["height"], video["width"])
        for n, score in enumerate((0.4, 0.9, 0.65, 0.9)):
            masks = [random_mask(rng, size) for _ in range(video["length"])]
            if video["id"] == 4 and n == 0:
                masks[1] = masks[2] = None
            if video["id"] == 4 and n == 1:
                masks[0] = masks[4] = None
            tracks[video["id"]].append((1 if n % 2 else 3, score, masks))
    entries = [
        {
            "video_id": key,
            "category_id": c,
            "score": s,
            "segmentations": [m if m is None else encode_mask(m) for m in ms],
        }
        for key, rows in tracks.items()
        for c, s, ms in rows
    ]
    # Neither of these is anything: a track of nothing, and one whose only mask has no pixel.
    none = [None] * 5
    entries.append({"video_id": 4, "category_id": 1, "score": 0.99, "segmentations": none})
    blank = encode_mask(np.zeros((21, 30), bool))
    entries.append({"video_id": 4, "category_id": 1, "score": 0.98, "segmentations": [*none[:4], blank]})
    dataset, results = tmp_path / "gt.json", tmp_path / "tracks.json"
    dataset.write_text(json.dumps(content))
    results.write_text(json.dumps(entries))
    return Project(tmp_path, dataset, results, content, tracks)
