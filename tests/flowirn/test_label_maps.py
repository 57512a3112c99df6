"""The truth table of the label map, its thresholds, and its edges."""

from __future__ import annotations

import pytest
import torch

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.label_maps import above_threshold, combine_decisions, crf_refinement, label_map


def test_truth_table() -> None:
    foreground = torch.tensor([[0, 0, 2, 1]])
    background = torch.tensor([[0, 1, 1, 0]])
    labels = combine_decisions(foreground, background, torch.tensor([4, 9]))
    assert labels.tolist() == [[0, 255, 10, 5]] and labels.dtype == torch.uint8


def test_thresholds_without_refinement() -> None:
    cam = torch.tensor([[[0.0, 0.05, 0.06, 0.30, 0.31, 0.5]], [[0.0, 0.0, 0.0, 0.0, 0.4, 0.1]]])
    assert label_map(cam, torch.tensor([0, 6])).tolist() == [[0, 0, 255, 255, 7, 1]]
    assert above_threshold(cam, 0.3).tolist() == [[0, 0, 0, 0, 2, 1]]


def test_both_decisions_are_refined_together_over_all_labels() -> None:
    seen = []

    def refine(labels: torch.Tensor, num_labels: int) -> torch.Tensor:
        seen.append((labels.tolist(), num_labels))
        return labels * torch.tensor([0, 1]).view(2, 1, 1)

    cam = torch.tensor([[[0.0, 0.1, 0.9]], [[0.0, 0.0, 0.0]]])
    assert label_map(cam, torch.tensor([2, 3]), refine=refine).tolist() == [[0, 255, 255]]
    assert seen == [([[[0, 0, 1]], [[0, 1, 1]]], 3)]


def test_the_crf_completes_a_uniform_object() -> None:
    image = torch.full((3, 30, 40), 60, dtype=torch.uint8)
    image[:, 8:24, 10:30] = 200
    cam = torch.zeros(1, 30, 40)
    cam[:, 9:22, 11:25] = 0.6
    plain = label_map(cam, torch.tensor([1]))
    refined = label_map(cam, torch.tensor([1]), refine=crf_refinement(image))
    truth = torch.where(image[0] == 200, 2, 0)
    assert (plain == truth).float().mean() < 0.9 < 0.99 < (refined == truth).float().mean()


def test_refinement_of_two_labellings_is_that_of_each() -> None:
    image = torch.randint(0, 60, (3, 12, 15), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels = (torch.rand(2, 12, 15, generator=torch.Generator().manual_seed(1)) > 0.4).long()
    refine = crf_refinement(image, iterations=3, bilateral_std=5.0, color_std=20.0)
    assert torch.equal(refine(labels, 2), torch.cat([refine(item.unsqueeze(0), 2) for item in labels]))
    assert not torch.equal(refine(labels, 2), labels)


def test_the_crf_on_a_frame_without_classes_is_background() -> None:
    refine = crf_refinement(torch.zeros(3, 5, 6, dtype=torch.uint8))
    assert label_map(torch.zeros(0, 5, 6), torch.zeros(0, dtype=torch.long), refine=refine).eq(0).all()


def test_a_frame_without_classes_is_background() -> None:
    labels = label_map(torch.zeros(0, 5, 6), torch.zeros(0, dtype=torch.long), refine=lambda m, n: m)
    assert labels.shape == (5, 6) and labels.eq(0).all()


def test_a_class_that_would_read_as_ignored_is_refused() -> None:
    assert label_map(torch.ones(1, 1, 1), torch.tensor([253])).item() == 254
    message = "class id 254 does not fit a label map: at most 254 classes are possible"
    with pytest.raises(WsvisError, match=f"^{message}$"):
        label_map(torch.ones(1, 1, 1), torch.tensor([254]))
