"""What a table asks for: every labeller on the data set and its replicates, and nothing twice."""

from __future__ import annotations

import csv
import json
import re

import pytest
import yaml

pytestmark = [pytest.mark.workflow]


def test_table_4_asks_for_every_labeller_on_every_replicate(make_project, tmp_path) -> None:
    project = make_project(tmp_path / "project", {}, ["results/bench/tables/table4.csv"])
    outcome = project.run("--dry-run")
    assert outcome.returncode == 0, outcome.output
    # 3 data sets of 4 shards; labellers that differ in nothing that makes label maps share them.
    assert outcome.jobs == {
        "generate_dataset": 3,
        "prepare_dataset": 3,
        "extract_flow": 12,
        "train_cam": 3,
        "extract_cam": 12,
        "make_label_maps": 24,
        "train_flowirn": 12,
        "make_pseudo_labels": 48,
        "evaluate_pseudo_labels": 12,
        "make_table": 1,
    }
    made = {re.sub(r" on.*", "", message) for message in outcome.messages if message.startswith("Label maps")}
    assert made == {"Label maps of irn", "Label maps of flowirn"}


STAGE_1 = {"generate_dataset": 3, "prepare_dataset": 3, "train_cam": 3, "extract_cam": 12, "extract_flow": 18}


def test_table_5_asks_for_every_segmenter_and_a_round_of_self_training(make_project, tmp_path) -> None:
    project = make_project(tmp_path / "project", {}, ["results/bench/tables/table5.csv"])
    outcome = project.run("--dry-run")
    assert outcome.returncode == 0, outcome.output
    # 6 segmenters and the second round of one; its labels are the predictions on 4 shards of training videos.
    assert outcome.jobs == {
        **STAGE_1,
        "make_label_maps": 12,
        "train_flowirn": 3,
        "make_pseudo_labels": 12,
        "train_maskconsist": 21,
        "predict_masks": 3 * (7 * 2 + 4),
        "evaluate_frames": 21,
        "evaluate_consistency": 21,
        "make_table": 1,
    }
    made = {message for message in outcome.messages if message.startswith("Training maskconsist ")}
    names = ("bench", "bench_1", "bench_2")
    assert made == {
        f"Training maskconsist on flowirn labels of {name}, round {number}" for name in names for number in (0, 1)
    }


def test_the_tables_share_their_runs(make_project, tmp_path) -> None:
    targets = [f"results/bench/tables/{name}.csv" for name in ("table1", "table5", "table6")]
    outcome = make_project(tmp_path / "project", {}, targets).run("--dry-run")
    assert outcome.returncode == 0, outcome.output
    # Beside Table 5's: Mask R-CNN and MaskConsist on the labels of irn.
    assert outcome.jobs["train_maskconsist"] == 21 + 6 and outcome.jobs["evaluate_consistency"] == 21 + 6
    assert outcome.jobs["train_flowirn"] == 6 and outcome.jobs["make_table"] == 3


def test_table_3_tracks_the_masks_of_table_1_with_every_tracker(make_project, tmp_path) -> None:
    targets = [f"results/bench/tables/{name}.csv" for name in ("table1", "table3")]
    outcome = make_project(tmp_path / "project", {}, targets).run("--dry-run")
    assert outcome.returncode == 0, outcome.output
    # 3 data sets: two kinds of masks with four trackers; no training beside Table 1's.
    assert outcome.jobs["track_instances"] == outcome.jobs["evaluate_video"] == 24
    assert outcome.jobs["train_maskconsist"] == 9 and outcome.jobs["make_table"] == 2


def test_table_5_takes_any_segmenter_on_the_pipelines_labels(make_project, tmp_path) -> None:
    edit = {
        "segmenters": {"mine": {"min_edge": 0.3}},
        "datasets": {
            "bench": {
                "pipeline": {"labeller": "irn"},
                "replicates": [],
                "tables": {"table5": ["mine", "maskrcnn@2"]},
            }
        },
    }
    outcome = make_project(tmp_path / "project", {}, ["results/bench/tables/table5.csv"]).run("--dry-run", edit=edit)
    assert outcome.returncode == 0, outcome.output
    made = {message for message in outcome.messages if message.startswith("Training m")}
    assert made == {"Training mine on irn labels of bench, round 0"} | {
        f"Training maskrcnn on irn labels of bench, round {number}" for number in range(3)
    }


def test_a_table_is_made_from_metrics_that_are_there(make_project, tmp_path) -> None:
    """The rule itself, over metrics files that no stage made."""
    project = make_project(tmp_path / "project", {}, ["results/bench/tables/table6.csv"])
    number = 0
    for name in ("bench", "bench_1", "bench_2"):
        for labeller in ("irn", "flowirn"):
            for segmenter in ("maskrcnn", "maskconsist"):
                folder = project.folder / f"results/{name}/{labeller}/{segmenter}/round-0"
                folder.mkdir(parents=True)
                number += 1
                frames = {"AP50": number / 100, "AP75": 0.1, "instances_per_frame": {"0.5": 1.0}}
                consistency = {"TC": 0.9 if name == "bench" else -1, "TC_by_threshold": {"0.05": 0.9}}
                (folder / "frame_metrics.json").write_text(json.dumps(frames))
                (folder / "consistency_metrics.json").write_text(json.dumps(consistency))
    outcome = project.run("--allowed-rules", "make_table")
    assert outcome.returncode == 0, outcome.output
    with open(project.folder / "results/bench/tables/table6.csv") as stream:
        rows = list(csv.DictReader(stream))
    names = ["irn / maskrcnn", "irn / maskconsist", "flowirn / maskrcnn", "flowirn / maskconsist"]
    assert [row["labels / segmenter"] for row in rows] == names
    assert [rows[1][f"AP50_{n}"] for n in (1, 2, 3)] == ["0.0200", "0.0600", "0.1000"]
    assert rows[1]["gain_mean"] == "0.0100" and rows[3]["paper_TC"] == "0.8436" and rows[3]["TC_mean"] == ""
    assert "flowirn" in (project.folder / "results/bench/tables/table6.svg").read_text()


def test_replicates_differ_in_their_seeds_alone(root) -> None:
    blocks = yaml.safe_load((root / "config.yaml").read_text())["datasets"]
    bench = blocks["bench"]
    seeds = [(bench["seed"], bench["synthetic"]["seed"])]
    for name in bench["replicates"]:
        other = blocks[name]
        seeds.append((other["seed"], other["synthetic"]["seed"]))
        same = {**other, "synthetic": {**other["synthetic"], "seed": bench["synthetic"]["seed"]}}
        assert {**same, "seed": bench["seed"], "root": bench["root"], "replicates": bench["replicates"]} == bench
    assert len(seeds) == len({first for first, _ in seeds}) == len({second for _, second in seeds}) == 3


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            {"datasets": {"bench": {"replicates": ["bench_9"]}}},
            r"datasets.bench: replicates: 'bench_9' is not one of the datasets .*; did you mean 'bench_\d'\?",
        ),
        (
            {"tables": {"table4": ["irn", "flowirm"]}},
            r"asks for 'flowirm', which is not one of the labellers .*; did you mean 'flowirn'\?",
        ),
        (
            {"tables": {"table5": ["maskrcnn", "maskconsist_no_iim"]}},
            r"asks for 'maskconsist_no_iim', .* the segmenters .*; did you mean 'maskconsist_no_iom'\?",
        ),
        (
            {"tables": {"table5": ["flowirn/maskrcnn"]}},
            r"tables.table5 of data set .*: 'flowirn/maskrcnn' must be 'segmenter', or 'segmenter@round' .*",
        ),
    ],
)
def test_a_table_of_something_unknown_says_so(make_project, tmp_path, edit, message) -> None:
    project = make_project(tmp_path / "project", {}, ["results/bench/tables/table4.csv"])
    outcome = project.run("--dry-run", edit=edit)
    assert outcome.returncode != 0 and re.search(message, outcome.output), outcome.output
    assert "Traceback" not in outcome.output
