"""TC and frame AP by hand and against slow loops over dense masks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wsvis_core.evaluation.consistency import FlowPair, temporal_consistency
from wsvis_core.evaluation.frames import evaluate_frame_predictions
from wsvis_core.evaluation.pseudo_labels import evaluate_pseudo_labels
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import decode_mask, encode_mask

SIZE = (11, 14)
IDS = [7, 3]


def box(x0, y0, x1, y1):
    mask = np.zeros(SIZE, bool)
    mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return mask


def instances(rows):
    """Instances from rows (mask (H,W) bool, class index, score)."""
    classes, scores = np.array([r[1] for r in rows], np.int64), np.array([r[2] for r in rows], np.float32)
    rles = tuple(encode_mask(row[0]) for row in rows)
    return EncodedInstances(SIZE, rles, classes, scores, np.zeros((len(rows), 4), np.float32))


# ---- the slow reference: dense masks, one pixel and one detection at a time


def slow_warp(mask, flow):
    """Backward warp of a mask: bilinear at p + flow(p), zero outside, at least one half."""
    height, width = mask.shape
    out = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            at_x, at_y = x + float(flow[0, y, x]), y + float(flow[1, y, x])
            left, top = math.floor(at_x), math.floor(at_y)
            value = 0.0
            for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if 0 <= row < height and 0 <= column < width:
                    value += mask[row, column] * (1 - abs(at_x - column)) * (1 - abs(at_y - row))
            out[y, x] = value >= 0.5
    return out


def slow_ap50(images, category):
    """COCO AP at IoU 0.5 of images (truth, found), rows (mask, category[, score]); None without truth."""
    ranked, objects = [], 0
    for number, (truth, found) in enumerate(images):
        masks = [mask for mask, c in truth if c == category]
        objects += len(masks)
        taken = set()
        rows = sorted(((s, mask) for mask, c, s in found if c == category), key=lambda row: -row[0])[:100]
        for score, mask in rows:
            best, place = 0.5, None
            for g, other in enumerate(masks):
                iou = (mask & other).sum() / (mask | other).sum()
                if g not in taken and iou >= best:
                    best, place = iou, g
            taken.add(place)
            ranked.append((score, number, place is not None))
    if not objects:
        return None
    right, points = 0, []
    for n, (_, _, hit) in enumerate(sorted(ranked, key=lambda row: -row[0]), 1):
        right += hit
        points.append((right / objects, right / n))
    return float(np.mean([max((p for r, p in points if r >= k / 100), default=0.0) for k in range(101)]))


def slow_consistency(pairs, direction, threshold):
    """TC of pairs (first rows, second rows, backward flow, forward flow) in one direction."""
    images = []
    for first, second, backward, forward in pairs:
        source, target, flow = (first, second, backward) if direction == "forward" else (second, first, forward)
        warped = [(slow_warp(mask, flow), IDS[k]) for mask, k, s in source if np.float32(s) >= np.float32(threshold)]
        truth = [row for row in warped if row[0].any()]
        images.append((truth, [(mask, IDS[k], s) for mask, k, s in target]))
    values = [value for c in IDS if (value := slow_ap50(images, c)) is not None]
    return float(np.mean(values)) if values else -1.0


def random_pairs(rng):
    pairs = []
    for _ in range(4):
        u, v = (float(x) for x in rng.uniform(-3, 3, 2))
        backward = np.stack([np.full(SIZE, -u), np.full(SIZE, -v)]) + rng.normal(0, 0.3, (2, *SIZE))
        forward = np.stack([np.full(SIZE, u), np.full(SIZE, v)]) + rng.normal(0, 0.3, (2, *SIZE))
        first, second = [], []
        for _ in range(int(rng.integers(0, 4))):
            x, y, w, h = (int(k) for k in rng.integers([0, 0, 2, 2], [11, 8, 7, 6]))
            k = int(rng.integers(2))
            first.append((box(x, y, x + w, y + h), k, rng.integers(1, 20) / 20))
            dx, dy = (round(s) + int(rng.integers(-1, 2)) for s in (u, v))
            mask = box(x + dx, y + dy, x + dx + w, y + dy + h)
            if mask.any() and rng.random() < 0.8:
                second.append((mask, k if rng.random() < 0.9 else 1 - k, rng.integers(1, 20) / 20))
        pairs.append((first, second, backward.astype(np.float32), forward.astype(np.float32)))
    return pairs


@pytest.mark.parametrize("seed", range(12))
def test_consistency_equals_the_slow_loop(seed):
    pairs = random_pairs(np.random.default_rng(seed))
    ours = [FlowPair(instances(a), instances(b), backward=flow, forward=back) for a, b, flow, back in pairs]
    values = {}
    for direction in ("forward", "backward"):
        for threshold in (0.05, 0.5):
            slow = slow_consistency(pairs, direction, threshold)
            found = temporal_consistency(ours, IDS, direction=direction, truth_score_threshold=threshold)
            assert found["TC"] == pytest.approx(slow, abs=1e-9)
            values[direction, threshold] = slow
    both = temporal_consistency(ours, IDS, direction="both")
    known = [values[d, 0.05] for d in ("forward", "backward") if values[d, 0.05] >= 0]
    assert both["TC"] == pytest.approx(np.mean(known) if known else -1, abs=1e-9)


def test_the_reference_is_not_idle():
    values = [slow_consistency(random_pairs(np.random.default_rng(seed)), "forward", 0.05) for seed in range(12)]
    assert min(values) < 0.5 < max(values) and len({round(value, 6) for value in values}) > 8


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_flow_the_wrong_way_lowers_consistency(direction):
    right_way, wrong_way = [], []
    for x in range(1, 6):
        first, second = [(box(x, 2, x + 4, 8), 0, 0.9)], [(box(x + 2, 2, x + 6, 8), 0, 0.9)]
        flow = np.zeros((2, *SIZE), np.float32)
        flow[0] = 2
        right_way.append(FlowPair(instances(first), instances(second), backward=-flow, forward=flow))
        wrong_way.append(FlowPair(instances(first), instances(second), backward=flow, forward=-flow))
    assert temporal_consistency(right_way, IDS, direction=direction)["TC"] == pytest.approx(1)
    assert temporal_consistency(wrong_way, IDS, direction=direction)["TC"] == 0


def test_masks_that_leave_the_frame_are_no_truth_and_new_ones_count_as_wrong():
    flow = np.zeros((2, *SIZE), np.float32)
    flow[0] = -5  # F_{t+1→t}: everything moves 5 px to the right
    gone = FlowPair(instances([(box(10, 0, 14, 4), 0, 0.9)]), instances([]), backward=flow)
    kept = FlowPair(instances([(box(0, 0, 4, 4), 0, 0.9)]), instances([(box(5, 0, 9, 4), 0, 0.6)]), backward=flow)
    new = FlowPair(instances([]), instances([(box(0, 0, 4, 4), 0, 0.9)]), backward=flow)
    assert temporal_consistency([gone], IDS)["TC"] == -1
    assert temporal_consistency([gone, kept], IDS)["TC"] == pytest.approx(1)
    assert temporal_consistency([gone, kept, new], IDS)["TC"] == pytest.approx(0.5)


# ---- frame AP by hand (docs/method.md §7.1, §7.2)

OBJECT, ELSEWHERE = box(0, 0, 6, 6), box(8, 0, 14, 6)


def truth_of(*tracks, length):
    """One video; tracks (category id, {frame: mask}, crowd)."""
    annotations = [
        {
            "id": n,
            "video_id": 1,
            "category_id": category,
            "iscrowd": crowd,
            "segmentations": [encode_mask(masks[t]) if t in masks else None for t in range(length)],
        }
        for n, (category, masks, crowd) in enumerate(tracks, 1)
    ]
    videos = [{"id": 1, "height": SIZE[0], "width": SIZE[1], "length": length}]
    categories = [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}]
    return {"videos": videos, "categories": categories, "annotations": annotations}


def both_metrics(truth, frames):
    """AP50 of frames [rows], the same by `evaluate_frame_predictions` and `evaluate_pseudo_labels`."""
    predictions = [(1, t, instances(rows)) for t, rows in enumerate(frames)]
    values = [run(truth, predictions, IDS)["AP50"] for run in (evaluate_frame_predictions, evaluate_pseudo_labels)]
    assert values[0] == values[1]
    return values[0]


def test_frames_without_objects_count():
    truth = truth_of((7, {0: OBJECT, 2: OBJECT}, 0), length=3)
    frames = [[(OBJECT, 0, 0.9)], [(OBJECT, 0, 0.8)], [(OBJECT, 0, 0.7)]]
    # Right, wrong, right: precision 1 up to recall 1/2 (51 points), then 2/3 (50 points).
    assert both_metrics(truth, frames) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_equal_scores_are_ranked_in_frame_order():
    early, late = ([(OBJECT, 0, 1.0)], [(ELSEWHERE, 0, 1.0)]), ([(ELSEWHERE, 0, 1.0)], [(OBJECT, 0, 1.0)])
    truth = truth_of((7, {0: OBJECT, 1: OBJECT}, 0), length=2)
    assert both_metrics(truth, early) == pytest.approx(51 / 101)
    assert both_metrics(truth, late) == pytest.approx(51 / 2 / 101)


def test_crowds_count_neither_way_and_the_mean_is_over_categories_with_truth():
    truth = truth_of((7, {0: OBJECT}, 0), (7, {1: OBJECT}, 1), length=2)
    frames = [[(OBJECT, 0, 0.5), (ELSEWHERE, 1, 0.9)], [(OBJECT, 0, 0.9), (box(0, 0, 3, 3), 0, 0.8)]]
    assert both_metrics(truth, frames) == pytest.approx(1)


def test_a_frame_counts_a_hundred_predictions_of_a_class():
    truth = truth_of((7, {0: OBJECT}, 0), length=1)
    for others, value in ((99, 1 / 100), (100, 0.0)):
        rows = [(ELSEWHERE, 0, 0.9)] * others + [(OBJECT, 0, 0.5)]
        assert both_metrics(truth, [rows]) == pytest.approx(value)


def test_slow_ap_knows_the_golden_values():
    masks = [([(OBJECT, 7)], [(OBJECT, 7, 0.9)]), ([], [(OBJECT, 7, 0.8)]), ([(OBJECT, 7)], [(OBJECT, 7, 0.7)])]
    assert slow_ap50(masks, 7) == pytest.approx((51 + 50 * 2 / 3) / 101) and slow_ap50(masks, 3) is None
    assert (decode_mask(encode_mask(OBJECT)) == OBJECT).all()
