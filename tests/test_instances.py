from __future__ import annotations

import dataclasses

import pytest
import torch

from wsvis_core.instances import InstanceSet


def some(count: int, *, appearance: bool = True, offset: int = 0) -> InstanceSet:
    masks = torch.zeros(count, 5, 8, dtype=torch.bool)
    for i in range(count):
        masks[i, i : i + 2, i : i + 3] = True
    made = InstanceSet.from_masks(masks, torch.arange(count) + offset, torch.linspace(0.1, 0.9, max(count, 1))[:count])
    return dataclasses.replace(made, appearance=torch.eye(count, 4) if appearance else None)


def test_from_masks_gives_tight_boxes_and_scores_of_one():
    made = InstanceSet.from_masks(some(2).masks, torch.tensor([3, 1]))
    assert made.boxes_xyxy.tolist() == [[0, 0, 3, 2], [1, 1, 4, 3]]
    assert made.scores.tolist() == [1, 1] and made.classes.tolist() == [3, 1] and made.appearance is None
    assert len(made) == 2 and made.size == (5, 8)
    half = InstanceSet.from_masks(made.masks, made.classes, torch.tensor([0.5, 0.25], dtype=torch.float64))
    assert half.scores.dtype == torch.float32


def test_the_empty_set():
    empty = InstanceSet.empty(5, 8)
    assert len(empty) == 0 and empty.size == (5, 8) and empty.boxes_xyxy.shape == (0, 4)
    dtypes = [empty.masks.dtype, empty.boxes_xyxy.dtype, empty.classes.dtype, empty.scores.dtype]
    assert dtypes == [torch.bool, torch.float32, torch.int64, torch.float32]
    assert len(empty.select([])) == 0 and len(InstanceSet.concatenate([empty, empty])) == 0


@pytest.mark.parametrize(
    ("index", "classes"),
    [
        ([], []),
        ([2, 0], [2, 0]),
        ([1, 1], [1, 1]),
        (torch.tensor([2]), [2]),
        (torch.tensor([True, False, True]), [0, 2]),
        ([False, True, False], [1]),
        (torch.zeros(0), []),
    ],
)
def test_select_keeps_the_rows_together(index, classes):
    made = some(3)
    chosen = made.select(index)
    assert chosen.classes.tolist() == classes and chosen.size == made.size
    for row, number in enumerate(classes):
        assert torch.equal(chosen.masks[row], made.masks[number])
        assert torch.equal(chosen.boxes_xyxy[row], made.boxes_xyxy[number])
        assert chosen.scores[row] == made.scores[number]
        assert torch.equal(chosen.appearance[row], made.appearance[number])


def test_concatenate_keeps_the_order_and_drops_partial_appearance():
    joined = InstanceSet.concatenate([some(2), InstanceSet.empty(5, 8), some(1, appearance=False, offset=7)])
    assert joined.classes.tolist() == [0, 1, 7] and joined.appearance is None and joined.masks.shape == (3, 5, 8)
    assert InstanceSet.concatenate([some(2), some(1)]).appearance.shape == (3, 4)


def test_to_moves_everything():
    moved = some(2).to("meta")
    assert {value.device.type for value in (moved.masks, moved.boxes_xyxy, moved.classes, moved.appearance)} == {"meta"}
    assert some(2, appearance=False).to("cpu").appearance is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": torch.zeros(2, 5, 8)}, r"masks must be bool \(N,H,W\), got torch.float32 \(2, 5, 8\)"),
        ({"masks": torch.zeros(5, 8, dtype=torch.bool)}, r"masks must be bool \(N,H,W\), got torch.bool \(5, 8\)"),
        ({"classes": torch.zeros(3)}, "classes has 3 rows for 2 masks"),
        ({"scores": torch.zeros(0)}, "scores has 0 rows for 2 masks"),
        ({"boxes_xyxy": torch.zeros(1, 4)}, "boxes_xyxy has 1 rows for 2 masks"),
        ({"appearance": torch.zeros(1, 4)}, "appearance has 1 rows for 2 masks"),
    ],
)
def test_columns_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(some(2), **change)
