"""Learning-rate schedules as factors of the base rate, and optimisers by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

Schedule = Callable[[int], float]


def polynomial(iterations: int, power: float) -> Schedule:
    """(1 − i/iterations)^power: IRN's schedule (§1.2), 0 at the end."""
    return lambda iteration: (1 - iteration / iterations) ** power


def warmup_and_steps(iterations: int, *, warmup: int, steps: Sequence[float], gamma: float) -> Schedule:
    """Linear warm-up from 1/1000, then ×gamma after each share of the run in `steps` (§3.10)."""

    def factor(iteration: int) -> float:
        drops = sum(iteration >= share * iterations for share in steps)
        rise = min(1.0, 1e-3 + (1 - 1e-3) * iteration / warmup) if warmup else 1.0
        return rise * gamma**drops

    return factor


def build_optimizer(
    kind: str, groups: list[dict[str, Any]], *, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """SGD or AdamW over parameter groups `{"params": …, "lr": …}`; parameters that need no gradient are left out."""
    kept = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]
    kept = [group for group in kept if group["params"]]
    if kind == "sgd":
        return torch.optim.SGD(kept, momentum=momentum, weight_decay=weight_decay)
    return torch.optim.AdamW(kept, weight_decay=weight_decay)
