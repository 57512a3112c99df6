"""Own videos and a CSV, through `wsvis import`, to tracks and a report; there are no masks to compare with."""

from __future__ import annotations

import csv
import html
import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from wsvis_core.cli import main
from wsvis_core.datasets import SyntheticSettings, VideoDataset, prepare_dataset, write_dataset
from wsvis_core.quality.files import read_estimates
from wsvis_core.storage.instance_shards import open_instances
from wsvis_core.tracking.results import read_results
from wsvis_core.visualization.mp4 import write_mp4

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow-run")]
TARGETS = ("results/mine_vis.json", "results/mine_report.html", "results/mine/tables/table5.csv")


@pytest.fixture
def recordings(tmp_path: Path, videos: dict[str, Any]) -> Path:
    """A folder with frames of some videos, one mp4 file, and labels.csv; made from a generated set."""
    made, folder = tmp_path / "made", tmp_path / "recordings"
    write_dataset(made, SyntheticSettings(**{**videos, "num_videos": 6}))
    prepare_dataset(made, tmp_path / "prepared", split_mode="all")
    dataset = VideoDataset.load(tmp_path / "prepared")
    rows = []
    for video in dataset.videos:
        numbers = [frame.native_index for frame in video.frames]
        if video is dataset.videos[0]:
            numbers = list(range(len(video)))
            frames = (dataset.read_frame(video, t) for t in numbers)
            write_mp4(folder / f"{video.name}.mp4", frames, Fraction(6))
        else:
            (folder / video.name).mkdir(parents=True)
            for frame in video.frames:
                shutil.copy(made / frame.file_name, folder / video.name)
        for number, row in zip(numbers, dataset.class_labels(video), strict=True):
            names = [category.name for category, shown in zip(dataset.categories, row, strict=True) if shown]
            rows += [(video.name, number, name) for name in names or [""]]
    with open(folder / "labels.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("video", "frame", "class"), *rows])
    return folder


def test_videos_and_a_csv_give_tracks_and_a_report_without_scores(
    recordings: Path, make_project, sizes: dict[str, Any], tmp_path: Path, monkeypatch, capsys
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    command = [
        "import",
        "--videos",
        str(recordings),
        "--labels",
        str(recordings / "labels.csv"),
        "--output",
        "data/mine",
    ]
    assert main(command) == 0, capsys.readouterr().err
    written = yaml.safe_load((folder / "data/mine/mine.yaml").read_text())["datasets"]["mine"]
    assert written["kind"] == "folder" and written["root"] == "data/mine"
    block = {**written, **sizes, "shards": {"train": 1, "val": 1}, "tables": {"table5": ["maskconsist"]}}
    outcome = make_project(folder, {"datasets": {"mine": block}}, TARGETS).run()
    assert outcome.returncode == 0, outcome.output
    assert read_results(folder / TARGETS[0])
    page = (folder / TARGETS[1]).read_text()
    assert "none: class labels only, nothing to evaluate" in page
    made = folder / "results/mine"
    metrics = [
        *made.rglob("frame_metrics.json"),
        *made.rglob("unovost/metrics.json"),
        *made.rglob("pseudo_label_*.json"),
        *made.rglob("quality_metrics.json"),
    ]
    assert len(metrics) == 7  # of both routes, and of the labels
    assert {path.name: list(json.loads(path.read_text())) for path in metrics} == {
        path.name: ["not_evaluated"] for path in metrics
    }
    choice = json.loads((folder / "results/mine/route.json").read_text())
    assert set(choice["worth"]) == {"maskconsist", "labels"} and choice["reason"][1:] in html.unescape(page)
    # How far a track can be trusted needs none either.
    estimates = read_estimates(folder / "results/mine_quality.csv")
    assert len(estimates) == len(read_results(folder / TARGETS[0]))
    assert all(0 <= known.estimate <= 1 for known in estimates.values())
    # No frame has a mask of a class that its label lacks; a labelled class has a track or is said to have none.
    dataset = VideoDataset.load(made / "dataset")
    labels = {video.id: dataset.class_labels(video) for video in dataset.videos}
    tracked = set()
    for entry in read_results(folder / TARGETS[0]):
        c = dataset.class_index(entry["category_id"])
        assert all(labels[entry["video_id"]][t, c] for t, mask in enumerate(entry["segmentations"]) if mask)
        tracked.add((entry["video_id"], dataset.categories[c].name))
    readers = [open_instances([path]) for path in made.rglob("predictions/*.h5")]
    predicted = [(reader.video(v.id), v) for reader in readers for v in dataset.videos if v.id in reader]
    assert len(predicted) >= len(dataset.videos)
    for frames, video in predicted:
        assert all(row[f.classes].all() for f, row in zip(frames, labels[video.id], strict=True))
    with open(folder / "results/mine_quality.csv", newline="") as stream:
        lost = {(int(row["video_id"]), row["class"]) for row in csv.DictReader(stream) if row["note"] == "not found"}
    named = {(v.id, dataset.categories[c].name) for v in dataset.videos for c in labels[v.id].any(axis=0).nonzero()[0]}
    assert tracked | lost == named and not tracked & lost
    # Whether neighbouring masks agree needs no ground truth.
    [row] = csv.DictReader((folder / TARGETS[2]).read_text().splitlines())
    assert row["TC_mean"] and "AP50_mean" not in row
