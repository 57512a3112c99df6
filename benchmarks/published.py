"""The published scheme of IRN, written plainly from its description (§1.5-1.10): what ours is measured against."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import label as connected_components
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from wsvis_core.flowirn.losses import PairSets
from wsvis_core.flowirn.paths import directions_by_path_length, ordered_directions, path_offsets, reach, source_window


def path_indices(height: int, width: int, radius: float) -> list[Tensor]:
    """Flat indices of all cells on all paths: int64 (directions, path length, sources) per path length."""
    window = source_window(height, width, radius)
    cells = torch.arange(height * width).view(height, width)
    return [
        torch.stack([torch.stack([window.view(cells, o).flatten() for o in path_offsets(d)]) for d in directions])
        for directions in directions_by_path_length(radius).values()
    ]


def gathered_affinity(boundary: Tensor, indices: list[Tensor]) -> Tensor:
    """`1 - max B` over every path, (B, P, sources), by index selection and max pooling."""
    flat, parts = boundary.flatten(1), []
    for index in indices:
        values = flat.index_select(1, index.flatten()).view(len(flat), *index.shape)
        parts.append(1 - max_pool2d(values, (index.shape[1], 1)).squeeze(2))
    return torch.cat(parts, dim=1)


def affinity_loss(affinity: Tensor, pairs: PairSets) -> Tensor:
    """`L_aff+ + L_aff-` over whole tensors."""
    attract, repel = -(affinity + 1e-5).log(), -(1 + 1e-5 - affinity).log()

    def mean(values: Tensor, mask: Tensor) -> Tensor:
        return (values * mask).sum() / (mask.sum() + 1e-5)

    return (mean(attract, pairs.background) + mean(attract, pairs.foreground)) / 2 + mean(repel, pairs.different)


def transition_entries(boundary: Tensor, radius: float = 5, beta: float = 10) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, columns and values of T, the dense matrix before it is one."""
    height, width = boundary.shape
    margin = reach(radius)
    padded = pad(boundary, (margin, margin, 0, margin), value=1.0)
    affinity = gathered_affinity(padded[None], path_indices(*padded.shape, radius))[0].flatten()
    cells = pad(torch.arange(height * width).view(height, width), (margin, margin, 0, margin), value=-1)
    window = source_window(*padded.shape, radius)
    sources = window.view(cells).flatten().repeat(len(ordered_directions(radius)))
    targets = torch.cat([window.view(cells, direction).flatten() for direction in ordered_directions(radius)])
    inside = targets >= 0
    i, j, a = sources[inside], targets[inside], affinity[inside] ** beta
    itself = torch.arange(height * width)
    rows, columns = torch.cat([i, j, itself]), torch.cat([j, i, itself])
    values = torch.cat([a, a, torch.ones(len(itself), dtype=a.dtype)])
    return rows, columns, values / torch.zeros(height * width, dtype=a.dtype).index_add_(0, columns, values)[columns]


def dense_walk(seeds: Tensor, boundary: Tensor) -> Tensor:
    """`(x * (1 - B)) T^256` by 8 squarings of the dense matrix."""
    rows, columns, values = transition_entries(boundary)
    size = boundary.numel()
    power = torch.zeros(size, size, dtype=boundary.dtype).index_put_((rows, columns), values)
    for _ in range(8):
        power = power @ power
    return ((seeds * (1 - boundary)).flatten(1) @ power).view_as(seeds)


def csr_walk(seeds: Tensor, boundary: Tensor) -> Tensor:
    """The same by 256 products with SciPy's CSR matrix."""
    matrix = csr_transposed(boundary)
    state = (seeds * (1 - boundary)).flatten(1).t().numpy().copy()
    for _ in range(256):
        state = matrix @ state
    return torch.from_numpy(state).t().reshape(seeds.shape)


def torch_csr_walk(seeds: Tensor, boundary: Tensor) -> Tensor:
    """The same by 256 products with torch's CSR matrix."""
    plain = csr_transposed(boundary)
    parts = (torch.from_numpy(part) for part in (plain.indptr, plain.indices, plain.data))
    matrix = torch.sparse_csr_tensor(*parts, plain.shape, check_invariants=True)
    state = (seeds * (1 - boundary)).flatten(1).t().contiguous()
    for _ in range(256):
        state = matrix @ state
    return state.t().reshape(seeds.shape)


def csr_transposed(boundary: Tensor) -> csr_matrix:
    """T transposed, so that its rows sum to 1."""
    rows, columns, values = (part.numpy() for part in transition_entries(boundary))
    return csr_matrix((values, (columns, rows)), (boundary.numel(),) * 2)


def centroids(displacement: np.ndarray, iterations: int = 300) -> np.ndarray:
    """Where every cell ends: 300 bilinear steps of the whole map, rounded, int (2, h, w)."""
    _, height, width = displacement.shape
    y, x = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
    for _ in range(iterations):
        top, bottom = np.floor(y).astype(np.int64), np.ceil(y).astype(np.int64)
        left, right = np.floor(x).astype(np.int64), np.ceil(x).astype(np.int64)
        down, along = y - top, x - left
        step_y, step_x = (
            (1 - down) * ((1 - along) * part[top, left] + along * part[top, right])
            + down * ((1 - along) * part[bottom, left] + along * part[bottom, right])
            for part in displacement
        )
        y = np.clip(y + step_y, 0, height - 1).astype(np.float32)
        x = np.clip(x + step_x, 0, width - 1).astype(np.float32)
    return np.stack([np.rint(y), np.rint(x)]).astype(np.int64)


def clusters(displacement: np.ndarray, ends: np.ndarray, threshold: float = 2.5) -> np.ndarray:
    """Weak region each cell ends in, ids 0 .. N-1: int (h, w)."""
    weak = np.sqrt((displacement**2).sum(axis=0)) < threshold
    regions, _ = connected_components(weak)
    return np.unique(regions[ends[0], ends[1]], return_inverse=True)[1].reshape(weak.shape)
