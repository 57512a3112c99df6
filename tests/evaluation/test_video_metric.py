"""The VIS metric: golden vectors B.2, a slow reference written from §5.4, and wrong input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.slow_video_metric import files_of, random_case, slow_metrics
from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.video import CATEGORY_METRICS, evaluate_video_results
from wsvis_core.storage.rle import encode_mask

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


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_against_the_slow_reference(seed):
    case = random_case(np.random.default_rng(seed))
    metrics = evaluate_video_results(*files_of(case))
    slow, per_category = slow_metrics(case)
    assert {key: metrics[key] for key in slow} == pytest.approx(slow, abs=1e-9)
    for row in metrics["per_category"]:
        expected = {key: per_category[row["category_id"]][key] for key in CATEGORY_METRICS}
        assert {key: row[key] for key in expected} == pytest.approx(expected, abs=1e-9)


def metrics_only(metrics):
    return {key: value for key, value in metrics.items() if key != "per_category"}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_of_results_videos_and_categories_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    truth, results = files_of(random_case(rng, distinct_scores=True))
    expected = evaluate_video_results(truth, results)
    shuffled = {key: [rows[k] for k in rng.permutation(len(rows))] for key, rows in truth.items()}
    # Objects with equal IoU are told apart by their order, so that stays.
    shuffled["annotations"] = truth["annotations"]
    assert evaluate_video_results(shuffled, [results[k] for k in rng.permutation(len(results))]) == expected


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_new_ids_of_videos_and_categories_change_nothing(seed):
    truth, results = files_of(random_case(np.random.default_rng(seed), distinct_scores=True))
    expected = metrics_only(evaluate_video_results(truth, results))

    def renamed(rows):
        return [{k: 100 - v if k in ("video_id", "category_id") else v for k, v in row.items()} for row in rows]

    others = {key: [row | {"id": 100 - row["id"]} for row in truth[key]] for key in ("videos", "categories")}
    others["annotations"] = renamed(truth["annotations"])
    assert metrics_only(evaluate_video_results(others, renamed(results))) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_lower_scored_false_positive_never_raises_ap(seed):
    rng = np.random.default_rng(seed)
    truth, results = files_of(random_case(rng))
    before = evaluate_video_results(truth, results)
    video = truth["videos"][rng.integers(len(truth["videos"]))]
    size = (video["height"], video["width"])
    wrong = {"video_id": video["id"], "category_id": 2, "score": 0.01}
    wrong["segmentations"] = [mask_of([6, 5 * size[0] // 6, 7, size[0]], size)] * video["length"]
    after = evaluate_video_results(truth, [*results, wrong])
    assert all(after[key] <= before[key] + 1e-12 for key in ("mAP", "AP50", "AP75"))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_perfect_copy_is_one(seed):
    case = random_case(np.random.default_rng(seed), distinct_scores=True)
    # Two objects with equal masks could each be matched by the other's copy, which is as good.
    case["truth"] = [g | {"crowd": False, "areas": None} for g in case["truth"] if any(area_of(g["masks"]))]
    case["results"] = [{**g, "score": 1 / n} for n, g in enumerate(case["truth"], 2)]
    metrics = evaluate_video_results(*files_of(case))
    expected = 1.0 if case["truth"] else -1.0
    assert [metrics[key] for key in ("mAP", "AP50", "AP75", "AR10", "AR100")] == [expected] * 5


def area_of(masks):
    return [m is not None and m.any() for m in masks]


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
        (4, 8, 1, "there is no such video"),
        (5, 1, 4, "there is no such category"),
        (6, 1, 0, "category_id must be a whole number from 1, not 0"),
        (7, 1, 1, "score must be a finite number, not nan"),
        (8, 1, 1, "segmentations[0] must be an RLE object or null, not a list"),
    ]
    for line, (number, video_id, category_id, text) in zip(lines[1:], expected, strict=False):
        assert line == f"  result {number} (video {video_id}, category {category_id}): {text}"
    problem = "segmentations[0] has run lengths that do not sum to its size"
    assert lines[10] == f"  result 9 (video 1, category 1): {problem}"
    assert lines[11].startswith("  result 10: must be an object")


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
        "annotation 7: areas must be 4 numbers from 0, or null",
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
        evaluate_video_results(golden_truth() | {"annotations": {}}, [])
    with pytest.raises(WsvisError, match="ground truth has no masks"):
        evaluate_video_results(golden_truth() | {"annotations": None}, [])
