from __future__ import annotations

import re
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import nn

from wsvis_core.backbones import ARCHITECTURES, build_backbone, load_backbone_weights, norm_for
from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import save_tensors

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def restless(network: nn.Module) -> nn.Module:
    """Give batch norms statistics and affine parameters that cannot be mistaken for fresh ones."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, low in (("running_mean", -0.1), ("running_var", 0.8), ("weight", 0.5), ("bias", -0.1)):
                values = torch.rand(module.num_features, generator=generator) * 0.4 + low
                getattr(module, name).data.copy_(values)
    return network


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(2)
    return restless(torchvision.models.resnet18(weights=None)).eval()


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [("resnet50", 16), *((name, stride) for name in ("resnet18", "resnet_tiny") for stride in (8, 16, 32))],
)
def test_channels_and_strides_are_what_comes_out(name, output_stride):
    backbone = build_backbone(name, output_stride=output_stride)
    maps = backbone(IMAGES)
    assert len(maps) == len(backbone.channels) == len(backbone.strides) == 5
    for found, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert found.shape == (2, channels, 64 // stride, 96 // stride)
    assert backbone.strides == {8: (4, 4, 8, 8, 8), 16: (4, 4, 8, 16, 16), 32: (4, 4, 8, 16, 32)}[output_stride]


def test_resnet50_is_the_papers():
    backbone = build_backbone("resnet50", output_stride=16)
    assert backbone.channels == (64, 256, 512, 1024, 2048) and backbone.strides == (4, 4, 8, 16, 16)


def torchvision_features(network: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    found = [x]
    for i in range(1, 5):
        found.append(getattr(network, f"layer{i}")(found[-1]))
    return found


@pytest.mark.parametrize("norm", ["frozen_batch", "constant_batch", "batch"])
def test_a_torchvision_state_dict_gives_torchvisions_features(resnet18, tmp_path, norm):
    save_tensors(tmp_path / "resnet18.pth", resnet18.state_dict())
    backbone = build_backbone("resnet18", output_stride=32, weights=str(tmp_path / "resnet18.pth"), norm=norm).eval()
    with torch.no_grad():
        for found, expected in zip(backbone(IMAGES), torchvision_features(resnet18, IMAGES), strict=True):
            assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_every_torchvision_name_is_there(name):
    ours = set(build_backbone(name, output_stride=32).state_dict())
    theirs = torchvision.models.get_model(name, weights=None).state_dict()
    assert ours == {key for key in theirs if not key.startswith("fc.")}


def test_a_smaller_output_stride_keeps_the_features_before_it(resnet18):
    backbone = build_backbone("resnet18", output_stride=16).eval()
    load_backbone_weights(backbone, resnet18.state_dict(), source="here")
    with torch.no_grad():
        ours, theirs = backbone(IMAGES), torchvision_features(resnet18, IMAGES)
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours[:4], theirs[:4], strict=True))
        # The last stage sees its input without the stride: every second value of its shortcut is the strided one's.
        shortcut = backbone.layer4[0].downsample(ours[3])[:, :, ::2, ::2]
        assert torch.allclose(shortcut, resnet18.layer4[0].downsample(theirs[3]), atol=1e-4)


@pytest.mark.parametrize(("norm", "learns"), [("frozen_batch", True), ("constant_batch", False)])
def test_frozen_norms_use_running_statistics_in_training_too(resnet18, norm, learns):
    backbone = build_backbone("resnet18", output_stride=32, norm=norm)
    load_backbone_weights(backbone, resnet18.state_dict(), source="here")
    before = {key: value.clone() for key, value in backbone.state_dict().items() if "running" in key}
    with torch.no_grad():
        trained = backbone.train()(IMAGES)[-1]
        assert torch.equal(trained, backbone.eval()(IMAGES)[-1])
    after = backbone.state_dict()
    assert before and all(torch.equal(after[key], value) for key, value in before.items())
    assert ("layer1.0.bn1.weight" in dict(backbone.named_parameters())) == learns


def test_ordinary_norms_learn_their_statistics():
    backbone = build_backbone("resnet_tiny", output_stride=16, norm="batch").train()
    before = backbone.bn1.running_mean.clone()
    backbone(IMAGES)
    assert not torch.equal(backbone.bn1.running_mean, before)


@pytest.mark.parametrize(
    ("weights", "pretrained", "expected"),
    [
        ("none", "frozen_batch", "batch"),
        ("none", "constant_batch", "batch"),
        ("cam", "frozen_batch", "frozen_batch"),
        ("x.pth", "constant_batch", "constant_batch"),
    ],
)
def test_a_backbone_without_weights_gets_norms_that_learn(weights, pretrained, expected):
    assert norm_for(weights, pretrained) == expected


def test_half_precision_weights_and_our_own_files_load(resnet18, tmp_path):
    state = {key: value.half() if value.is_floating_point() else value for key, value in resnet18.state_dict().items()}
    save_tensors(tmp_path / "half.pth", state)
    half = build_backbone("resnet18", output_stride=32, weights=str(tmp_path / "half.pth"))
    assert half.conv1.weight.dtype == torch.float32
    assert torch.equal(half.conv1.weight, resnet18.conv1.weight.half().float())
    save_tensors(tmp_path / "cam.pt", {"model": {}, "backbone": half.state_dict()})
    again = build_backbone("resnet18", output_stride=8, weights=str(tmp_path / "cam.pt"))
    assert torch.equal(again.layer4[1].conv2.weight, half.layer4[1].conv2.weight)


def load_error(state) -> str:
    with pytest.raises(WsvisError) as caught:
        load_backbone_weights(build_backbone("resnet_tiny", output_stride=16), state, source="w.pth")
    return str(caught.value)


def test_weights_that_do_not_fit_say_what_is_wrong():
    state = build_backbone("resnet_tiny", output_stride=16).state_dict()
    count = len(state)
    missing = {key: value for key, value in state.items() if key not in ("conv1.weight", "layer2.0.bn1.bias")}
    assert load_error(missing) == (
        "backbone weights from w.pth do not fit: the file lacks 'conv1.weight' "
        f"(2 missing, 0 mis-shaped of {count} tensors)"
    )
    wrong = state | {"layer1.0.conv1.weight": torch.zeros(1, 2)}
    assert load_error(wrong) == (
        "backbone weights from w.pth do not fit: the file has another shape for 'layer1.0.conv1.weight' "
        f"(0 missing, 1 mis-shaped of {count} tensors)"
    )
    assert "lacks 'conv1.weight'" in load_error({})


@pytest.mark.parametrize("content", [[1, 2], {"model": {"conv1.weight": 3}}, {"conv1.weight": 3}])
def test_files_with_other_content_are_told_from_weights(tmp_path, content):
    save_tensors(tmp_path / "odd.pth", content)
    with pytest.raises(WsvisError, match=r"odd\.pth"):
        build_backbone("resnet_tiny", output_stride=16, weights=str(tmp_path / "odd.pth"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet19"}, "backbone 'resnet19' is not one of resnet18, resnet34, resnet50, resnet_tiny"),
        ({"output_stride": 4}, "output_stride 4 is not one of 8, 16, 32"),
        (
            {"weights": "torchvision"},
            "torchvision has no weights for resnet_tiny; set the backbone weights to 'none'",
        ),
        ({"weights": "no.pth"}, "weights file no.pth does not exist; check the path in your config"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(WsvisError) as caught:
        build_backbone(**{"name": "resnet_tiny", "output_stride": 16, **options})
    assert str(caught.value) == message


def test_torchvision_weights_are_asked_for_by_name(monkeypatch, resnet18):
    asked = []

    def get_model(name, weights):
        asked.append((name, weights))
        return resnet18

    monkeypatch.setattr(torchvision.models, "get_model", get_model)
    backbone = build_backbone("resnet18", output_stride=32, weights="torchvision")
    assert asked == [("resnet18", "IMAGENET1K_V1")]
    assert torch.equal(backbone.conv1.weight, resnet18.conv1.weight)


def test_weights_that_cannot_be_downloaded(monkeypatch):
    def get_model(name, weights):
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.models, "get_model", get_model)
    with pytest.raises(WsvisError, match="could not download its weights for resnet18 .*no route to host") as caught:
        build_backbone("resnet18", output_stride=32, weights="torchvision")
    assert re.search(r"download https://\S+/resnet18-\w+\.pth on another", str(caught.value))


def test_the_tiny_network_s_receptive_field_is_what_its_description_says():
    assert ARCHITECTURES["resnet_tiny"].stem_kernel == 3
    backbone = build_backbone("resnet_tiny", output_stride=8).eval()
    images = torch.randn(1, 3, 160, 160, requires_grad=True)
    backbone(images)[-1][0, :, 10, 10].sum().backward()
    touched = images.grad.abs().sum((0, 1)).nonzero()
    assert (touched.amax(0) - touched.amin(0) + 1).tolist() == [55, 55]
