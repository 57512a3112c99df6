"""Path maxima, the random walk and clustering beside the published scheme."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks import published, scenes
from benchmarks.case import Call, Case
from wsvis_core.flowirn.instances import cluster_cells, track_centroids
from wsvis_core.flowirn.losses import affinity_losses, pair_affinity, pair_sets
from wsvis_core.flowirn.random_walk import random_walk

Walk = Callable[[Tensor, Tensor], Tensor]


def _walk(boundary: Callable[[], Tensor], alternative: Walk) -> Callable[[], tuple[Call, Call]]:
    def prepare() -> tuple[Call, Call]:
        seeds, walls = scenes.random_seeds(), boundary()
        random_walk(seeds[:, :9, :9], walls[:9, :9])
        return (lambda: random_walk(seeds, walls)), (lambda: alternative(seeds, walls))

    return prepare


def _walk_error(boundary: Callable[[], Tensor]) -> Callable[[], str]:
    """Against 256 products with the published matrix in float64."""

    def check() -> str:
        seeds, walls = scenes.random_seeds(), boundary()
        error = (random_walk(seeds, walls) - published.csr_walk(seeds.double(), walls.double())).abs().max()
        return f"{float(error):.0e}"

    return check


def _affinity() -> tuple[Call, Call]:
    generator = torch.Generator().manual_seed(0)
    boundary = (torch.rand(1, 128, 128, generator=generator) * 0.98 + 0.01).requires_grad_()
    labels = torch.randint(0, 3, (1, 16, 16), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    pairs = pair_sets(labels, num_classes=2, radius=10)
    indices = published.path_indices(128, 128, 10)

    def ours() -> Tensor:
        affinity = pair_affinity(boundary, 10)
        return torch.autograd.grad(sum(affinity_losses(affinity, pairs)), boundary)[0]

    def gather() -> Tensor:
        affinity = published.gathered_affinity(boundary, indices).view(pairs.background.shape)
        return torch.autograd.grad(published.affinity_loss(affinity, pairs), boundary)[0]

    return ours, gather


def _affinity_error() -> str:
    mine, theirs = (call() for call in _affinity())
    return f"{float((mine - theirs).abs().max() / theirs.abs().max()):.0e} of the largest gradient"


def _grouping(field: Callable[[], Tensor]) -> Callable[[], tuple[Call, Call]]:
    def prepare() -> tuple[Call, Call]:
        displacement = field()
        array = displacement.numpy()

        def ours() -> np.ndarray:
            return cluster_cells(displacement, track_centroids(displacement)).numpy()

        return ours, (lambda: published.clusters(array, published.centroids(array)))

    return prepare


def _grouping_error(field: Callable[[], Tensor]) -> Callable[[], str]:
    def check() -> str:
        mine, theirs = (call() for call in _grouping(field)())
        return f"{np.mean(mine != theirs):.2%} of cells"

    return check


def _walk_cases() -> list[Case]:
    maps = {"random": scenes.random_boundaries, "closed": scenes.closed_contours}
    compared: list[tuple[str, str, Walk, int]] = [
        ("random", "dense matrix, 8 squarings", published.dense_walk, 1),
        ("random", "SciPy CSR, 256 products", published.csr_walk, 3),
        ("closed", "SciPy CSR, 256 products", published.csr_walk, 3),
        ("closed", "torch CSR, 256 products", published.torch_csr_walk, 3),
    ]
    return [
        Case(
            f"random walk, 72×128 cells, 8 seeds, {name} boundaries",
            alternative,
            _walk(maps[name], walk),
            (5, repeats),
            memory=True,
            error=_walk_error(maps[name]),
        )
        for name, alternative, walk, repeats in compared
    ]


def _grouping_cases() -> list[Case]:
    fields = {
        "6 centres, little noise": lambda: scenes.centre_field(0.05),
        "6 centres, much noise": lambda: scenes.centre_field(0.5),
        "small random vectors": scenes.small_random_field,
    }
    return [
        Case(
            f"clusters, 72×128 cells, {name}",
            "300 NumPy steps, then clusters",
            _grouping(field),
            error=_grouping_error(field),
        )
        for name, field in fields.items()
    ]


STAGE1_CASES = [
    *_walk_cases(),
    Case(
        "affinity losses, 128×128, radius 10, forward + backward",
        "index selection, then max pooling",
        _affinity,
        memory=True,
        error=_affinity_error,
    ),
    *_grouping_cases(),
]
