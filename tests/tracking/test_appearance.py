"""Appearance from an ImageNet network: which pixels it sees, and how it reaches the tracker."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from wsvis_core.backbones import build_backbone
from wsvis_core.config import TrackingSettings
from wsvis_core.errors import WsvisError
from wsvis_core.storage.instance_shards import open_instances
from wsvis_core.storage.rle import encode_mask
from wsvis_core.tracking.appearance import BackboneAppearance, tight_crop
from wsvis_core.tracking.infer import track_instances
from wsvis_core.tracking.proposals import clean_proposals

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A ResNet-18 with random weights, as a state dict on disk."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pt"
    torch.save(build_backbone("resnet18", output_stride=32, norm="batch").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def network(weights):
    return BackboneAppearance("resnet18", str(weights), CPU)


def test_the_crop_is_the_box_of_the_mask_and_nothing_else():
    """A box far from the origin: taking [x, y, w, h] for corners would show other pixels."""
    image = np.zeros((60, 90, 3), np.uint8)
    image[40:50, 70:75] = (10, 20, 30)
    mask = np.zeros((60, 90), bool)
    mask[40, 70:75] = mask[40:50, 70] = True
    crop = tight_crop(image, encode_mask(mask))
    assert crop.shape == (224, 224, 3) and (crop == (10, 20, 30)).all()


def test_vectors_have_length_one_and_tell_only_of_the_crop(network):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    masks = np.zeros((2, 60, 90), bool)
    masks[0, 5:25, 5:35], masks[1, 30:60, 50:90] = True, True
    rles = [encode_mask(mask) for mask in masks]
    both = network.vectors(image, rles)
    assert both.shape == (2, 512) and np.linalg.norm(both, axis=1) == pytest.approx([1, 1])
    other = image.copy()
    other[30:60, 50:90] = 0
    changed = network.vectors(other, rles)
    np.testing.assert_allclose(changed[0], both[0], atol=1e-5)
    assert both[1] @ changed[1] < 0.999
    moved = np.zeros_like(image)
    moved[35:55, 40:70] = image[5:25, 5:35]
    there = np.zeros((60, 90), bool)
    there[35:55, 40:70] = True
    np.testing.assert_allclose(network.vectors(moved, [encode_mask(there)])[0], both[0], atol=1e-5)


def test_frames_without_proposals_have_no_appearance(dataset, perfect, network):
    instances = open_instances([perfect])
    video = next(v for v in dataset.videos if any(len(f) == 0 for f in instances.video(v.id)))
    frames = [clean_proposals(frame, TrackingSettings()) for frame in instances.video(video.id)]
    described = network.describe(dataset, video, frames)
    assert all((frame.appearance is None) == (len(frame) == 0) for frame in described)


def test_the_setting_reaches_the_tracks_and_the_stored_vectors_do_not_matter(
    dataset, perfect, flow_shard, weights, tmp_path
):
    options = {"appearance": "backbone", "backbone": "resnet18", "backbone_weights": str(weights)}
    for kind in ("unovost", "masktrack"):
        settings = TrackingSettings(kind=kind, **options)
        for name in ("a", "b"):
            track_instances(dataset, [perfect], [flow_shard], settings, tmp_path / f"{kind}{name}.json")
        assert (tmp_path / f"{kind}a.json").read_bytes() == (tmp_path / f"{kind}b.json").read_bytes()
    # Stored vectors of an object are all the same, those of crops never quite: one of them links, the others do not.
    sharp = {"similarity_scale": 1e6, "new_similarity": 0.9999, "iou_weight": 0}
    lengths = []
    for choice in ({}, options):
        settings = TrackingSettings(kind="masktrack", masktrack=sharp, max_tracks=100, **choice)
        track_instances(dataset, [perfect], [flow_shard], settings, tmp_path / "sharp.json")
        tracks = json.loads((tmp_path / "sharp.json").read_text())
        lengths.append(max(sum(mask is not None for mask in track["segmentations"]) for track in tracks))
    assert lengths[0] > lengths[1] == 1


def test_missing_weights_are_named_before_anything_is_tracked(dataset, perfect, flow_shard, tmp_path):
    settings = TrackingSettings(appearance="backbone", backbone_weights=str(tmp_path / "none.pt"))
    with pytest.raises(WsvisError, match=r"weights file .*none\.pt does not exist; check the path in your config"):
        track_instances(dataset, [perfect], [flow_shard], settings, tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()
