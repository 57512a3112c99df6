from __future__ import annotations

import pytest
import torch
from torch import nn

from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist import TransferSettings
from wsvis_core.segmentation import DetectorState, MaskConsistStep


class FakeSegmenter(nn.Module):
    """Predicts what it is told and remembers the targets it is given."""

    num_classes = 2

    def __init__(self, predictions):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.predictions = predictions
        self.calls: list[str] = []
        self.targets = None

    def encode(self, images):
        self.calls.append("encode")
        count = len(images)
        maps = self.weight.sum() * torch.ones(count, 1, 1, 1)
        sizes = tuple(tuple(image.shape[-2:]) for image in images)
        return DetectorState({"0": maps}, (maps,), (maps,), (torch.zeros(1, 4),), sizes)

    def predict(self, state, *, with_appearance=False, output_sizes=None):
        self.calls.append("predict")
        return self.predictions

    def losses(self, state, targets):
        self.calls.append("losses")
        self.targets = list(targets)
        return {"loss": state.objectness[0].sum()}


def frames_of(count=2):
    return [torch.zeros(3, 20, 40) for _ in range(count)]


def box_set(*boxes, score=0.9):
    masks = torch.zeros(len(boxes), 20, 40, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    classes = torch.zeros(len(boxes), dtype=torch.int64)
    return InstanceSet.from_masks(masks, classes, torch.full((len(boxes),), score))


def moving(dx=5.0):
    flow = torch.zeros(2, 20, 40)
    flow[0] = dx
    return (-flow, flow)


SCENE = {"labels": [box_set([0, 0, 10, 10]), box_set()], "flows": [moving()]}


def predictions():
    return [box_set([0, 0, 10, 10]), box_set([5, 0, 15, 10])]


def test_a_missing_label_arrives_from_the_other_frame():
    fake = FakeSegmenter(predictions())
    losses, seen = MaskConsistStep(fake, TransferSettings())(frames_of(), **SCENE)
    assert fake.calls == ["encode", "predict", "losses"]
    assert [t.boxes_xyxy.tolist() for t in fake.targets] == [[[0, 0, 10, 10]], [[5, 0, 15, 10]]]
    assert seen.pairs == 1 and seen.kept_transferred == 1
    losses["loss"].backward()


def test_before_the_start_iteration_and_without_transfer_nothing_is_predicted():
    for step_of in (
        lambda fake: MaskConsistStep(fake, TransferSettings(), start_iteration=10),
        lambda fake: MaskConsistStep(fake, None),
    ):
        fake = FakeSegmenter(predictions())
        _, seen = step_of(fake)(frames_of(), **SCENE, iteration=9)
        assert fake.calls == ["encode", "losses"] and seen.pairs == 0
        assert [len(t) for t in fake.targets] == [1]
    fake = FakeSegmenter(predictions())
    MaskConsistStep(fake, TransferSettings(), start_iteration=10)(frames_of(), **SCENE, iteration=10)
    assert "predict" in fake.calls


def test_frames_without_targets_are_dropped_or_kept():
    labels = [box_set(), box_set([5, 0, 15, 10])]
    for choice, counts in (("drop", [1]), ("keep", [0, 1])):
        fake = FakeSegmenter([])
        losses, _ = MaskConsistStep(fake, None, empty_targets=choice)(frames_of(), labels)
        assert [len(t) for t in fake.targets] == counts
        assert losses["loss"].item() == 3 * len(counts)


def test_a_batch_without_any_target_still_reaches_every_parameter():
    fake = FakeSegmenter([box_set(), box_set()])
    losses, seen = MaskConsistStep(fake, TransferSettings())(frames_of(), [box_set(), box_set()], [moving()])
    assert fake.calls == ["encode", "predict"] and seen.targets == 0
    total = sum(losses.values())
    total.backward()
    assert total.item() == 0 and torch.equal(fake.weight.grad, torch.zeros(3))


def test_a_pair_with_a_non_finite_prediction_keeps_its_labels():
    bad = [box_set([0, 0, 10, 10], score=float("nan")), box_set([5, 0, 15, 10])]
    fake = FakeSegmenter(bad + predictions())
    labels, flows = SCENE["labels"] * 2, SCENE["flows"] * 2
    _, seen = MaskConsistStep(fake, TransferSettings())(frames_of(4), labels, flows)
    assert (seen.pairs, seen.skipped_pairs, seen.kept_transferred) == (2, 1, 1)
    assert [len(t) for t in fake.targets] == [1, 1, 1]


def test_flows_and_labels_must_fit_the_batch():
    step = MaskConsistStep(FakeSegmenter(predictions()), TransferSettings())
    with pytest.raises(ValueError, match="2 images need 1 flow pairs, got 0; order the batch t0, s0"):
        step(frames_of(), SCENE["labels"])
    with pytest.raises(ValueError, match="1 label sets for 2 images"):
        step(frames_of(), SCENE["labels"][:1])


@pytest.mark.parametrize("transfer", [None, TransferSettings(min_candidate_score=0.3, min_edge=0.3)])
def test_losses_fall_on_synthetic_pairs(segmenter, pair, transfer):
    torch.manual_seed(0)
    step = MaskConsistStep(segmenter, transfer).train()
    pairs = [pair(seed) for seed in range(8)]
    optimizer = torch.optim.AdamW(step.parameters(), lr=2e-3)
    totals = []
    for iteration in range(64):
        images, labels, flows = pairs[iteration % len(pairs)]
        losses, _ = step(images, labels, flows, iteration=iteration)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert sum(totals[-8:]) < 0.7 * sum(totals[:8])


def test_one_backbone_pass_a_step_and_a_gradient_for_every_parameter(segmenter, batch):
    passes = []
    segmenter.backbone.register_forward_hook(lambda *args: passes.append(1))
    losses, seen = MaskConsistStep(segmenter, TransferSettings())(*batch)
    sum(losses.values()).backward()
    assert len(passes) == 1 and seen.pairs == 2 and seen.predictions > 0
    assert [n for n, p in segmenter.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_same_seed_gives_the_same_losses(segmenter, batch):
    step = MaskConsistStep(segmenter, TransferSettings())
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append({name: value.item() for name, value in step(*batch)[0].items()})
    assert results[0] == results[1]
