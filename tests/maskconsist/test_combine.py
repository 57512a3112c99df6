from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.maskconsist.combine import combine_labels, iom_suppress


def suppress_slowly(masks, classes, threshold, class_aware):
    """The rule of §3.5 written as two loops over pixels' sets."""
    pixels = [set(map(tuple, mask.nonzero().tolist())) for mask in masks]
    kept = []
    for i in sorted(range(len(masks)), key=lambda i: (-len(pixels[i]), i)):
        rivals = [j for j in kept if not class_aware or classes[i] == classes[j]]
        smaller = [min(len(pixels[i]), len(pixels[j])) for j in rivals]
        if all(len(pixels[i] & pixels[j]) <= threshold * area for j, area in zip(rivals, smaller, strict=True)):
            kept.append(i)
    return sorted(kept)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 7), st.integers(0, 10_000), st.booleans())
def test_suppression_agrees_with_loops(n, seed, class_aware):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand((n, 4, 5), generator=generator) < 0.5
    classes = torch.randint(0, 2, (n,), generator=generator)
    kept = iom_suppress(masks, classes, class_aware=class_aware)
    assert kept.tolist() == suppress_slowly(masks, classes, 0.5, class_aware)


def test_golden_nested_masks(rectangles):
    nested = rectangles([[0, 0, 10, 10], [0, 0, 4, 4]])
    assert iom_suppress(nested.masks, nested.classes).tolist() == [0]
    other_class = torch.tensor([0, 1])
    assert iom_suppress(nested.masks, other_class).tolist() == [0, 1]
    assert iom_suppress(nested.masks, other_class, class_aware=False).tolist() == [0]


def test_overlap_of_exactly_half_stays(rectangles):
    pair = rectangles([[0, 0, 10, 10], [5, 0, 15, 10]])
    assert iom_suppress(pair.masks, pair.classes).tolist() == [0, 1]
    assert iom_suppress(pair.masks, pair.classes, iom_threshold=0.49).tolist() == [0]


def test_a_large_transferred_mask_replaces_a_label_unless_labels_go_first(rectangles, boxes_of):
    label, grown = rectangles([[0, 0, 10, 10]]), rectangles([[0, 0, 12, 12]])
    targets, origin = combine_labels(label, grown)
    assert boxes_of(targets) == [[0, 0, 12, 12]] and origin.tolist() == [1]
    targets, origin = combine_labels(label, grown, priority="labels_first")
    assert boxes_of(targets) == [[0, 0, 10, 10]] and origin.tolist() == [0]
    targets, origin = combine_labels(label, grown, iom_nms=False)
    assert len(targets) == 2 and origin.tolist() == [0, 1]


def test_equal_areas_prefer_the_label(rectangles):
    same = rectangles([[0, 0, 10, 10]])
    assert combine_labels(same, same)[1].tolist() == [0]


def test_masks_without_pixels_are_no_targets(rectangles):
    targets, origin = combine_labels(rectangles([[3, 3, 3, 3]]), rectangles([[0, 0, 5, 5], [1, 1, 1, 1]]))
    assert len(targets) == 1 and origin.tolist() == [1]
    targets, origin = combine_labels(rectangles([]), rectangles([]), priority="labels_first")
    assert len(targets) == 0 and targets.size == (20, 40) and origin.shape == (0,)
