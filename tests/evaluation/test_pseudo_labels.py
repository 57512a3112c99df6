"""Pseudo-label quality against slow loops: curves, histograms, best fits, example frames, parts of the videos."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.coco import IGNORED, RIGHT, WRONG, TrueInstances, combine, score_image
from wsvis_core.evaluation.pseudo_labels import evaluate_pseudo_labels, histogram
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import decode_mask, encode_mask

SIZE, FRAMES = (10, 14), 4
IDS, NAMES = [7, 3], {7: "cat", 3: "dog"}


def box(x0, y0, x1, y1):
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return encode_mask(mask)


def instances(*rows):
    """Instances from rows (mask, class index, score)."""
    classes, scores = np.array([r[1] for r in rows], np.int64), np.array([r[2] for r in rows], np.float32)
    return EncodedInstances(SIZE, tuple(r[0] for r in rows), classes, scores, np.zeros((len(rows), 4), np.float32))


def truth_of(*tracks, videos=(1, 2)):
    """Ground truth from tracks (video id, category id, {frame: mask}[, crowd])."""
    return {
        "videos": [{"id": v, "height": SIZE[0], "width": SIZE[1], "length": FRAMES} for v in videos],
        "categories": [{"id": c, "name": name} for c, name in NAMES.items()],
        "annotations": [
            {
                "id": n,
                "video_id": video,
                "category_id": category,
                "segmentations": [masks.get(t) for t in range(FRAMES)],
                "iscrowd": int(crowd == [True]),
            }
            for n, (video, category, masks, *crowd) in enumerate(tracks, 1)
        ],
    }


def random_box(rng):
    x, y, w, h = (int(v) for v in rng.integers(0, [8, 6, 6, 4]))
    return box(x, y, x + w + 1, y + h + 1)


def random_case(rng):
    tracks = []
    for _ in range(5):
        shown = [t for t in range(FRAMES) if rng.random() < 0.5]
        tracks.append((int(rng.integers(1, 3)), int(rng.choice(IDS)), {t: random_box(rng) for t in shown}))
    labels = []
    for video in (1, 2):
        for frame in range(FRAMES):
            seen = [(c, masks[frame]) for v, c, masks in tracks if v == video and frame in masks]
            near = [(m, IDS.index(c)) for c, m in seen if rng.random() < 0.7]
            far = [(random_box(rng), int(rng.integers(2))) for _ in range(rng.integers(0, 3))]
            rows = [(mask, k, rng.random()) for mask, k in near + far]
            labels.append((video, frame, instances(*rows)))
    return tracks, labels


def iou(a, b):
    a, b = decode_mask(a), decode_mask(b)
    return (a & b).sum() / max((a | b).sum(), 1)


def slow_matches(tracks, labels, category):
    """[(score, right?)] in descending score and the number of objects of a category, label by label."""
    queue, objects = [], {}
    for v, c, masks in tracks:
        for frame, mask in masks.items():
            if c == category:
                objects.setdefault((v, frame), []).append([mask, False])
    for v, frame, item in labels:
        rows = zip(item.scores, item.rles, item.classes, strict=True)
        queue += [(float(s), (v, frame), mask) for s, mask, k in rows if IDS[k] == category]
    outcome = []
    for score, place, mask in sorted(queue, key=lambda row: -row[0]):
        free = [(iou(mask, entry[0]), entry) for entry in objects.get(place, []) if not entry[1]]
        # The last of equals, as pycocotools has it.
        best = max(reversed(free), key=lambda pair: pair[0], default=(0.0, None))
        if best[0] >= 0.5:
            best[1][1] = True
        outcome.append((score, best[0] >= 0.5))
    return outcome, sum(len(entries) for entries in objects.values())


def slow_curve(outcome, objects):
    """Best precision at or beyond each of 101 recalls, by trying every cut of the ranking."""
    points = []
    for cut in range(1, len(outcome) + 1):
        right = sum(matched for _, matched in outcome[:cut])
        points.append((right / objects, right / cut))
    # The protocol's recall points as they are in floating point: 7 of 10 objects do not reach the one of 0.7.
    return [max([p for r, p in points if r >= recall], default=0.0) for recall in np.linspace(0, 1, 101)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
@example(462526246)
@example(42)
def test_curves_and_score_histograms_equal_slow_loops(seed):
    tracks, labels = random_case(np.random.default_rng(seed))
    metrics = evaluate_pseudo_labels(truth_of(*tracks), labels, IDS)
    curves, matched, unmatched = [], [0] * 20, [0] * 20
    for category, row in zip(IDS, metrics["precision_recall"]["per_category"], strict=True):
        outcome, objects = slow_matches(tracks, labels, category)
        for score, right in outcome:
            (matched if right else unmatched)[min(int(score * 20), 19)] += 1
        assert (row["category_id"], row["name"]) == (category, NAMES[category])
        assert row["precision"] == pytest.approx(slow_curve(outcome, objects) if objects else [], abs=5.1e-5)
        curves += [row["precision"]] if objects else []
    assert metrics["score_histogram"] == {"matched": matched, "unmatched": unmatched}
    assert sum(matched) + sum(unmatched) == metrics["predictions"]
    mean = metrics["precision_recall"]["mean"]
    assert mean == pytest.approx(np.mean(curves, axis=0).tolist() if curves else [], abs=1.1e-4)
    assert np.mean(mean or [-1.0]) == pytest.approx(metrics["AP50"], abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_best_fits_examples_and_rows_per_category_equal_slow_loops(seed):
    tracks, labels = random_case(np.random.default_rng(seed))
    metrics = evaluate_pseudo_labels(truth_of(*tracks), labels, IDS)
    given_labels = {(v, frame): item for v, frame, item in labels}
    best, frames = {category: [] for category in IDS}, {}
    for v, category, masks in tracks:
        for frame, mask in masks.items():
            item = given_labels[v, frame]
            same = [rle for rle, k in zip(item.rles, item.classes, strict=True) if IDS[k] == category]
            value = max((iou(mask, rle) for rle in same), default=0.0)
            best[category].append(value)
            frames.setdefault((v, frame), []).append(value)
    every = [value for values in best.values() for value in values]
    assert metrics["iou_histogram"] == histogram(np.array(every)) and sum(metrics["iou_histogram"]) == len(every)
    for category, row in zip(IDS, metrics["per_category"], strict=True):
        values = best[category]
        assert row["objects"] == len(values)
        assert row["mean_best_iou"] == pytest.approx(np.mean(values) if values else 0)
        assert row["missed_share"] == pytest.approx(np.mean([v < 0.1 for v in values]) if values else 0)
    ranked = sorted((round(float(np.mean(values)), 9), *place) for place, values in frames.items())
    examples = metrics["examples"]
    worst = [(round(row["mean_best_iou"], 9), row["video_id"], row["frame"]) for row in examples["worst"]]
    assert worst == ranked[:8]
    best = [(-round(row["mean_best_iou"], 9), row["video_id"], row["frame"]) for row in examples["best"]]
    assert best == sorted((-value, *place) for value, *place in ranked)[:8]
    empty = [(-len(item), *place) for place, item in given_labels.items() if place not in frames and len(item)]
    assert [(-r["labels"], r["video_id"], r["frame"]) for r in examples["false_alarms"]] == sorted(empty)[:8]


def test_equal_frames_come_by_video_id_then_frame():
    mask = box(0, 0, 4, 4)
    truth = truth_of(*[(v, 7, dict.fromkeys(range(FRAMES), mask)) for v in (9, 2, 4)], videos=(9, 2, 4))
    labels = [(v, t, instances((mask, 0, 1.0))) for v in (9, 4) for t in range(FRAMES)]
    examples = evaluate_pseudo_labels(truth, labels, IDS)["examples"]
    assert [(r["video_id"], r["frame"]) for r in examples["worst"]] == [(v, t) for v in (2, 4) for t in range(4)]
    assert [(r["video_id"], r["frame"]) for r in examples["best"]] == [(v, t) for v in (4, 9) for t in range(4)]
    assert examples["worst"][0] == {"video_id": 2, "frame": 0, "objects": 1, "labels": 0, "mean_best_iou": 0.0}


def test_a_subset_of_videos_is_scored_as_if_the_others_did_not_exist():
    tracks, labels = random_case(np.random.default_rng(4))
    whole = truth_of(*tracks)
    part = evaluate_pseudo_labels(whole, labels, IDS, videos={2})
    alone = truth_of(*[track for track in tracks if track[0] == 2], videos=(2,))
    assert part == evaluate_pseudo_labels(alone, [item for item in labels if item[0] == 2], IDS)
    assert part["frames"] == FRAMES and part["ground_truth_instances"] > 0
    assert evaluate_pseudo_labels(whole, labels, IDS, videos=[1, 2]) == evaluate_pseudo_labels(whole, labels, IDS)
    assert evaluate_pseudo_labels(whole, labels, IDS, videos=[])["AP50"] == -1.0
    with pytest.raises(WsvisError, match=r"videos \[5\] are not in the ground truth"):
        evaluate_pseudo_labels(whole, labels, IDS, videos=[5])


def test_nothing_at_all_and_no_labels():
    metrics = evaluate_pseudo_labels(truth_of(videos=()), [], IDS)
    assert metrics["precision_recall"]["mean"] == [] and metrics["examples"]["worst"] == []
    assert metrics["score_histogram"] == {"matched": [0] * 20, "unmatched": [0] * 20}
    assert metrics["iou_histogram"] == [0] * 20 and set(metrics["diagnostics"].values()) == {0}
    none = evaluate_pseudo_labels(truth_of((1, 7, {0: box(0, 0, 3, 3)})), [], IDS)
    assert none["precision_recall"]["mean"] == [0.0] * 101 and none["iou_histogram"][0] == 1
    assert [row["precision"] for row in none["precision_recall"]["per_category"]] == [[0.0] * 101, []]
    assert evaluate_pseudo_labels({"videos": [], "categories": [], "annotations": []}, [], [])["per_category"] == []
    assert json.loads(json.dumps(none)) == none


def test_labels_on_a_crowd_count_neither_way():
    crowd = (1, 7, {0: box(0, 0, 8, 8)}, True)
    labels = [(1, 0, instances((box(0, 0, 4, 4), 0, 0.9), (box(10, 8, 12, 10), 0, 0.4), (box(0, 0, 8, 8), 1, 0.2)))]
    metrics = evaluate_pseudo_labels(truth_of(crowd), labels, IDS)
    assert sum(metrics["score_histogram"]["matched"]) == 0
    assert [n for n, count in enumerate(metrics["score_histogram"]["unmatched"]) if count] == [4, 8]
    assert metrics["diagnostics"]["objects"] == 0 and metrics["examples"]["false_alarms"] == []


def test_verdicts_come_in_the_order_of_the_predictions_whatever_the_order_of_the_categories():
    mask, other = box(0, 0, 4, 4), box(6, 0, 10, 4)
    truth = [TrueInstances([], [], []), TrueInstances([mask, other], [3, 7], [False, True])]
    found = [instances((mask, 0, 0.5)), instances((other, 0, 0.1), (mask, 0, 0.8), (mask, 1, 0.3), (mask, 1, 0.2))]
    images = [score_image(*pair, IDS) for pair in zip(truth, found, strict=True)]
    result = combine(images, len(IDS))
    assert [image.verdicts.tolist() for image in images] == [[WRONG], [IGNORED, WRONG, RIGHT, WRONG]]
    assert (result.precision[..., 0] == -1).all() and result.recall[:, 1].tolist() == [1.0] * 10


def test_histogram_bins_hold_their_lower_edge_and_the_last_one_holds_one():
    assert histogram(np.array([0.0, 0.25, 0.5, 0.74, 1.0, 1.3]), bins=4) == [1, 1, 2, 2]
    assert histogram(np.zeros(0)) == [0] * 20
