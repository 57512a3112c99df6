"""Data sets of kind `folder`: class labels of frames, no masks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wsvis_core.cli import main
from wsvis_core.datasets import VideoDataset, prepare_dataset
from wsvis_core.errors import WsvisError


@pytest.fixture
def labelled(tiny_set: Path) -> Path:
    """The tiny set with class labels in place of its masks."""
    prepare_dataset(tiny_set, tiny_set / "prepared", split_mode="all")
    labels = json.loads((tiny_set / "prepared/class_labels.json").read_text())["videos"]
    content = json.loads((tiny_set / "train.json").read_text())
    for video in content["videos"]:
        video["class_labels"] = labels[str(video["id"])]
    content["annotations"] = None
    (tiny_set / "train.json").write_text(json.dumps(content))
    return tiny_set


def test_labels_are_those_of_the_set_with_masks(labelled, tmp_path):
    summary = prepare_dataset(labelled, tmp_path / "out", masks=False, split_mode="all")
    before = json.loads((labelled / "prepared/summary.json").read_text())
    counts = ("videos", "frames", "frames_without_object", "split")
    assert {key: summary[key] for key in counts} == {key: before[key] for key in counts}
    for name in ("videos.json", "class_labels.json", "splits.json"):
        assert (tmp_path / "out" / name).read_bytes() == (labelled / "prepared" / name).read_bytes()
    truth = json.loads((tmp_path / "out/ground_truth_val.json").read_text())
    assert truth["annotations"] is None and len(truth["videos"]) == before["videos"]
    dataset = VideoDataset.load(tmp_path / "out")
    assert any(dataset.class_labels(video).any() for video in dataset.videos)


def test_a_sampled_split_goes_by_the_labels(labelled, tmp_path):
    options = {"split_mode": "sampled", "per_category": 1, "target_union": None}
    made = prepare_dataset(labelled, tmp_path / "out", masks=False, **options)["split"]
    assert made["train"] + made["val"] == 6 and made["val"] >= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["videos"][0].pop("class_labels"), "video 1: None for 3 frames"),
        (lambda c: c["videos"][0]["class_labels"].append([]), "video 1: 4 entries for 3 frames"),
        (lambda c: c["videos"][0]["class_labels"].__setitem__(1, [99]), "video 1, frame 1: [99]"),
        (lambda c: c["videos"][0]["class_labels"].__setitem__(2, 1), "video 1, frame 2: 1"),
        (
            lambda c: [v.update(class_labels=[[] for _ in v["file_names"]]) for v in c["videos"]],
            "nothing to learn from",
        ),
    ],
)
def test_wrong_labels_are_named(labelled, tmp_path, change, words):
    content = json.loads((labelled / "train.json").read_text())
    change(content)
    (labelled / "train.json").write_text(json.dumps(content))
    with pytest.raises(WsvisError) as error:
        prepare_dataset(labelled, tmp_path / "out", masks=False, split_mode="all")
    assert words in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_set_that_is_not_there_is_to_be_imported(tmp_path):
    with pytest.raises(WsvisError) as error:
        prepare_dataset(tmp_path / "none", tmp_path / "out", name="mine", masks=False)
    assert f"wsvis import --videos FOLDER --labels labels.csv --output {tmp_path}/none --name mine" in str(error.value)


def test_as_a_set_with_masks_it_is_refused_with_the_way_out(labelled, tmp_path):
    with pytest.raises(WsvisError, match=r"missing: annotations .*`wsvis import` and kind: folder"):
        prepare_dataset(labelled, tmp_path / "out", split_mode="all")


def test_results_cannot_be_scored_against_it_and_the_command_says_why(labelled, tmp_path, capsys):
    prepare_dataset(labelled, tmp_path / "out", masks=False, split_mode="all")
    (tmp_path / "results.json").write_text("[]")
    truth = str(tmp_path / "out/ground_truth_val.json")
    arguments = ["evaluate", "--ground-truth", truth, "--results", str(tmp_path / "results.json")]
    assert main([*arguments, "--output", str(tmp_path / "metrics.json")]) == 2
    assert "ground truth has no masks (its 'annotations' are null): nothing to compare with" in capsys.readouterr().err
