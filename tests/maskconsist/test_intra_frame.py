from __future__ import annotations

import torch

from wsvis_core.maskconsist.intra_frame import agreeing, drop_empty_masks, expand_predictions


def test_two_parts_of_a_label_add_their_union(rectangles):
    parts = rectangles([[0, 0, 10, 6], [0, 4, 10, 10]], scores=[0.3, 0.8])
    expanded = expand_predictions(parts, rectangles([[0, 0, 10, 10]]))
    assert len(expanded) == 3
    assert expanded.boxes_xyxy[2].tolist() == [0, 0, 10, 10]
    assert bool(expanded.masks[2, :10, :10].all()) and int(expanded.masks[2].sum()) == 100
    assert expanded.scores[2].item() == parts.scores.max().item()
    assert torch.equal(expanded.masks[:2], parts.masks)


def test_one_agreeing_prediction_adds_nothing(rectangles):
    parts = rectangles([[0, 0, 10, 6], [0, 8, 10, 10]])
    assert len(expand_predictions(parts, rectangles([[0, 0, 10, 10]]))) == 2


def test_class_must_agree(rectangles):
    parts = rectangles([[0, 0, 10, 6], [0, 4, 10, 10]], classes=[0, 1])
    assert len(expand_predictions(parts, rectangles([[0, 0, 10, 10]]))) == 2


def test_box_overlap_of_exactly_the_threshold_does_not_agree(rectangles):
    half = rectangles([[0, 0, 10, 5]])
    assert not agreeing(half, rectangles([[0, 0, 10, 10]]), 0.5).any()
    assert agreeing(half, rectangles([[0, 0, 10, 10]]), 0.49).all()


def test_predictions_without_a_pixel_are_dropped_and_are_no_parts(rectangles):
    parts = rectangles([[0, 0, 10, 6], [3, 3, 3, 3]])
    assert len(drop_empty_masks(parts)) == 1
    assert len(expand_predictions(parts, rectangles([[0, 0, 10, 10]]))) == 1


def test_nothing_in_nothing_out(rectangles):
    nothing = rectangles([])
    something = rectangles([[0, 0, 5, 5]])
    assert len(expand_predictions(nothing, nothing)) == 0
    assert len(expand_predictions(nothing, something)) == 0
    assert len(expand_predictions(something, nothing)) == 1
    assert agreeing(nothing, something).shape == (0, 1)
