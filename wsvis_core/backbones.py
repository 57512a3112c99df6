"""ResNet trunks behind one interface: five stage outputs with known channels and strides.

Built from torchvision's own residual blocks, so torchvision state dicts load by name. `resnet_tiny` is a small
trunk for training from scratch on small frames (the demo): one 3×3 convolution per stage keeps its receptive field at
55 pixels (larger ones spread class activation over the whole frame), and its batch norms learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import FrozenBatchNorm2d

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import load_tensors

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """What tells one ResNet from another: block type, blocks and widths per stage, stem kernel, public weights."""

    block: type[BasicBlock] | type[Bottleneck]
    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    stem_kernel: int = 7
    pretrained: bool = True


ARCHITECTURES = {
    "resnet50": Architecture(Bottleneck, (3, 4, 6, 3)),
    "resnet34": Architecture(BasicBlock, (3, 4, 6, 3)),
    "resnet18": Architecture(BasicBlock, (2, 2, 2, 2)),
    "resnet_tiny": Architecture(Bottleneck, (1, 1, 1, 1), (16, 24, 32, 48), stem_kernel=3, pretrained=False),
}


class _AffineFrozenBatchNorm(nn.BatchNorm2d):
    """Batch norm that always uses its running statistics; weight and bias stay ordinary parameters (IRN, §1.1)."""

    def train(self, mode: bool = True) -> _AffineFrozenBatchNorm:
        return super().train(False)


NORMS = {"frozen_batch": _AffineFrozenBatchNorm, "constant_batch": FrozenBatchNorm2d, "batch": nn.BatchNorm2d}


class Backbone(nn.Module):
    """A ResNet without its classifier.

    forward: images (B,3,H,W) float32, RGB normalised by PIXEL_MEAN / PIXEL_STD → tuple of five maps
    (after max-pool, layer1, layer2, layer3, layer4) with `channels[i]` channels at stride `strides[i]`.
    """

    def __init__(self, architecture: Architecture, stage_strides: tuple[int, int, int, int], norm: str) -> None:
        super().__init__()
        self._norm = NORMS[norm]
        stem = architecture.widths[0]
        kernel = architecture.stem_kernel
        self.conv1 = nn.Conv2d(3, stem, kernel, stride=2, padding=kernel // 2, bias=False)
        self.bn1 = self._norm(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = [stem]
        for i, (width, count, stride) in enumerate(
            zip(architecture.widths, architecture.blocks, stage_strides, strict=True), start=1
        ):
            setattr(self, f"layer{i}", self._stage(architecture.block, channels[-1], width, count, stride))
            channels.append(width * architecture.block.expansion)
        self.channels = tuple(channels)
        self.strides = _cumulative_strides(stage_strides)

    def _stage(self, block: type, inputs: int, width: int, count: int, stride: int) -> nn.Sequential:
        outputs = width * block.expansion
        shortcut = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), self._norm(outputs))
        first = block(inputs, width, stride, shortcut, norm_layer=self._norm)
        rest = [block(outputs, width, norm_layer=self._norm) for _ in range(count - 1)]
        return nn.Sequential(first, *rest)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        stages = [self.maxpool(self.relu(self.bn1(self.conv1(images))))]
        for i in range(1, 5):
            stages.append(getattr(self, f"layer{i}")(stages[-1]))
        return tuple(stages)


def _cumulative_strides(stage_strides: tuple[int, ...]) -> tuple[int, ...]:
    strides = [4]
    for stride in stage_strides:
        strides.append(strides[-1] * stride)
    return tuple(strides)


def build_backbone(
    name: str,
    *,
    output_stride: int,
    weights: str = "none",
    norm: str = "frozen_batch",
) -> Backbone:
    """A backbone by name, with the weights a config asks for.

    name: a key of ARCHITECTURES. output_stride 8, 16 or 32: later stages keep stride 1 (no dilation, as IRN does,
    §1.1). weights: "none" (PyTorch's initialisation), "torchvision" (ImageNet, downloaded by torchvision on first
    use because the config asks for it), or the path of a torchvision ResNet state dict (any float type).
    norm: a key of NORMS; see `norm_for`.
    """
    if name not in ARCHITECTURES:
        raise WsvisError(f"backbone '{name}' is not one of {', '.join(sorted(ARCHITECTURES))}")
    if output_stride not in (8, 16, 32):
        raise WsvisError(f"output_stride {output_stride} is not one of 8, 16, 32")
    architecture = ARCHITECTURES[name]
    strides = tuple(2 if 4 * 2**i <= output_stride else 1 for i in range(4))
    backbone = Backbone(architecture, (1, *strides[1:]), norm)
    if weights != "none":
        load_backbone_weights(backbone, _state_dict(name, weights), source=weights)
    return backbone


def norm_for(weights: str, pretrained_norm: str) -> str:
    """The norm of a backbone that starts from `weights`: statistics that were never measured must learn.

    pretrained_norm: "frozen_batch" (IRN: running statistics, learnt affine) or "constant_batch" (nothing learnt).
    """
    return "batch" if weights == "none" else pretrained_norm


def _state_dict(name: str, weights: str) -> dict[str, Tensor]:
    if weights != "torchvision":
        state = load_tensors(Path(weights))
        if isinstance(state, dict):
            state = state.get("backbone", state)
        if not isinstance(state, dict):
            raise WsvisError(
                f"{weights} holds a {type(state).__name__}, expected the state dict of a torchvision ResNet"
            )
        return state
    if not ARCHITECTURES[name].pretrained:
        raise WsvisError(f"torchvision has no weights for {name}; set the backbone weights to 'none'")
    try:
        return torchvision.models.get_model(name, weights="IMAGENET1K_V1").state_dict()
    except OSError as error:
        address = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
        raise WsvisError(
            f"torchvision could not download its weights for {name} ({error}); connect this machine to the Internet, "
            f"or download {address} on another and give its path here instead of 'torchvision'"
        ) from None


def trunk_classifier(name: str, weights: str) -> tuple[Tensor, Tensor]:
    """The classifier that a trunk's weights were trained with: weight (K,D) and bias (K,), float32.

    weights: as in `build_backbone`. Raises WsvisError where there is none.
    """
    state = _state_dict(name, weights) if weights != "none" else {}
    weight, bias = state.get("fc.weight"), state.get("fc.bias")
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        raise WsvisError(
            f"backbone weights '{weights}' have no classifier (fc.weight, fc.bias), which cam.initial_head: imagenet "
            "needs; give ImageNet weights as torchvision has them, or set cam.initial_head to 'random'"
        )
    return weight.float(), bias.float()


def load_backbone_weights(backbone: Backbone, state: dict[str, Tensor], *, source: str) -> None:
    """Load a ResNet state dict (a classifier `fc.*` in it is ignored); every tensor must be there and fit."""
    wanted = backbone.state_dict()
    tensors = {key: value for key, value in state.items() if key in wanted and isinstance(value, Tensor)}
    given = {key: value.float() for key, value in tensors.items() if value.is_floating_point()}
    missing = [key for key, value in wanted.items() if value.is_floating_point() and key not in given]
    wrong = [key for key, value in given.items() if value.shape != wanted[key].shape]
    if missing or wrong:
        problem = f"lacks '{missing[0]}'" if missing else f"has another shape for '{wrong[0]}'"
        raise WsvisError(
            f"backbone weights from {source} do not fit: the file {problem} "
            f"({len(missing)} missing, {len(wrong)} mis-shaped of {len(wanted)} tensors)"
        )
    backbone.load_state_dict(given, strict=False)


def normalise_images(images: Tensor) -> Tensor:
    """RGB 0..255 (B,3,H,W) uint8 or float → float32 normalised with the ImageNet mean and deviation."""
    mean = torch.tensor(PIXEL_MEAN, device=images.device).view(3, 1, 1)
    deviation = torch.tensor(PIXEL_STD, device=images.device).view(3, 1, 1)
    return (images.float() / 255 - mean) / deviation
