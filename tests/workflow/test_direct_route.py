"""The pseudo-labels as a route of their own, on dry runs: what is made for it, and what is not."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.workflow
TRACKS = "results/tiny/flowirn/{}/round-{}/unovost/tracks.json"


@pytest.fixture
def dry_run(tiny_project, sizes):
    """Dry-runs the tiny project with another pipeline, all videos trained on, and a report without tables."""

    def run(*targets: str, **pipeline):
        block = {"report": {**sizes["report"], "tables": []}, "split": {"mode": "all"}}
        project = tiny_project.changed({"pipeline": {"compare_labellers": [], **pipeline}, **block})
        return type(project)(project.folder, project.config, targets).run("-n")

    return run


def test_both_routes_are_made_and_one_is_chosen(dry_run):
    made = dry_run("results/tiny_vis.json", segmenter="maskconsist", rounds=0, compare_segmenters=["labels"])
    assert made.returncode == 0, made.output
    assert made.jobs["choose_route"] == made.jobs["train_maskconsist"] == 1
    assert made.jobs["track_instances"] == made.jobs["estimate_quality"] == 2
    for segmenter in ("maskconsist", "labels"):
        assert TRACKS.format(segmenter, 0) in made.output


def test_without_a_detector_none_is_trained_for_the_report_either(dry_run):
    made = dry_run("results/tiny_vis.json", "results/tiny_report.html", segmenter="labels", rounds=0)
    assert made.returncode == 0, made.output
    assert TRACKS.format("labels", 0) in made.output and made.jobs["make_report"] == 1
    assert not {"train_maskconsist", "show_transfers", "choose_route"} & made.jobs.keys()


def test_labels_have_no_further_round(dry_run):
    refused = dry_run("results/tiny/flowirn/labels/round-1/predictions/shard-train-000.h5", rounds=0)
    assert refused.returncode != 0
    assert (
        "segmenter 'labels' passes the pseudo-labels on and learns nothing: it has round-0 alone, no round-1"
        in refused.output
    )


def test_labels_have_no_weights(dry_run):
    refused = dry_run("results/tiny/flowirn/labels/round-0/weights.pt", rounds=0)
    assert refused.returncode != 0
    assert "learns nothing: it has neither weights nor transfers" in refused.output
