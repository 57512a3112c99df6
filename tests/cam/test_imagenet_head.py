"""A classifier mixed from ImageNet's: its rows against a slow loop, degenerate cases, and training with it."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.backbones import build_backbone, trunk_classifier
from wsvis_core.cam import imagenet_head
from wsvis_core.cam.imagenet_head import LOGIT_SPREAD, PLACES, begin_with_imagenet, mixed_rows, things
from wsvis_core.cam.network import CamNet, build_cam_net
from wsvis_core.cam.train import train_cam
from wsvis_core.config import CamSettings
from wsvis_core.errors import WsvisError
from wsvis_core.images import resize_image, scaled_size, to_tensor
from wsvis_core.storage.files import load_tensors, save_tensors

CPU = torch.device("cpu")


def slow_rows(pooled, present, weight, bias) -> np.ndarray:
    """The docstring, number by number."""
    answers = []
    for features in pooled.tolist():
        exact = [sum(f * w for f, w in zip(features, row, strict=True)) for row in weight.tolist()]
        powers = [math.exp(value + b) for value, b in zip(exact, bias.tolist(), strict=True)]
        answers.append([power / sum(powers) for power in powers])
    things, channels = weight.shape
    mean_row = [sum(row[d] for row in weight.tolist()) / things for d in range(channels)]
    rows = []
    for c in range(present.shape[1]):
        with_class = [answer for answer, row in zip(answers, present.tolist(), strict=True) if row[c]]
        without = [answer for answer, row in zip(answers, present.tolist(), strict=True) if not row[c]]

        def mean(some: list, k: int) -> float:
            return sum(answer[k] for answer in some) / len(some) if some else 0.0

        shares = [max(0.0, mean(with_class, k) - mean(without, k)) for k in range(things)]
        if sum(shares) < 1e-5:
            shares = [mean(with_class, k) for k in range(things)]
        total = sum(shares) or 1.0
        mixed = [sum(share / total * weight.tolist()[k][d] for k, share in enumerate(shares)) for d in range(channels)]
        rows.append([value - m if with_class else 0.0 for value, m in zip(mixed, mean_row, strict=True)])
    logits = np.array(pooled.tolist()) @ np.array(rows).T
    return np.array(rows) * (LOGIT_SPREAD / logits.std() if logits.std() > 1e-9 else 1.0)


def drawn(seed: int, frames: int, classes: int, things: int = 5, channels: int = 3):
    rng = torch.Generator().manual_seed(seed)
    present = torch.rand((frames, classes), generator=rng) < 0.5
    shapes = ((frames, channels), (things, channels), (things,))
    pooled, weight, bias = (torch.randn(shape, generator=rng) for shape in shapes)
    return pooled, present, weight, bias


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 4))
def test_rows_are_those_of_a_slow_loop(seed, frames, classes):
    given_ = drawn(seed, frames, classes)
    found = mixed_rows(*given_)
    assert found.shape == (classes, 3) and found.dtype == torch.float32
    np.testing.assert_allclose(found, slow_rows(*given_), rtol=1e-3, atol=1e-3)


def test_logits_spread_over_frames_and_classes_as_far_as_they_are_told_to():
    pooled, present, weight, bias = drawn(1, 6, 3)
    for scale in (1.0, 0.01, 100.0):
        logits = pooled @ mixed_rows(pooled, present, weight * scale, bias).T
        assert float(logits.std(correction=0)) == pytest.approx(LOGIT_SPREAD, rel=1e-4)


def test_a_class_gets_the_row_of_what_its_frames_answer():
    """Three frames per class, in each of which ImageNet sees one thing: the row tells that thing from the others."""
    seen, things = [2, 0, 3], 5
    pooled = torch.cat([torch.eye(things)[k].repeat(3, 1) for k in seen])
    present = torch.eye(3, dtype=torch.bool).repeat_interleave(3, dim=0)
    rows = mixed_rows(pooled, present, 10 * torch.eye(things), torch.zeros(things))
    assert rows.argmax(dim=1).tolist() == seen
    logits = pooled @ rows.T
    assert bool((logits[present] > 0).all()) and bool((logits[~present] < 0).all())


def test_what_every_frame_shows_tells_nothing():
    """A meadow (thing 0) in all frames and a cow (thing 1) in those of the class: the cow is the class."""
    meadow, cow = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    pooled = torch.stack([meadow, meadow + cow, meadow, meadow + cow])
    present = torch.tensor([[False], [True], [False], [True]])
    [row] = mixed_rows(pooled, present, 5 * torch.eye(3), torch.zeros(3))
    assert row[1] > 0 > row[0] and row[0] == pytest.approx(float(row[2]))


def test_places_are_no_things():
    weight, bias = torch.arange(1000.0)[:, None], torch.arange(1000.0)
    kept, kept_bias = things(weight, bias)
    assert torch.equal(kept[:, 0], kept_bias)
    assert set(range(1000)) - set(kept_bias.int().tolist()) == set(PLACES)
    assert 971 in kept_bias  # a bubble is a thing among the places


def test_a_classifier_of_other_classes_keeps_them_all():
    weight, bias = torch.ones(20, 3), torch.ones(20)
    assert [len(item) for item in things(weight, bias)] == [20, 20]


def test_a_class_without_a_frame_has_a_row_of_zeros():
    pooled, present, weight, bias = drawn(2, 6, 3)
    present[:, 1] = False
    rows = mixed_rows(pooled, present, weight, bias)
    assert rows[1].tolist() == [0, 0, 0] and bool(rows[[0, 2]].any(dim=1).all())
    assert mixed_rows(pooled, present & False, weight, bias).tolist() == [[0, 0, 0]] * 3


def test_a_class_in_every_frame_is_what_its_frames_show_on_average():
    pooled, _, weight, bias = drawn(3, 5, 1)
    answers = torch.softmax(pooled @ weight.T + bias, dim=1).mean(dim=0)
    row = answers @ weight - weight.mean(dim=0)
    expected = row * LOGIT_SPREAD / (pooled @ row).std(correction=0)
    assert torch.allclose(mixed_rows(pooled, torch.ones(5, 1, dtype=torch.bool), weight, bias)[0], expected, atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_a_class_whose_frames_show_nothing_of_their_own_gets_their_mean(seed):
    """Frames of a still video, some labelled: rounding must not be taken for what tells the class, nor be scaled."""
    one, _, weight, bias = drawn(seed, 1, 1, things=200, channels=16)
    pooled = one.repeat(7, 1)
    present = torch.tensor([[1, 1, 0], [1, 0, 1], [1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]).bool()
    rows = mixed_rows(pooled, present, weight, bias)
    row = torch.softmax(one @ weight.T + bias, dim=1)[0] @ weight - weight.mean(dim=0)
    for found in rows:
        assert torch.allclose(found, row, rtol=1e-3, atol=1e-4)


# ---- ImageNet's classifier in a file of weights ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("imagenet") / "resnet18.pth"
    save_tensors(path, torchvision.models.resnet18(weights=None).state_dict())
    return path


def no_classifier(name: object) -> str:
    return (
        f"backbone weights '{name}' have no classifier (fc.weight, fc.bias), which cam.initial_head: imagenet needs; "
        "give ImageNet weights as torchvision has them, or set cam.initial_head to 'random'"
    )


def test_the_classifier_of_a_file_is_float32(tmp_path):
    state = {"fc.weight": torch.ones(4, 3, dtype=torch.float16), "fc.bias": torch.arange(4, dtype=torch.float64)}
    save_tensors(tmp_path / "w.pth", state)
    weight, bias = trunk_classifier("resnet18", str(tmp_path / "w.pth"))
    assert weight.dtype == bias.dtype == torch.float32
    assert torch.equal(weight, torch.ones(4, 3)) and bias.tolist() == [0, 1, 2, 3]


def test_weights_without_a_classifier_are_refused(tmp_path):
    for missing in ("fc.weight", "fc.bias"):
        state = {"fc.weight": torch.ones(4, 3), "fc.bias": torch.ones(4)}
        del state[missing]
        save_tensors(tmp_path / "w.pth", state)
        with pytest.raises(WsvisError) as caught:
            trunk_classifier("resnet18", str(tmp_path / "w.pth"))
        assert str(caught.value) == no_classifier(tmp_path / "w.pth")
    with pytest.raises(WsvisError) as caught:
        trunk_classifier("resnet18", "none")
    assert str(caught.value) == no_classifier("none")


# ---- a network that begins with it ----------------------------------------------------------------------------------


def settings_with(weights: Path, **changes) -> CamSettings:
    values = {"backbone": "resnet18", "backbone_weights": str(weights), "output_stride": 32, "resize_long": (32, 48)}
    return CamSettings(**values, crop=32, batch_size=2, epochs=0.01, initial_head="imagenet", **changes)


class Frames:
    """Frames of noise, and which of them were read."""

    def __init__(self) -> None:
        self.read: list[tuple[int, int]] = []

    def read_frame(self, video, index: int) -> np.ndarray:
        self.read.append((video.id, index))
        return np.random.default_rng([video.id, index]).integers(0, 255, (24, 40, 3), dtype=np.uint8)


CLIPS = (SimpleNamespace(id=1), SimpleNamespace(id=2))
FRAMES = [(CLIPS[0], 0), (CLIPS[0], 1), (CLIPS[1], 0), (CLIPS[1], 3)]
LABELS = {1: np.array([[1, 0], [1, 1]], bool), 2: np.array([[0, 1], [0, 0], [0, 0], [1, 0]], bool)}


def test_a_network_gets_the_rows_of_its_frames(weights):
    chosen, frames = settings_with(weights), Frames()
    net = build_cam_net(chosen, 2, pretrained=True).train()
    begin_with_imagenet(net, frames, FRAMES, LABELS, chosen, CPU)
    assert frames.read == [(1, 0), (1, 1), (2, 0), (2, 3)] and net.training and net.backbone.training
    whole = torchvision.models.resnet18(weights=None)
    whole.load_state_dict(load_tensors(weights))
    whole.fc = torch.nn.Identity()
    with torch.no_grad():
        pooled = []
        for frame in FRAMES:
            # The middle of 32 and 48 pixels.
            image = resize_image(frames.read_frame(*frame), scaled_size(24, 40, 40))
            pooled.append(whole.eval()(to_tensor(image)[None])[0])
    present = torch.tensor([[1, 0], [1, 1], [0, 1], [1, 0]]).bool()
    expected = mixed_rows(torch.stack(pooled), present, *things(*trunk_classifier("resnet18", str(weights))))
    assert torch.allclose(net.classifier.weight.data[:, :, 0, 0], expected, rtol=1e-3, atol=1e-4)
    assert net.classifier.weight.requires_grad


def test_of_many_frames_some_are_looked_at_spread_evenly(weights, monkeypatch):
    monkeypatch.setattr(imagenet_head, "MOST_FRAMES", 3)
    chosen, frames = settings_with(weights), Frames()
    net = build_cam_net(chosen, 2, pretrained=True).eval()
    many = [(CLIPS[0], t) for t in range(9)]
    begin_with_imagenet(net, frames, many, {1: np.ones((9, 2), bool)}, chosen, CPU)
    assert frames.read == [(1, 0), (1, 4), (1, 8)] and not net.training


def test_a_trunk_without_weights_cannot_begin_so():
    chosen = CamSettings(backbone="resnet_tiny", backbone_weights="none", output_stride=8, initial_head="imagenet")
    net = CamNet(build_backbone("resnet_tiny", output_stride=8), 2)
    before = net.classifier.weight.clone()
    with pytest.raises(WsvisError) as caught:
        begin_with_imagenet(net, Frames(), FRAMES, LABELS, chosen, CPU)
    assert str(caught.value) == no_classifier("none") and torch.equal(net.classifier.weight, before)


def test_training_begins_there_and_by_default_does_not(dataset, weights, make_run, tmp_path):
    """With a rate of almost nothing the weights at the end are those at the beginning."""
    ends = {}
    for name in ("imagenet", "random"):
        chosen = settings_with(weights, lr=1e-12).model_copy(update={"initial_head": name})
        train_cam(dataset, chosen, make_run(tmp_path, name), tmp_path / f"{name}.pt", tmp_path / f"{name}.jsonl")
        ends[name] = load_tensors(tmp_path / f"{name}.pt")["model"]["classifier.weight"]
        if name == "imagenet":
            torch.manual_seed(0)
            net = build_cam_net(chosen, dataset.num_classes, pretrained=True)
            frames = [(video, t) for video in dataset.split("train") for t in range(len(video))]
            begin_with_imagenet(net, dataset, frames, dataset.labels, chosen, CPU)
            assert torch.allclose(ends[name], net.classifier.weight.data, atol=1e-5)
    assert not torch.allclose(ends["imagenet"], ends["random"], atol=1e-2)
