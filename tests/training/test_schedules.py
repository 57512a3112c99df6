from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from wsvis_core.training.schedules import build_optimizer, polynomial, warmup_and_steps


def test_polynomial_goes_from_one_to_zero():
    factor = polynomial(10, 0.9)
    values = [factor(i) for i in range(11)]
    assert values[0] == 1 and values[10] == 0 and values[5] == pytest.approx(0.5**0.9)
    assert values == sorted(values, reverse=True)


def test_the_papers_warm_up_and_drops():
    factor = warmup_and_steps(90_000, warmup=1000, steps=(0.75, 0.88), gamma=0.1)
    expected = {0: 1e-3, 500: 0.5005, 1000: 1, 67_499: 1, 67_500: 0.1, 79_199: 0.1, 79_200: 0.01, 89_999: 0.01}
    assert {i: factor(i) for i in expected} == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 500), st.integers(0, 600), st.lists(st.floats(0, 1), max_size=3), st.floats(0, 1))
def test_factors_stay_within_zero_and_one(iterations, warmup, steps, gamma):
    factor = warmup_and_steps(iterations, warmup=warmup, steps=steps, gamma=gamma)
    assert all(0 <= factor(i) <= 1 for i in range(iterations))


def test_no_warm_up():
    assert warmup_and_steps(10, warmup=0, steps=(), gamma=0.1)(0) == 1


def test_optimisers_take_groups_and_leave_frozen_parameters_out():
    free, frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    groups = [
        {"params": [*free.parameters(), *frozen.parameters()], "lr": 0.1},
        {"params": list(frozen.parameters()), "lr": 1.0},
    ]
    sgd = build_optimizer("sgd", groups, momentum=0.9, weight_decay=0.01)
    assert isinstance(sgd, torch.optim.SGD) and len(sgd.param_groups) == 1
    (group,) = sgd.param_groups
    assert len(group["params"]) == 2 and (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 0.01)
    adamw = build_optimizer("adamw", groups, momentum=0.9, weight_decay=0.02)
    assert isinstance(adamw, torch.optim.AdamW) and adamw.param_groups[0]["weight_decay"] == 0.02
    assert len(groups[0]["params"]) == 4
