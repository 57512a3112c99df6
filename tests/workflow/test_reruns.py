"""What reruns after an edit: the stage whose setting changed and what depends on it, nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow-run")]
QUALITY = {"estimate_quality": 1, "evaluate_quality": 1, "publish_quality": 1}
TRACKING = {"track_instances": 1, "evaluate_video": 1, "publish_tracks": 1, **QUALITY, "make_report": 1}
MASKS = {"predict_masks": 4, "evaluate_frames": 2, "evaluate_consistency": 2}
# With Table 5, and Table 4 where labels change as well.
SEGMENTATION = {"train_maskconsist": 2, **MASKS, "show_transfers": 2, "make_table": 2, **TRACKING}
# Stages of one labeller; the report shows pseudo-labels of held-out videos of the pipeline's labeller only.
FLOWIRN_LABELS = {"make_pseudo_labels": 3, "evaluate_pseudo_labels": 1}
EDITS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "report.frames_per_video": ({"datasets": {"tiny": {"report": {"frames_per_video": 3}}}}, {"make_report": 1}),
    "evaluation.instance_count_thresholds": (
        {"evaluation": {"instance_count_thresholds": [0.1]}},
        {"evaluate_pseudo_labels": 2, "evaluate_frames": 2, "make_table": 2, "make_report": 1},
    ),
    "tracking.unovost.link_threshold": ({"tracking": {"unovost": {"link_threshold": 0.3}}}, TRACKING),
    "self_training.score_threshold": (
        {"datasets": {"tiny": {"self_training": {"score_threshold": 0.2}}}},
        {
            "train_maskconsist": 1,
            "predict_masks": 1,
            "evaluate_frames": 1,
            "evaluate_consistency": 1,
            "show_transfers": 1,
            "make_table": 1,
            **TRACKING,
        },
    ),
    "f_cam.seeds": ({"f_cam": {"seeds": "none"}}, {**FLOWIRN_LABELS, **SEGMENTATION}),
    "f_cam.A": (
        {"f_cam": {"A": 3}},
        {"make_label_maps": 2, "train_flowirn": 1, **FLOWIRN_LABELS, **SEGMENTATION},
    ),
    "labellers.irn.flowirn.epochs": (
        {"labellers": {"irn": {"flowirn": {"epochs": 1}}}},
        {"train_flowirn": 1, "make_pseudo_labels": 2, "evaluate_pseudo_labels": 1, "make_table": 1, "make_report": 1},
    ),
    "seed": (
        {"seed": 1},
        {
            "train_cam": 1,
            "extract_cam": 3,
            "make_label_maps": 4,
            "train_flowirn": 2,
            "make_pseudo_labels": 5,
            "evaluate_pseudo_labels": 2,
            **SEGMENTATION,
        },
    ),
}


@pytest.fixture(scope="module")
def project(finished_run, tmp_path_factory: pytest.TempPathFactory):
    """A copy of the finished run for dry runs."""
    return finished_run.project.copy(tmp_path_factory.mktemp("reruns") / "project")


@pytest.mark.parametrize("setting", EDITS)
def test_edit_reruns_its_stage_and_what_depends_on_it(setting: str, project) -> None:
    edit, expected = EDITS[setting]
    outcome = project.run("--dry-run", edit=edit)
    assert outcome.returncode == 0, outcome.output
    assert outcome.jobs == expected
    # Jobs of a variant that the edit does not touch stay: the messages name the labeller.
    if setting.startswith("f_cam"):
        assert not any(re.search(r"\birn\b", message) for message in outcome.messages)
    if setting.startswith("labellers.irn"):
        assert not any("flowirn" in message for message in outcome.messages)


def test_editing_a_profile_reruns_nothing(project, root: Path, tmp_path: Path) -> None:
    profile = yaml.safe_load((root / "profiles/default/config.yaml").read_text())
    profile["resources"] = {"gpu": 7, "mem_mb": 64000}
    profile["set-resources"] = {"train_cam": {"mem_mb": 1234, "runtime": 5}, "track_instances": {"mem_mb": 99}}
    profile["set-threads"] = {"extract_flow": 2}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(profile))
    outcome = project.run("--dry-run", "--workflow-profile", str(tmp_path))
    assert outcome.returncode == 0, outcome.output
    assert f"Using workflow specific profile {tmp_path}" in outcome.output
    assert "Nothing to be done" in outcome.output
    assert outcome.jobs == {}


def test_rerun_after_a_tracking_edit_makes_tracks_anew_and_touches_nothing_else(finished_run, tmp_path: Path) -> None:
    project = finished_run.project.copy(tmp_path / "project")
    edit, expected = EDITS["tracking.unovost.link_threshold"]
    before = times(project.folder / "results")
    outcome = project.run(edit=edit)
    assert outcome.returncode == 0, outcome.output
    assert outcome.jobs == expected
    after = times(project.folder / "results")
    assert after.keys() == before.keys()
    unovost = "tiny/flowirn/maskconsist/round-1/unovost"
    rewritten = {name for name in after if after[name] != before[name]}
    assert {"tiny_vis.json", "tiny_report.html", "tiny_quality.csv"} <= rewritten
    stages = {name for name in rewritten if name.startswith("tiny/")}
    made = ("tracks.json", "metrics.json", "quality.json", "quality_metrics.json")
    assert stages == {f"{unovost}/{name}" for name in made}
    assert "Nothing to be done" in project.run("--dry-run", edit=edit).output


def times(folder: Path) -> dict[str, int]:
    """Modification time of every file under a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files}
