from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from wsvis_core.backbones import build_backbone
from wsvis_core.cam.infer import CamReader, extract_cam, load_cam_net, multi_scale_cams
from wsvis_core.cam.network import CamNet
from wsvis_core.cam.train import _augment, train_cam
from wsvis_core.errors import WsvisError
from wsvis_core.images import to_tensor
from wsvis_core.storage.files import load_tensors
from wsvis_core.storage.shards import ShardReader

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def net() -> CamNet:
    torch.manual_seed(0)
    net = CamNet(build_backbone("resnet_tiny", output_stride=8), 4).eval()
    # Maps as large as a trained network's, beside which the 1e-5 in the normaliser is nothing.
    net.classifier.weight.data.mul_(1000)
    return net


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (46, 80, 3), dtype=np.uint8)


def cams(net, image, keys=(1, 3), scales=(1.0, 0.5, 1.5)):
    return multi_scale_cams(net, image, np.array(keys, np.int64), scales=scales, device=CPU)


def test_sizes_and_range(net, image):
    found = cams(net, image)
    assert found.keys.tolist() == [1, 3]
    assert found.strided.shape == (2, 12, 20) and found.high_res.shape == (2, 46, 80)
    for maps in (found.strided, found.high_res):
        assert maps.dtype == np.float32 and maps.min() >= 0 and maps.max() <= 1
    peaks = found.strided.max(axis=(1, 2))
    assert np.allclose(peaks, 1, atol=1e-3)


def test_a_mirrored_frame_gives_mirrored_cams(net, image):
    """Width 80 is a multiple of 16, so that no padding on the right breaks the symmetry."""
    found, mirrored = cams(net, image), cams(net, np.ascontiguousarray(image[:, ::-1]))
    assert np.allclose(mirrored.strided[..., ::-1], found.strided, atol=1e-3)
    assert np.allclose(mirrored.high_res[..., ::-1], found.high_res, atol=1e-3)


def test_classes_do_not_influence_each_other(net, image):
    both, one = cams(net, image), cams(net, image, keys=(3,))
    assert np.array_equal(one.strided[0], both.strided[1]) and np.array_equal(one.high_res[0], both.high_res[1])


def test_a_frame_without_a_class(net, image):
    found = cams(net, image, keys=())
    assert found.strided.shape == (0, 12, 20) and found.high_res.shape == (0, 46, 80) and len(found.keys) == 0


def test_one_scale_is_the_mirrored_sum_resized_and_normalised(net, image):
    """§1.3 step by step, for the scale that needs no resizing of the frame."""
    x = to_tensor(image)[None]
    with torch.no_grad():
        maps = net.activation_maps(x) + net.activation_maps(x.flip(-1)).flip(-1)
    strided = torch.nn.functional.interpolate(maps, size=(12, 20), mode="bilinear")[0, [1, 3]]
    padded = torch.nn.functional.interpolate(maps, size=(48, 80), mode="bilinear")[0, [1, 3], :46]
    found = cams(net, image, scales=(1.0,))
    for mine, theirs in ((found.strided, strided), (found.high_res, padded)):
        assert np.allclose(mine, theirs / (theirs.amax(dim=(1, 2), keepdim=True) + 1e-5), atol=1e-4)


def test_scales_add_up(net, image):
    """Two equal scales are as one."""
    once, twice = cams(net, image, scales=(1.0,)), cams(net, image, scales=(1.0, 1.0))
    assert np.allclose(once.high_res, twice.high_res, atol=1e-4)
    other = cams(net, image, scales=(1.0, 0.5))
    assert not np.allclose(once.high_res, other.high_res, atol=1e-2)


# ---- on the tiny set ------------------------------------------------------------------------------------------------


def test_training_learns_something(stage1):
    records = [json.loads(line) for line in stage1.cam_records.read_text().splitlines()]
    losses = [record["loss"] for record in records]
    assert len(losses) == 4 * (21 // 4) and np.mean(losses[-5:]) < 0.8 * losses[0]
    assert set(records[0]) == {"iteration", "lr", "loss", "loss_class", "accuracy"}
    assert all(0 <= record["accuracy"] <= 1 for record in records)


def test_weights_hold_the_model_and_its_backbone(stage1):
    saved = load_tensors(stage1.cam_weights)
    assert set(saved) == {"model", "backbone"}
    backbone = build_backbone("resnet_tiny", output_stride=8, weights=str(stage1.cam_weights))
    assert torch.equal(backbone.conv1.weight, saved["model"]["backbone.conv1.weight"])
    net = load_cam_net(stage1.cam_weights, stage1.settings.cam, stage1.dataset.num_classes, CPU)
    assert not net.training and net.classifier.weight.shape[0] == stage1.dataset.num_classes


def test_examples_are_scaled_mirrored_and_cropped(image, tiny_settings):
    settings = tiny_settings.cam.model_copy(update={"resize_long": (80, 80), "crop": 80})
    plain, seen = to_tensor(image), []
    for seed in range(20):
        example = _augment(image, settings, np.random.default_rng(seed))
        assert example.shape == (3, 80, 80)
        top = next(y for y in range(35) if any(torch.equal(example[:, y : y + 46], v) for v in (plain, plain.flip(-1))))
        seen.append((top, torch.equal(example[:, top : top + 46], plain)))
    assert {mirrored for _, mirrored in seen} == {True, False} and len({top for top, _ in seen}) > 5
    sizes = {
        tuple(
            (
                _augment(
                    image, settings.model_copy(update={"resize_long": (40, 80)}), np.random.default_rng(seed)
                ).abs()
                > 0.05
            )
            .any(0)
            .any(0)
            .nonzero()
            .flatten()[[0, -1]]
            .tolist()
        )
        for seed in range(10)
    }
    assert len({right - left for left, right in sizes}) > 3


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(dataset, tiny_settings, make_run, tmp_path):
    settings = tiny_settings.cam.model_copy(update={"epochs": 0.6})

    def weights(name: str, **options) -> bytes:
        run = dataclasses.replace(make_run(tmp_path / name, "train_cam"), **options)
        train_cam(dataset, settings, run, tmp_path / name / "w.pt", tmp_path / name / "r.jsonl")
        return (tmp_path / name / "w.pt").read_bytes() + (tmp_path / name / "r.jsonl").read_bytes()

    first = weights("a")
    assert weights("b") == first and weights("workers", workers=1) == first and weights("c", seed=1) != first


def test_less_than_an_epoch_is_at_least_one_step(dataset, tiny_settings, make_run, tmp_path):
    settings = tiny_settings.cam.model_copy(update={"epochs": 0.01})
    train_cam(dataset, settings, make_run(tmp_path, "train_cam"), tmp_path / "w.pt", tmp_path / "r.jsonl")
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 1


def test_a_set_without_labels_is_refused(dataset, tiny_settings, make_run, tmp_path):
    bare = dataclasses.replace(dataset, labels={number: rows & False for number, rows in dataset.labels.items()})
    with pytest.raises(WsvisError) as caught:
        train_cam(bare, tiny_settings.cam, make_run(tmp_path, "x"), tmp_path / "w.pt", tmp_path / "r.jsonl")
    expected = "no training frame has a class label; check the annotations of the training split"
    assert str(caught.value) == expected and not (tmp_path / "w.pt").exists()


def test_extracted_cams_are_those_of_the_frame_s_classes(stage1):
    reader, dataset = CamReader([stage1.cams]), stage1.dataset
    net = load_cam_net(stage1.cam_weights, stage1.settings.cam, dataset.num_classes, CPU)
    without = 0
    for video in dataset.videos:
        assert reader.size(video.id) == (48, 80)
        for t in range(len(video)):
            keys = np.flatnonzero(dataset.class_labels(video)[t])
            found = reader.frame(video.id, t)
            assert found.keys.tolist() == keys.tolist()
            assert found.strided.shape == (len(keys), 12, 20) and found.high_res.shape == (len(keys), 48, 80)
            without += len(keys) == 0
    assert without == 2
    video = dataset.videos[-1]
    keys = np.flatnonzero(dataset.class_labels(video)[1])
    direct = multi_scale_cams(net, dataset.read_frame(video, 1), keys, scales=stage1.settings.cam.scales, device=CPU)
    assert np.allclose(reader.frame(video.id, 1).high_res, direct.high_res, atol=2e-3)


def test_the_working_size_is_the_long_side_asked_for(stage1, tmp_path):
    videos = stage1.dataset.videos[:1]
    extract_cam(
        stage1.dataset,
        videos,
        stage1.cam_weights,
        tmp_path / "c.h5",
        stage1.settings.cam,
        long_side=100,
        device=CPU,
        digest_of={},
    )
    assert CamReader([tmp_path / "c.h5"]).size(videos[0].id) == (60, 100)


def test_extraction_twice_gives_equal_columns(stage1, tmp_path):
    extract_cam(
        stage1.dataset,
        stage1.dataset.videos,
        stage1.cam_weights,
        tmp_path / "again.h5",
        stage1.settings.cam,
        long_side=80,
        device=CPU,
        digest_of={},
    )
    readers = [ShardReader([path], kind="cam") for path in (stage1.cams, tmp_path / "again.h5")]
    for video in stage1.dataset.videos:
        assert len({reader.columns(video.id).attrs["content_digest"] for reader in readers}) == 1
