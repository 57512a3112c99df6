"""`wsvis export` from the command line: what is chosen, empty results, and the likely mistakes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from wsvis_core.storage.rle import encode_mask

FORMATS = ("ytvis", "coco", "mots", "mots-txt", "cvat")


def entry(video_id=2, category_id=1, size=(26, 17), length=1, score=0.5):
    mask = np.zeros(size, bool)
    mask[2:5, 1:7] = True
    rles = [encode_mask(mask)] + [None] * (length - 1)
    return {"video_id": video_id, "category_id": category_id, "score": score, "segmentations": rles}


@pytest.mark.parametrize("name", FORMATS)
def test_empty_results_give_valid_files(project, name, capsys):
    project.write_results([])
    out = project.export(name)
    assert capsys.readouterr().out.startswith(f"{out}: ")
    if name == "ytvis":
        assert (out / "results.json").read_text() == "[]\n"
    elif name == "coco":
        whole = json.loads((out / "instances.json").read_text())
        assert len(whole["images"]) == 8 and whole["annotations"] == []
        assert json.loads((out / "results.json").read_text()) == []
    elif name == "mots":
        paths = sorted(out.rglob("*.png"))
        assert len(paths) == 8 and not any(np.array(Image.open(path)).any() for path in paths)
    elif name == "mots-txt":
        assert [path.read_text() for path in sorted(out.iterdir())] == [""] * 3
    else:
        assert [ElementTree.parse(path).getroot().find("track") for path in out.iterdir()] == [None] * 3


def test_score_and_videos_are_chosen(project, capsys):
    out = project.export("ytvis", "--min-score", "0.65", "--video", "4", "empty_one")
    entries = json.loads((out / "results.json").read_text())
    assert [(e["video_id"], e["score"]) for e in entries] == [(4, 0.9), (4, 0.65), (4, 0.9)]
    line = f"{out}: results.json and results.zip: 3 tracks; 2 tracks without a mask left out\n"
    assert capsys.readouterr().out == line


def test_a_prepared_data_set_gives_its_held_out_videos_and_those_with_results(project):
    folder = project.folder / "dataset"
    folder.mkdir()
    videos = [
        v
        | {"name": f"v{v['id']}", "native_indices": list(range(v["length"]))}
        | {"next_file_names": [None] * v["length"], "previous_file_names": [None] * v["length"]}
        for v in sorted(project.content["videos"], key=lambda v: v["id"])
    ]
    categories = sorted(project.content["categories"], key=lambda c: c["id"])
    index = {"version": 1, "root": "data", "folders": ["a"], "categories": categories, "videos": videos}
    (folder / "videos.json").write_text(json.dumps(index))
    splits = {"version": 1, "train": [2, 4], "val": [9], "split_id": "x"}
    (folder / "splits.json").write_text(json.dumps(splits))
    labels = {str(v["id"]): [[] for _ in range(v["length"])] for v in videos}
    (folder / "class_labels.json").write_text(json.dumps({"version": 1, "videos": labels}))
    project.write_results([entry()])
    for number, dataset in enumerate((folder, folder / "videos.json")):
        project.dataset = dataset
        whole = json.loads((project.export("coco", output=f"out{number}") / "instances.json").read_text())
        assert [v["id"] for v in whole["videos"]] == [2, 9] and [i["id"] for i in whole["images"]] == [1, 7, 8]
        assert len(whole["annotations"]) == 1


def refused(project, capsys, name="coco", *options):
    """The message of an export that ends with exit code 2 and leaves nothing behind."""
    before = sorted(path.name for path in project.folder.iterdir())
    assert project.run(name, *options) == 2
    assert sorted(path.name for path in project.folder.iterdir()) == before
    message = capsys.readouterr().err
    assert message.startswith("wsvis export: ") and "Traceback" not in message
    return message


def test_unknown_format_is_refused(project, capsys):
    with pytest.raises(SystemExit) as caught:
        project.run("yolo")
    error = capsys.readouterr().err
    assert caught.value.code == 2 and "invalid choice: 'yolo'" in error and "cvat" in error


def test_missing_files_are_named(project, capsys):
    project.results.unlink()
    assert f"{project.results} does not exist; it is made by your tracker" in refused(project, capsys)
    project.dataset.unlink()
    assert f"{project.dataset} does not exist; it is made by your data set" in refused(project, capsys)


def test_results_of_another_data_set_are_refused_whole(project, capsys):
    project.write_results([entry(), entry(video_id=5), entry(category_id=2), entry(video_id=4), entry(length=3)])
    message = refused(project, capsys)
    assert f"result file {project.results}, held against data set {project.dataset}, has " in message
    for part in (
        "result 2 (video 5, category 1): there is no such video",
        "result 3 (video 2, category 2): there is no such category",
        "result 4 (video 4, category 1): 1 segmentations, but the video has 5 frames",
        "segmentations[0] has size [26, 17], but the video's frames are [21, 30]",
        "result 5 (video 2, category 1): 3 segmentations, but the video has 1 frames",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"videos": None}, "ground truth needs a list 'videos'"),
        (
            {"videos": [{"id": 2, "width": 17, "height": 26, "length": 1}]},
            "video 2: file_names must be a list with the name of every frame's file",
        ),
        (
            {"videos": [{"id": 2, "width": 0, "height": 26, "file_names": ["a/b/0.jpg"]}]},
            "video 2: width must be a whole number from 1, not 0",
        ),
    ],
)
def test_a_broken_data_set_is_told(project, capsys, change, expected):
    project.dataset.write_text(json.dumps(project.content | change))
    message = refused(project, capsys)
    assert f"data set {project.dataset} has 1 problem:" in message and expected in message


def test_every_video_has_a_folder_of_its_own(project):
    names = ["x/swan/0.jpg", "swan_4/0.jpg", "y/swan/0.jpg", "0.jpg", "a b/.hidden/0.jpg"]
    rows = zip((2, 3, 4, 7, 8), names, strict=True)
    videos = [{"id": n, "width": 4, "height": 4, "file_names": [name]} for n, name in rows]
    project.dataset.write_text(json.dumps(project.content | {"videos": videos}))
    project.write_results([])
    out = project.export("mots-txt")
    assert {path.stem for path in out.iterdir()} == {"swan", "swan_4", "swan_4_", "video_7", "hidden"}


def test_unknown_videos_are_refused_and_known_ones_listed(project, capsys):
    message = refused(project, capsys, "coco", "--video", "4", "duck")
    assert f"--video duck: no such id or name among the 3 of {project.dataset}: 2 (swan), 4 (swan_4)" in message


@pytest.mark.parametrize("name", ["mots", "mots-txt"])
def test_numbers_beyond_mots_are_refused(project, capsys, name):
    project.dataset.write_text(json.dumps(project.content | {"categories": [{"id": 66, "name": "a"}]}))
    project.write_results([entry(category_id=66)])
    message = refused(project, capsys, name)
    assert "video 2, track 1 of category 66: MOTS holds class id · 1000 + track number" in message
    project.dataset.write_text(json.dumps(project.content))
    project.write_results([entry()] * 1000)
    assert "video 2, track 1000 of category 1: MOTS holds" in refused(project, capsys, name)


def test_an_output_that_holds_something_is_left_alone(project, capsys):
    out = project.folder / "out"
    out.mkdir()
    project.export("ytvis")
    before = (out / "results.json").read_bytes()
    assert f"output {out} is there already and not an empty folder" in refused(project, capsys)
    assert (out / "results.json").read_bytes() == before
