"""Random state as a pure function of (seed, iteration): nothing to save, nothing to restore.

Every batch, augmentation and in-network sampling of iteration i depends on the seed and i alone, so a run that was
killed and resumed from a checkpoint of weights, optimiser and i goes on bit for bit as if it had not been.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def generator(*key: int | str) -> np.random.Generator:
    """A numpy generator named by a key such as (seed, "cam", iteration, slot)."""
    return np.random.default_rng(_entropy(key))


def seed_torch(*key: int | str) -> None:
    """Seed torch's global generator (used inside torchvision's samplers) from a key."""
    torch.manual_seed(_entropy(key) % 2**63)


def _entropy(key: tuple[int | str, ...]) -> int:
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:16], "big")


def batch_indices(count: int, batch_size: int, iteration: int, *key: int | str) -> np.ndarray:
    """Which of `count` items make the batch of an iteration: a new shuffle per epoch, the last short batch dropped.

    → (batch_size,) int64. With fewer items than a batch holds, the shuffle is repeated until the batch is full.
    """
    if count == 0:
        raise ValueError("no items to draw a batch from")
    per_epoch = batches_per_epoch(count, batch_size)
    epoch, position = divmod(iteration, per_epoch)
    order = generator(*key, "epoch", epoch).permutation(count)
    return (
        np.resize(order[position * batch_size :], batch_size)
        if count < batch_size
        else (order[position * batch_size : (position + 1) * batch_size])
    )


def batches_per_epoch(count: int, batch_size: int) -> int:
    """Full batches in `count` items, at least one."""
    return max(count // batch_size, 1)


def torch_generator(*key: int | str) -> torch.Generator:
    """A CPU torch generator named by a key."""
    return torch.Generator().manual_seed(_entropy(key) % 2**63)
