"""The losses of IRNet over pairs of stride-4 cells, and the flow-boundary loss (Eq. 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.flow_gradient import (
    GradientScale,
    gradient_differences,
    scaled_flow_gradient,
)
from wsvis_core.flowirn.paths import (
    destination_values,
    ordered_directions,
    path_maximum,
    source_values,
)

EPSILON = 1e-5
IGNORE = 255


@dataclass(frozen=True)
class PairSets:
    """Which pairs of cells supervise what: three bool masks (B, P, hs, ws), disjoint.

    background: both cells are background · foreground: both have the same class · different: two labels.
    """

    background: Tensor
    foreground: Tensor
    different: Tensor


def downsample_labels(labels: Tensor, stride: int = 4) -> Tensor:
    """Labels at stride-4 cells by nearest: `(..., H, W)` -> `(..., (H-1)//4+1, (W-1)//4+1)`, same dtype.

    Cell i takes pixel `4 i + 2` (the last pixel where that lies outside).
    """
    rows, columns = (
        torch.arange(0, size, stride, device=labels.device).add(stride // 2).clamp_max(size - 1)
        for size in labels.shape[-2:]
    )
    return labels[..., rows[:, None], columns]


def pair_sets(labels: Tensor, *, num_classes: int, radius: float) -> PairSets:
    """The pair sets of cell labels (B, h, w): 0 background, 1 .. num_classes classes, all else ignored."""
    labels = labels.long()
    # The published code compares with a fixed 21; the number of labels is num_classes + 1.
    labels = torch.where((labels >= 0) & (labels <= num_classes), labels, -1).to(torch.int16)
    source, destination = source_values(labels, radius), destination_values(labels, radius)
    valid = (source >= 0) & (destination >= 0)
    same = valid & (source == destination)
    return PairSets(same & (source == 0), same & (source > 0), valid & ~same)


def pair_affinity(boundary: Tensor, radius: float) -> Tensor:
    """Affinity of every pair, `alpha_ij = 1 - max B on the path from i to j` (Eq. 1).

    boundary (B, h, w) in 0..1 -> (B, P, hs, ws); with gradient.
    """
    return 1 - path_maximum(boundary, radius)


def affinity_losses(affinity: Tensor, pairs: PairSets) -> tuple[Tensor, Tensor]:
    """`(L_aff+, L_aff-)`, two scalars (§1.7): same-label pairs pull alpha to 1, different ones to 0.

    Means over the pairs of the whole batch; background and foreground pairs weigh one half each in `L_aff+`.
    """
    background, foreground, different = _AffinitySums.apply(affinity, pairs)
    positive = _mean(background, pairs.background) + _mean(foreground, pairs.foreground)
    return positive / 2, _mean(different, pairs.different)


class _AffinitySums(torch.autograd.Function):
    """Sums of `-ln(alpha + 1e-5)` over the background and the foreground pairs, of `-ln(1 + 1e-5 - alpha)` over others.

    One direction at a time: what lies between affinity and sums is computed anew for the gradient, not kept.
    """

    @staticmethod
    def forward(ctx: Any, affinity: Tensor, pairs: PairSets) -> tuple[Tensor, Tensor, Tensor]:
        sums = affinity.new_zeros(3)
        for alpha, background, foreground, different in _by_direction(affinity, pairs):
            attract, repel = (alpha + EPSILON).log_(), (1 + EPSILON - alpha).log_()
            sums -= torch.stack([(attract * background).sum(), (attract * foreground).sum(), (repel * different).sum()])
        ctx.save_for_backward(affinity)
        ctx.pairs = pairs
        return sums[0], sums[1], sums[2]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_background: Tensor, to_foreground: Tensor, to_different: Tensor) -> tuple[Tensor, None]:
        (affinity,) = ctx.saved_tensors
        gradient = torch.empty_like(affinity)
        parts = zip(gradient.unbind(1), _by_direction(affinity, ctx.pairs), strict=True)
        for target, (alpha, background, foreground, different) in parts:
            attracted = (background * to_background).addcmul_(foreground, to_foreground)
            target.copy_(different * to_different / (1 + EPSILON - alpha) - attracted / (alpha + EPSILON))
        return gradient, None


def _by_direction(affinity: Tensor, pairs: PairSets) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """`(alpha, background, foreground, different)` of each direction, (B, hs, ws) each."""
    return zip(
        *(part.unbind(1) for part in (affinity, pairs.background, pairs.foreground, pairs.different)), strict=True
    )


def displacement_losses(displacement: Tensor, pairs: PairSets, *, radius: float) -> tuple[Tensor, Tensor]:
    """`(L_dp_fg, L_dp_bg)`, two scalars (§1.7).

    displacement (B, 2, h, w), order (y, x), in cells. Foreground pairs shall point to one centroid,
    `p_i + D_i = p_j + D_j`, background pairs shall have equal displacement; L1, mean over pairs and coordinates.
    """
    steps = torch.tensor(ordered_directions(radius), device=displacement.device, dtype=displacement.dtype)
    distance = torch.zeros((), device=displacement.device, dtype=displacement.dtype)
    for axis in (0, 1):
        values = displacement[:, axis]
        difference = source_values(values, radius) - destination_values(values, radius)
        target = steps[:, axis, None, None] * pairs.foreground
        distance = distance + (difference - target).abs()
    # Two coordinates per pair; the constant keeps a set without pairs at 0.
    halves = [
        (distance * mask).sum() / (2 * mask.sum().to(distance.dtype) + EPSILON)
        for mask in (pairs.foreground, pairs.background)
    ]
    return halves[0], halves[1]


def irn_losses(
    affinity: Tensor, displacement: Tensor, labels: Tensor, *, num_classes: int, radius: float
) -> dict[str, Tensor]:
    """The four losses of IRN, each a scalar; their mean of halves is `irn_total`.

    affinity (B, P, hs, ws) from `pair_affinity` · displacement (B, 2, h, w) · labels (B, h, w) at stride 4.
    """
    pairs = pair_sets(labels, num_classes=num_classes, radius=radius)
    positive, negative = affinity_losses(affinity, pairs)
    foreground, background = displacement_losses(displacement, pairs, radius=radius)
    return {
        "affinity_positive": positive,
        "affinity_negative": negative,
        "displacement_foreground": foreground,
        "displacement_background": background,
    }


def irn_total(losses: dict[str, Tensor]) -> Tensor:
    """`L_IRN = (L_aff+ + L_aff-) / 2 + (L_dp_fg + L_dp_bg) / 2` from the dict of `irn_losses` (§1.7)."""
    return 0.5 * (
        losses["affinity_positive"]
        + losses["affinity_negative"]
        + losses["displacement_foreground"]
        + losses["displacement_background"]
    )


def flow_boundary_loss(
    affinity: Tensor,
    flow: Tensor,
    valid: Tensor | None = None,
    labels: Tensor | None = None,
    *,
    radius: float,
    lambda_: float = 2.0,
    weight: float = 1.0,
    fprime: Literal["jacobian", "magnitude", "partials"] = "jacobian",
    difference: Literal["forward", "central", "sobel"] = "forward",
    pair_cost: Literal["endpoint", "path_max"] = "endpoint",
    pairs: Literal["all", "fg_only"] = "all",
    reduce: Literal["mean", "sum_j_mean_i"] = "mean",
    clip: float | None = 20.0,
    gradient_scale: GradientScale = 1.0,
    quantile: float = 0.95,
    quantile_value: float = 4.0,
    num_classes: int = 254,
) -> Tensor:
    """`weight * L_F^B`, a scalar: neighbours with equal flow gradient share an instance (Eq. 3).

    Per pair `g_ij alpha_ij + lambda |1 - alpha_ij|` with `g_ij = |F'(i) - F'(j)|`: lambda is a threshold on g;
    below it a pair is pushed together, above it apart. Only alpha gets a gradient.

    affinity (B, P, hs, ws) from `pair_affinity` · flow (B, 2, h, w) at stride-4 cells from `flow_at_cells`, (dx, dy)
    in pixels that are *not* divided by the stride · valid bool (B, h, w), False on padding or unreliable flow;
    a pair that needs an invalid cell is dropped · labels (B, h, w), needed by `pairs="fg_only"`.

    - fprime, difference: see `flow_gradient`.
    - pair_cost: "endpoint" is the paper's; "path_max" takes the largest `|F'(i) - F'(k)|` over the path's cells k,
      so that a pair across a motion edge counts as different even when both its ends lie in smooth regions.
    - pairs: "all" within the radius, or "fg_only": both ends have a foreground label.
    - reduce: "mean" over the batch's pairs; "sum_j_mean_i" sums over a cell's partners, then takes the mean over cells
      that have one (each unordered pair counts once).
    - clip: upper limit on g, or None.
    - gradient_scale: factor on F' before all else. Since lambda = 2 means "2 units of g", a fixed number is right
      only for data whose motion edges it suits. "quantile" is scale-free: the factor that brings the `quantile` of
      `|F'|` over the batch's valid cells to `quantile_value` (default: the 95 % quantile to 4, twice lambda), at
      most 100; the same motion at any resolution or frame rate then gives the same loss.
      `quantile_gradient_scale` gives the number for a whole data set, to pass here as a float.
    """
    _check_choice("pairs", pairs, ("all", "fg_only"))
    _check_choice("reduce", reduce, ("mean", "sum_j_mean_i"))
    with torch.no_grad():
        gradient, usable = scaled_flow_gradient(
            flow,
            valid,
            fprime=fprime,
            difference=difference,
            gradient_scale=gradient_scale,
            quantile=quantile,
            quantile_value=quantile_value,
        )
        differences, counted = gradient_differences(gradient, usable, radius=radius, pair_cost=pair_cost)
        if clip is not None:
            differences = differences.clamp_max(clip)
        if pairs == "fg_only":
            counted = counted & _both_foreground(labels, radius, num_classes)
    cost = differences.to(affinity.dtype) * affinity + lambda_ * (1 - affinity).abs()
    total = (cost * counted).sum()
    # Paper silent: a sum over all neighbours would outweigh IRN's losses by two orders; the default is their mean.
    number = counted.any(dim=1).sum() if reduce == "sum_j_mean_i" else counted.sum()
    return weight * total / number.clamp_min(1)


def _both_foreground(labels: Tensor | None, radius: float, num_classes: int) -> Tensor:
    if labels is None:
        raise WsvisError("the flow-boundary loss with pairs 'fg_only' needs the label map; use pairs 'all' without one")
    foreground = (labels > 0) & (labels <= num_classes)
    return source_values(foreground, radius) & destination_values(foreground, radius)


def _mean(total: Tensor, mask: Tensor) -> Tensor:
    return total / (mask.count_nonzero().to(total.dtype) + EPSILON)


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise WsvisError(f"{name} '{value}' is not one of {', '.join(allowed)}")
