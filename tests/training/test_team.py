"""What processes that train together tell each other; alone there is nothing to tell."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wsvis_core.training.team import ALONE, Team, share_of


def test_alone_everything_stays_as_it_is():
    model = nn.Linear(2, 1)
    before = [p.detach().clone() for p in model.parameters()]
    assert ALONE.leads and ALONE.gather({"a": 1}) == [{"a": 1}]
    assert [ALONE.any(flag) for flag in (False, True)] == [False, True]
    ALONE.share_weights(model)
    ALONE.add_gradients(model)
    assert all(torch.equal(p, q) and p.grad is None for p, q in zip(model.parameters(), before, strict=True))


def test_only_the_first_leads():
    assert [Team(rank, 3).leads for rank in range(3)] == [True, False, False]


@pytest.mark.parametrize(("size", "batches"), [(1, 1), (1, 4), (2, 2), (2, 5), (3, 4), (4, 4)])
def test_every_batch_of_a_step_has_one_owner(size, batches):
    shares = [list(share_of(rank, size, batches)) for rank in range(size)]
    assert sorted(number for share in shares for number in share) == list(range(batches))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
