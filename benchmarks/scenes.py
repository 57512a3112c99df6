"""Made-up boundary maps, displacement fields and CAMs that look like those of a frame."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

CELLS = (72, 128)
SEEDS = 8
OBJECTS = 6


def random_boundaries() -> Tensor:
    """Independent values, most of them low: (h, w)."""
    return torch.rand(*CELLS, generator=_generator()) ** 3


def closed_contours() -> Tensor:
    """Thin ellipses of 0.9 on almost nothing: (h, w)."""
    boundary = 0.02 + 0.02 * torch.rand(*CELLS, generator=_generator())
    for centre, radii in _ellipses():
        cells_away = (_relative_radius(centre, radii) - 1) * radii.min()
        boundary = torch.maximum(boundary, 0.9 * torch.exp(-((cells_away / 0.9) ** 2)))
    return boundary


def random_seeds() -> Tensor:
    """(S, h, w) in 0..1."""
    return torch.rand(SEEDS, *CELLS, generator=_generator(1))


def centre_field(noise: float) -> Tensor:
    """Displacement (2, h, w): ellipses point to their centres, the rest is small and random; smooth noise on all."""
    generator = _generator()
    field = 0.5 * _smooth_noise(generator)
    for centre, radii in _ellipses():
        towards = centre.view(2, 1, 1) - _grid()
        field = torch.where(_relative_radius(centre, radii) < 1, 0.9 * towards, field)
    return field + noise * _smooth_noise(generator)


def small_random_field() -> Tensor:
    """Displacement (2, h, w) without any centre: independent vectors of 0.05 cells."""
    return 0.05 * torch.randn(2, *CELLS, generator=_generator())


def cams() -> Tensor:
    """CAMs of two classes over the ellipses, each less sure towards its border: (2, h, w) in 0..1."""
    result = torch.zeros(2, *CELLS)
    for number, (centre, radii) in enumerate(_ellipses()):
        inside = (1.2 - _relative_radius(centre, radii)).clamp(0, 1)
        result[number % 2] = torch.maximum(result[number % 2], inside)
    return result


def _ellipses() -> list[tuple[Tensor, Tensor]]:
    """Centres and radii (y, x) in cells."""
    generator = _generator(2)
    size = torch.tensor(CELLS)
    return [
        (torch.rand(2, generator=generator) * size, (0.12 + 0.2 * torch.rand(2, generator=generator)) * CELLS[0])
        for _ in range(OBJECTS)
    ]


def _relative_radius(centre: Tensor, radii: Tensor) -> Tensor:
    """Distance from the centre, 1 on the ellipse: (h, w)."""
    return torch.linalg.vector_norm((_grid() - centre.view(2, 1, 1)) / radii.view(2, 1, 1), dim=0)


def _smooth_noise(generator: torch.Generator) -> Tensor:
    return 5 * avg_pool2d(torch.randn(1, 2, *CELLS, generator=generator), 5, 1, 2)[0]


def _grid() -> Tensor:
    rows, columns = (torch.arange(float(size)) for size in CELLS)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
