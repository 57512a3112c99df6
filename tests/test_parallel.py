from __future__ import annotations

import threading

import pytest
import torch

from wsvis_core.parallel import map_threads


@pytest.fixture(autouse=True)
def restore():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_equals_the_loop_in_order(threads, count):
    assert map_threads(lambda n: n * n, range(count), threads) == [n * n for n in range(count)]


def test_calls_run_at_the_same_time_with_one_thread_each():
    meeting = threading.Barrier(2, timeout=20)

    def call(_):
        meeting.wait()  # would time out if calls came one after the other
        return torch.get_num_threads()

    assert map_threads(call, range(2), 2) == [1, 1]


def test_denormal_numbers_count_as_zero_in_the_threads():
    tiny = torch.full((8,), 1e-38)
    assert all(torch.equal(result, torch.zeros(8)) for result in map_threads(lambda _: tiny * 0.01, range(2), 2))


def test_the_first_error_comes_out():
    def call(n):
        if n >= 3:
            raise ValueError(f"item {n}")
        return n

    with pytest.raises(ValueError, match="item 3"):
        map_threads(call, range(6), 2)
