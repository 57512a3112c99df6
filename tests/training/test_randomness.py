from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.training.randomness import batch_indices, batches_per_epoch, generator, seed_torch, torch_generator


def draws(*key) -> tuple[float, ...]:
    return tuple(generator(*key).random(3))


def test_a_key_names_one_stream():
    keys = [(0,), (1,), (0, "cam"), (0, "cam", 1), (0, "cam", 11), (0, "cam", 1, 1), ("0", "cam", 1), (0, "ca", "m1")]
    assert len({draws(*key) for key in keys}) == len(keys)
    assert draws(0, "cam", 1) == draws(0, "cam", 1)


def test_streams_are_the_same_in_another_process():
    code = "from wsvis_core.training.randomness import generator, torch_generator as t; import torch; "
    code += "print(generator(3, 'x').integers(1 << 40), int(torch.randint(1 << 40, (1,), generator=t(3, 'x'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    numbers = (
        generator(3, "x").integers(1 << 40),
        int(torch.randint(1 << 40, (1,), generator=torch_generator(3, "x"))),
    )
    assert done.stdout.split() == [str(number) for number in numbers]


def test_seed_torch_sets_the_global_generator():
    first = [torch.rand(2) for _ in range(2) if seed_torch(5, "step", 1) is None]
    assert torch.equal(*first)
    seed_torch(5, "step", 2)
    assert not torch.equal(torch.rand(2), first[0])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 3), st.integers(0, 5))
def test_an_epoch_shows_every_item_at_most_once_and_nearly_all(count, batch_size, epoch, seed):
    per_epoch = batches_per_epoch(count, batch_size)
    batches = [batch_indices(count, batch_size, epoch * per_epoch + i, seed, "x") for i in range(per_epoch)]
    assert all(batch.shape == (batch_size,) for batch in batches)
    seen = np.concatenate(batches)
    assert set(seen) <= set(range(count))
    if count >= batch_size:
        assert len(set(seen)) == len(seen) > count - batch_size
    else:
        assert set(seen) == set(range(count)) and np.bincount(seen).max() - np.bincount(seen).min() <= 1


def test_epochs_and_keys_are_shuffled_differently():
    orders = [batch_indices(50, 50, epoch, seed, name) for epoch in (0, 1) for seed in (0, 1) for name in "ab"]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_a_batch_is_a_function_of_its_iteration_alone():
    forwards = [tuple(batch_indices(10, 3, i, 0)) for i in range(9)]
    assert [tuple(batch_indices(10, 3, i, 0)) for i in reversed(range(9))] == forwards[::-1]


def test_nothing_to_draw_from():
    with pytest.raises(ValueError, match="no items to draw a batch from"):
        batch_indices(0, 4, 0, 0)
