"""IRNet: shapes, channels, strides, what gets a gradient, the mean shift."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wsvis_core.backbones import build_backbone
from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.network import DisplacementBranch, IRNet, scaled_channels


def tiny(output_stride: int = 16, **options: bool | float) -> IRNet:
    torch.manual_seed(0)
    return IRNet(build_backbone("resnet_tiny", output_stride=output_stride), **options)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("size", [(64, 96), (61, 50)])
def test_both_outputs_have_stride_four(output_stride: int, size: tuple[int, int]) -> None:
    logits, displacement = tiny(output_stride, width=0.25)(torch.rand(2, 3, *size))
    cells = ((size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1)
    assert logits.shape == (2, 1, *cells) and displacement.shape == (2, 2, *cells)


def test_channels_of_the_paper_on_resnet50() -> None:
    net = IRNet(build_backbone("resnet50", output_stride=16))
    assert [u.convolution.weight.shape[:2] for u in net.boundary_branch.units] == [
        (32, 64), (32, 256), (32, 512), (32, 1024), (32, 2048)
    ]  # fmt: skip
    assert [u.factor for u in net.boundary_branch.units] == [1, 1, 2, 4, 4]
    assert net.boundary_branch.logit.weight.shape[:2] == (1, 160)
    branch = net.displacement_branch
    assert [u.convolution.weight.shape[:2] for u in branch.units] == [
        (64, 64), (128, 256), (256, 512), (256, 1024), (256, 2048)
    ]  # fmt: skip
    assert [u.factor for u in branch.units] == [1, 1, 1, 2, 2]
    assert [u.norm.num_groups for u in branch.units] == [8, 16, 16, 16, 16]
    assert branch.deep.convolution.weight.shape[:2] == (256, 768) and branch.deep.factor == 2
    assert branch.joint.convolution.weight.shape[:2] == (256, 448)
    assert branch.vector.weight.shape[:2] == (2, 256) and branch.vector.bias is None


def unit(state: dict[str, Tensor], name: str, groups: int, values: Tensor, up: int = 1) -> Tensor:
    """One row of §1.6's table: 1x1 convolution, group norm, upsampling, ReLU."""
    values = torch.einsum("oi,bihw->bohw", state[f"{name}.convolution.weight"][:, :, 0, 0], values)
    split = values.unflatten(1, (groups, -1))
    centred = split - split.mean(dim=(2, 3, 4), keepdim=True)
    split = centred / (centred.square().mean(dim=(2, 3, 4), keepdim=True) + 1e-5).sqrt()
    weight, bias = (state[f"{name}.norm.{part}"].view(-1, 1, 1) for part in ("weight", "bias"))
    values = split.flatten(1, 2) * weight + bias
    if up > 1:
        size = (values.shape[-2] * up, values.shape[-1] * up)
        values = F.interpolate(values, size=size, mode="bilinear", align_corners=False)
    return values.clamp_min(0)


def test_both_branches_are_the_tables_of_the_paper() -> None:
    """§1.6 row by row, on a frame whose upsampled maps must be cropped."""
    net, images = tiny(width=0.25), torch.randn(1, 3, 52, 70, generator=torch.Generator().manual_seed(0))
    for branch in (net.boundary_branch, net.displacement_branch):
        for name, parameter in branch.named_parameters():
            if "norm" in name:
                torch.nn.init.normal_(parameter)
    state = net.state_dict()
    with torch.no_grad():
        x = net.backbone(images)
        logits, displacement = net.eval()(images)

    def crop(maps: list[Tensor], to: Tensor) -> Tensor:
        return torch.cat([values[..., : to.shape[-2], : to.shape[-1]] for values in maps], dim=1)

    e = [unit(state, f"boundary_branch.units.{i}", 4, x[i], up) for i, up in enumerate((1, 1, 2, 4, 4))]
    assert e[4].shape[-2:] != x[0].shape[-2:]
    torch.testing.assert_close(
        logits, F.conv2d(crop(e, x[0]), state["boundary_branch.logit.weight"], state["boundary_branch.logit.bias"])
    )
    d = [
        unit(state, f"displacement_branch.units.{i}", groups, x[i], up)
        for i, (groups, up) in enumerate(((8, 1), (16, 1), (16, 1), (16, 2), (16, 2)))
    ]
    d6 = unit(state, "displacement_branch.deep", 16, crop(d[2:], x[2]), 2)
    joint = unit(state, "displacement_branch.joint", 16, crop([d[0], d[1], d6], x[0]))
    torch.testing.assert_close(displacement, F.conv2d(joint, state["displacement_branch.vector.weight"]))


@pytest.mark.parametrize("train_backbone", [False, True])
def test_the_backbone_gets_a_gradient_only_on_request(train_backbone: bool) -> None:
    net = tiny(width=0.25, train_backbone=train_backbone)
    logits, displacement = net(torch.rand(2, 3, 64, 64))
    (logits.sum() + displacement.square().sum()).backward()
    assert all(p.grad is not None for p in net.boundary_branch.parameters())
    assert all(p.grad is not None for p in net.displacement_parameters())
    assert all((p.grad is not None) == train_backbone for p in net.backbone.parameters())
    assert net.training and net.backbone.training == train_backbone
    listed = {id(p) for p in [*net.boundary_parameters(), *net.displacement_parameters()]}
    wanted = {id(p) for n, p in net.named_parameters() if train_backbone or not n.startswith("backbone.")}
    assert listed == wanted


def test_mean_shift_acts_in_inference_mode_only() -> None:
    net, images = tiny(width=0.25), torch.rand(1, 3, 32, 32)
    before = net(images)[1]
    net.mean_displacement.copy_(torch.tensor([2.0, -3.0]))
    torch.testing.assert_close(net(images)[1], before)
    shifted = net.eval()(images)[1]
    torch.testing.assert_close(before - shifted, torch.tensor([2.0, -3.0]).view(1, 2, 1, 1).expand_as(before))
    assert "mean_displacement" in net.state_dict()


def test_width_keeps_whole_groups() -> None:
    assert scaled_channels(256, 16, 1.0) == 256
    assert scaled_channels(64, 8, 0.25) == 16
    assert scaled_channels(32, 4, 0.01) == 4


def test_a_stride_that_does_not_fit_is_named() -> None:
    with pytest.raises(WsvisError, match=r"^a backbone stage of stride 6 cannot be upsampled to stride 4$"):
        DisplacementBranch((8, 8, 8, 8, 8), (4, 6, 8, 16, 16), 1.0)
