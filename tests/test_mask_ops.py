from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsvis_core.mask_ops import (
    box_iou,
    boxes_from_masks,
    mask_areas,
    mask_intersection,
    mask_iom,
    mask_iou,
    mask_unions,
)

QUICK = settings(max_examples=30, deadline=None)
SETS = st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(1, 7)).flatmap(lambda s: arrays(bool, s))
SEEDS = st.integers(0, 10_000)


def pixels(mask: np.ndarray) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}


@QUICK
@given(SETS)
def test_areas_and_boxes(masks):
    found = torch.from_numpy(masks)
    areas, boxes = mask_areas(found), boxes_from_masks(found)
    assert areas.dtype == boxes.dtype == torch.float32 and boxes.shape == (len(masks), 4)
    for mask, area, box in zip(masks, areas, boxes, strict=True):
        inside = pixels(mask)
        assert area == len(inside)
        ys, xs = [y for y, _ in inside], [x for _, x in inside]
        expected = [min(xs), min(ys), max(xs) + 1, max(ys) + 1] if inside else [0, 0, 0, 0]
        assert box.tolist() == expected


@QUICK
@given(SETS, SEEDS)
def test_overlaps_against_sets_of_pixels(a, seed):
    rng = np.random.default_rng(seed)
    b = rng.random((int(rng.integers(0, 4)), *a.shape[1:])) < rng.random()
    tensors = torch.from_numpy(a), torch.from_numpy(b)
    shared, iou, iom = mask_intersection(*tensors), mask_iou(*tensors), mask_iom(*tensors)
    assert shared.shape == iou.shape == iom.shape == (len(a), len(b))
    assert iou.dtype == iom.dtype == torch.float32
    for i, first in enumerate(map(pixels, a)):
        for j, second in enumerate(map(pixels, b)):
            both, either, smaller = len(first & second), len(first | second), min(len(first), len(second))
            assert shared[i, j] == both
            assert iou[i, j].item() == pytest.approx(both / either if either else 0)
            assert iom[i, j].item() == pytest.approx(both / smaller if smaller else 0)


def slow_box_iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared) if sum(areas) - shared > 0 else 0.0


@QUICK
@given(SEEDS)
def test_box_iou_against_a_loop(seed):
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> torch.Tensor:
        corners = rng.integers(0, 12, (count, 2))
        return torch.from_numpy(np.concatenate([corners, corners + rng.integers(0, 8, (count, 2))], 1)).float()

    a, b = boxes(int(rng.integers(0, 5))), boxes(int(rng.integers(0, 5)))
    found = box_iou(a, b)
    expected = [[slow_box_iou(first, second) for second in b.tolist()] for first in a.tolist()]
    assert found.shape == (len(a), len(b))
    assert torch.allclose(found, torch.tensor(expected).reshape(found.shape))


def test_a_tight_box_of_a_rectangle_has_its_area():
    masks = torch.zeros(1, 9, 12, dtype=torch.bool)
    masks[0, 2:5, 3:11] = True
    assert boxes_from_masks(masks).tolist() == [[3, 2, 11, 5]]
    assert box_iou(boxes_from_masks(masks), torch.tensor([[3, 2, 11, 5]])).item() == 1


def test_iom_tells_a_part_from_a_neighbour():
    whole = torch.ones(1, 4, 4, dtype=torch.bool)
    part = torch.zeros(2, 4, 4, dtype=torch.bool)
    part[0, :1, :2] = True
    assert mask_iom(whole, part).tolist() == [[1.0, 0.0]] and mask_iou(whole, part)[0, 0] == 2 / 16


def test_large_masks_are_counted_exactly():
    """Sums beyond 2048 pixels are where half precision would go wrong."""
    masks = torch.zeros(2, 1080, 1920, dtype=torch.bool)
    masks[0] = True
    masks[1, :, :1919] = True
    assert mask_areas(masks).tolist() == [1080 * 1920, 1080 * 1919]
    assert mask_iou(masks, masks)[0, 1].item() == pytest.approx(1919 / 1920, abs=1e-7)
    assert mask_iom(masks, masks)[0, 1].item() == 1


def test_masks_counted_block_by_block():
    """20,000 pixels: more than two blocks, and the last is not full."""
    masks = torch.rand(4, 125, 160, generator=torch.Generator().manual_seed(0)) < 0.4
    pairs = masks[:, None] & masks[None, :3]
    assert torch.equal(mask_intersection(masks, masks[:3]), pairs.sum(dim=(2, 3)).float())
    assert torch.equal(mask_areas(masks), masks.sum(dim=(1, 2)).float())


def test_one_union_for_each_group_of_masks():
    masks = torch.rand(4, 100, 160, generator=torch.Generator().manual_seed(0)) < 0.3
    member = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]], dtype=torch.bool)
    unions = mask_unions(masks, member)
    assert torch.equal(unions, torch.stack([masks[0] | masks[3], masks[0] | masks[1] | masks[2], masks[0] & False]))
    assert mask_unions(masks, member[:, :0]).shape == (0, 100, 160)
    assert not mask_unions(masks[:0], member[:0]).any()
