"""The mean field against a brute-force fully connected one, and what it does to a label map."""

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
    PairwiseKernels,
    bilateral_features,
    gaussian_sum,
    label_energy,
    lattice_sum,
    mean_field,
    pairwise_kernels,
    refine_labels,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_image(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (3, height, width), generator=generator(seed)).double() / 8 + 100


def scene(height: int, width: int, seed: int = 0) -> Tensor:
    """Two objects on a shaded background, with sensor noise: (3, H, W) uint8."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    image = torch.stack([90 + 40 * x, 110 + 20 * y, 100 - 30 * x * y])
    image[:, (y - 0.5).abs() + (x - 0.3).abs() < 0.25] += torch.tensor([[40.0], [-30.0], [10.0]])
    image[:, (y - 0.4) ** 2 + (x - 0.75) ** 2 < 0.04] -= torch.tensor([[20.0], [0.0], [40.0]])
    return (image + 2 * torch.randn(image.shape, generator=generator(seed))).round().clamp(0, 255).to(torch.uint8)


def rough_labels(height: int, width: int) -> Tensor:
    """What CAMs give of `scene`: boxes beside and across the objects' borders, (2, H, W) int64."""
    labels = torch.zeros(2, height, width, dtype=torch.long)
    for i, margin in enumerate((0.0, 0.08)):
        top, bottom = int(height * (0.3 - margin)), math.ceil(height * (0.75 + margin))
        labels[i, top:bottom, int(width * (0.15 - margin)) : int(width * (0.4 + margin))] = 1
        labels[i, top:bottom, int(width * (0.7 - margin)) : int(width * (0.95 + margin))] = 2
    return labels


def dense_kernels(image: Tensor, position_std: float, bilateral_std: float, color_std: float) -> list[Tensor]:
    """Both n x n kernels of image (3, H, W)."""
    height, width = image.shape[-2:]
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    places = places.flatten(1).t().double()
    colours = image.double().flatten(1).t()
    distance = torch.cdist(places, places) ** 2
    colour_distance = torch.cdist(colours, colours) ** 2
    return [
        (-0.5 * distance / position_std**2).exp(),
        (-0.5 * (distance / bilateral_std**2 + colour_distance / color_std**2)).exp(),
    ]


def brute_force(energy: Tensor, kernels: list[Tensor], weights: tuple[float, float], iterations: int = 10) -> Tensor:
    """The whole n x n model, energy (L, H, W): self terms, symmetric normalisation."""
    coupling = sum(w * k / (k.sum(0)[:, None] * k.sum(0)[None]).sqrt() for w, k in zip(weights, kernels, strict=True))
    beliefs = (-energy.flatten(1)).softmax(0)
    for _ in range(iterations):
        beliefs = (-energy.flatten(1) + beliefs @ coupling).softmax(0)
    return beliefs.view_as(energy)


def energy_of(labels: Tensor, num_labels: int = 3) -> Tensor:
    return label_energy(labels, num_labels, 0.7, torch.float64)


@given(st.integers(1, 8), st.integers(1, 9), st.integers(2, 4), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_mean_field_equals_brute_force_on_the_same_kernels(height: int, width: int, labels: int, seed: int) -> None:
    """Exact: the position kernel is the Gaussian (it would end outside), the bilateral the lattice's."""
    image = random_image(height, width, seed)
    energy = energy_of(torch.randint(0, labels, (height, width), generator=generator(seed)), labels)
    kernels = pairwise_kernels(image[None], bilateral_std=6.0, color_std=7.0)
    size = height * width
    lattice = kernels.lattice.filter(torch.eye(size, dtype=torch.float64))
    dense = [dense_kernels(image, 3.0, 6.0, 7.0)[0], lattice]
    ours = mean_field(energy[None], kernels, iterations=4)[0]
    torch.testing.assert_close(ours, brute_force(energy, dense, (3.0, 10.0), 4))


@pytest.mark.parametrize(("height", "width", "changed"), [(40, 56, 0.1), (1, 90, 0.04), (64, 4, 0.02)])
@pytest.mark.parametrize("bilateral_std", [7.0, 50.0])
def test_is_close_to_the_fully_connected_model(height: int, width: int, changed: float, bilateral_std: float) -> None:
    image, labels = scene(height, width), rough_labels(height, width)
    kernels = pairwise_kernels(image[None].double(), bilateral_std=bilateral_std)
    dense = dense_kernels(image, 3.0, bilateral_std, 5.0)
    energy = energy_of(labels)
    ours = mean_field(energy[None], kernels)[0]
    exact = torch.stack([brute_force(item, dense, (3.0, 10.0)) for item in energy])
    torch.testing.assert_close(ours.sum(1), torch.ones(2, height, width, dtype=torch.float64))
    assert (ours - exact).abs().mean() < 0.02
    assert (ours.argmax(1) == exact.argmax(1)).double().mean() > 0.97
    assert (labels != exact.argmax(1)).double().mean() > changed


def test_the_position_kernel_alone() -> None:
    image = random_image(30, 26)
    energy = energy_of(torch.randint(0, 3, (30, 26), generator=generator()))
    ours = mean_field(energy[None], pairwise_kernels(image[None], bilateral_weight=0))[0]
    exact = brute_force(energy, dense_kernels(image, 3.0, 50.0, 5.0), (3.0, 0.0))
    torch.testing.assert_close(ours, exact, atol=2e-3, rtol=0)


def test_on_a_constant_image_the_bilateral_kernel_is_a_wide_gaussian() -> None:
    image = torch.full((3, 24, 30), 77.0, dtype=torch.float64)
    energy = energy_of(rough_labels(24, 30)[0])
    ours = mean_field(energy[None], pairwise_kernels(image[None], bilateral_std=4.0))[0]
    exact = brute_force(energy, dense_kernels(image, 3.0, 4.0, 5.0), (3.0, 10.0))
    assert (ours - exact).abs().mean() < 0.02


def test_unary_energy() -> None:
    energy = label_energy(torch.tensor([[0, 2]]), 3, 0.7, torch.float64)
    given_label, other = -math.log(0.7), -math.log(0.15)
    assert energy[:, 0, 0].tolist() == pytest.approx([given_label, other, other])
    assert energy[:, 0, 1].tolist() == pytest.approx([other, other, given_label])


def test_features() -> None:
    images = torch.arange(12.0).view(2, 3, 1, 2)
    features = bilateral_features(images, 10.0, 2.0)
    assert features[1].tolist() == [pytest.approx(row) for row in [[-0.05, 0.05], [0, 0], [3, 3.5], [4, 4.5], [5, 5.5]]]


def test_gaussian_sum_is_the_double_loop() -> None:
    values, taps = torch.rand(2, 4, 9, generator=generator()), torch.tensor([0.1, 0.6, 1.0, 0.6, 0.1])
    slow = torch.zeros_like(values)
    for y in range(4):
        for x in range(9):
            for v in range(max(0, y - 2), min(4, y + 3)):
                for u in range(max(0, x - 2), min(9, x + 3)):
                    slow[:, y, x] += taps[2 + v - y] * taps[2 + u - x] * values[:, v, u]
    torch.testing.assert_close(gaussian_sum(values, taps), slow)


def test_labels_follow_the_edge_of_the_image() -> None:
    image = torch.full((3, 40, 60), 60, dtype=torch.uint8)
    image[:, 10:30, 20:45] = 180
    shifted = torch.zeros(1, 40, 60, dtype=torch.long)
    shifted[:, 11:29, 17:41] = 1
    truth = image[0] == 180
    refined = refine_labels(shifted, 2, pairwise_kernels(image[None])) == 1
    before, after = ((m & truth).sum() / (m | truth).sum() for m in (shifted == 1, refined))
    assert before < 0.75 < 0.97 < after


def kernels_of(*images: Tensor, **options: Any) -> PairwiseKernels:
    return pairwise_kernels(torch.stack(images).double(), bilateral_std=9.0, **options)


def test_a_batch_of_images_and_labellings_is_each_alone() -> None:
    images, labels = [scene(20, 26, seed) for seed in (0, 1)], rough_labels(20, 26)
    energy = energy_of(torch.stack([labels, labels.flip(0)]))
    together = mean_field(energy, kernels_of(*images))
    for b in range(2):
        for n in range(2):
            alone = mean_field(energy[b : b + 1, n], kernels_of(images[b]))
            torch.testing.assert_close(together[b, n], alone[0])
    refined = refine_labels(torch.stack([labels, labels.flip(0)]), 3, kernels_of(*images))
    assert refined.shape == (2, 2, 20, 26) and torch.equal(refined, together.argmax(dim=2))


def test_the_order_of_the_labels_does_not_matter() -> None:
    kernels, labels, order = kernels_of(scene(20, 26)), rough_labels(20, 26), torch.tensor([2, 0, 1])
    beliefs = mean_field(energy_of(labels)[None], kernels)
    permuted = mean_field(energy_of(order[labels])[None], kernels)
    torch.testing.assert_close(permuted[:, :, order], beliefs)


@pytest.mark.parametrize(("axis", "tolerance"), [(-1, 0.005), (-2, 0.02)])
def test_a_flipped_image_gives_flipped_beliefs(axis: int, tolerance: float) -> None:
    """Closely: the order in which the lattice is blurred along its axes is not flipped with it."""
    image, energy = scene(30, 40), energy_of(rough_labels(30, 40))
    beliefs = mean_field(energy[None], kernels_of(image))
    flipped = mean_field(energy[None].flip(axis), kernels_of(image.flip(axis))).flip(axis)
    assert (flipped - beliefs).abs().mean() < tolerance


def test_precision_follows_the_image() -> None:
    image, labels = scene(20, 26), rough_labels(20, 26)
    beliefs = {
        dtype: mean_field(
            label_energy(labels, 3, 0.7, dtype)[None], pairwise_kernels(image[None].to(dtype), bilateral_std=9.0)
        )
        for dtype in (torch.float32, torch.float64)
    }
    assert all(value.dtype == dtype for dtype, value in beliefs.items())
    torch.testing.assert_close(beliefs[torch.float32].double(), beliefs[torch.float64], atol=1e-4, rtol=0)
    from_bytes, from_half = (pairwise_kernels(item[None], bilateral_std=9.0) for item in (image, image.half()))
    assert from_bytes.bilateral_norm.dtype == from_half.bilateral_norm.dtype == torch.float32
    torch.testing.assert_close(from_bytes.bilateral_norm, from_half.bilateral_norm)


def test_the_messages_of_all_labels_sum_to_the_message_of_ones() -> None:
    kernels = kernels_of(scene(20, 26))
    beliefs = torch.rand(1, 3, 20, 26, generator=generator(), dtype=torch.float64).softmax(dim=1)
    whole = kernels.message(torch.ones(1, 1, 20, 26, dtype=torch.float64))
    torch.testing.assert_close(kernels.message(beliefs).sum(dim=1, keepdim=True), whole)


def test_lattice_sum_keeps_channels_and_images_apart() -> None:
    kernels = kernels_of(scene(6, 7), scene(6, 7, 1))
    values = torch.zeros(2, 3, 6, 7, dtype=torch.float64)
    values[1, 2, 3, 4] = 1
    summed = lattice_sum(values, kernels.lattice)
    assert summed[1, 2, 3, 4] > 0 and summed[0].eq(0).all() and summed[1, :2].eq(0).all()


def test_one_label_has_nothing_to_decide() -> None:
    labels = torch.zeros(1, 4, 5, dtype=torch.uint8)
    refined = refine_labels(labels, 1, pairwise_kernels(random_image(4, 5)[None]))
    assert refined.dtype == torch.int64 and torch.equal(refined, labels.long())


def test_one_pixel_keeps_its_label() -> None:
    refined = refine_labels(torch.tensor([[[1]]]), 2, pairwise_kernels(random_image(1, 1)[None]))
    assert refined.tolist() == [[[1]]]


@pytest.mark.parametrize("name", ["position_std", "bilateral_std", "color_std"])
def test_bad_settings_are_named(name: str) -> None:
    with pytest.raises(WsvisError, match=f"^CRF {name} 0 must be greater than 0$"):
        pairwise_kernels(random_image(3, 3)[None], **{name: 0})


def test_a_certain_label_is_refused() -> None:
    with pytest.raises(WsvisError, match=r"^CRF gt_prob 1 is not between 0 and 1$"):
        refine_labels(torch.zeros(1, 3, 3), 2, pairwise_kernels(random_image(3, 3)[None]), gt_prob=1)
