"""The sparse random walk that spreads instance seeds over an image, stopped by boundaries."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.nn.functional import pad

from wsvis_core.errors import WsvisError
from wsvis_core.flowirn.paths import ordered_directions, path_maximum, reach


def random_walk(
    seeds: Tensor, boundary: Tensor, *, radius: float = 5, beta: float = 10.0, exp_times: int = 8
) -> Tensor:
    """Seeds after `2^exp_times` steps of the walk: `y = (x * (1 - B)) T^(2^exp_times)`.

    seeds (S, h, w) >= 0 · boundary B (h, w) in 0..1 · result (S, h, w), same dtype (half precision is computed
    in float32). Every output value is a convex combination of the values of `x * (1 - B)` of the same seed, so
    no seed can exceed its own maximum. Seeds that are zero everywhere stay zero and cost nothing.
    """
    if exp_times < 0:
        raise WsvisError(f"exp_times {exp_times} is negative; the walk takes 2^exp_times steps")
    dtype = seeds.dtype if seeds.dtype in (torch.float32, torch.float64) else torch.float32
    start = (seeds.to(dtype) * (1 - boundary.to(dtype))).flatten(1)
    active = start.ne(0).any(dim=1)
    result = torch.zeros_like(start)
    if active.any():
        matrix = transposed_transition_matrix(boundary.to(dtype), radius=radius, beta=beta)
        # The constant keeps the empty part of the map away from denormal numbers, which are ~100 times slower.
        # Rows of the matrix sum to 1, so it passes through the walk unchanged.
        constant = torch.finfo(dtype).tiny ** 0.5
        state = start[active].t().contiguous() + constant
        for _ in range(2**exp_times):
            state = matrix @ state
        result[active] = torch.where(state > 2 * constant, state - constant, 0).t()
    return result.view(seeds.shape).to(seeds.dtype)


def transposed_transition_matrix(boundary: Tensor, *, radius: float = 5, beta: float = 10.0) -> Tensor:
    """The walk's matrix, transposed: sparse CSR (hw, hw), entry `[j, i] = T_ij = a_ij^beta / sum_i a_ij^beta`.

    boundary (h, w) in 0..1. `a_ij = 1 - max B on the path from i to j` for cells closer than `radius`,
    `a_ii = 1`, 0 elsewhere; cells outside the map count as boundary 1. T's columns, the rows here, sum to 1.
    At most 69 entries per row at radius 5.
    """
    if not beta > 0:
        raise WsvisError(f"beta {beta} must be greater than 0")
    height, width = boundary.shape
    strengths, offsets = _neighbour_strengths(boundary, radius, beta)
    totals = strengths.sum(dim=-1, keepdim=True)
    weights = strengths / totals
    # Weights this small change no result, and their products with small values would be denormal.
    kept = weights > torch.finfo(boundary.dtype).tiny ** 0.5
    cells = torch.arange(height * width, device=boundary.device).unsqueeze(-1)
    columns = (cells + offsets).masked_select(kept)
    row_starts = torch.zeros(height * width + 1, dtype=torch.int64, device=boundary.device)
    row_starts[1:] = kept.sum(dim=-1).cumsum(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
        return torch.sparse_csr_tensor(
            row_starts,
            columns,
            weights.masked_select(kept),
            (height * width, height * width),
            check_invariants=False,
        )


def _neighbour_strengths(boundary: Tensor, radius: float, beta: float) -> tuple[Tensor, Tensor]:
    """`a^beta` of each cell with each neighbour (hw, n) and the neighbours' flat index offsets (n,), ascending."""
    height, width = boundary.shape
    margin = reach(radius)
    padded = pad(boundary, (margin, margin, 0, margin), value=1.0)
    affinities = (1 - path_maximum(padded, radius)).clamp_min(0).pow(beta)
    by_offset: list[tuple[int, int, Tensor]] = [(0, 0, torch.ones_like(boundary))]
    for (dy, dx), affinity in zip(ordered_directions(radius), affinities, strict=True):
        by_offset.append((dy, dx, affinity))
        by_offset.append((-dy, -dx, _shifted(affinity, dy, dx)))
    by_offset.sort(key=lambda item: item[:2])
    strengths = torch.stack([strength.flatten() for _, _, strength in by_offset], dim=-1)
    offsets = torch.tensor([dy * width + dx for dy, dx, _ in by_offset], device=boundary.device)
    return strengths, offsets


def _shifted(values: Tensor, dy: int, dx: int) -> Tensor:
    """`result(y, x) = values(y - dy, x - dx)`, 0 where that lies outside; `dy >= 0`."""
    height, width = values.shape
    result = torch.zeros_like(values)
    if dy < height and abs(dx) < width:
        left, right = max(0, dx), width + min(0, dx)
        result[dy:, left:right] = values[: height - dy, left - dx : right - dx]
    return result
