"""§3.8: empty sets on any side, masks that leave the frame, values that are not finite, masks of many pixels."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from wsvis_core.instances import InstanceSet
from wsvis_core.mask_ops import mask_areas, mask_iom, mask_iou
from wsvis_core.maskconsist import TransferDiagnostics, TransferSettings, transfer_labels
from wsvis_core.maskconsist.assignment import assign_labels
from wsvis_core.maskconsist.inter_frame import carry_masks, match_frames

PAPER = TransferSettings()
SETS = ("predictions_t", "labels_t", "predictions_s", "labels_s")
SETTINGS = {
    "literal": {},
    "without intra": {"intra_frame": False},
    "without inter": {"inter_frame": False},
    "without IoM-NMS": {"iom_nms": False},
    "plain": {"intra_frame": False, "inter_frame": False, "iom_nms": False},
    "shared matching": {"shared_matching": True},
    "coarse matching": {"match_stride": 4},
    "every brake": {
        "min_candidate_score": 0.5,
        "min_edge": 0.5,
        "merge_rule": "intersection",
        "label_priority": "labels_first",
        "fill_only": True,
        "growth_cap": 1.0,
        "require_agreement": True,
    },
}


@pytest.fixture
def full(golden, rectangles):
    """The golden scene with a label on both frames."""
    return golden | {"labels_s": rectangles([[5, 0, 15, 9]])}


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("missing", [c for n in range(1, 5) for c in itertools.combinations(SETS, n)], ids=", ".join)
def test_any_of_the_sets_may_be_empty(full, rectangles, slow, missing, options):
    scene = full | dict.fromkeys(missing, rectangles([]))
    chosen = replace(PAPER, **options)
    targets_t, targets_s, seen = transfer_labels(**scene, settings=chosen)
    expected = slow.transfer(scene, chosen)
    assert slow.things(targets_t) == expected.t and slow.things(targets_s) == expected.s
    assert targets_t.size == targets_s.size == (20, 40)
    assert targets_t.boxes_xyxy.shape == (len(targets_t), 4) and targets_t.classes.dtype == torch.int64
    assert seen.targets == len(targets_t) + len(targets_s)


def test_a_mask_carried_out_of_the_frame_is_no_label(rectangles, translation):
    """With the target's mask gone too ("warped"), nothing is left to learn."""
    source = rectangles([[0, 0, 10, 10], [30, 0, 40, 10]])
    matches = match_frames(source, source, translation(-15))
    assert matches.warped_masks.flatten(1).any(1).tolist() == [True, False]
    forced = replace(matches, pairs=torch.tensor([[1, 1]]))
    assert len(assign_labels(source, source, source, forced, merge_rule="warped")) == 0
    assert len(assign_labels(source, source, source, forced, merge_rule="union")) == 1


def test_a_mask_partly_outside_is_cut_at_the_border(rectangles, translation):
    carried = carry_masks(rectangles([[30, 10, 38, 18]]).masks, translation(-6, -5))
    assert torch.equal(carried, rectangles([[36, 15, 40, 20]]).masks)


def test_empty_predictions_take_no_part_and_empty_labels_are_no_targets(full, rectangles):
    dots = rectangles([[3, 3, 3, 3]])
    for name in SETS:
        full[name] = InstanceSet.concatenate([dots, full[name]])
    targets_t, targets_s, seen = transfer_labels(**full, settings=PAPER)
    assert len(targets_t) == len(targets_s) == 1
    assert (seen.predictions, seen.expanded) == (5, 4)


@pytest.mark.parametrize("shift", [0.5, -0.5, 2.5])
@pytest.mark.parametrize("size", [(20, 40), (16, 24), (48, 80), (480, 853)])
def test_half_a_pixel_counts_as_inside_at_both_ends_whatever_the_frame(rectangles, translation, shift, size):
    masks = rectangles([[7, 4, 13, 11]], size=size).masks
    carried = carry_masks(masks, translation(shift, size=size))[0]
    assert carried.any(dim=0).nonzero()[:, 0].tolist() == list(range(int(6.5 - shift), int(13.5 - shift)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e9])
@pytest.mark.parametrize("channel", [0, 1])
def test_unknown_flow_carries_nothing_and_leaves_the_rest_alone(rectangles, value, channel):
    """The mask covers the frame's corner, where a careless reading of NaN would land."""
    masks, flow = rectangles([[0, 0, 20, 20]]).masks, torch.zeros(2, 20, 40)
    flow[channel, :, :5] = value
    assert torch.equal(carry_masks(masks, flow), rectangles([[5, 0, 20, 20]]).masks)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_unknown_flow_everywhere_leaves_the_labels(full, boxes_of, value):
    full["flow_st"] = full["flow_ts"] = torch.full((2, 20, 40), value)
    targets_t, targets_s, seen = transfer_labels(**full, settings=PAPER)
    assert boxes_of(targets_t) == [[0, 0, 10, 10]] and boxes_of(targets_s) == [[5, 0, 15, 9]]
    assert seen.matches == 0 and seen.skipped_pairs == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", ["scores", "boxes_xyxy"])
@pytest.mark.parametrize("name", ["predictions_t", "predictions_s"])
def test_a_prediction_that_is_not_finite_skips_the_pair(full, rectangles, name, field, value):
    full["labels_t"] = rectangles([[0, 0, 10, 10], [3, 3, 3, 3]])
    predictions = full[name]
    broken = getattr(predictions, field).clone()
    broken[0] = value
    full[name] = replace(predictions, **{field: broken})
    targets_t, targets_s, seen = transfer_labels(**full, settings=PAPER)
    assert targets_t.boxes_xyxy.tolist() == [[0, 0, 10, 10]] and targets_s.boxes_xyxy.tolist() == [[5, 0, 15, 9]]
    assert seen == TransferDiagnostics(pairs=1, skipped_pairs=1)


LARGE = (300, 400)


def large_scene(rectangles, translation):
    """One object of 90,000 pixels, which half precision cannot count, moving by 10 px; only t has a label."""
    whole, moved = [[0, 0, 300, 300]], [[10, 0, 310, 300]]
    return {
        "predictions_t": rectangles(whole, size=LARGE),
        "labels_t": rectangles(whole, size=LARGE),
        "predictions_s": rectangles(moved, size=LARGE),
        "labels_s": rectangles([], size=LARGE),
        "flow_st": translation(-10, size=LARGE),
        "flow_ts": translation(10, size=LARGE),
    }


def test_areas_and_overlaps_of_large_masks_are_exact(rectangles):
    masks = rectangles([[0, 0, 300, 300], [0, 0, 300, 299]], size=LARGE).masks
    masks[1, 299, 0] = True
    assert mask_areas(masks).tolist() == [90_000.0, 89_701.0]
    exact = torch.tensor([[1, 89_701 / 90_000], [89_701 / 90_000, 1]], dtype=torch.float64)
    assert torch.equal(mask_iou(masks, masks), exact.float())
    assert torch.equal(mask_iom(masks, masks), torch.ones(2, 2))


def test_large_masks_travel(rectangles, translation):
    scene = large_scene(rectangles, translation)
    _, targets_s, seen = transfer_labels(**scene, settings=PAPER)
    assert torch.equal(targets_s.masks, scene["predictions_s"].masks)
    assert seen.transferred_area == 90_000 and seen.gate_area == 90_000 and seen.label_area == 90_000


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_around_it_changes_nothing(rectangles, translation, dtype):
    """A label of 44,851 pixels lies inside the transferred mask; half precision rounds them, and it would stay."""
    scene = large_scene(rectangles, translation)
    scene["labels_s"] = rectangles([[160, 0, 310, 300]], size=LARGE)
    scene["labels_s"].masks[0, 0, 160:309] = False
    options = replace(PAPER, iom_threshold=0.9995)
    expected = transfer_labels(**scene, settings=options)
    with torch.autocast("cpu", dtype=dtype):
        got = transfer_labels(**scene, settings=options)
    assert got[2] == expected[2] and got[2].labels == 2 and got[2].targets == 2
    for a, b in zip(got[:2], expected[:2], strict=True):
        assert torch.equal(a.masks, b.masks)


def test_no_gradient_is_kept(full):
    full["flow_st"].requires_grad_()
    full["predictions_t"] = replace(full["predictions_t"], scores=full["predictions_t"].scores.requires_grad_())
    targets_t, targets_s, _ = transfer_labels(**full, settings=PAPER)
    assert not targets_t.scores.requires_grad and not targets_s.scores.requires_grad
