"""The truncated mean field against a brute-force fully connected one, and what it does to a label map."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.crf import (
    label_energy,
    mean_field,
    pairwise_kernels,
    refine_labels,
    weighted_offsets,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_image(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (3, height, width), generator=generator(seed)).double() / 8 + 100


def brute_force(image: Tensor, energy: Tensor, iterations: int, stds: tuple[float, float, float]) -> Tensor:
    """The whole n x n model: position and bilateral kernel, self terms, symmetric normalisation."""
    position_std, bilateral_std, color_std = stds
    height, width = image.shape[-2:]
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    places = places.flatten(1).t().double()
    colours = image.flatten(1).t()
    distance = torch.cdist(places, places) ** 2
    kernels = [
        (3.0, (-0.5 * distance / position_std**2).exp()),
        (10.0, (-0.5 * (distance / bilateral_std**2 + torch.cdist(colours, colours) ** 2 / color_std**2)).exp()),
    ]
    coupling = sum(w * k / (k.sum(0)[:, None] * k.sum(0)[None]).sqrt() for w, k in kernels)
    beliefs = (-energy.flatten(1)).softmax(0)
    for _ in range(iterations):
        beliefs = (-energy.flatten(1) + beliefs @ coupling).softmax(0)
    return beliefs.view_as(energy)


@given(st.integers(1, 8), st.integers(1, 9), st.integers(2, 4), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_equals_brute_force_where_nothing_is_truncated(height: int, width: int, labels: int, seed: int) -> None:
    image = random_image(height, width, seed)
    given_labels = torch.randint(0, labels, (height, width), generator=generator(seed))
    energy = label_energy(given_labels, labels, 0.7, torch.float64)
    kernels = pairwise_kernels(
        image, bilateral_std=6.0, color_std=7.0, position_reach=99, bilateral_reach=9, ring_growth=0
    )
    torch.testing.assert_close(
        mean_field(energy, kernels, iterations=4), brute_force(image, energy, 4, (3.0, 6.0, 7.0))
    )


def test_truncation_changes_little() -> None:
    image = random_image(24, 30)
    energy = label_energy(torch.randint(0, 2, (24, 30), generator=generator()), 2, 0.7, torch.float64)
    exact = brute_force(image, energy, 10, (3.0, 20.0, 5.0))
    beliefs = mean_field(energy, pairwise_kernels(image, bilateral_std=20.0))
    assert (beliefs - exact).abs().mean() < 0.02
    torch.testing.assert_close(beliefs.sum(0), torch.ones(24, 30, dtype=torch.float64))


def test_unary_energy() -> None:
    energy = label_energy(torch.tensor([[0, 2]]), 3, 0.7, torch.float64)
    given_label, other = -math.log(0.7), -math.log(0.15)
    assert energy[:, 0, 0].tolist() == pytest.approx([given_label, other, other])
    assert energy[:, 0, 1].tolist() == pytest.approx([other, other, given_label])


def test_the_offsets_hold_the_whole_gaussian_once() -> None:
    offsets = weighted_offsets(10.0, 20.0, 0.2)
    assert not {(-dy, -dx) for (dy, dx), _ in offsets} & {offset for offset, _ in offsets}
    exact = weighted_offsets(10.0, 20.0, 0)
    assert len(offsets) < len(exact) / 2
    assert sum(w for _, w in offsets) == pytest.approx(sum(w for _, w in exact))
    assert dict(exact)[(3, -4)] == pytest.approx(math.exp(-0.5 * 25 / 100))
    assert {(0, 1), (1, 0), (1, 1), (1, -1)} <= {offset for offset, _ in offsets}
    assert weighted_offsets(10.0, 0.5, 0.2) == weighted_offsets(10.0, 0.5, 0) == ()


def test_labels_follow_the_edge_of_the_image() -> None:
    image = torch.full((3, 40, 60), 60, dtype=torch.uint8)
    image[:, 10:30, 20:45] = 180
    shifted = torch.zeros(40, 60, dtype=torch.long)
    shifted[11:29, 17:41] = 1
    truth = image[0] == 180
    refined = refine_labels(shifted, 2, pairwise_kernels(image)) == 1
    before, after = ((m & truth).sum() / (m | truth).sum() for m in (shifted == 1, refined))
    assert before < 0.75 < 0.97 < after


def test_one_label_has_nothing_to_decide() -> None:
    labels = torch.zeros(4, 5, dtype=torch.uint8)
    refined = refine_labels(labels, 1, pairwise_kernels(random_image(4, 5)))
    assert refined.dtype == torch.int64 and torch.equal(refined, labels.long())


def test_one_pixel_keeps_its_label() -> None:
    refined = refine_labels(torch.tensor([[1]]), 2, pairwise_kernels(random_image(1, 1)))
    assert refined.tolist() == [[1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"color_std": 0}, "CRF color_std 0 must be greater than 0"),
        ({"ring_growth": -1}, "CRF ring_growth -1 is negative"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(WsvisError, match=f"^{message}$"):
        pairwise_kernels(random_image(3, 3), **options)
    with pytest.raises(WsvisError, match=r"^CRF gt_prob 1 is not between 0 and 1$"):
        refine_labels(torch.zeros(3, 3), 2, pairwise_kernels(random_image(3, 3)), gt_prob=1)
