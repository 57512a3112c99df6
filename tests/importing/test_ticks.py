from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsvis_core.importing.ticks import first_of_each_tick, nearest_to_ticks


@dataclass(frozen=True)
class Moment:
    time: Fraction


def moments(*seconds: float | Fraction) -> list[Moment]:
    return [Moment(Fraction(value).limit_denominator(10**6)) for value in seconds]


def chosen(frames: list[Moment], fps: Fraction) -> list[int]:
    return [n for n, (_, taken) in enumerate(nearest_to_ticks(frames, fps)) if taken]


def nearest_slowly(frames: list[Moment], fps: Fraction) -> list[int]:
    """For every tick, the index of the frame with the least distance, the first of equals."""
    found, tick = set(), frames[0].time
    end = frames[-1].time + (frames[-1].time - frames[max(len(frames) - 2, 0)].time) / 2
    while tick <= end:
        found.add(min(range(len(frames)), key=lambda n: (abs(frames[n].time - tick), n)))
        tick += 1 / fps
    return sorted(found)


@pytest.mark.parametrize(
    ("native", "fps", "expected"),
    [
        (30, 6, [0, 5, 10, 15, 20, 25]),
        (25, 6, [0, 4, 8, 12, 17, 21, 25, 29]),  # ticks at 0, 4.17, 8.33, 12.5 (12 and 13 are as near), 16.67 …
        (6, 6, list(range(30))),
        (5, 6, list(range(30))),
        (10, 1, [0, 10, 20]),
    ],
)
def test_constant_rates(native, fps, expected):
    frames = moments(*(Fraction(n, native) for n in range(30)))
    assert chosen(frames, Fraction(fps)) == expected


def test_variable_rate_takes_the_frame_nearest_to_each_tick():
    # Ticks at 0, 0.5, 1, 1.5, 2: 0.45 is nearer to 0.5 than 0.6; nothing is near 1 and 1.5, 0.6 and 2.0 are nearest.
    assert chosen(moments(0, 0.1, 0.45, 0.6, 2.0), Fraction(2)) == [0, 2, 3, 4]


def test_of_two_equally_near_frames_the_earlier_is_taken():
    assert chosen(moments(0, 0.4, 0.6, 1.2), Fraction(2)) == [0, 1, 3]


def test_no_frame_and_one_frame():
    assert list(nearest_to_ticks([], Fraction(6))) == []
    assert chosen(moments(7.5), Fraction(6)) == [0]


steps = st.lists(st.fractions(min_value=Fraction(1, 100), max_value=2, max_denominator=100), min_size=0, max_size=30)


@given(steps, st.fractions(min_value=Fraction(1, 2), max_value=20, max_denominator=30), st.integers(-3, 3))
def test_any_times_agree_with_the_slow_loop(gaps, fps, start):
    times = [Fraction(start)]
    for gap in gaps:
        times.append(times[-1] + gap)
    frames = [Moment(time) for time in times]
    assert chosen(frames, fps) == nearest_slowly(frames, fps)
    assert [frame for frame, _ in nearest_to_ticks(frames, fps)] == frames


def test_labelled_frames_are_thinned_but_never_replaced_by_their_neighbours():
    frames = moments(*(Fraction(n, 30) for n in range(31)))
    dense = [n for n, (_, taken) in enumerate(first_of_each_tick(frames, Fraction(6), lambda _: True)) if taken]
    assert dense == [0, 5, 10, 15, 20, 25, 30]
    wanted = {frames[n] for n in (3, 4, 12, 29)}
    sparse = first_of_each_tick(frames, Fraction(6), wanted.__contains__)
    assert [n for n, (_, taken) in enumerate(sparse) if taken] == [3, 12, 29]
