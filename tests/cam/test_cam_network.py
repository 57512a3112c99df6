from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.backbones import build_backbone
from wsvis_core.cam.infer import multi_scale_cams
from wsvis_core.cam.network import CamNet, build_cam_net
from wsvis_core.config import CamSettings
from wsvis_core.images import resize_image, to_tensor
from wsvis_core.storage.files import save_tensors

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def cam_net(frozen_stages: int = 2, norm: str = "frozen_batch") -> CamNet:
    torch.manual_seed(0)
    return CamNet(build_backbone("resnet_tiny", output_stride=8, norm=norm), 5, frozen_stages=frozen_stages)


@pytest.mark.parametrize("frozen_stages", [0, 1, 2, 4])
def test_the_gradient_stops_after_the_frozen_stages(frozen_stages):
    net = cam_net(frozen_stages)
    net(IMAGES).square().sum().backward()
    stages = {name: getattr(net.backbone, name) for name in ("conv1", "bn1", *(f"layer{i}" for i in range(1, 5)))}
    for name, stage in stages.items():
        frozen = frozen_stages > 0 and (name in ("conv1", "bn1") or int(name[-1]) <= frozen_stages)
        grads = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in stage.parameters()]
        assert not any(grads) if frozen else all(grads), name
    assert net.classifier.weight.grad.abs().sum() > 0


def test_the_parameters_that_train_are_in_exactly_one_group():
    net = cam_net(2)
    groups = net.backbone_parameters() + net.head_parameters()
    assert len({id(p) for p in groups}) == len(groups)
    assert {id(p) for p in groups} == {id(p) for p in net.parameters() if p.requires_grad}
    assert [p.shape for p in net.head_parameters()] == [(5, 192, 1, 1)]


def test_logits_are_the_means_of_the_maps_before_their_rectification():
    net = cam_net().eval()
    with torch.no_grad():
        logits, maps = net(IMAGES), net.activation_maps(IMAGES)
        raw = F.conv2d(net.backbone(IMAGES)[-1], net.classifier.weight)
    assert logits.shape == (2, 5) and maps.shape == (2, 5, 8, 12)
    assert torch.allclose(logits, raw.mean(dim=(2, 3)), atol=1e-5)
    assert torch.equal(maps, raw.clamp(min=0)) and (maps > 0).any() and (raw < 0).any()


def test_build_follows_the_settings(tmp_path):
    save_tensors(tmp_path / "w.pth", build_backbone("resnet_tiny", output_stride=8).state_dict())
    options = {"backbone": "resnet_tiny", "output_stride": 16, "frozen_stages": 1}
    started = build_cam_net(CamSettings(**options, backbone_weights=str(tmp_path / "w.pth")), 3, pretrained=True)
    expected = build_backbone("resnet_tiny", output_stride=8, weights=str(tmp_path / "w.pth"))
    assert torch.equal(started.backbone.conv1.weight, expected.conv1.weight)
    assert started.backbone.strides[-1] == 16 and not started.backbone.layer1[0].conv1.weight.requires_grad
    # Without weights to start from, norms learn; with weights they keep their statistics, also for inference later.
    free = build_cam_net(CamSettings(**options, backbone_weights="none"), 3, pretrained=True)
    assert free.backbone.train().bn1.training and not started.backbone.train().bn1.training
    later = build_cam_net(CamSettings(**options, backbone_weights="gone.pth"), 3, pretrained=False)
    assert list(later.state_dict()) == list(started.state_dict()) and not later.backbone.train().bn1.training


def test_the_classifiers_loss_is_the_mean_of_the_cross_entropies():
    """§1.2: the mean over classes and frames of -(y log s(z) + (1 - y) log(1 - s(z)))."""
    logits, labels = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.eye(4)[:3]
    terms = [
        -math.log(s if y else 1 - s)
        for s, y in zip((1 / (1 + (-logits).exp())).flatten().tolist(), labels.flatten().tolist(), strict=True)
    ]
    assert F.multilabel_soft_margin_loss(logits, labels).item() == pytest.approx(sum(terms) / 12, rel=1e-5)


# ---- §1.3: the sum over scales --------------------------------------------------------------------------------------


class SomeMaps:
    """Stands for a classifier: some ReLU maps at stride 8 that differ from their mirror image's."""

    def __init__(self, strength: float = 1.0) -> None:
        self.weight = strength * torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(1))

    def activation_maps(self, images: torch.Tensor) -> torch.Tensor:
        return F.conv2d(images, self.weight, stride=8, padding=4).relu()


def slow_resize(values: list[list[float]], height: int, width: int) -> np.ndarray:
    """Bilinear, pixel centres at half: pixel i of `new` lies at (i + 0.5) * old / new - 0.5, clipped to the map."""

    def places(old: int, new: int) -> list[tuple[int, int, float]]:
        real = [min(max((i + 0.5) * old / new - 0.5, 0), old - 1) for i in range(new)]
        return [(int(r), min(int(r) + 1, old - 1), r - int(r)) for r in real]

    result = np.zeros((height, width))
    rows, columns = places(len(values), height), places(len(values[0]), width)
    for (y, (ya, yb, dy)), (x, (xa, xb, dx)) in itertools.product(enumerate(rows), enumerate(columns)):
        upper = values[ya][xa] * (1 - dx) + values[ya][xb] * dx
        lower = values[yb][xa] * (1 - dx) + values[yb][xb] * dx
        result[y, x] = upper * (1 - dy) + lower * dy
    return result


def slow_cams(
    net: SomeMaps, image: np.ndarray, keys: list[int], scales: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """(strided, high_res), §1.3 steps 1 to 5 one class at a time."""
    height, width = image.shape[:2]
    cells = ((height - 1) // 4 + 1, (width - 1) // 4 + 1)
    padded = (((height - 1) // 16 + 1) * 16, ((width - 1) // 16 + 1) * 16)
    results: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for key in keys:
        strided, high_res = np.zeros(cells), np.zeros(padded)
        for scale in scales:
            x = to_tensor(resize_image(image, (max(round(height * scale), 1), max(round(width * scale), 1))))
            plain, mirrored = (net.activation_maps(v[None])[0, key].tolist() for v in (x, x.flip(-1)))
            both = [[a + b for a, b in zip(r, m[::-1], strict=True)] for r, m in zip(plain, mirrored, strict=True)]
            strided += slow_resize(both, *cells)
            high_res += slow_resize(both, *padded)
        high_res = high_res[:height, :width]
        for result, sum_of_scales in zip(results, (strided, high_res), strict=True):
            result.append(sum_of_scales / (sum_of_scales.max() + 1e-5))
    return np.stack(results[0]), np.stack(results[1])


def check_cams(height: int, width: int, scales: tuple[float, ...], strength: float = 1.0) -> None:
    net = SomeMaps(strength)
    image = np.random.default_rng(height * width).integers(0, 255, (height, width, 3), dtype=np.uint8)
    found = multi_scale_cams(net, image, np.array([1, 3]), scales=scales, device=torch.device("cpu"))
    wanted = slow_cams(net, image, [1, 3], scales)
    for mine, theirs in zip((found.strided, found.high_res), wanted, strict=True):
        assert mine.shape == theirs.shape and np.allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("strength", [1.0, 1e-6])
def test_cams_of_the_papers_scales_equal_a_slow_loop(strength):
    """Also maps so weak that the 1e-5 in the normaliser counts."""
    check_cams(37, 50, (1.0, 0.5, 1.5, 2.0), strength)


@given(st.integers(1, 34), st.integers(1, 34))
@settings(max_examples=15, deadline=None)
def test_cams_of_any_size_equal_a_slow_loop(height, width):
    check_cams(height, width, (1.0, 0.5))
