"""Instance grouping step by step, on fields whose answer is known, and its empty cases."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from wsvis_core.backbones import build_backbone
from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.instances import (
    average_boundary,
    cluster_cells,
    decode,
    detections,
    group_instances,
    instance_seeds,
    predict_boundary_and_displacement,
    track_centroids,
)
from wsvis_core.flowirn.network import IRNet

CENTRES = ((10.0, 8.0), (10.0, 30.0))


def grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    rows, columns = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return rows, columns


def two_blobs(height: int = 20, width: int = 40) -> Tensor:
    """Displacement that leads the left half to one centre and the right half to another."""
    rows, columns = grid(height, width)
    left = columns < width / 2
    return torch.stack(
        [
            torch.where(left, CENTRES[0][0], CENTRES[1][0]) - rows,
            torch.where(left, CENTRES[0][1], CENTRES[1][1]) - columns,
        ]
    )


def test_two_blobs_give_two_clusters() -> None:
    displacement = two_blobs()
    centroids = track_centroids(displacement)
    assert {tuple(c) for c in centroids.flatten(1).t().tolist()} == {(10, 8), (10, 30)}
    clusters = cluster_cells(displacement, centroids)
    assert (clusters[:, :20] == clusters[0, 0]).all() and (clusters[:, 20:] == clusters[0, 39]).all()
    assert sorted(clusters.unique().tolist()) == [0, 1]


def test_cells_that_end_outside_weak_regions_form_one_ordinary_cluster() -> None:
    displacement = torch.full((2, 4, 6), 10.0)
    clusters = cluster_cells(displacement, track_centroids(displacement))
    assert clusters.tolist() == [[0] * 6] * 4
    still = torch.zeros(2, 4, 6)
    assert cluster_cells(still, track_centroids(still)).tolist() == [[0] * 6] * 4


def test_weak_regions_are_four_connected() -> None:
    displacement = torch.full((2, 4, 4), 9.0)
    displacement[:, 0, 0] = displacement[:, 1, 1] = 0
    centroids = torch.stack(grid(4, 4)).long()
    clusters = cluster_cells(displacement, centroids)
    assert len({int(clusters[0, 0]), int(clusters[1, 1]), int(clusters[3, 3])}) == 3


def test_seeds_are_cam_inside_clusters_without_empty_ones() -> None:
    cam = torch.zeros(2, 3, 4)
    cam[0, 0, :] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    cam[1, 2, 3] = 0.9
    clusters = torch.tensor([[0, 0, 1, 1]] * 3)
    seeds, owners = instance_seeds(cam, clusters)
    assert owners.tolist() == [0, 0, 1]
    assert torch.equal(seeds.sum(0), cam.sum(0))
    assert seeds[0].nonzero().tolist() == [[0, 0], [0, 1]] and seeds[2].nonzero().tolist() == [[2, 3]]
    empty, nobody = instance_seeds(torch.zeros(2, 3, 4), clusters)
    assert empty.shape == (0, 3, 4) and nobody.tolist() == []


def test_boundary_logits_are_averaged_with_the_mirror() -> None:
    logits = torch.tensor([[[0.0, 2.0, 4.0]], [[0.0, 2.0, 8.0]]])
    expected = torch.tensor([[4.0, 2.0, 2.0]]).sigmoid()
    torch.testing.assert_close(average_boundary(logits), expected)


def test_decode_takes_the_strongest_channel_above_background() -> None:
    scores = torch.zeros(2, 3, 4)
    scores[0, :, :2], scores[1, :, 2:] = 4.0, 2.0
    channels, strengths = decode(scores, (12, 16))
    assert channels[:, 0].eq(0).all() and channels[:, 15].eq(1).all()
    assert strengths[5, 0] == 1.0 and strengths[5, 15] == 0.5
    assert decode(scores, (12, 16), background_threshold=0.5)[0][:, 15].eq(-1).all()
    slow = torch.nn.functional.interpolate(scores[None], scale_factor=4, mode="bilinear")[0] / 4
    with_background = torch.cat([torch.full((1, 12, 16), 0.25), slow])
    assert torch.equal(channels, with_background.argmax(0) - 1)


def test_decode_without_any_score_is_background() -> None:
    for scores in (torch.zeros(0, 3, 4), torch.zeros(2, 3, 4)):
        channels, strengths = decode(scores, (10, 15))
        assert channels.shape == (10, 15) and channels.eq(-1).all() and strengths.eq(0).all()


@pytest.mark.parametrize("resize", ["bilinear", "nearest"])
def test_decode_at_another_size(resize: Any) -> None:
    scores = torch.zeros(1, 6, 8)
    scores[0, :, :4] = 1
    channels, strengths = decode(scores, (24, 32), (36, 64), resize=resize)
    assert channels.shape == strengths.shape == (36, 64)
    assert channels[:, :32].eq(0).all() and channels[:, 40:].eq(-1).all()
    with pytest.raises(WsvisError, match=r"^resize 'cubic' is not one of bilinear, nearest$"):
        decode(scores, (24, 32), resize="cubic")


def test_detections_are_connected_pieces_and_small_ones_are_dropped() -> None:
    channels = torch.full((20, 20), -1)
    channels[0:5, 0:5] = 1
    channels[10:15, 10:16] = 1
    channels[5, 5] = 1  # touches the first piece by a corner only
    channels[0:4, 10:14] = 0
    strengths = torch.rand(20, 20, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.3
    found = detections(channels, strengths, torch.tensor([7, 3]))
    assert found.classes.tolist() == [7, 3, 3]
    assert found.masks.flatten(1).sum(1).tolist() == [16, 25, 30]
    assert found.boxes_xyxy.tolist() == [[10, 0, 14, 4], [0, 0, 5, 5], [10, 10, 16, 15]]
    assert found.scores[1] == strengths[0:5, 0:5].max()
    assert len(detections(channels, strengths, torch.tensor([7, 3]), min_area_fraction=0)) == 4
    assert len(detections(torch.full((6, 7), -1), torch.zeros(6, 7), torch.tensor([], dtype=torch.long))) == 0


def scene() -> tuple[Tensor, Tensor, Tensor]:
    """Two discs of one class on a plain background, with a boundary ring round each and CAM on a small part."""
    rows, columns = grid(20, 40)
    distance = torch.stack([((rows - y) ** 2 + (columns - x) ** 2).sqrt() for y, x in CENTRES])
    boundary = ((distance - 6.5).abs() < 1.0).any(0).float() * 0.98 + 0.01
    cam = (distance < 3).any(0).float().unsqueeze(0)
    return boundary, two_blobs(), cam


def test_two_objects_of_one_class_are_told_apart_and_completed() -> None:
    boundary, displacement, cam = scene()
    found = group_instances(boundary, displacement, cam, torch.tensor([5]), (80, 160))
    assert len(found) == 2 and found.classes.tolist() == [5, 5] and found.size == (80, 160)
    rows, columns = grid(80, 160)
    for mask, (y, x) in zip(found.masks, CENTRES, strict=True):
        disc = (rows - 4 * y - 1.5) ** 2 + (columns - 4 * x - 1.5) ** 2 < (4 * 6.0) ** 2
        assert float((mask & disc).sum() / (mask | disc).sum()) > 0.8
    assert found.scores.max() == 1.0


def test_masks_can_be_made_at_the_original_size() -> None:
    boundary, displacement, cam = scene()
    small = group_instances(boundary, displacement, cam, torch.tensor([5]), (80, 160))
    large = group_instances(boundary, displacement, cam, torch.tensor([5]), (80, 160), (200, 400))
    assert large.size == (200, 400) and len(large) == 2
    ratio = large.masks.flatten(1).sum(1) / small.masks.flatten(1).sum(1)
    assert ratio.tolist() == pytest.approx([6.25, 6.25], rel=0.03)


def test_nothing_to_group_is_an_empty_set() -> None:
    boundary, displacement, cam = scene()
    no_class = torch.zeros(0, dtype=torch.long)
    for arguments in (
        (boundary, displacement, cam[:0], no_class),
        (boundary, displacement, cam * 0, torch.tensor([5])),
        (boundary * 0 + 1, displacement, cam, torch.tensor([5])),
    ):
        found = group_instances(*arguments, (80, 160), (40, 80))
        assert len(found) == 0 and found.size == (40, 80)


def tiny_network() -> IRNet:
    torch.manual_seed(0)
    return IRNet(build_backbone("resnet_tiny", output_stride=16), width=0.25)


@pytest.mark.parametrize("size", [(33, 50), (32, 48)])
def test_prediction_pads_and_crops(size: tuple[int, int]) -> None:
    network = tiny_network().eval()
    image = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    boundary, displacement = predict_boundary_and_displacement(network, image)
    cells = ((size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1)
    assert boundary.shape == cells and displacement.shape == (2, *cells)
    assert 0 <= float(boundary.min()) and float(boundary.max()) <= 1
    if size[1] % 16 == 0:
        mirrored = predict_boundary_and_displacement(network, image.flip(-1))[0]
        torch.testing.assert_close(mirrored.flip(-1), boundary, rtol=1e-4, atol=1e-5)


def test_a_network_in_training_mode_is_refused() -> None:
    message = "the network is in training mode; call eval\\(\\) first, or the mean shift is missing"
    with pytest.raises(WsvisError, match=f"^{message}$"):
        predict_boundary_and_displacement(tiny_network(), torch.zeros(3, 32, 32))
