from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.flow.warp import flip_flow_horizontal
from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist import TransferDiagnostics, TransferSettings, transfer_labels

PAPER = TransferSettings()


def flip(instances: InstanceSet) -> InstanceSet:
    flipped = InstanceSet.from_masks(instances.masks.flip(-1), instances.classes, instances.scores)
    return flipped


def test_golden_scene(golden, boxes_of):
    targets_t, targets_s, seen = transfer_labels(**golden, settings=PAPER)
    assert boxes_of(targets_t) == [[0, 0, 10, 10]]
    assert boxes_of(targets_s) == [[5, 0, 15, 10]]
    assert (seen.predictions, seen.expanded) == (3, 4)
    assert (seen.matches, seen.transferred, seen.kept_transferred, seen.targets) == (2, 1, 1, 2)
    assert seen.transferred_share == 0.5 and seen.area_ratio == 1.0 and seen.transferred_growth == 1.0


def test_another_class_on_the_other_frame_transfers_nothing(golden, rectangles):
    golden["predictions_s"] = rectangles([[5, 0, 15, 10]], classes=[1])
    targets_t, targets_s, seen = transfer_labels(**golden, settings=PAPER)
    assert len(targets_s) == 0 and len(targets_t) == 1 and seen.matches == 0


def test_swapped_flows_transfer_nothing_useful(golden):
    golden["flow_st"], golden["flow_ts"] = golden["flow_ts"], golden["flow_st"]
    _, targets_s, _ = transfer_labels(**golden, settings=replace(PAPER, min_edge=0.3))
    assert len(targets_s) == 0


def test_the_union_of_fragments_wins_over_them(golden, rectangles, boxes_of):
    golden["labels_s"] = rectangles([[5, 0, 15, 7]])
    _, targets_s, _ = transfer_labels(**golden, settings=PAPER)
    assert boxes_of(targets_s) == [[5, 0, 15, 10]]


def test_an_object_without_a_label_on_the_source_frame_is_not_transferred(golden, rectangles):
    golden["labels_t"] = rectangles([[25, 0, 35, 10]])
    assert len(transfer_labels(**golden, settings=PAPER)[1]) == 0


def test_labels_travel_in_both_directions(golden, rectangles, boxes_of):
    golden["labels_t"], golden["labels_s"] = rectangles([]), rectangles([[5, 0, 15, 10]])
    golden["predictions_t"] = rectangles([[0, 0, 10, 10]])
    targets_t, targets_s, _ = transfer_labels(**golden, settings=PAPER)
    assert boxes_of(targets_t) == [[0, 0, 10, 10]] and boxes_of(targets_s) == [[5, 0, 15, 10]]


def test_shared_matching_serves_both_directions(golden, rectangles, boxes_of):
    golden["labels_s"] = rectangles([[5, 0, 15, 10]])
    targets_t, targets_s, seen = transfer_labels(**golden, settings=replace(PAPER, shared_matching=True))
    assert boxes_of(targets_t) == [[0, 0, 10, 10]] and boxes_of(targets_s) == [[5, 0, 15, 10]]
    assert seen.matches == 2


def test_all_empty(golden, rectangles):
    nothing = dict.fromkeys(("predictions_t", "labels_t", "predictions_s", "labels_s"), rectangles([]))
    for options in ({}, {"intra_frame": False}, {"inter_frame": False}, {"iom_nms": False}):
        settings_ = replace(PAPER, **options, fill_only=True, require_agreement=True, growth_cap=1.0)
        targets_t, targets_s, seen = transfer_labels(**(golden | nothing), settings=settings_)
        assert len(targets_t) == len(targets_s) == 0
        assert seen.area_ratio == 1.0 and seen.transferred_share == 0.0


@pytest.mark.parametrize("missing", ["predictions_t", "labels_t", "predictions_s", "flow"])
def test_targets_without_help_are_the_labels(golden, rectangles, boxes_of, missing):
    if missing == "flow":
        golden["flow_st"] = golden["flow_ts"] = torch.full_like(golden["flow_st"], 1000.0)
    else:
        golden[missing] = rectangles([])
    targets_t, targets_s, _ = transfer_labels(**golden, settings=PAPER)
    assert boxes_of(targets_t) == boxes_of(golden["labels_t"]) and len(targets_s) == 0


def test_the_rows_of_table_five(golden, rectangles, boxes_of):
    """(intra, inter, iom) → what frame s learns, with a label of frame s that covers part of the object."""
    golden["labels_s"] = rectangles([[5, 0, 15, 7]])

    def targets_s(intra, inter, iom):
        switches = replace(PAPER, intra_frame=intra, inter_frame=inter, iom_nms=iom)
        return boxes_of(transfer_labels(**golden, settings=switches)[1])

    assert targets_s(False, False, False) == [[5, 0, 15, 7]]
    assert targets_s(False, True, True) == [[5, 0, 15, 10]]
    assert targets_s(True, False, True) == [[5, 0, 15, 10]]
    assert targets_s(True, True, False) == [[5, 0, 15, 7], [5, 0, 15, 10]]
    assert targets_s(True, True, True) == [[5, 0, 15, 10]]


@pytest.mark.parametrize(
    "option",
    [
        {"label_priority": "labels_first"},
        {"fill_only": True},
        {"growth_cap": 0.9},
        {"min_candidate_score": 1.1},
        {"min_edge": 1.0},
        {"require_agreement": True, "gate_box_iou": 0.55},
    ],
)
def test_each_brake_keeps_the_stage_one_label(golden, rectangles, boxes_of, option):
    golden["labels_s"] = rectangles([[5, 0, 15, 5]])
    assert boxes_of(transfer_labels(**golden, settings=PAPER)[1]) == [[5, 0, 15, 10]]
    assert boxes_of(transfer_labels(**golden, settings=replace(PAPER, **option))[1]) == [[5, 0, 15, 5]]


def test_the_ratchet_shows_in_the_diagnostics(golden, rectangles):
    golden["labels_s"] = rectangles([[5, 0, 15, 10]])
    golden["predictions_s"] = rectangles([[5, 0, 19, 10]])
    seen = transfer_labels(**golden, settings=PAPER)[2]
    assert seen.transferred_growth == pytest.approx(1.4)
    assert seen.area_ratio == pytest.approx(1.4)
    assert seen.summary()["area_ratio"] == seen.area_ratio
    twice = seen + seen
    assert twice.pairs == 2 and twice.area_ratio == pytest.approx(1.4)
    assert TransferDiagnostics().summary()["targets"] == 0.0


def random_scene(seed):
    generator = torch.Generator().manual_seed(seed)

    def instances(count):
        masks = torch.zeros((count, 16, 24), dtype=torch.bool)
        for mask in masks:
            x, y, w, h = (int(torch.randint(low, high, (1,), generator=generator))
                          for low, high in ((0, 16), (0, 10), (3, 9), (3, 7)))  # fmt: skip
            mask[y : y + h, x : x + w] = torch.rand(mask[y : y + h, x : x + w].shape, generator=generator) < 0.8
        classes = torch.randint(0, 2, (count,), generator=generator)
        return InstanceSet.from_masks(masks, classes, torch.rand(count, generator=generator))

    flow = torch.randint(-3, 4, (2, 1, 1), generator=generator).float().expand(2, 16, 24)
    return {
        "predictions_t": instances(5),
        "labels_t": instances(3),
        "predictions_s": instances(5),
        "labels_s": instances(3),
        "flow_st": flow,
        "flow_ts": -flow,
    }


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_flipping_everything_flips_the_targets(seed):
    scene = random_scene(seed)
    mirrored = {key: flip_flow_horizontal(value) if "flow" in key else flip(value) for key, value in scene.items()}
    for plain, flipped in zip(
        transfer_labels(**scene, settings=PAPER)[:2],
        transfer_labels(**mirrored, settings=PAPER)[:2],
        strict=True,
    ):
        assert torch.equal(plain.masks.flip(-1), flipped.masks)
        assert torch.equal(plain.classes, flipped.classes)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_targets_are_legal_and_the_frames_are_interchangeable(seed):
    scene = random_scene(seed)
    swapped = {
        "predictions_t": scene["predictions_s"],
        "labels_t": scene["labels_s"],
        "predictions_s": scene["predictions_t"],
        "labels_s": scene["labels_t"],
        "flow_st": scene["flow_ts"],
        "flow_ts": scene["flow_st"],
    }
    targets_t, targets_s, seen = transfer_labels(**scene, settings=PAPER)
    again_s, again_t, mirrored = transfer_labels(**swapped, settings=PAPER)
    assert torch.equal(targets_t.masks, again_t.masks) and torch.equal(targets_s.masks, again_s.masks)
    assert seen == mirrored
    for targets in (targets_t, targets_s):
        sides = targets.boxes_xyxy[:, 2:] - targets.boxes_xyxy[:, :2]
        assert bool((sides >= 1).all()) and targets.masks.flatten(1).any(1).all()


def test_fill_only_adds_to_gaps_without_iom_nms(golden, rectangles, boxes_of):
    golden["labels_s"] = rectangles([[5, 0, 15, 5]])
    options = replace(PAPER, iom_nms=False, fill_only=True)
    assert boxes_of(transfer_labels(**golden, settings=options)[1]) == [[5, 0, 15, 5]]
    golden["labels_s"] = rectangles([[25, 0, 35, 5]])
    assert boxes_of(transfer_labels(**golden, settings=options)[1]) == [[5, 0, 15, 10], [25, 0, 35, 5]]
