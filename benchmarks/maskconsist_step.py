"""What MaskConsist adds to a training step, and where a step's time goes: python -m benchmarks.run maskconsist.

Each step is taken in turn with a plain Mask R-CNN step on the same images, labels and network, so that whatever else
the machine does meets both; the ratio is the median over the pairs.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads

from benchmarks.case import Call
from wsvis_core.backbones import build_backbone
from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist import inter_frame, transfer
from wsvis_core.maskconsist.diagnostics import TransferDiagnostics
from wsvis_core.segmentation import step as step_module
from wsvis_core.segmentation import torchvision_backend
from wsvis_core.segmentation.builder import build_segmenter
from wsvis_core.segmentation.step import MaskConsistStep
from wsvis_core.segmentation.torchvision_backend import TorchvisionSegmenter

SIZE = (480, 854)
PREDICTIONS = 30
PAIRS = 5


class Scene:
    """Two noisy images, an untrained ResNet-50-FPN that finds PREDICTIONS objects on each, labels and flow.

    labels: "apart", rectangles that no prediction fits (few regions for the mask loss, so the plain step is cheap and
    the ratio at its highest), or "found", every sixth prediction (labels are transferred, as from a trained network).
    """

    def __init__(self, labels: str) -> None:
        torch.manual_seed(0)
        backbone = build_backbone("resnet50", output_stride=32)
        self.segmenter = build_segmenter(backbone, 4, max_detections=PREDICTIONS)
        self.images = [torch.rand(3, *SIZE) * 255 for _ in range(2)]
        self.labels = [_rectangles()] * 2 if labels == "apart" else self._found()
        self.flows = [(_flow(1), _flow(2))]
        self.maskconsist = MaskConsistStep(self.segmenter, transfer.TransferSettings()).train()
        self.plain = MaskConsistStep(self.segmenter, None).train()

    @torch.no_grad()
    def _found(self) -> list[InstanceSet]:
        predictions = self.segmenter.predict(self.segmenter.train().encode(self.images))
        return [found.select(range(0, PREDICTIONS, 6)) for found in predictions]

    def step(self, model: MaskConsistStep) -> TransferDiagnostics:
        """Forward and backward; the optimiser is left out, so that every step is the same."""
        model.zero_grad()
        losses, counts = model(self.images, self.labels, self.flows)
        torch.stack(list(losses.values())).sum().backward()
        return counts


def print_maskconsist() -> None:
    """Print two Markdown tables: the ratio with either kind of labels, and the parts of a step with found ones."""
    print("| MaskConsist over plain step | CPU time | wall time | matching and transfer | predictions, targets |")
    print("|---|---|---|---|---|")
    parts: dict[str, float] = {}
    for labels in ("apart", "found"):
        parts = _compare(labels)
    print()
    print("| part of a MaskConsist step, found labels | seconds | share |")
    print("|---|---|---|")
    total = sum(parts.values())
    for part, seconds in {**parts, "whole": total}.items():
        print(f"| {part} | {seconds:.3f} | {seconds / total:.1%} |")


def _compare(labels: str) -> dict[str, float]:
    """Print one row; the median CPU seconds of the parts of a MaskConsist step."""
    scene = Scene(labels)
    counts = scene.step(scene.maskconsist)
    scene.step(scene.plain)
    cpu, wall, runs = [], [], []
    for _ in range(PAIRS):
        with stopwatch(scene.segmenter) as seconds:
            ours = _seconds(lambda: scene.step(scene.maskconsist))
        plain = _seconds(lambda: scene.step(scene.plain))
        cpu.append(ours[0] / plain[0])
        wall.append(ours[1] / plain[1])
        runs.append({**seconds, "backward and the rest": ours[0] - sum(seconds.values())})
    parts = {part: median(run[part] for run in runs) for part in runs[0]}
    beyond = sum(seconds for part, seconds in parts.items() if part.startswith("transfer:"))
    row = [f"labels {labels}", _spread(cpu), _spread(wall), f"{beyond / sum(parts.values()):.1%}"]
    print(f"| {' | '.join(row)} | {counts.predictions}, {counts.targets} ({counts.kept_transferred} transferred) |")
    return parts


def _spread(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _seconds(call: Call) -> tuple[float, float]:
    """CPU and wall time."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


@contextmanager
def stopwatch(segmenter: TorchvisionSegmenter) -> Iterator[dict[str, float]]:
    """CPU seconds of every part of the steps taken inside, without the parts within it that are named themselves."""
    seconds: dict[str, float] = defaultdict(float)
    heads = segmenter.heads
    parts: list[tuple[Any, str, str]] = [
        (segmenter, "encode", "encode"),
        (segmenter, "_propose", "proposals"),
        (heads.box_roi_pool, "forward", "box pooling"),
        (heads.box_head, "forward", "box head"),
        (RoIHeads, "forward", "scores, class-wise NMS"),
        (heads.mask_roi_pool, "forward", "mask pooling and head"),
        (heads.mask_head, "forward", "mask pooling and head"),
        (heads.mask_predictor, "forward", "mask pooling and head"),
        (torchvision_backend, "paste_masks", "transfer: pasting masks"),
        (segmenter, "predict", "transfer: other"),
        (transfer, "expand_predictions", "transfer: intra-frame matching"),
        (inter_frame, "carry_masks", "transfer: warping masks"),
        (inter_frame, "matching_edges", "transfer: mask IoU"),
        (inter_frame, "match_by_class", "transfer: assignment"),
        (transfer, "_combine", "transfer: combination"),
        (step_module, "transfer_labels", "transfer: other"),
        (segmenter, "losses", "losses"),
    ]
    watch = _Watch(seconds)
    with ExitStack() as stack:
        for owner, name, part in parts:
            stack.enter_context(mock.patch.object(owner, name, watch.timed(getattr(owner, name), part)))
        yield seconds


class _Watch:
    """Gives every moment to the innermost part that runs; inside the losses there are no parts."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.running: list[str] = []
        self.since = 0.0

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if "losses" in self.running:
                return function(*arguments, **options)
            self._book()
            self.running.append(part)
            try:
                return function(*arguments, **options)
            finally:
                self._book()
                self.running.pop()

        return call

    def _book(self) -> None:
        now = time.process_time()
        if self.running:
            self.seconds[self.running[-1]] += now - self.since
        self.since = now


def _rectangles() -> InstanceSet:
    masks = torch.zeros(3, *SIZE, dtype=torch.bool)
    for i in range(3):
        masks[i, 100 : 300 + 20 * i, 100 + 200 * i : 300 + 200 * i] = True
    return InstanceSet.from_masks(masks, torch.tensor([0, 1, 2]))


def _flow(seed: int) -> Tensor:
    """A few pixels, smooth: (2,H,W)."""
    coarse = 4 * torch.randn(1, 2, 8, 14, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear")[0]
