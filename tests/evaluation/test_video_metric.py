"""The VIS metric: golden vectors B.2, a slow reference written from §5.4, and wrong input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.video import evaluate_video_results
from wsvis_core.storage.rle import decode_mask, encode_mask

KEYS = ("mAP", "AP50", "AP75", "AR1", "AR10")


def mask_of(corners, size=(20, 20)):
    if corners is None:
        return None
    mask = np.zeros(size, bool)
    mask[corners[1] : corners[3], corners[0] : corners[2]] = True
    return encode_mask(mask)


def masks_of(boxes, size=(20, 20)):
    return [mask_of(box, size) for box in boxes]


FIRST = [[0, 0, 10, 10], [1, 0, 11, 10], None, [3, 0, 13, 10]]
SECOND = [None, [10, 10, 20, 20], [10, 10, 20, 20], None]


def video(number, **changes):
    return {"id": number, "width": 20, "height": 20, "length": 4, **changes}


def annotation(number, video_id, category_id, boxes, **changes):
    row = {"id": number, "video_id": video_id, "category_id": category_id, "segmentations": masks_of(boxes)}
    return row | changes


def golden_truth():
    return {
        "videos": [video(1), video(2)],
        "categories": [{"id": n, "name": f"class {n}"} for n in (1, 2, 3)],
        "annotations": [
            annotation(1, 1, 1, FIRST),
            annotation(2, 1, 2, SECOND),
            annotation(3, 2, 1, FIRST),
        ],
    }


def result(video_id, category_id, score, boxes):
    return {
        "video_id": video_id,
        "category_id": category_id,
        "score": score,
        "segmentations": masks_of(boxes),
    }


PERFECT = [result(1, 1, 0.9, FIRST), result(1, 2, 0.8, SECOND), result(2, 1, 0.7, FIRST)]


def values(metrics):
    return [round(metrics[key], 4) for key in KEYS]


def test_golden_perfect_copies():
    assert values(evaluate_video_results(golden_truth(), PERFECT)) == [1, 1, 1, 1, 1]


def test_golden_shifted_track():
    moved = result(1, 1, 0.9, [[0, 0, 10, 10], None, None, [5, 0, 15, 10]])
    metrics = evaluate_video_results(golden_truth(), [moved, *PERFECT[1:]])
    assert values(metrics) == [0.7010, 1.0, 0.6262, 0.8, 0.8]


def test_golden_false_positives():
    results = [
        result(1, 1, 0.9, FIRST),
        result(2, 1, 0.9, FIRST),
        result(1, 2, 0.8, SECOND),
        result(1, 2, 0.95, [None, [0, 0, 5, 5], None, None]),
        result(1, 3, 0.99, FIRST),
    ]
    metrics = evaluate_video_results(golden_truth(), results)
    assert values(metrics) == [0.75, 0.75, 0.75, 0.5, 1.0]
    rows = {row["category_id"]: row for row in metrics["per_category"]}
    assert [rows[n]["AP50"] for n in (1, 2, 3)] == [1.0, 0.5, -1.0]
    assert rows[3]["name"] == "class 3" and rows[3]["result_tracks"] == 1


def test_empty_results_and_empty_truth():
    assert values(evaluate_video_results(golden_truth(), [])) == [0, 0, 0, 0, 0]
    truth = golden_truth() | {"annotations": []}
    assert values(evaluate_video_results(truth, PERFECT)) == [-1] * 5
    nothing = {"videos": [], "categories": [], "annotations": []}
    assert evaluate_video_results(nothing, [])["mAP"] == -1


def test_one_frame_video_and_track_without_masks():
    truth = {
        "videos": [video(1, length=1)],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [annotation(1, 1, 1, [[0, 0, 4, 4]])],
    }
    results = [result(1, 1, 0.9, [None]), result(1, 1, 0.5, [[0, 0, 4, 4]])]
    assert values(evaluate_video_results(truth, results)) == [0.5, 0.5, 0.5, 0.0, 1.0]


def test_polygons_uncompressed_and_compressed_truth_agree():
    square = [[0, 0, 10, 0, 10, 10, 0, 10]]
    uncompressed = {"size": [20, 20], "counts": [0, 10] + [10, 10] * 9 + [210]}
    for variant in (square, uncompressed, mask_of([0, 0, 10, 10])):
        truth = golden_truth() | {"annotations": [annotation(1, 1, 1, [None] * 4)]}
        truth["annotations"][0]["segmentations"][0] = variant
        one = [result(1, 1, 0.9, [[0, 0, 10, 10], None, None, None])]
        assert evaluate_video_results(truth, one)["mAP"] == 1.0


def slow_metrics(truth, results):
    """§5.4 word by word: dense masks, one pair, one threshold, one area range at a time."""
    thresholds, points = np.linspace(0.5, 0.95, 10), np.linspace(0, 1, 101)
    ranges = {"all": (0, 1e10), "small": (0, 128**2), "medium": (128**2, 256**2), "large": (256**2, 1e10)}

    def dense(rle):
        return None if rle is None else decode_mask(rle)

    def mean_area(areas):
        areas = [a for a in areas if a]
        return sum(areas) / len(areas) if areas else 0

    def pixel_areas(masks):
        return [None if m is None else int(m.sum()) for m in masks]

    def iou(d, g):
        inter = union = 0
        for a, b in zip(d, g, strict=True):
            if a is not None and b is not None:
                inter, union = inter + (a & b).sum(), union + (a | b).sum()
            elif a is not None or b is not None:
                union += (a if b is None else b).sum()
        return inter / union if union else 0

    def match_one(found, true, theta, low, high):
        true = sorted(true, key=lambda g: g["ignored"])
        taken, rows = set(), []
        for d in found:
            best, choice = min(theta, 1 - 1e-10), None
            for k, g in enumerate(true):
                if k in taken and not g["crowd"]:
                    continue
                if choice is not None and not true[choice]["ignored"] and g["ignored"]:
                    break
                value = iou(d["masks"], g["masks"])
                if value < best:
                    continue
                best, choice = value, k
            if choice is not None:
                taken.add(choice)
                rows.append((d["score"], True, true[choice]["ignored"]))
            else:
                rows.append((d["score"], False, not low <= d["area"] <= high))
        return rows

    def category_curve(category, theta, low, high, most):
        rows, positives = [], 0
        for v in sorted(x["id"] for x in truth["videos"]):
            true = []
            for a in truth["annotations"]:
                if (a["video_id"], a["category_id"]) == (v, category):
                    masks = [dense(m) for m in a["segmentations"]]
                    area = mean_area(a.get("areas") or pixel_areas(masks))
                    crowd = bool(a.get("iscrowd", 0))
                    ignored = crowd or not low <= area <= high
                    true.append({"masks": masks, "crowd": crowd, "ignored": ignored})
            found = []
            for r in results:
                if (r["video_id"], r["category_id"]) == (v, category):
                    masks = [dense(m) for m in r["segmentations"]]
                    found.append({"masks": masks, "score": r["score"], "area": mean_area(pixel_areas(masks))})
            found = sorted(found, key=lambda d: -d["score"])[:most]
            positives += sum(not g["ignored"] for g in true)
            rows += match_one(found, true, theta, low, high)
        if not positives:
            return None
        rows = sorted(rows, key=lambda row: -row[0])
        tp = fp = 0
        recalls, precisions = [], []
        for _, hit, ignored in rows:
            tp, fp = tp + (hit and not ignored), fp + (not hit and not ignored)
            recalls.append(tp / positives)
            precisions.append(tp / (tp + fp + np.spacing(1)))
        total = 0.0
        for r in points:
            later = [p for p, x in zip(precisions, recalls, strict=True) if x >= r]
            total += max(later, default=0.0)
        return total / len(points), recalls[-1] if recalls else 0.0

    def mean(pick, name, most, chosen=thresholds):
        low, high = ranges[name]
        curves = [category_curve(c["id"], t, low, high, most) for c in truth["categories"] for t in chosen]
        known = [curve[pick] for curve in curves if curve is not None]
        return sum(known) / len(known) if known else -1.0

    metrics = {"mAP": mean(0, "all", 100), "AP50": mean(0, "all", 100, [0.5])}
    metrics["AP75"] = mean(0, "all", 100, [thresholds[5]])
    metrics |= {f"AR{n}": mean(1, "all", n) for n in (1, 10, 100)}
    for name in ("small", "medium", "large"):
        metrics |= {f"AP_{name}": mean(0, name, 100), f"AR_{name}": mean(1, name, 100)}
    return metrics


def random_case(rng, big):
    """Few boxes from a coarse grid, so that equal IoUs, equal scores and IoUs on a threshold are common."""
    unit = 60 if big else 1
    height, width = 6 * unit, 7 * unit

    def track(base=None):
        if base is not None and rng.random() < 0.6:
            return [m if rng.random() < 0.8 else box() for m in base]
        return [box() if rng.random() < 0.7 else None for _ in range(length)]

    def box():
        x, y = rng.integers(0, 4, 2) * unit
        w, h = rng.integers(0, 4, 2) * unit
        return mask_of((x, y, x + w, y + h), (height, width))

    truth = {"videos": [], "categories": [{"id": 5, "name": "a"}, {"id": 2, "name": "b"}], "annotations": []}
    results = []
    for v in rng.permutation([1, 4, 9])[: rng.integers(1, 4)].tolist():
        length = int(rng.integers(1, 4))
        truth["videos"].append({"id": v, "width": width, "height": height, "length": length})
        tracks = []
        for _ in range(rng.integers(0, 4)):
            tracks.append((int(rng.choice([2, 5])), track()))
            row = {"id": len(truth["annotations"]) + 1, "video_id": v, "category_id": tracks[-1][0]}
            row |= {"segmentations": tracks[-1][1], "iscrowd": int(rng.random() < 0.25)}
            if rng.random() < 0.3:
                row["areas"] = [None if m is None else float(rng.integers(0, 90000)) for m in tracks[-1][1]]
            truth["annotations"].append(row)
        for _ in range(rng.integers(0, 6)):
            base = tracks[rng.integers(len(tracks))] if tracks else (2, None)
            category = base[0] if rng.random() < 0.8 else 2
            score = float(rng.integers(1, 5)) / 4
            row = {"video_id": v, "category_id": category, "score": score, "segmentations": track(base[1])}
            results.append(row)
    return truth, results


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_against_the_slow_reference(seed):
    truth, results = random_case(np.random.default_rng(seed), big=False)
    metrics = evaluate_video_results(truth, results)
    slow = slow_metrics(truth, results)
    assert {key: metrics[key] for key in slow} == pytest.approx(slow, abs=1e-9)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_area_ranges_against_the_slow_reference(seed):
    truth, results = random_case(np.random.default_rng(seed), big=True)
    metrics = evaluate_video_results(truth, results)
    slow = slow_metrics(truth, results)
    assert {key: metrics[key] for key in slow} == pytest.approx(slow, abs=1e-9)


def test_at_most_100_detections_count():
    truth = golden_truth() | {"annotations": [annotation(1, 1, 1, FIRST)]}
    wrong = [result(1, 1, 0.9, [[15, 15, 20, 20], None, None, None])] * 100
    assert evaluate_video_results(truth, [*wrong, result(1, 1, 0.1, FIRST)])["AP50"] == 0.0
    assert evaluate_video_results(truth, [*wrong[1:], result(1, 1, 0.1, FIRST)])["AP50"] == pytest.approx(0.01)


def test_all_problems_of_the_results_in_one_report():
    good = result(1, 1, 0.9, FIRST)
    broken = dict(good, segmentations=[{"size": [20, 20], "counts": "d0"}, None, None, None])
    results = [
        good,
        dict(good, segmentations=masks_of(FIRST[:3])),
        dict(good, segmentations=masks_of(FIRST, (20, 30))),
        dict(good, video_id=8),
        dict(good, category_id=4),
        dict(good, category_id=0),
        dict(good, score=float("nan")),
        dict(good, segmentations=[[[0, 0, 1, 1, 2, 2]], None, None, None]),
        broken,
        "track",
    ]
    with pytest.raises(WsvisError) as caught:
        evaluate_video_results(golden_truth(), results)
    lines = str(caught.value).splitlines()
    assert lines[0] == "the evaluation input has 11 problems:"
    expected = [
        (2, 1, 1, "3 segmentations, but the video has 4 frames"),
        (3, 1, 1, "segmentations[0] has size [20, 30], but the video's frames are [20, 20]"),
        (3, 1, 1, "segmentations[1] has size [20, 30], but the video's frames are [20, 20]"),
        (3, 1, 1, "segmentations[3] has size [20, 30], but the video's frames are [20, 20]"),
        (4, 8, 1, "the ground truth has no such video"),
        (5, 1, 4, "the ground truth has no such category"),
        (6, 1, 0, "category_id must be a whole number from 1, not 0"),
        (7, 1, 1, "score must be a finite number, not nan"),
        (8, 1, 1, "segmentations[0] must be an RLE object or null, not a list"),
    ]
    for line, (number, video_id, category_id, text) in zip(lines[1:], expected, strict=False):
        assert line == f"  result {number} (video {video_id}, category {category_id}): {text}"
    assert lines[10].startswith("  result 10: must be an object")
    assert lines[11].endswith("segmentations[0] has run lengths that do not sum to its size")


def test_all_problems_of_the_ground_truth_in_one_report():
    truth = golden_truth()
    truth["videos"] += [video(2), video(0), video(3, width=0), video(4, file_names=["a.jpg"])]
    truth["categories"].append({"name": "no id"})
    short = {"size": [20, 20], "counts": "d0"}
    truth["annotations"] += [
        annotation(4, 7, 9, FIRST),
        annotation(5, 1, 1, FIRST[:2]),
        annotation(6, 1, 1, [None] * 4, segmentations=None),
        annotation(7, 1, 1, FIRST, areas=[1, 2]),
        annotation(8, 1, 1, FIRST, segmentations=[[[0, 1]], None, None, {"size": [20, 20], "counts": [3]}]),
        annotation(9, 1, 1, FIRST, segmentations=[mask_of(FIRST[0], (9, 9)), None, None, short]),
        annotation(10, 1, 1, FIRST, segmentations=[{"size": 3, "counts": [3]}, 4, None, short]),
        annotation(11, 1, 1, FIRST, segmentations=[None, None, None, short]),
    ]
    with pytest.raises(WsvisError) as caught:
        evaluate_video_results(truth, {"not": "a list"})
    text = str(caught.value)
    for part in (
        "video 2: this id occurs 2 times",
        "video number 4: id must be a whole number from 1, not 0",
        "video 3: width must be a whole number from 1, not 0",
        "video 4: length is 4, but it has 1 file_names",
        "category number 4: id must be a whole number from 1, not None",
        "annotation 4: video_id 7 is not among the videos",
        "annotation 4: category_id 9 is not among the categories",
        "annotation 5: 2 segmentations, but video 1 has 4 frames",
        "annotation 6: segmentations must be a list with one entry per frame",
        "annotation 7: areas must be 4 numbers or null",
        "annotation 8: segmentations[0] is not a list of polygons",
        "annotation 8: segmentations[3] RLE counts sum to 3, not to 20×20 = 400",
        "annotation 9: segmentations[0] has size [9, 9], not [20, 20]",
        "annotation 10: segmentations[0] is not an uncompressed RLE",
        "annotation 10: segmentations[1] must be an RLE object or null, not a number",
        "annotation 11: segmentations[3] has run lengths that do not sum to its size",
        "results must be a JSON list of tracks, not a dict",
    ):
        assert part in text
    with pytest.raises(WsvisError, match="must be an object with videos, categories, annotations"):
        evaluate_video_results([], [])
    with pytest.raises(WsvisError, match="needs a list 'annotations'"):
        evaluate_video_results(golden_truth() | {"annotations": None}, [])
