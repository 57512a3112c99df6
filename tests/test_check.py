from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from wsvis_core.check import check_project
from wsvis_core.cli import main

PROJECT = {
    "datasets": {"tiny": {"root": "set", "split": {"mode": "all"}}},
    "flows": {"dis": {}},
    "labellers": {"irn": {"f_cam": False}, "flowirn": {}},
    "segmenters": {"maskconsist": {}},
    "trackers": {"unovost": {}},
}


@pytest.fixture
def project(prepared, tmp_path, monkeypatch) -> Path:
    """A working directory with a good config.yaml and the tiny set."""
    shutil.copytree(prepared.parent / "set", tmp_path / "set")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(PROJECT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mine(folder: Path, content: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(content)
    return path


def test_a_good_project_has_no_problem_and_nothing_is_written(project, capsys):
    before = sorted(project.rglob("*"))
    assert check_project([], None) == [] == check_project([Path("config.yaml")], "tiny")
    assert sorted(project.rglob("*")) == before
    assert main(["check"]) == 0 and capsys.readouterr().out == "no problem found\n"


def test_the_project_s_own_config_is_clean_for_the_demo(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    assert check_project([], "demo") == []


def test_a_file_of_the_user_is_checked_as_merged(project):
    problems = check_project([mine(project, "cam: {epochs: -1}")], None)
    assert problems == [
        f"config.yaml + {project / 'mine.yaml'}: cam of data set 'tiny': epochs = -1: Input should be greater than 0 "
        "(passes over the training frames)"
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("cam: [unclosed", "mine.yaml is not valid YAML: "),
        ("- a\n- b", "mine.yaml must hold a mapping of settings, not list"),
        ("fluw: {}", "unknown key 'fluw'; did you mean 'flow'?"),
    ],
)
def test_files_that_are_no_configuration(project, content, words):
    (problem,) = check_project([mine(project, content)], None)
    assert words in problem


def test_a_file_that_is_no_text(project):
    (project / "mine.yaml").write_bytes(b"\xff\xfe\x00cam")
    (problem,) = check_project([project / "mine.yaml"], None)
    assert "mine.yaml is not valid YAML: " in problem


def test_an_empty_file_is_fine(project):
    assert check_project([mine(project, "")], None) == []


def test_a_missing_file_is_named(project):
    (problem,) = check_project([Path("none.yaml")], None)
    assert problem.startswith("config file none.yaml does not exist; ")
    (project / "config.yaml").unlink()
    (problem,) = check_project([], None)
    assert problem.startswith("config file config.yaml does not exist; start in the folder of the Snakefile")


def test_an_unknown_data_set(project):
    (problem,) = check_project([], "tyni")
    assert problem == "data set 'tyni' is not in config.yaml: it has tiny; did you mean 'tiny'?"


def test_problems_of_the_data_are_found(project):
    next((project / "set" / "train" / "JPEGImages").rglob("*.jpg")).write_bytes(b"no picture")
    (problem,) = check_project([], "tiny")
    assert problem.startswith("data set 'tiny' in set cannot be used")
    shutil.rmtree(project / "set")
    (problem,) = check_project([], "tiny")
    assert "set" in problem and "train.json" in problem


def test_settings_of_the_generator_are_checked_without_generating(project):
    file = mine(project, "datasets: {made: {kind: synthetic, root: data/made, synthetic: {num_vidoes: 3}}}")
    assert check_project([file], "tiny") == []
    (problem,) = check_project([file], None)
    assert problem == "synthetic data set: unknown setting 'num_vidoes', the nearest known one is 'num_videos'"


def test_missing_weights_are_found_in_sections_and_variants(project):
    content = """
cam: {backbone_weights: weights/cam.pth}
labellers: {big: {flowirn: {backbone_weights: weights/irn.pth}}}
segmenters: {maskconsist: {backbone_weights: cam}, big: {backbone_weights: weights/mask.pth}}
"""
    problems = check_project([mine(project, content)], None)
    named = ["cam.backbone_weights names weights/cam.pth", "flowirn.backbone_weights names weights/irn.pth"]
    named.append("maskconsist.backbone_weights names weights/mask.pth")
    assert len(problems) == 3
    assert all(problem.startswith(f"data set 'tiny': {start}") for problem, start in zip(problems, named, strict=True))
    for name in ("cam", "irn", "mask"):
        (project / "weights").mkdir(exist_ok=True)
        (project / "weights" / f"{name}.pth").touch()
    assert check_project([project / "mine.yaml"], None) == []


def test_a_set_of_one_s_own_videos_that_is_not_there_says_how_to_make_it(project):
    file = mine(project, "datasets: {films: {kind: folder, root: data/films, split: {mode: all}}}")
    (problem,) = check_project([file], "films")
    assert problem.startswith("data set 'films': data/films/train.json and data/films/train/JPEGImages not found.\n")
    assert "wsvis import --videos FOLDER --labels labels.csv --output data/films --name films" in problem


def test_everything_wrong_with_one_s_own_videos_is_said_at_once(project):
    content = json.loads((project / "set/train.json").read_text())
    for video in content["videos"]:
        video["class_labels"] = [[1] for _ in video["file_names"]]
    content["videos"][0]["class_labels"] = None
    content["videos"][1]["class_labels"][0] = ["dog"]
    (project / "set/train.json").write_text(json.dumps({**content, "annotations": None}))
    next((project / "set" / "train" / "JPEGImages").rglob("*.jpg")).write_bytes(b"no picture")
    file = mine(project, "datasets: {tiny: {kind: folder}}")
    (problem,) = check_project([file], "tiny")
    assert "3 problems found" in problem
    assert "video 1: None for 4 frames" in problem and "video 2, frame 0: ['dog']" in problem
    assert "frame cannot be decoded" in problem


def test_a_framework_that_is_not_installed_is_found_where_the_pipeline_uses_it(project, monkeypatch):
    content = "segmenters: {other: {backend: detectron2}}\n"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert check_project([mine(project, content)], None) == []
    (problem,) = check_project([mine(project, content + "pipeline: {segmenter: other}")], None)
    assert problem.startswith("data set 'tiny': segmenter 'other' has the backend 'detectron2', which is not installed")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert check_project([project / "mine.yaml"], None) == []
