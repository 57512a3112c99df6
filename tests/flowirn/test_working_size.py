"""Frames of any size (§1.12): odd, one pixel wide, tall, larger than IRN's 512; nothing is cut off on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsvis_core.backbones import build_backbone
from wsvis_core.cam.infer import multi_scale_cams
from wsvis_core.cam.network import CamNet
from wsvis_core.flowirn.flow_gradient import flow_at_cells
from wsvis_core.flowirn.instances import group_instances, predict_boundary_and_displacement
from wsvis_core.flowirn.label_maps import label_map
from wsvis_core.flowirn.losses import downsample_labels
from wsvis_core.flowirn.network import IRNet
from wsvis_core.images import resize_image, scaled_size, to_tensor
from wsvis_core.instances import InstanceSet

CPU = torch.device("cpu")


def network(output_stride: int = 16) -> IRNet:
    torch.manual_seed(0)
    return IRNet(build_backbone("resnet_tiny", output_stride=output_stride), width=0.25).eval()


NETWORK = network()


def cells_of(height: int, width: int) -> tuple[int, int]:
    return (height - 1) // 4 + 1, (width - 1) // 4 + 1


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_labels_flow_and_network_agree_on_the_cells_of_all_sizes(output_stride: int) -> None:
    net = network(output_stride)
    for side in range(1, 71):
        for height, width in ((side, 37), (37, side)):
            cells = cells_of(height, width)
            boundary, displacement = predict_boundary_and_displacement(net, torch.zeros(3, height, width))
            assert boundary.shape == cells and displacement.shape == (2, *cells)
            labels = label_map(torch.zeros(1, height, width), torch.tensor([0]))
            assert downsample_labels(labels).shape == cells
            flow, valid = flow_at_cells(torch.zeros(1, 2, height, width))
            assert flow.shape == (1, 2, *cells) and valid.shape == (1, *cells)


@torch.no_grad()
def test_the_network_itself_gives_these_cells_for_any_crop() -> None:
    for side in range(1, 71):
        logits, displacement = NETWORK(torch.zeros(1, 3, side, 71 - side))
        cells = cells_of(side, 71 - side)
        assert logits.shape == (1, 1, *cells) and displacement.shape == (1, 2, *cells)


def test_the_last_pixels_of_a_large_frame_reach_the_prediction() -> None:
    """IRN's code cuts frames at 512 pixels."""
    image = torch.zeros(3, 530, 645)
    before = predict_boundary_and_displacement(NETWORK, image)
    image[:, 524:, 637:] = 3.0
    after = predict_boundary_and_displacement(NETWORK, image)
    for first, second in zip(before, after, strict=True):
        assert first.shape[-2:] == (133, 162)
        changed = (first != second).flatten(0, -3).any(0) if first.ndim == 3 else first != second
        assert changed[-2:, -3:].all()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (3, 5), (17, 33), (70, 6)])
def test_padding_does_not_change_a_size_that_needs_none(size: tuple[int, int]) -> None:
    """A frame and the same frame padded by hand to a multiple of 16 give the same values in the frame."""
    image = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    by_hand = torch.zeros(3, -(-size[0] // 16) * 16, -(-size[1] // 16) * 16)
    by_hand[:, : size[0], : size[1]] = image
    found, wanted = (predict_boundary_and_displacement(NETWORK, v)[1] for v in (image, by_hand))
    cells = cells_of(*size)
    torch.testing.assert_close(found, wanted[:, : cells[0], : cells[1]])


def corner_object(height: int, width: int) -> tuple[Tensor, Tensor, Tensor, tuple[int, int]]:
    """boundary, displacement and CAM of one object in the lower right quarter, and its first cell (row, column)."""
    rows, columns = cells_of(height, width)
    top, left = rows // 2, columns // 2
    inside = torch.zeros(rows, columns, dtype=torch.bool)
    inside[top:, left:] = True
    grown = torch.zeros_like(inside)
    grown[max(top - 1, 0) :, max(left - 1, 0) :] = True
    boundary = torch.where(grown & ~inside, 0.999, 0.001)
    cells = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")).float()
    centre = torch.tensor([(top + rows - 1) / 2, (left + columns - 1) / 2]).view(2, 1, 1)
    displacement = torch.where(inside, centre - cells, 0.0)
    cam = inside.float().unsqueeze(0)
    return boundary, displacement, cam, (top, left)


def object_of(height: int, width: int, output: tuple[int, int] | None = None, **options: Any) -> InstanceSet:
    boundary, displacement, cam, _ = corner_object(height, width)
    return group_instances(
        boundary, displacement, cam, torch.tensor([3]), (height, width), output, exp_times=6, **options
    )


@given(st.integers(1, 70), st.integers(1, 70))
@example(1, 1)
@example(1, 70)
@example(70, 1)
@example(5, 6)
@settings(max_examples=30, deadline=None)
def test_an_object_at_the_right_and_lower_border_is_found_whole(height: int, width: int) -> None:
    found = object_of(height, width, min_area_fraction=0)
    assert len(found) == 1 and found.size == (height, width) and found.classes.tolist() == [3]
    top, left = corner_object(height, width)[3]
    assert found.masks[0, height - 1, width - 1]
    # Upsampling spreads the scores by half a cell and more, never away from the border.
    assert found.masks[0, min(4 * top + 3, height - 1) :, min(4 * left + 3, width - 1) :].all()
    assert found.boxes_xyxy[0, 2:].tolist() == [width, height]


@pytest.mark.parametrize("size", [(33, 700), (650, 41), (530, 531)])
def test_an_object_beyond_512_pixels_is_found(size: tuple[int, int]) -> None:
    found = object_of(*size)
    assert len(found) == 1 and found.boxes_xyxy[0, 2:].tolist() == [size[1], size[0]]
    assert float(found.masks.float().mean()) == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("resize", ["bilinear", "nearest"])
@pytest.mark.parametrize("original", [(7, 9), (1, 300), (300, 1), (97, 131), (480, 852), (31, 77), (1300, 9)])
def test_masks_come_at_the_original_size_and_place(original: tuple[int, int], resize: Any) -> None:
    working = scaled_size(*original, 64)
    small, found = (object_of(*working, output, resize=resize, min_area_fraction=0) for output in (None, original))
    assert found.size == original and found.masks.shape[1:] == original
    assert len(found) == len(small) == 1 and found.boxes_xyxy[0, 2:].tolist() == [original[1], original[0]]
    resized = resize_image(np.repeat(small.masks[0].numpy()[..., None] * np.uint8(255), 3, 2), original)[..., 0] > 127
    assert (resized == found.masks[0].numpy()).mean() > 0.9


@pytest.mark.parametrize("size", [(1, 1), (1, 47), (47, 1), (2, 3), (9, 64), (71, 18), (40, 530)])
def test_a_frame_of_any_size_goes_through_every_step(size: tuple[int, int]) -> None:
    """CAMs, label map, cells of labels, boundary and displacement, instances at three times the size."""
    torch.manual_seed(0)
    classifier = CamNet(build_backbone("resnet_tiny", output_stride=8), 4).eval()
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    keys = np.array([0, 2])
    cams = multi_scale_cams(classifier, image, keys, scales=(1.0, 0.5), device=CPU)
    assert cams.strided.shape == (2, *cells_of(*size)) and cams.high_res.shape == (2, *size)
    labels = label_map(torch.from_numpy(cams.high_res), torch.from_numpy(keys))
    assert labels.shape == size and set(labels.unique().tolist()) <= {0, 1, 3, 255}
    boundary, displacement = predict_boundary_and_displacement(NETWORK, to_tensor(image))
    assert downsample_labels(labels).shape == boundary.shape
    output = (3 * size[0], 3 * size[1])
    seeds = torch.from_numpy(cams.strided)
    found = group_instances(
        boundary, displacement, seeds, torch.from_numpy(keys), size, output, exp_times=3, min_area_fraction=0
    )
    assert found.size == output and set(found.classes.tolist()) <= {0, 2}
    assert (found.masks.sum(0) <= 1).all()
