"""The sparse random walk that spreads instance seeds over an image, stopped by boundaries."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.paths import ordered_directions, path_maximum, reach


def random_walk(
    seeds: Tensor, boundary: Tensor, *, radius: float = 5, beta: float = 10.0, exp_times: int = 8
) -> Tensor:
    """Seeds after `2^exp_times` steps of the walk: `y = (x * (1 - B)) T^(2^exp_times)` (IRN, §1.10).

    seeds (S, h, w) >= 0 · boundary B (h, w) in 0..1 · result (S, h, w), same dtype. Every output value is a convex
    combination of the values of `x * (1 - B)` of the same seed, so no seed can exceed its own maximum. Seeds that are
    zero everywhere stay zero and cost nothing.

    Computed in float64, since 256 steps add up the rounding of float32 to 1e-4. Off by less than 1e-6 of a seed's
    maximum for float32 seeds, 1e-12 for float64. T has real eigenvalues in -1..1, so its power is a short sum of
    Chebyshev polynomials, `T_k(M) = 2 M T_(k-1)(M) - T_(k-2)(M)`: 96 sparse products instead of 256.
    """
    if exp_times < 0:
        raise WsvisError(f"exp_times {exp_times} is negative; the walk takes 2^exp_times steps")
    dtype = seeds.dtype if seeds.dtype == torch.float64 else torch.float32
    negligible = torch.finfo(dtype).eps / 100
    start = (seeds.double() * (1 - boundary.double())).flatten(1)
    active = start.ne(0).any(dim=1)
    result = torch.zeros_like(start)
    if active.any():
        matrix = transposed_transition_matrix(boundary.double(), radius=radius, beta=beta, smallest=negligible / 100)
        state = start[active].t().contiguous()
        walked = _sum_of_polynomials(matrix, state, power_coefficients(2**exp_times, negligible))
        result[active] = walked.clamp_min_(0).minimum(state.amax(dim=0)).t()
    return result.view(seeds.shape).to(seeds.dtype)


def _sum_of_polynomials(matrix: Tensor, state: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """`sum_k coefficients[k] T_k(matrix) state` for a matrix whose rows sum to 1, values below 1e-153 set to 0."""
    # The constant keeps the empty part of the map away from denormal numbers, which are ~100 times slower.
    # Rows of the matrix sum to 1, so every polynomial passes it through unchanged.
    constant = torch.finfo(state.dtype).tiny ** 0.5
    previous = state + constant
    total = coefficients[0] * previous
    current = matrix @ previous
    for number, coefficient in enumerate(coefficients[1:], start=1):
        if number > 1:
            previous.addmm_(matrix, current, beta=-1, alpha=2)
            previous, current = current, previous
        if coefficient:
            total.add_(current, alpha=coefficient)
    return torch.where(total > 2 * constant, total - constant, 0)


@lru_cache(maxsize=16)
def power_coefficients(steps: int, smallest: float) -> tuple[float, ...]:
    """`c_0 .. c_K` with `x^steps = sum_k c_k T_k(x)` for x in -1..1, T_k the Chebyshev polynomials.

    c_k is the chance that `steps` coin tosses differ by k between heads and tails, so those far above
    `4 sqrt(steps)` vanish: the sum ends before the first that is below `smallest` (or at `k = steps`).
    """
    first = steps % 2
    central = math.comb(steps, steps // 2) / 2**steps
    coefficients = [0.0, 2 * central] if first else [central]
    value = 2 * central
    for k in range(first, steps, 2):
        value *= (steps - k) / (steps + k + 2)
        if value < smallest:
            break
        coefficients += [0.0, value]
    return tuple(coefficients)


def transposed_transition_matrix(
    boundary: Tensor, *, radius: float = 5, beta: float = 10.0, smallest: float = 0.0
) -> Tensor:
    """The walk's matrix, transposed: sparse CSR (hw, hw), entry `[j, i] = T_ij = a_ij^beta / sum_i a_ij^beta`.

    boundary (h, w) in 0..1. `a_ij = 1 - max B on the path from i to j` for cells closer than `radius`,
    `a_ii = 1`, 0 elsewhere; cells outside the map count as boundary 1. T's columns, the rows here, sum to 1.
    At most 69 entries per row at radius 5, less those below `smallest`, which stay at the cell. Indices are int32.
    """
    if not beta > 0:
        raise WsvisError(f"beta {beta} must be greater than 0")
    strengths, offsets = _neighbour_strengths(boundary, radius, beta)
    weights = strengths.div_(strengths.sum(dim=0))
    kept = weights > smallest
    centre = len(offsets) // 2
    kept[centre] = True
    weights[centre] += torch.where(kept, 0, weights).sum(dim=0)
    weights, kept = weights.t(), kept.t()
    size = len(weights)
    cells = torch.arange(size, dtype=torch.int32, device=boundary.device).unsqueeze(-1)
    row_starts = torch.zeros(size + 1, dtype=torch.int32, device=boundary.device)
    row_starts[1:] = kept.sum(dim=-1).cumsum(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
        return torch.sparse_csr_tensor(
            row_starts, (cells + offsets)[kept], weights[kept], (size, size), check_invariants=False
        )


def _neighbour_strengths(boundary: Tensor, radius: float, beta: float) -> tuple[Tensor, Tensor]:
    """`a^beta` of each cell with each neighbour (n, hw) and the flat index offsets of the neighbours, int32 (n,)."""
    height, width = boundary.shape
    margin = reach(radius)
    padded = pad(boundary, (margin, margin, 0, margin), value=1.0)
    affinities = (1 - path_maximum(padded, radius)).clamp_min_(0).pow_(beta)
    directions = [((0, 0), None), *((direction, n) for n, direction in enumerate(ordered_directions(radius)))]
    both = [((dy, dx), n) for (dy, dx), n in directions] + [((-dy, -dx), n) for (dy, dx), n in directions[1:]]
    both.sort(key=lambda item: item[0])
    strengths = torch.zeros((len(both), height, width), dtype=boundary.dtype, device=boundary.device)
    for target, ((dy, dx), number) in zip(strengths, both, strict=True):
        if number is None:
            target.fill_(1)
        elif (dy, dx) > (0, 0):
            target.copy_(affinities[number])
        elif -dy < height and abs(dx) < width:
            left, right = max(0, -dx), width + min(0, -dx)
            target[-dy:, left:right] = affinities[number, : height + dy, left + dx : right + dx]
    offsets = torch.tensor([dy * width + dx for (dy, dx), _ in both], dtype=torch.int32, device=boundary.device)
    return strengths.flatten(1), offsets
