"""Frame AP, pseudo-label AP with diagnostics, temporal consistency."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.consistency import FlowPair, temporal_consistency
from wsvis_core.evaluation.frames import evaluate_frame_predictions, instances_per_frame
from wsvis_core.evaluation.ground_truth import parse_ground_truth, restrict_ground_truth
from wsvis_core.evaluation.pseudo_labels import evaluate_pseudo_labels
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import decode_mask, encode_mask

SIZE = (12, 16)
IDS = [7, 3]


def mask_of(x0, y0, x1, y1):
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return encode_mask(mask)


def instances(*rows):
    """Instances from rows (mask, class index, score)."""
    if not rows:
        return EncodedInstances.empty(SIZE)
    boxes = np.zeros((len(rows), 4), np.float32)
    classes, scores = np.array([r[1] for r in rows], np.int64), np.array([r[2] for r in rows], np.float32)
    return EncodedInstances(SIZE, tuple(r[0] for r in rows), classes, scores, boxes)


def truth_of(*tracks, length=2, videos=(1,)):
    """Ground truth from tracks (video id, category id, masks[, crowd])."""
    return {
        "videos": [{"id": v, "height": SIZE[0], "width": SIZE[1], "length": length} for v in videos],
        "categories": [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}],
        "annotations": [
            {"id": n, "video_id": t[0], "category_id": t[1], "segmentations": t[2], "iscrowd": int(t[3:] == (1,))}
            for n, t in enumerate(tracks, 1)
        ],
    }


def random_mask(rng):
    x, y, w, h = (int(v) for v in rng.integers(0, [10, 8, 7, 5]))
    return mask_of(x, y, x + w + 1, y + h + 1)


def random_case(rng):
    masks = [[random_mask(rng) if rng.random() < 0.7 else None for _ in range(3)] for _ in range(5)]
    tracks = [(int(rng.integers(1, 3)), int(rng.choice(IDS)), m, *((1,) if rng.random() < 0.2 else ())) for m in masks]
    predictions = []
    for place in [(1, 0), (1, 2), (2, 1), (2, 0)]:
        rows = []
        for _, category, track in (t[:3] for t in tracks):
            mask = track[place[1]] if rng.random() < 0.6 and track[place[1]] else random_mask(rng)
            rows.append((mask, IDS.index(category), rng.integers(1, 6) / 5))
        predictions.append((*place, instances(*rows)))
    return truth_of(*tracks, length=3, videos=(2, 1)), predictions


def direct_coco(truth, predictions):
    """pycocotools used by hand: the 12 numbers of summarize()."""
    image = {(v, t): 3 * (v - 1) + t + 1 for v in (1, 2) for t in range(3)}
    rows, found = [], []
    for a in truth["annotations"]:
        for t, mask in enumerate(a["segmentations"]):
            if mask is None:
                continue
            row = {"id": len(rows) + 1, "image_id": image[a["video_id"], t], "category_id": a["category_id"]}
            area = float(decode_mask(mask).sum())
            rows.append(row | {"iscrowd": a["iscrowd"], "area": area, "segmentation": mask})
    for v, t, item in predictions:
        for mask, c, score in zip(item.rles, item.classes, item.scores, strict=True):
            row = {"image_id": image[v, t], "category_id": IDS[c], "score": float(score), "segmentation": mask}
            found.append(row)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": n, "height": SIZE[0], "width": SIZE[1]} for n in image.values()],
            "categories": truth["categories"],
            "annotations": rows,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_pycocotools_used_directly(seed):
    truth, predictions = random_case(np.random.default_rng(seed))
    metrics = evaluate_frame_predictions(truth, predictions[::-1], IDS)
    direct = direct_coco(truth, predictions)
    assert [metrics[k] for k in ("mAP", "AP50", "AP75", "AR100")] == pytest.approx(direct.stats[[0, 1, 2, 8]])
    by_id = {row["category_id"]: row["AP50"] for row in metrics["per_category"]}
    precision = direct.eval["precision"][0, :, :, 0, 2]
    assert by_id[3] == pytest.approx(precision[:, 0].mean()) and by_id[7] == pytest.approx(precision[:, 1].mean())


def test_only_the_100_best_of_an_image_and_class_count_as_with_pycocotools():
    rng = np.random.default_rng(3)
    right = [mask_of(0, 0, 6, 4), mask_of(8, 4, 14, 10)]
    tracks = [(1, 7, [mask, None, None]) for mask in right]
    # Of 130, the two right ones are in places 99 and 101.
    scores = np.linspace(0.99, 0.1, 130)
    rows = [(random_mask(rng), 0, score) for score in scores]
    rows[98], rows[100] = (right[0], 0, scores[98]), (right[1], 0, scores[100])
    predictions = [(1, 0, instances(*(rows[n] for n in rng.permutation(130))))]
    truth = truth_of(*tracks, length=3, videos=(2, 1))
    metrics, direct = evaluate_frame_predictions(truth, predictions, IDS), direct_coco(truth, predictions)
    assert [metrics[k] for k in ("mAP", "AP50", "AP75", "AR100")] == pytest.approx(direct.stats[[0, 1, 2, 8]])
    assert metrics["predictions"] == 130 and metrics["AR100"] < 1


def test_perfect_frames_print_nothing(capsys):
    track = [mask_of(0, 0, 4, 4), mask_of(4, 0, 8, 4)]
    predictions = [(1, t, instances((track[t], 0, 0.9))) for t in range(2)]
    metrics = evaluate_frame_predictions(truth_of((1, 7, track)), predictions, IDS)
    assert metrics["mAP"] == pytest.approx(1.0)
    assert [row["AP50"] for row in metrics["per_category"]] == [1.0, -1.0]
    assert [row["name"] for row in metrics["per_category"]] == ["cat", "dog"]
    assert metrics["frames"] == 2 and metrics["predictions"] == 2 and metrics["ground_truth_instances"] == 2
    assert metrics["instances_per_frame"]["0.9"] == 1.0
    assert capsys.readouterr().out == ""


def test_empty_predictions_truth_and_videos():
    track = [mask_of(0, 0, 4, 4), None]
    assert evaluate_frame_predictions(truth_of((1, 7, track)), [], IDS)["AP50"] == 0.0
    found = [(1, 0, instances((track[0], 0, 0.9)))]
    assert evaluate_frame_predictions(truth_of(), found, IDS)["AP50"] == -1.0
    metrics = evaluate_frame_predictions(truth_of(videos=()), [], IDS)
    assert metrics["AP50"] == -1.0 and metrics["frames"] == 0
    assert metrics["instances_per_frame"]["0.05"] == 0.0


def test_instances_per_frame_at_the_stored_precision():
    items = [instances((mask_of(0, 0, 1, 1), 0, 0.05), (mask_of(0, 0, 1, 1), 0, 0.3)), instances()]
    scores = [item.scores for item in items]
    assert instances_per_frame(scores, (0.05, 0.2, 0.9)) == {"0.05": 1.0, "0.2": 0.5, "0.9": 0.0}


def test_predictions_that_fit_no_frame_are_all_named():
    item = instances((mask_of(0, 0, 1, 1), 0, 0.5))
    bad = [
        (9, 0, item),
        (1, 2, item),
        (1, 0, EncodedInstances.empty((3, 3))),
        (1, 1, instances((mask_of(0, 0, 1, 1), 5, 0.5))),
        (1, 1, instances((mask_of(0, 0, 1, 1), 0, float("nan")))),
    ]
    with pytest.raises(WsvisError) as caught:
        evaluate_frame_predictions(truth_of(), bad, [7])
    text = str(caught.value)
    for part in (
        "category 3 of the ground truth is not among the predictions' categories",
        "video 9, frame 0: there is no such video",
        "video 1, frame 2: the video has frames 0..1",
        "video 1, frame 0: masks are (3, 3), frames are (12, 16)",
        "video 1, frame 1: class indices must be 0..0, found 5..5",
        "video 1, frame 1: is given twice",
    ):
        assert part in text
    with pytest.raises(WsvisError, match="a score is not finite"):
        evaluate_frame_predictions(truth_of(), [bad[4]], IDS)


def test_restricted_ground_truth():
    truth = truth_of((1, 7, [None, None]), (2, 3, [None, None]), videos=(1, 2))
    parsed = parse_ground_truth(restrict_ground_truth(truth, [2]))
    assert list(parsed.videos) == [2] and [t.video_id for t in parsed.tracks] == [2]
    assert list(parsed.categories) == [3, 7]
    with pytest.raises(WsvisError, match=r"videos \[5\] are not in the ground truth"):
        restrict_ground_truth(truth, [5, 1])
    with pytest.raises(WsvisError, match="the ground truth has 1 problem"):
        parse_ground_truth(truth | {"videos": truth["videos"][:1] * 2, "annotations": []})


def test_pseudo_label_diagnostics():
    whole, part = mask_of(0, 0, 8, 8), mask_of(0, 0, 8, 4)
    truth = truth_of((1, 7, [whole, whole]), (1, 3, [mask_of(9, 0, 12, 3), None]), (1, 7, [whole, None], 1))
    labels = [(1, 0, instances((part, 0, 1.0), (whole, 1, 0.5))), (1, 1, instances((whole, 0, 1.0)))]
    metrics = evaluate_pseudo_labels(truth, labels, IDS)
    assert metrics["AP50"] == evaluate_frame_predictions(truth, labels, IDS)["AP50"]
    assert metrics["diagnostics"] == pytest.approx(
        {
            "objects": 3,
            "mean_best_iou": (0.5 + 1.0 + 0.0) / 3,
            "missed_share": 1 / 3,
            "mean_area_ratio": 0.75,
            "labels_per_object": 1.0,
        }
    )


def test_pseudo_label_diagnostics_of_nothing():
    assert set(evaluate_pseudo_labels(truth_of(), [], IDS)["diagnostics"].values()) == {0}
    missed = evaluate_pseudo_labels(truth_of((1, 7, [mask_of(0, 0, 4, 4), None])), [], IDS)["diagnostics"]
    assert missed["missed_share"] == 1.0 and missed["mean_area_ratio"] == 0.0


def flow(u, size=SIZE):
    return np.stack([np.full(size, u), np.zeros(size)]).astype(np.float32)


def test_consistency_follows_the_flow_direction():
    # The object moves 6 px to the right: F_{t+1→t} = -6, F_{t→t+1} = +6.
    first = instances((mask_of(0, 0, 5, 5), 0, 0.9))
    second = instances((mask_of(6, 0, 11, 5), 0, 0.8))
    pair = FlowPair(first, second, backward=flow(-6), forward=flow(6))
    for direction in ("forward", "backward"):
        metrics = temporal_consistency([pair], IDS, direction=direction)
        assert metrics["TC"] == metrics["AP50"] == pytest.approx(1.0) and metrics["pairs"] == 1
    both = temporal_consistency([pair], IDS, direction="both")
    assert both["TC"] == pytest.approx(1.0) and both["forward"]["TC"] == pytest.approx(1.0) and both["pairs"] == 1
    swapped = FlowPair(first, second, backward=flow(6), forward=flow(-6))
    assert temporal_consistency([swapped], IDS)["TC"] == -1.0  # the warped mask has left the frame
    assert temporal_consistency([FlowPair(first, second, backward=flow(0))], IDS)["TC"] == 0.0


def test_consistency_with_reduced_flow_classes_and_thresholds():
    first = instances((mask_of(0, 0, 6, 6), 0, 0.9), (mask_of(8, 0, 12, 4), 1, 0.2))
    second = instances((mask_of(4, 0, 10, 6), 0, 0.8))
    pair = FlowPair(first, second, backward=flow(-2, (6, 8)))
    assert temporal_consistency([pair], IDS)["TC"] == pytest.approx(0.5)
    assert temporal_consistency([pair], IDS, truth_score_threshold=0.5)["TC"] == pytest.approx(1.0)


def test_consistency_without_pairs_or_instances():
    assert temporal_consistency([], IDS)["TC"] == -1.0
    empty = FlowPair(instances(), instances(), backward=flow(0))
    assert temporal_consistency([empty], IDS)["TC"] == -1.0
    half = temporal_consistency([FlowPair(instances(), instances(), flow(0), flow(0))], IDS, direction="both")
    assert half["TC"] == -1.0


def test_occluded_pixels_can_be_ignored():
    # The right half of the frame has no consistent flow; the second prediction misses exactly that half.
    first = instances((mask_of(0, 0, 16, 12), 0, 0.9))
    second = instances((mask_of(0, 0, 6, 12), 0, 0.9), (mask_of(12, 0, 14, 2), 0, 0.1))
    backward, forward = flow(0), flow(0)
    forward[0, :, 6:] = 40
    pair = FlowPair(first, second, backward=backward, forward=forward)
    assert temporal_consistency([pair], IDS)["TC"] == 0.0
    assert temporal_consistency([pair], IDS, ignore_occluded=True)["TC"] == pytest.approx(1.0)


def test_missing_flow():
    pair = FlowPair(instances(), instances(), backward=flow(0))
    with pytest.raises(ValueError, match="the flow that direction 'backward' needs is missing"):
        temporal_consistency([pair], IDS, direction="backward")
    with pytest.raises(ValueError, match="the flow that direction 'forward' needs is missing"):
        temporal_consistency([pair], IDS, ignore_occluded=True)
