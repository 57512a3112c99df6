"""IRN's four losses against slow loops, and the flow-boundary loss: values, options, gradients, the toy."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.flow_gradient import flow_gradient, gradient_differences
from wsvis_core.flowirn.losses import (
    affinity_losses,
    displacement_losses,
    downsample_labels,
    flow_boundary_loss,
    irn_losses,
    irn_total,
    pair_affinity,
    pair_sets,
)
from wsvis_core.flowirn.paths import ordered_directions, reach


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_irn_losses(
    slow_pairs: Any, boundary: Tensor, displacement: Tensor, labels: Tensor, num_classes: int, radius: float
) -> dict[str, float]:
    """§1.7 pair by pair: alpha by the explicit maximum over the path, pair sets by their definition."""
    sums = dict.fromkeys(("bg+", "fg+", "n", "fgd", "bgd", "#bg", "#fg", "#n"), 0.0)
    for b in range(len(labels)):
        for i, j, path in slow_pairs(*labels.shape[-2:], radius):
            li, lj = int(labels[b][i]), int(labels[b][j])
            if max(li, lj) > num_classes:
                continue
            alpha = 1 - max(float(boundary[b][cell]) for cell in path)
            attract, repel = -math.log(alpha + 1e-5), -math.log(1 + 1e-5 - alpha)
            delta = [float(displacement[b, a][i] - displacement[b, a][j]) for a in (0, 1)]
            if li != lj:
                sums["n"] += repel
                sums["#n"] += 1
            elif li == 0:
                sums["bg+"] += attract
                sums["bgd"] += abs(delta[0]) + abs(delta[1])
                sums["#bg"] += 1
            else:
                sums["fg+"] += attract
                sums["fgd"] += abs(delta[0] - (j[0] - i[0])) + abs(delta[1] - (j[1] - i[1]))
                sums["#fg"] += 1
    e = 1e-5
    return {
        "affinity_positive": (sums["bg+"] / (sums["#bg"] + e) + sums["fg+"] / (sums["#fg"] + e)) / 2,
        "affinity_negative": sums["n"] / (sums["#n"] + e),
        "displacement_foreground": sums["fgd"] / (2 * sums["#fg"] + e),
        "displacement_background": sums["bgd"] / (2 * sums["#bg"] + e),
    }


def random_frames(batch: int, height: int, width: int, num_classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """boundary, displacement, labels with every kind of value."""
    size, g = (batch, height, width), generator(seed)
    boundary = torch.rand(size, dtype=torch.float64, generator=g)
    displacement = torch.randn(batch, 2, height, width, dtype=torch.float64, generator=g) * 3
    choices = torch.tensor([0, 0, 1, 1, 2, num_classes, num_classes + 1, 255])
    return boundary, displacement, choices[torch.randint(0, 8, size, generator=g)]


@given(st.integers(1, 9), st.integers(1, 12), st.sampled_from([2, 2.5, 4, 5]), st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_eq_1_equals_the_explicit_path_maximum(
    slow_pairs: Any, height: int, width: int, radius: float, seed: int
) -> None:
    boundary = random_frames(1, height, width, 2, seed)[0]
    alpha = pair_affinity(boundary, radius)
    pairs = slow_pairs(height, width, radius)
    assert alpha.numel() == len(pairs)
    for (y, x), (ya, xa), path in pairs:
        position = ordered_directions(radius).index((ya - y, xa - x))
        assert float(alpha[0, position, y, x - reach(radius)]) == 1 - max(float(boundary[0][cell]) for cell in path)


@pytest.mark.parametrize("num_classes", [3, 40])
def test_irn_losses_equal_a_slow_loop(slow_pairs: Any, num_classes: int) -> None:
    boundary, displacement, labels = random_frames(2, 8, 10, num_classes, 1)
    fast = irn_losses(pair_affinity(boundary, 4), displacement, labels, num_classes=num_classes, radius=4)
    slow = slow_irn_losses(slow_pairs, boundary, displacement, labels, num_classes, 4)
    assert min(slow.values()) > 0
    assert {name: float(value) for name, value in fast.items()} == pytest.approx(slow, abs=1e-9)
    assert float(irn_total(fast)) == pytest.approx(sum(slow.values()) / 2)


@given(
    st.integers(0, 2), st.integers(1, 9), st.integers(1, 10), st.sampled_from([2, 2.5, 4]), st.booleans(),
    st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_irn_losses_equal_a_slow_loop_at_any_size(
    slow_pairs: Any, batch: int, height: int, width: int, radius: float, stored: bool, seed: int
) -> None:
    boundary, displacement, labels = random_frames(batch, height, width, 3, seed)
    labels = labels.byte() if stored else labels
    boundary.requires_grad_(), displacement.requires_grad_()
    fast = irn_losses(pair_affinity(boundary, radius), displacement, labels, num_classes=3, radius=radius)
    slow = slow_irn_losses(slow_pairs, boundary.detach(), displacement.detach(), labels, 3, radius)
    assert {name: value.item() for name, value in fast.items()} == pytest.approx(slow, abs=1e-9)
    irn_total(fast).backward()
    assert all(x.grad is not None and bool(x.grad.isfinite().all()) for x in (boundary, displacement))


def test_pair_sets_are_disjoint_and_take_only_valid_labels(slow_pairs: Any) -> None:
    labels = random_frames(1, 7, 9, 3, 2)[2]
    pairs = pair_sets(labels, num_classes=3, radius=3)
    names = {"background": pairs.background, "foreground": pairs.foreground, "different": pairs.different}
    for (y, x), (ya, xa), _ in slow_pairs(7, 9, 3):
        first, second = int(labels[0, y, x]), int(labels[0, ya, xa])
        wanted = None
        if first <= 3 and second <= 3:
            wanted = "different" if first != second else "foreground" if first else "background"
        at = (0, ordered_directions(3).index((ya - y, xa - x)), y, x - 2)
        assert [name for name, mask in names.items() if mask[at]] == ([wanted] if wanted else [])


def test_displacement_to_one_centroid_costs_nothing() -> None:
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(14.0), indexing="ij")
    labels = torch.zeros(1, 12, 14, dtype=torch.uint8)
    labels[:, 2:6, 2:7], labels[:, 7:11, 8:13] = 1, 2
    displacement = torch.zeros(1, 2, 12, 14)
    for label, centre in ((1, (3.5, 4.0)), (2, (8.5, 10.0))):
        inside = labels[0] == label
        displacement[0, 0][inside] = (centre[0] - rows)[inside]
        displacement[0, 1][inside] = (centre[1] - columns)[inside]
    pairs = pair_sets(labels, num_classes=2, radius=5)
    foreground, background = displacement_losses(displacement, pairs, radius=5)
    assert float(foreground) == pytest.approx(0, abs=1e-6)
    assert float(background) == 0
    away, _ = displacement_losses(-displacement, pairs, radius=5)
    assert float(away) > 1


def test_affinity_losses_have_their_minimum_at_the_right_end() -> None:
    labels = torch.zeros(1, 8, 9, dtype=torch.long)
    labels[..., 5:] = 1
    pairs = pair_sets(labels, num_classes=1, radius=3)
    ideal = torch.where(pairs.different, 0.0, 1.0)
    positive, negative = affinity_losses(ideal, pairs)
    assert float(positive) == pytest.approx(0, abs=1e-4) and float(negative) == pytest.approx(0, abs=1e-4)
    positive, negative = affinity_losses(1 - ideal, pairs)
    assert float(positive) == pytest.approx(-math.log(1e-5), rel=1e-3)
    assert float(negative) == pytest.approx(-math.log(1e-5), rel=1e-3)


def test_irn_losses_gradcheck() -> None:
    boundary = torch.rand(1, 5, 7, dtype=torch.float64, generator=generator()) * 0.8 + 0.1
    displacement = torch.randn(1, 2, 5, 7, dtype=torch.float64, generator=generator())
    labels = torch.randint(0, 3, (1, 5, 7), generator=generator())

    def total(b: Tensor, d: Tensor) -> Tensor:
        return irn_total(irn_losses(pair_affinity(b, 3), d, labels, num_classes=2, radius=3))

    assert torch.autograd.gradcheck(total, (boundary.requires_grad_(), displacement.requires_grad_()))


@pytest.mark.parametrize(
    ("size", "label"),
    [
        ((1, 6, 8), 255),
        ((0, 6, 8), 0),
        ((1, 1, 1), 1),
        ((1, 1, 1), 0),
        ((2, 5, 5), 1),
        ((1, 3, 40), 1),
        ((1, 40, 4), 1),
    ],
)
def test_without_a_pair_all_losses_are_zero_with_a_graph(size: tuple[int, int, int], label: int) -> None:
    """All ignored, no frame, one cell, and frames smaller than the path radius in one direction or both."""
    radius = 5 if label == 1 else 3
    labels = torch.full(size, label)
    boundary, displacement = torch.rand(size, requires_grad=True), torch.rand(size[0], 2, *size[1:], requires_grad=True)
    alpha = pair_affinity(boundary, radius)
    losses = irn_losses(alpha, displacement, labels, num_classes=4, radius=radius)
    valid = labels <= 4
    losses["flow"] = flow_boundary_loss(alpha, torch.rand(size[0], 2, *size[1:]), valid, labels, radius=radius)
    assert [loss.item() for loss in losses.values()] == [0] * 5
    sum(losses.values()).backward()
    for leaf in (boundary, displacement):
        assert leaf.grad is not None and leaf.grad.abs().sum() == 0


@pytest.mark.parametrize("boundary_value", [0.0, 1.0])
def test_all_background_and_saturated_boundaries_have_finite_losses(boundary_value: float) -> None:
    """All background: only the two background terms act; a boundary of exactly 0 or 1 gives no infinite gradient."""
    boundary = torch.full((1, 8, 10), boundary_value, requires_grad=True)
    displacement = torch.rand(1, 2, 8, 10, requires_grad=True)
    alpha = pair_affinity(boundary, 3)
    labels = torch.zeros(1, 8, 10, dtype=torch.uint8)
    losses = irn_losses(alpha, displacement, labels, num_classes=4, radius=3)
    assert losses["affinity_negative"].item() == losses["displacement_foreground"].item() == 0
    wanted = -math.log(1.00001) if boundary_value == 0 else -math.log(1e-5)
    assert losses["affinity_positive"].item() == pytest.approx(wanted / 2, abs=1e-6)
    (irn_total(losses) + flow_boundary_loss(alpha, torch.rand(1, 2, 8, 10), radius=3)).backward()
    assert boundary.grad is not None and bool(boundary.grad.isfinite().all())
    labels[:] = 1
    losses = irn_losses(alpha.detach(), displacement, labels, num_classes=4, radius=3)
    assert losses["affinity_positive"].item() == pytest.approx(wanted / 2, abs=1e-6)


def test_labels_are_sampled_at_4i_plus_2() -> None:
    labels = torch.arange(12)[:, None] * 100 + torch.arange(10)
    assert downsample_labels(labels).tolist() == [[202, 206, 209], [602, 606, 609], [1002, 1006, 1009]]
    assert downsample_labels(torch.zeros(2, 512, 512, dtype=torch.uint8)).shape == (2, 128, 128)
    assert downsample_labels(torch.tensor([[7]])).tolist() == [[7]]


def test_only_the_affinity_gets_a_gradient() -> None:
    boundary = torch.rand(1, 6, 8, dtype=torch.float64, generator=generator()).requires_grad_()
    flow = torch.randn(1, 2, 6, 8, dtype=torch.float64, generator=generator(), requires_grad=True)
    flow_boundary_loss(pair_affinity(boundary, 3), flow, radius=3).backward()
    assert flow.grad is None and boundary.grad is not None and boundary.grad.abs().sum() > 0


@pytest.mark.parametrize("reduce", ["mean", "sum_j_mean_i"])
@pytest.mark.parametrize("pair_cost", ["endpoint", "path_max"])
def test_flow_boundary_loss_gradcheck(pair_cost: Any, reduce: Any) -> None:
    boundary = torch.rand(1, 5, 7, dtype=torch.float64, generator=generator()) * 0.8 + 0.1
    flow = torch.randn(1, 2, 5, 7, dtype=torch.float64, generator=generator())
    options: dict[str, Any] = {"radius": 3, "pair_cost": pair_cost, "reduce": reduce}
    assert torch.autograd.gradcheck(
        lambda b: flow_boundary_loss(pair_affinity(b, 3), flow, **options), (boundary.requires_grad_(),)
    )


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6), st.sampled_from(["forward", "central", "sobel"]))
@settings(max_examples=30, deadline=None)
def test_affine_flow_has_no_difference_under_the_jacobian(numbers: list[float], difference: Any) -> None:
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(11.0), indexing="ij")
    a, b, c, d, e, f = numbers
    flow = torch.stack([a + b * columns + c * rows, d + e * columns + f * rows])[None].double()
    gradient, usable = flow_gradient(flow, difference=difference)
    g, counted = gradient_differences(gradient, usable, radius=5)
    assert counted.all() and float(g.max()) < 1e-4


def test_lambda_is_the_threshold_on_g() -> None:
    flow = torch.zeros(1, 2, 6, 12)
    flow[:, 0, :, 6:] = 10.0
    for lambda_, sign in ((9.0, 1), (11.0, -1)):
        alpha = torch.full((1, 4, 5, 10), 0.5, requires_grad=True)
        flow_boundary_loss(alpha, flow, radius=2, lambda_=lambda_).backward()
        position = ordered_directions(2).index((0, 1))
        # Source column 4 -> 5: F' jumps from 0 to 10 there (window starts at column 1).
        assert alpha.grad is not None and alpha.grad[0, position, 2, 3].sign() == sign


def test_invalid_cells_drop_their_pairs() -> None:
    alpha = torch.rand(1, 8, 5, 6, generator=generator())
    flow = torch.randn(1, 2, 7, 10, generator=generator(1))
    radius = 3
    assert len(ordered_directions(radius)) == 12
    alpha = torch.rand(1, 12, 5, 6, generator=generator())
    valid = torch.ones(1, 7, 10, dtype=torch.bool)
    valid[:, :, 5:] = False
    changed = flow.clone()
    changed[..., 5:] = 1e6
    first = flow_boundary_loss(alpha, flow, valid, radius=radius)
    assert torch.equal(first, flow_boundary_loss(alpha, changed, valid, radius=radius))
    nothing = flow_boundary_loss(alpha.requires_grad_(), flow, valid & False, radius=radius)
    assert nothing.item() == 0
    nothing.backward()


def test_foreground_pairs_only() -> None:
    flow = torch.randn(1, 2, 7, 10, generator=generator(1))
    alpha = torch.rand(1, 12, 5, 6, generator=generator())
    everywhere = torch.ones(1, 7, 10, dtype=torch.long)
    options: dict[str, Any] = {"radius": 3, "pairs": "fg_only", "num_classes": 5}
    complete = flow_boundary_loss(alpha, flow, radius=3)
    assert torch.equal(flow_boundary_loss(alpha, flow, labels=everywhere, **options), complete)
    assert float(flow_boundary_loss(alpha, flow, labels=everywhere * 255, **options)) == 0
    message = "the flow-boundary loss with pairs 'fg_only' needs the label map; use pairs 'all' without one"
    with pytest.raises(WsvisError, match=f"^{message}$"):
        flow_boundary_loss(alpha, flow, **options)


def test_sum_over_neighbours_counts_each_source_once() -> None:
    flow = torch.randn(1, 2, 7, 10, generator=generator(1))
    alpha = torch.rand(1, 12, 5, 6, generator=generator())
    mean = flow_boundary_loss(alpha, flow, radius=3)
    torch.testing.assert_close(flow_boundary_loss(alpha, flow, radius=3, reduce="sum_j_mean_i"), mean * 12)


def test_clip_limits_g() -> None:
    flow = torch.zeros(1, 2, 6, 12)
    flow[:, 0, :, 6:] = 1000.0
    alpha = torch.ones(1, 4, 5, 10)
    clipped = flow_boundary_loss(alpha, flow, radius=2)
    free = flow_boundary_loss(alpha, flow, radius=2, clip=None)
    torch.testing.assert_close(free, clipped * 50)


@pytest.mark.parametrize("factor", [0.05, 7.0])
def test_quantile_scale_makes_the_loss_independent_of_the_flow_unit(factor: float) -> None:
    flow = torch.randn(2, 2, 7, 10, dtype=torch.float64, generator=generator(1))
    alpha = torch.rand(2, 12, 5, 6, dtype=torch.float64, generator=generator())
    losses = [
        flow_boundary_loss(alpha, scaled, radius=3, gradient_scale="quantile") for scaled in (flow, flow * factor)
    ]
    torch.testing.assert_close(losses[0], losses[1])
    doubled = flow_boundary_loss(alpha, flow * 2, radius=3)
    torch.testing.assert_close(flow_boundary_loss(alpha, flow, radius=3, gradient_scale=2.0), doubled)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": "some"}, "pairs 'some' is not one of all, fg_only"),
        ({"reduce": "max"}, "reduce 'max' is not one of mean, sum_j_mean_i"),
        ({"pair_cost": "mid"}, "pair_cost 'mid' is not one of endpoint, path_max"),
        ({"fprime": "curl"}, "fprime 'curl' is not one of jacobian, magnitude, partials"),
        ({"difference": "back"}, "difference 'back' is not one of forward, central, sobel"),
        ({"gradient_scale": "auto"}, "gradient_scale 'auto' is neither a number nor 'quantile'"),
    ],
)
def test_unknown_choices_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(WsvisError, match=f"^{message}$"):
        flow_boundary_loss(torch.ones(1, 4, 5, 10), torch.zeros(1, 2, 6, 12), radius=2, **options)


def test_the_toy_of_the_flow_boundary_loss_golden_b5() -> None:
    """40 x 40 cells, a motion step at column 20, only Eq. 3: who forms a boundary (appendix B.5)."""
    cases = [("endpoint", 10.0), ("endpoint", 4.0), ("path_max", 3.0), ("path_max", 4.0)]
    logits = torch.full((len(cases), 40, 40), -2.0, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.1)
    costs = []
    for pair_cost, step in cases:
        flow = torch.zeros(1, 2, 40, 40)
        flow[:, 0, :, 20:] = step
        costs.append(gradient_differences(*flow_gradient(flow), radius=10, pair_cost=pair_cost)[0][0])
    g = torch.stack(costs)
    for _ in range(300):
        optimiser.zero_grad()
        alpha = pair_affinity(logits.sigmoid(), 10)
        (100 * (2.0 + alpha * (g - 2.0)).mean(dim=(1, 2, 3)).sum()).backward()
        optimiser.step()
    boundary = logits.sigmoid().detach()
    interface = boundary[:, 10:30, 18:21].amax(dim=2).mean(dim=1)
    assert interface[0] == pytest.approx(0.99, abs=0.02)
    assert interface[1] == pytest.approx(0.0, abs=0.02)
    assert interface[2] == pytest.approx(0.99, abs=0.02)
    assert interface[3] > 0.9
    assert boundary[:, 10:30, 12:14].max() < 0.05
