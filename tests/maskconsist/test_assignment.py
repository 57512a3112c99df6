from __future__ import annotations

import pytest
import torch

from wsvis_core.maskconsist.assignment import (
    TransferredLabels,
    assign_labels,
    contested,
    gating_labels,
    limit_growth,
    merge_masks,
    require_target_agreement,
    self_labels,
)
from wsvis_core.maskconsist.inter_frame import match_frames


def transfer(rectangles, translation, source_label, **options):
    """One source and one target prediction of equal class, shifted by 5 px and 2 px taller in the target."""
    source, target = rectangles([[0, 0, 10, 10]], scores=[0.4]), rectangles([[5, 0, 15, 12]], scores=[0.6])
    matches = match_frames(source, target, translation(-5))
    return assign_labels(source, source_label, target, matches, **options)


def test_a_matched_pair_becomes_one_label_however_many_gates_qualify(rectangles, translation):
    labels = rectangles([[0, 0, 10, 10], [0, 0, 10, 9]])
    out = transfer(rectangles, translation, labels)
    assert out.instances.boxes_xyxy.tolist() == [[5, 0, 15, 12]]
    assert out.instances.scores.tolist() == pytest.approx([0.6])
    assert out.gate_areas.tolist() == [100.0]


def test_the_gate_uses_the_unwarped_source_box(rectangles, translation):
    assert len(transfer(rectangles, translation, rectangles([[5, 0, 15, 10]]))) == 0
    assert len(transfer(rectangles, translation, rectangles([[1, 0, 11, 10]]))) == 1


def test_the_gate_needs_the_class(rectangles, translation):
    assert len(transfer(rectangles, translation, rectangles([[0, 0, 10, 10]], classes=[1]))) == 0


@pytest.mark.parametrize(
    ("rule", "area"), [("union", 120), ("prediction", 120), ("warped", 100), ("intersection", 100)]
)
def test_merge_rules(rectangles, translation, rule, area):
    out = transfer(rectangles, translation, rectangles([[0, 0, 10, 10]]), merge_rule=rule)
    assert int(out.instances.masks.sum()) == area


def test_unknown_merge_rule_is_refused():
    mask = torch.ones((1, 2, 2), dtype=torch.bool)
    with pytest.raises(ValueError, match="merge_rule 'largest' is not one of union, prediction"):
        merge_masks(mask, mask, "largest")


def test_gating_label_is_the_one_of_highest_box_iou(rectangles):
    things = rectangles([[0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 10]], classes=[0, 0, 1])
    labels = rectangles([[0, 0, 10, 8], [0, 0, 10, 9], [0, 0, 10, 10]], classes=[0, 0, 2])
    assert gating_labels(things, labels).tolist() == [1, -1, -1]
    assert gating_labels(things, rectangles([])).tolist() == [-1, -1, -1]
    assert gating_labels(rectangles([]), labels).shape == (0,)


def test_self_labels_are_the_agreeing_predictions(rectangles):
    out = self_labels(rectangles([[0, 0, 10, 9], [20, 0, 30, 9]]), rectangles([[0, 0, 10, 10]]))
    assert out.instances.boxes_xyxy.tolist() == [[0, 0, 10, 9]] and out.gate_areas.tolist() == [100.0]
    assert len(self_labels(rectangles([]), rectangles([]))) == 0


def test_growth_cap_compares_with_the_gating_label(rectangles):
    grown = TransferredLabels(rectangles([[0, 0, 10, 10], [0, 0, 10, 15]]), torch.tensor([100.0, 100.0]))
    assert len(limit_growth(grown, None)) == 2
    assert len(limit_growth(grown, 1.5)) == 2
    assert limit_growth(grown, 1.4).instances.boxes_xyxy.tolist() == [[0, 0, 10, 10]]


def test_target_agreement_fills_gaps_but_not_contradictions(rectangles):
    new = TransferredLabels(rectangles([[0, 0, 20, 20], [30, 0, 40, 10]]), torch.ones(2))
    small = rectangles([[0, 0, 5, 5]])
    assert require_target_agreement(new, small).instances.boxes_xyxy.tolist() == [[30, 0, 40, 10]]
    assert len(require_target_agreement(new, rectangles([[0, 0, 20, 16]]))) == 2
    assert len(require_target_agreement(new, rectangles([[0, 0, 5, 5]], classes=[3]))) == 2
    assert len(require_target_agreement(new, rectangles([]))) == 2


def test_contested_can_ignore_class(rectangles):
    a, b = rectangles([[0, 0, 10, 10]]), rectangles([[0, 0, 5, 5]], classes=[1])
    assert not contested(a, b).any()
    assert contested(a, b, class_aware=False).all()
