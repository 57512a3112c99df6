"""Several processes that take the steps of one training run together, each with a share of the batches of a step.

The batches of a step (`accumulate` of them) are what is shared: rank r of N takes batches r, r + N, … of each step, and
the gradients of all are added. Every batch is a pure function of its number and draws from random numbers seeded by it,
so a step is the same sum whatever the number of processes, up to the order of the summands.

The gradients are added here, after the backward passes, and not by DistributedDataParallel inside them: before anything
is added the processes have told each other whether a loss was finite, so that one bad batch ends all of them with its
message instead of leaving the others waiting; and a batch need not reach every parameter. The price is that adding does
not overlap with the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Team:
    """Process `rank` of `size`; rank 0 leads: it alone writes files, shows progress and is asked to stop.

    With one process every method gives back what it was given. The methods of larger teams wait for all processes,
    which must call them in the same order, and raise RuntimeError when one of them has ended.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank. Plain values only: they travel over the CPU."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def any(self, flag: bool) -> bool:
        """Is the flag set in any process? The same answer in all of them."""
        if self.size == 1:
            return flag
        votes = torch.tensor(int(flag))
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return bool(votes)

    def share_weights(self, model: nn.Module) -> None:
        """Give every process the weights and buffers of the leading one."""
        if self.size > 1:
            for value in model.state_dict().values():
                _broadcast(value)

    def add_gradients(self, model: nn.Module) -> None:
        """Turn each gradient into the sum over the processes; a parameter that none has a gradient of keeps None."""
        if self.size == 1:
            return
        parameters = [p for p in model.parameters() if p.requires_grad]
        reached = self.gather([p.grad is not None for p in parameters])
        wanted = [p for p, *found in zip(parameters, *reached, strict=True) if any(found)]
        for p in wanted:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        _add_up([p.grad for p in wanted if p.grad is not None])


ALONE = Team()


def share_of(rank: int, size: int, batches: int) -> range:
    """Which of the `batches` of a step, 0 … batches - 1, a process takes."""
    return range(rank, batches, size)


def _broadcast(value: Tensor) -> None:
    """Overwrite `value` with that of rank 0, whatever its memory layout."""
    contiguous = value.contiguous()
    dist.broadcast(contiguous, src=0)
    value.copy_(contiguous)


def _add_up(gradients: Sequence[Tensor]) -> None:
    """Sum over the processes, in place; one message, since each has a cost of its own."""
    if not gradients:
        return
    together = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(together)
    parts = together.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
