"""Reads a set of one's own videos: class labels of frames and no masks, as `wsvis import` writes it.

The layout is that of YouTube-VIS 2019. In the annotation file `annotations` is null, as in the public validation file
of YouTube-VIS, and every video has `class_labels`: for each of its T frames the ids of the categories that occur.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wsvis_core.datasets.findings import Findings
from wsvis_core.datasets.video import Category, Video
from wsvis_core.datasets.youtube_vis import Layout, YoutubeVisData, load_json, read_categories, read_videos
from wsvis_core.errors import WsvisError


def read_folder(root: Path, layout: Layout, findings: Findings, name: str) -> YoutubeVisData:
    """The content of the annotation file, without masks; whatever is wrong with it goes to ``findings``.

    Raises WsvisError at once when the layout or the JSON itself is missing or broken.
    """
    _check_layout(root, layout, name)
    content = load_json(root / layout.annotation_file, ("videos", "categories"))
    categories = read_categories(content["categories"], findings)
    videos = read_videos(content["videos"], root, layout, findings)
    entries = {entry["id"]: entry for entry in content["videos"] if isinstance(entry, dict) and "id" in entry}
    labels = {key: _labels(entries[key], video, categories, findings) for key, video in videos.items()}
    if videos and not any(rows.any() for rows in labels.values()):
        findings.error("no frame has a class label, there is nothing to learn from", "class_labels of all videos")
    return YoutubeVisData(tuple(categories.values()), tuple(videos.values()), (), labels)


def _check_layout(root: Path, layout: Layout, name: str) -> None:
    missing = [path for path in (layout.annotation_file, layout.frames_folder) if not (root / path).exists()]
    if missing:
        raise WsvisError(
            f"data set '{name}': {' and '.join(str(root / path) for path in missing)} not found.\n"
            f"Make it from your videos and a CSV of their classes (docs/own_videos.md):\n"
            f"  wsvis import --videos FOLDER --labels labels.csv --output {root} --name {name}\n"
            f"or set datasets.{name}.root to where it is."
        )


def _labels(entry: dict[str, Any], video: Video, categories: dict[int, Category], findings: Findings) -> np.ndarray:
    """bool (T,C) of one video, class index = position of the category id."""
    where, rows = f"video {video.id}", entry.get("class_labels")
    labels = np.zeros((len(video), len(categories)), dtype=bool)
    if not isinstance(rows, list) or len(rows) != len(video):
        found = f"{len(rows)} entries" if isinstance(rows, list) else repr(rows)
        findings.error(
            "class_labels is not one list of category ids per frame", f"{where}: {found} for {len(video)} frames"
        )
        return labels
    position = {category_id: index for index, category_id in enumerate(categories)}
    for t, row in enumerate(rows):
        known = [type(value) is int and value in position for value in row] if isinstance(row, list) else [False]
        if all(known):
            labels[t, [position[value] for value in row]] = True
        else:
            findings.error("class_labels name something that is no category id", f"{where}, frame {t}: {row!r}")
    return labels
