"""Detections conditional on the classes that an image's label names, on each backend that is installed."""

from __future__ import annotations

import math

import pytest
import torch

from wsvis_core.segmentation.named_classes import only_named_classes


@pytest.mark.parametrize("background", [0, -1])
def test_the_softmax_is_that_of_the_named_classes_and_background(background):
    """Against a loop over plain numbers."""
    logits = torch.randn((7, 5), generator=torch.Generator().manual_seed(0)) * 3
    labels = [torch.tensor([True, False, True, False]), None, torch.zeros(4, dtype=torch.bool)]
    found = only_named_classes(logits, labels, [3, 2, 2], background=background).softmax(1)
    owners = [0, 0, 0, 1, 1, 2, 2]
    for row, owner, got in zip(logits.tolist(), owners, found.tolist(), strict=True):
        if background == 0:
            row, got = row[1:] + row[:1], got[1:] + got[:1]
        label = labels[owner]
        counted = [c for c in range(4) if label is None or label[c]] + [4]
        whole = sum(math.exp(row[c]) for c in counted)
        assert got == pytest.approx([math.exp(row[c]) / whole if c in counted else 0.0 for c in range(5)], abs=1e-6)
    assert torch.equal(found[3:5], logits[3:5].softmax(1))


def test_no_region_at_all_and_labels_that_do_not_fit():
    assert only_named_classes(torch.zeros(0, 3), [torch.tensor([True, False])], [0], background=0).shape == (0, 3)
    with pytest.raises(ValueError, match=r"a label of shape \(1,\) for 2 classes"):
        only_named_classes(torch.zeros(1, 3), [torch.tensor([True])], [1], background=0)
    with pytest.raises(ValueError, match="1 labels, 2 images with 3 regions, 3 rows"):
        only_named_classes(torch.zeros(3, 3), [None], [1, 2], background=0)


def same(a, b):
    fields = ("masks", "boxes_xyxy", "classes", "scores", "appearance")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in fields)


@pytest.fixture
def state(segmenter, batch):
    with torch.no_grad():
        return segmenter.eval().encode(batch[0])


def test_without_labels_or_with_all_classes_detections_are_those_of_before(segmenter, state):
    plain = segmenter.predict(state, with_appearance=True)
    every = [None] * len(state), [torch.ones(3, dtype=torch.bool)] * len(state)
    assert all(len(found) for found in plain)
    for classes in every:
        found = segmenter.predict(state, with_appearance=True, classes=classes)
        assert all(same(a, b) for a, b in zip(plain, found, strict=True))
    # Nothing of a call with labels stays behind.
    segmenter.predict(state, classes=[torch.tensor([False, True, False])] * len(state))
    after = segmenter.predict(state, with_appearance=True)
    assert all(same(a, b) for a, b in zip(plain, after, strict=True))


def test_each_image_keeps_to_its_own_label(segmenter, state):
    labels = [torch.zeros(3, dtype=torch.bool) for _ in range(len(state))]
    labels[0][1] = True
    found = segmenter.predict(state, classes=labels)
    assert len(found[0]) > 0 and set(found[0].classes.tolist()) == {1}
    assert all(len(item) == 0 for item in found[1:])
    every = [torch.tensor([False, True, False])] * len(state)
    assert all(set(item.classes.tolist()) == {1} for item in segmenter.predict(state, classes=every))


def test_a_detection_that_lost_to_another_class_has_the_named_one_and_a_better_score(segmenter, state):
    """All regions of one image, each class alone: the best score is the largest of the conditional ones."""
    for c in range(3):
        label = torch.zeros(3, dtype=torch.bool)
        label[c] = True
        plain = segmenter.predict(state.select([0]))[0]
        found = segmenter.predict(state.select([0]), classes=[label])[0]
        assert found.scores.max() > plain.scores[plain.classes == c].max()


def test_labels_of_another_number_of_classes_are_refused(segmenter, state):
    with pytest.raises(ValueError, match="for 3 classes"):
        segmenter.predict(state, classes=[torch.tensor([True])] * len(state))
    assert len(segmenter.predict(state)) == len(state)


def test_with_a_threshold_of_zero_no_other_class_comes_back(build, sizes, batch):
    from wsvis_core.backbones import build_backbone

    torch.manual_seed(0)
    network = build(
        build_backbone("resnet_tiny", output_stride=32, norm="batch"), 3, **(sizes | {"score_threshold": 0})
    )
    network = network.eval()
    found = network.predict(network.encode(batch[0]), classes=[torch.tensor([True, False, False])] * len(batch[0]))
    assert all(set(item.classes.tolist()) == {0} for item in found)
