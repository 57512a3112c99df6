from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wsvis_core.backbones import build_backbone
from wsvis_core.cam.network import CamNet, build_cam_net
from wsvis_core.config import CamSettings
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
