"""A data set in the layout of YouTube-VIS 2019 as the test finds it, no data at all, and a wrong configuration."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from wsvis_core.datasets import SyntheticSettings, write_dataset
from wsvis_core.tracking.results import read_results

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow-run")]
TARGET = "results/ytvis_vis.json"


@pytest.fixture
def ytvis_project(make_project, sizes: dict[str, Any], tmp_path: Path):
    """The repository's own `ytvis` block with small sizes, in an empty folder."""
    block = {
        **sizes,
        "split": {"val_per_category": 1, "target_union": None},
        # One shard, and more shards than the two held-out videos at most.
        "shards": {"train": 1, "val": 3},
        "pipeline": {"rounds": 0},
        "cam": {**sizes["cam"], "epochs": 1},
        "flowirn": {**sizes["flowirn"], "epochs": 1},
        "maskconsist": {**sizes["maskconsist"], "iterations": 6},
    }
    return make_project(tmp_path / "project", {"datasets": {"ytvis": block}}, (TARGET,))


def test_set_in_the_layout_of_youtube_vis_gives_tracks(ytvis_project, videos: dict[str, Any]) -> None:
    data = ytvis_project.folder / "data/ytvis"
    write_dataset(data, SyntheticSettings(**{**videos, "seed": 5, "num_videos": 6}))
    (data / "synthetic.json").unlink()
    # The frames at 30 fps are optional: without them flow goes to the next annotated frame.
    shutil.rmtree(data / "train_all_frames")
    assert sorted(path.name for path in data.iterdir()) == ["train", "train.json"]
    outcome = ytvis_project.run()
    assert outcome.returncode == 0, outcome.output
    assert "generate_dataset" not in outcome.jobs
    assert read_results(ytvis_project.folder / TARGET)


def test_without_data_the_run_says_what_to_put_where(make_project, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", {}, (TARGET,))
    outcome = project.run()
    assert outcome.returncode != 0
    wanted = (
        "data set 'ytvis': data/ytvis/train.json and data/ytvis/train/JPEGImages not found.\n",
        "    train.json                                              annotations in YouTube-VIS 2019 format\n",
        "    train/JPEGImages/<video>/<frame number>.jpg             the annotated frames\n",
        "    train_all_frames/JPEGImages/<video>/<frame number>.jpg  every frame, for flow to the next one (optional)",
        "`make demo` needs no data: it generates its own.\n",
    )
    log = (project.folder / "logs/ytvis/prepare_dataset.log").read_text()
    for text in (outcome.output, log):
        assert [line for line in wanted if line not in text] == []
        assert "Traceback" not in text
    # The message comes after what Snakemake says about the failed script.
    assert outcome.output.rindex("`make demo` needs no data") > outcome.output.rindex("CalledProcessError")
    assert not (project.folder / "results/ytvis/dataset/videos.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cam": {"epoch": 3}}, "unknown key 'epoch'; did you mean 'epochs'?"),
        (
            {"f_cam": {"percentile": 150}},
            "f_cam of data set 'ytvis': percentile = 150: Input should be less than or equal to 100",
        ),
        ({"pipeline": {"labeller": "flowrin"}}, "did you mean 'flowirn'?"),
    ],
)
def test_wrong_setting_stops_before_anything_runs(
    settings: dict[str, Any], message: str, make_project, tmp_path
) -> None:
    project = make_project(tmp_path / "project", settings, (TARGET,))
    outcome = project.run("--dry-run")
    assert outcome.returncode != 0
    assert "Traceback" not in outcome.output
    assert outcome.jobs == {}
    said = [line for line in outcome.output.splitlines() if message in line]
    assert said, outcome.output
    assert "config.yaml" in said[0] and "tiny.yaml" in said[0]
