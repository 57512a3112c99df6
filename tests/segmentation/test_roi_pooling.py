from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from wsvis_core.segmentation.roi_pooling import PyramidRoIAlign, paste_masks, project_masks


def ellipse(height=60, width=80, centre=(28.0, 37.0), radii=(17.0, 23.0)):
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1


def test_projecting_and_pasting_back_keeps_the_mask():
    mask = ellipse()
    box = torch.tensor([[13.3, 10.2, 60.7, 46.4]])
    grid = project_masks(mask[None], box, torch.zeros(1, dtype=torch.int64), 28)
    pasted = paste_masks(grid, box, (60, 80))[0]
    iou = (pasted & mask).sum() / (pasted | mask).sum()
    assert iou > 0.97


def test_a_full_grid_pastes_to_exactly_its_box():
    boxes = torch.tensor([[3.0, 2.0, 11.0, 9.0], [0.0, 0.0, 20.0, 12.0], [-5.0, 4.0, 4.0, 30.0]])
    pasted = paste_masks(torch.ones(3, 7, 7), boxes, (12, 20), chunk=2)
    wanted = torch.zeros(3, 12, 20, dtype=torch.bool)
    wanted[0, 2:9, 3:11] = True
    wanted[1] = True
    wanted[2, 4:, :4] = True
    assert torch.equal(pasted, wanted)


def test_pasting_agrees_with_grid_sample():
    generator = torch.Generator().manual_seed(0)
    grids = torch.rand((5, 14, 14), generator=generator)
    corner = torch.rand((5, 2), generator=generator) * 20
    boxes = torch.cat([corner, corner + 3 + 25 * torch.rand((5, 2), generator=generator)], dim=1)
    pasted = paste_masks(grids, boxes, (40, 50), threshold=0.5)
    y, x = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(50) + 0.5, indexing="ij")
    for grid, (x0, y0, x1, y1), mask in zip(grids, boxes, pasted, strict=True):
        where = torch.stack([2 * (x - x0) / (x1 - x0) - 1, 2 * (y - y0) / (y1 - y0) - 1], dim=-1)
        values = F.grid_sample(grid[None, None], where[None], padding_mode="border", align_corners=False)[0, 0]
        inside = (where >= -1).all(-1) & (where < 1).all(-1)
        clear = (values - 0.5).abs() > 1e-4
        assert torch.equal(((values >= 0.5) & inside)[clear], mask[clear])


def test_mirroring_commutes_with_projection():
    mask, box = ellipse(), torch.tensor([[10.0, 8.0, 66.0, 50.0]])
    mirrored = torch.tensor([[80 - 66.0, 8.0, 80 - 10.0, 50.0]])
    owner = torch.zeros(1, dtype=torch.int64)
    a = project_masks(mask[None], box, owner, 28)
    b = project_masks(mask.flip(-1)[None], mirrored, owner, 28)
    assert torch.allclose(a.flip(-1), b, atol=1e-5)


def test_boxes_read_the_level_that_suits_their_size():
    pool = PyramidRoIAlign({"0": 4, "1": 8, "2": 16, "3": 16}, 2)
    sides = torch.tensor([0.0, 20.0, 56.0, 112.0, 224.0, 900.0])
    boxes = torch.stack([torch.zeros(6), torch.zeros(6), sides, sides], dim=1)
    assert pool.level_of(boxes).tolist() == [0, 0, 0, 1, 3, 3]


def test_pooled_regions_keep_their_order_and_image():
    features = {
        "0": torch.stack([torch.full((1, 32, 32), 1.0), torch.full((1, 32, 32), 2.0)]),
        "1": torch.stack([torch.full((1, 16, 16), 10.0), torch.full((1, 16, 16), 20.0)]),
    }
    pool = PyramidRoIAlign({"0": 4, "1": 8}, 3)
    big, small = [8.0, 8.0, 120.0, 120.0], [30.0, 30.0, 60.0, 60.0]
    boxes = [torch.tensor([big, small, big]), torch.tensor([small, big])]
    pooled = pool(features, boxes, [(128, 128)] * 2)
    assert pooled.shape == (5, 1, 3, 3)
    assert pooled.mean((1, 2, 3)).tolist() == pytest.approx([10, 1, 10, 2, 20])


def test_no_region_no_output():
    pool = PyramidRoIAlign({"0": 4}, 3)
    assert pool({"0": torch.zeros(2, 5, 8, 8)}, [torch.zeros(0, 4)] * 2, [(32, 32)] * 2).shape == (0, 5, 3, 3)
    assert paste_masks(torch.zeros(0, 7, 7), torch.zeros(0, 4), (6, 9)).shape == (0, 6, 9)


def pyramid_and_boxes(channels=3):
    """Two maps of two padded images, and boxes inside, across and far outside them, thin ones and one point."""
    generator = torch.Generator().manual_seed(3)
    features = {
        "0": torch.randn(2, channels, 24, 40, generator=generator),
        "1": torch.randn(2, channels, 12, 20, generator=generator),
    }
    corner = torch.rand((30, 2), generator=generator) * torch.tensor([170.0, 110.0]) - 20
    side = torch.exp(torch.randn((30, 2), generator=generator) + 3)
    special = torch.tensor(
        [[-900.0, -900, -800, -800], [0, 0, 160, 96], [158, 90, 300, 99], [7, 7, 7, 7], [-9, 3, -3, 60], [9, 8, 5, 4]]
    )
    boxes = torch.cat([torch.cat([corner, corner + side], dim=1), special])
    return features, [boxes[:20], boxes[20:]]


@pytest.mark.parametrize(("size", "ratio"), [(7, 2), (14, 2), (3, 1), (2, 3)])
def test_pooling_by_sums_of_pixels_is_torchvisions_roi_align(size, ratio):
    features, boxes = pyramid_and_boxes()
    strides = {"0": 4, "1": 8}
    pool = PyramidRoIAlign(strides, size, sampling_ratio=ratio, canonical_size=112)
    for values in features.values():
        values.requires_grad_()
    weights = torch.randn(36, 3, size, size, generator=torch.Generator().manual_seed(4))

    pooled = pool(features, boxes, [(96, 160)] * 2)
    (pooled * weights).sum().backward()
    gradients = [values.grad.clone() for values in features.values()]

    for values in features.values():
        values.grad = None
    levels, expected = pool.level_of(torch.cat(boxes)), []
    assert set(levels.tolist()) == {0, 1}
    for number, box in enumerate(torch.cat(boxes)):
        name = str(int(levels[number]))
        region = torch.tensor([[float(number >= 20), *box.tolist()]])
        expected.append(roi_align(features[name], region, size, 1 / strides[name], ratio, aligned=True))
    (torch.cat(expected) * weights).sum().backward()
    assert torch.allclose(pooled, torch.cat(expected), atol=1e-4)
    for gradient, values in zip(gradients, features.values(), strict=True):
        assert torch.allclose(gradient, values.grad, atol=1e-3)


def test_both_ways_of_pooling_agree_and_round_boxes_to_no_half_precision():
    features, boxes = pyramid_and_boxes()
    pool = PyramidRoIAlign({"0": 4, "1": 8}, 7, canonical_size=112)
    regions = torch.cat([torch.arange(36)[:, None] >= 20, torch.cat(boxes)], dim=1)
    maps, level = list(features.values()), pool.level_of(torch.cat(boxes))
    pooled = pool._sum_pixels(maps, regions, level)
    assert torch.allclose(pool._align_levels(maps, regions, level), pooled, atol=1e-4)

    half = {name: values.bfloat16() for name, values in features.items()}
    with torch.autocast("cpu"):
        rounded = pool(half, boxes, [(96, 160)] * 2)
    assert rounded.dtype == torch.bfloat16
    assert torch.allclose(rounded.float(), pooled, atol=0.04)


def test_pooled_regions_lie_channels_last_on_a_cpu():
    features, boxes = pyramid_and_boxes()
    pooled = PyramidRoIAlign({"0": 4, "1": 8}, 7)(features, boxes, [(96, 160)] * 2)
    assert pooled.is_contiguous(memory_format=torch.channels_last)
