from __future__ import annotations

from itertools import chain, repeat

import pytest

from wsvis_core.training.pace import SHARE, CheckpointPace, next_wait


@pytest.mark.parametrize(
    ("last_wait", "cost", "longest", "expected"),
    [
        (0.0, 0.5, 60.0, 0.5),
        (0.5, 0.5, 60.0, 1.0),
        (8.0, 0.5, 60.0, 16.0),
        (16.0, 0.6, 60.0, 20.0),
        (20.0, 0.6, 60.0, 20.0),
        (20.0, 3.0, 60.0, 40.0),
        (40.0, 3.0, 60.0, 60.0),
        (0.0, 90.0, 60.0, 60.0),
        (20.0, 0.0, 60.0, 0.0),
        (0.0, 0.5, 0.0, 0.0),
    ],
)
def test_the_wait_doubles_up_to_a_share_of_the_time_and_the_longest(last_wait, cost, longest, expected):
    assert next_wait(last_wait, cost, longest) == pytest.approx(expected)


def written(costs, *, steps: int, longest: float = 60.0, step: float = 1.0) -> list[int]:
    """After which steps, of some seconds each, there is a checkpoint when the first ones cost so many seconds."""
    now, costs = 0.0, chain(costs, repeat(costs[-1]))
    pace, found = CheckpointPace(longest, lambda: now), []
    for done in range(1, steps + 1):
        now += step
        if pace.due():
            with pace.writing():
                now += next(costs)
            found.append(done)
    return found


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        # Waits of 1, 2, 4, 8, 16, 32, then 33.3 seconds.
        ([1.0], [1, 2, 4, 8, 16, 32, 64, 98, 132]),
        # A disk that is slow once, at step 26: one wait is twice the one before, then they are 12.5 again.
        ([*[0.375] * 6, 9.0, 0.375], [1, 2, 3, 5, 8, 14, 26, 50, 63, 76, 89, 102, 115, 128]),
        # Dear ones: as seldom as the longest wait allows.
        ([100.0], [1, 61, 121]),
        # Free ones.
        ([0.0], list(range(1, 141))),
    ],
)
def test_checkpoints_of_hand_made_costs(costs, expected):
    assert written(costs, steps=140) == expected


def test_the_longest_wait_is_kept_and_none_means_every_step():
    assert written([1.0], steps=40, longest=10.0) == [1, 2, 4, 8, 16, 26, 36]
    assert written([1.0], steps=4, longest=0.0) == [1, 2, 3, 4]


def test_a_step_longer_than_all_waits_has_a_checkpoint_each():
    assert written([1.0], steps=4, step=100.0) == [1, 2, 3, 4]


def test_writing_takes_the_share_in_the_long_run():
    steps = 20_000
    assert len(written([0.4], steps=steps)) * 0.4 / steps == pytest.approx(SHARE, rel=0.08)


@pytest.mark.parametrize("cost", [0.1, 1.0, 1.7, 5.0])
def test_at_most_half_is_lost_whenever_the_kill_comes(cost):
    """Half of the steps since the start, give or take a step and a checkpoint."""
    checkpoints = written([cost], steps=400)
    for killed in range(1, 400):
        saved = max(done for done in checkpoints if done <= killed)
        assert killed - saved <= saved + cost + 1
