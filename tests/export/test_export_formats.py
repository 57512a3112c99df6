"""Every format read back by another library than the one that wrote it, mask for mask."""

from __future__ import annotations

import contextlib
import io
import json
import xml.etree.ElementTree as ElementTree
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wsvis_core.evaluation.ground_truth import parse_ground_truth
from wsvis_core.evaluation.video import evaluate_video_results
from wsvis_core.export.polygons import mask_to_polygon, rings


def same_masks(a, b):
    return all((x is None) == (y is None) and (x is None or (x == y).all()) for x, y in zip(a, b, strict=True))


def loaded(path):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


# ---- YouTube-VIS


def test_ytvis_file_and_zip_hold_the_same_tracks(project):
    out = project.export("ytvis")
    entries = json.loads((out / "results.json").read_text())
    assert [set(entry) for entry in entries] == [{"video_id", "category_id", "score", "segmentations"}] * 8
    found = {}
    for entry in entries:
        masks = [m if m is None else coco_mask.decode(m).astype(bool) for m in entry["segmentations"]]
        found.setdefault(entry["video_id"], []).append((entry["category_id"], entry["score"], masks))
    assert {key: len(rows) for key, rows in found.items()} == {2: 4, 4: 4}
    for key, rows in found.items():
        for ours, given_row in zip(rows, project.tracks[key], strict=True):
            assert ours[:2] == given_row[:2] and same_masks(ours[2], given_row[2])
    with zipfile.ZipFile(out / "results.zip") as archive:
        assert archive.namelist() == ["results.json"] and archive.testzip() is None
        assert archive.read("results.json") == (out / "results.json").read_bytes()
    again = project.export("ytvis", output="again")
    assert all((out / n).read_bytes() == (again / n).read_bytes() for n in ("results.json", "results.zip"))


def test_ytvis_scores_as_before(project):
    truth = project.content | {
        "annotations": [
            entry | {"id": n, "iscrowd": 0} for n, entry in enumerate(json.loads(project.results.read_text())[:6], 1)
        ]
    }
    parse_ground_truth(truth)
    given_entries = json.loads(project.results.read_text())[
        :8
    ]  # the last two have no mask: the server counts those wrong
    exported = json.loads((project.export("ytvis") / "results.json").read_text())
    before, after = (evaluate_video_results(truth, entries) for entries in (given_entries, exported))
    keys = ("mAP", "AP50", "AP75", "AR1", "AR10")
    assert [before[key] for key in keys] == [after[key] for key in keys] and before["mAP"] > 0


# ---- COCO


def test_coco_annotations_are_loaded_by_pycocotools(project):
    out = project.export("coco")
    coco = loaded(out / "instances.json")
    # Images are numbered by video id: video 2 has image 1, video 4 images 2-6, video 9 images 7-8.
    names = {image["id"]: image["file_name"] for image in coco.dataset["images"]}
    by_id = sorted(project.content["videos"], key=lambda v: v["id"])
    assert names == dict(enumerate((name for v in by_id for name in v["file_names"]), 1))
    assert {c["id"]: c["name"] for c in coco.dataset["categories"]} == {1: "ape", 3: "dog & <cat>"}
    assert [(v["id"], v["name"], v["length"]) for v in coco.dataset["videos"]] == [
        (2, "swan", 1),
        (4, "swan_4", 5),
        (9, "empty_one", 2),
    ]
    track_id, seen = 0, 0
    for key, first in ((2, 1), (4, 2)):
        for category, score, masks in project.tracks[key]:
            track_id += 1
            rows = {a["image_id"] - first: a for a in coco.dataset["annotations"] if a["track_id"] == track_id}
            seen += len(rows)
            assert same_masks([coco.annToMask(rows[t]) > 0 if t in rows else None for t in range(len(masks))], masks)
            for t, row in rows.items():
                ys, xs = np.nonzero(masks[t])
                box = [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]
                assert row["bbox"] == box and row["area"] == len(ys) and row["iscrowd"] == 0
                assert (row["category_id"], row["score"]) == (category, score)
                image = coco.loadImgs(row["image_id"])[0]
                assert (image["video_id"], image["frame_id"]) == (key, t)
    assert seen == len(coco.dataset["annotations"]) and sorted(coco.anns) == list(range(1, seen + 1))


def test_coco_results_score_one_against_the_annotations(project):
    out = project.export("coco")
    coco = loaded(out / "instances.json")
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(str(out / "results.json")), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_chosen_videos_keep_the_numbers_of_their_images(project):
    whole, part = project.export("coco"), project.export("coco", "--video", "swan_4", output="part")
    images = {image["id"]: image for image in loaded(whole / "instances.json").dataset["images"]}
    chosen = loaded(part / "instances.json").dataset
    assert [image["id"] for image in chosen["images"]] == [2, 3, 4, 5, 6]
    assert all(images[image["id"]] == image for image in chosen["images"])
    assert {a["image_id"] for a in chosen["annotations"]} <= {2, 3, 4, 5, 6}


# ---- MOTS


def painted(project, video_id, t):
    """What a frame's id map should hold: pixel by pixel the id of the best track on it, the first of equals."""
    ids = np.zeros(project.size(video_id), np.int64)
    for y, x in np.ndindex(*ids.shape):
        best = 0.0
        for number, (category, score, masks) in enumerate(project.tracks[video_id], 1):
            if masks[t] is not None and masks[t][y, x] and score > best:
                best, ids[y, x] = score, 1000 * category + number
    return ids


def test_mots_png_holds_the_best_track_of_every_pixel(project):
    out = project.export("mots") / "instances"
    assert (out / "labels.txt").read_text().splitlines() == ["ape", "unused_2", "dog & <cat>"]
    overlaps = 0
    for key, folder, length in ((2, "swan", 1), (4, "swan_4", 5), (9, "empty_one", 2)):
        assert sorted(path.name for path in (out / folder).iterdir()) == [f"{t:06d}.png" for t in range(length)]
        for t in range(length):
            with Image.open(out / folder / f"{t:06d}.png") as image:
                assert image.mode.startswith("I")
                ids = np.array(image).astype(np.int64)
            assert (ids == painted(project, key, t)).all()
            shown = [masks[t] for _, _, masks in project.tracks[key] if masks[t] is not None]
            overlaps += len(shown) > 0 and bool((np.sum(shown, axis=0) > 1).any())
    assert overlaps > 2


def test_mots_masks_without_overlap_come_back_exactly(project):
    out = project.export("mots", "--min-score", "0.9", "--video", "2", output="two") / "instances/swan/000000.png"
    first, second = (masks[0] for _, score, masks in project.tracks[2] if score == 0.9)
    ids = np.array(Image.open(out))
    assert set(np.unique(ids)) == {0, 1001, 1002}
    assert ((ids == 1001) == first).all() and ((ids == 1002) == (second & ~first)).all()


def test_mots_text_equals_the_png(project):
    text, png = project.export("mots-txt"), project.export("mots", output="png") / "instances"
    assert (text / "empty_one.txt").read_text() == ""
    for key, folder in ((2, "swan"), (4, "swan_4")):
        ids = [np.array(Image.open(path)).astype(np.int64) for path in sorted((png / folder).iterdir())]
        rebuilt = [np.zeros_like(frame) for frame in ids]
        places = []
        for line in (text / f"{folder}.txt").read_text().splitlines():
            frame, value, class_id, height, width, counts = line.split(" ")
            assert (int(height), int(width)) == project.size(key) and int(class_id) == int(value) // 1000
            mask = coco_mask.decode({"size": [int(height), int(width)], "counts": counts}).astype(bool)
            assert mask.any() and not rebuilt[int(frame)][mask].any()
            rebuilt[int(frame)][mask] = int(value)
            places.append((int(frame), int(value)))
        assert all((a == b).all() for a, b in zip(ids, rebuilt, strict=True)) and places == sorted(places)


# ---- CVAT


def fill(points, size):
    polygon = [float(v) for pair in points.split(";") for v in pair.split(",")]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([polygon], *size))).astype(bool)


def test_cvat_tracks_hold_the_masks(project):
    out = project.export("cvat")
    assert sorted(path.name for path in out.iterdir()) == ["empty_one.xml", "swan.xml", "swan_4.xml"]
    for key, name in ((2, "swan"), (4, "swan_4"), (9, "empty_one")):
        root = ElementTree.parse(out / f"{name}.xml").getroot()
        assert root.tag == "annotations" and root.findtext("version") == "1.1"
        task = root.find("meta/task")
        length = next(v["length"] for v in project.content["videos"] if v["id"] == key)
        size = task.find("original_size")
        assert (int(size.findtext("height")), int(size.findtext("width"))) == project.size(key)
        assert task.findtext("size") == str(length) and task.findtext("mode") == "interpolation"
        assert [label.findtext("name") for label in task.iter("label")] == ["ape", "dog & <cat>"]
        tracks = root.findall("track")
        assert [int(track.get("id")) for track in tracks] == list(range(len(project.tracks[key])))
        for track, (category, score, masks) in zip(tracks, project.tracks[key], strict=True):
            assert track.get("label") == {1: "ape", 3: "dog & <cat>"}[category]
            check_track(track, masks, score, project.size(key))


def check_track(track, masks, score, size):
    """Shown polygons fill to the masks; what is not shown is switched off once, right after the last mask."""
    shapes = track.findall("polygon")
    assert len(shapes) == len(track) and {shape.get("keyframe") for shape in shapes} == {"1"}
    assert [float(shape.findtext("attribute[@name='score']")) for shape in shapes] == [score] * len(shapes)
    frames = [int(shape.get("frame")) for shape in shapes]
    assert frames == sorted(set(frames))
    shown = {int(shape.get("frame")): shape for shape in shapes if shape.get("outside") == "0"}
    assert same_masks([fill(shown[t].get("points"), size) if t in shown else None for t in range(len(masks))], masks)
    off = {int(shape.get("frame")) for shape in shapes if shape.get("outside") == "1"}
    assert off == {t for t in range(1, len(masks)) if masks[t] is None and masks[t - 1] is not None}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_polygon_fills_to_its_mask(seed):
    rng = np.random.default_rng(seed)
    size = tuple(int(v) for v in rng.integers(1, 24, 2))
    mask = rng.random(size) < rng.choice([0.1, 0.5, 0.8, 1.0])
    points = mask_to_polygon(mask)
    if not mask.any():
        assert points == []
        return
    assert (fill(";".join(f"{x},{y}" for x, y in points), size) == mask).all()
    # Shoelace over the rings: holes run the other way round, so that their areas are taken off.
    twice = sum(
        x0 * y1 - x1 * y0 for ring in rings(mask) for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True)
    )
    assert twice == 2 * mask.sum()


def test_polygons_by_hand():
    assert mask_to_polygon(np.ones((2, 3), bool)) == [(0, 0), (3, 0), (3, 2), (0, 2)]
    two = np.array([[1, 0, 1]], bool)
    square, other = [(0, 0), (1, 0), (1, 1), (0, 1)], [(2, 0), (3, 0), (3, 1), (2, 1)]
    assert mask_to_polygon(two) == [*square, (0, 0), *other, (2, 0)]
    hole = np.ones((3, 3), bool)
    hole[1, 1] = False
    assert rings(hole) == [[(0, 0), (3, 0), (3, 3), (0, 3)], [(1, 1), (1, 2), (2, 2), (2, 1)]]
