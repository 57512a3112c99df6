"""Forest path cutting: golden vectors of docs/method.md, B.3 and single rules."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.tracking.forest import (
    accumulated_score,
    appearance_distances,
    cut_paths,
    find_parents,
    leaf_paths,
    normalise_distances,
    path_score,
)

STARTS, ENDS = [0, 0, 5, 5, 6], [3, 4, 9, 6, 9]
VECTORS = np.array([[0, 0], [10, 0], [1, 0], [0, 1], [9, 0]], float)
MEANS = [0.9, 0.8, 0.7, 0.6, 0.5]


def trajectories(starts, ends, vectors, length, **options):
    distances = appearance_distances(np.asarray(vectors, float))
    paths = leaf_paths(find_parents(starts, ends, distances))
    score = partial(
        path_score,
        starts=starts,
        ends=ends,
        normalised=normalise_distances(distances),
        video_length=length,
        **options,
    )
    return cut_paths(paths, score, ends)


def test_golden_parents_and_paths():
    parents = find_parents(STARTS, ENDS, appearance_distances(VECTORS))
    assert parents == [-1, -1, 0, 0, 1]
    assert sorted(leaf_paths(parents)) == [(0, 2), (0, 3), (1, 4)]


def test_golden_trajectories_and_ranking():
    found = trajectories(STARTS, ENDS, VECTORS, 10)
    frames = [end - start + 1 for start, end in zip(STARTS, ENDS, strict=True)]
    scores = {path: accumulated_score([frames[i] for i in path], [MEANS[i] for i in path]) for path in found}
    assert scores == pytest.approx({(0, 2): 4.95, (1, 4): 4.25, (3,): 1.2})
    assert sorted(found, key=lambda path: -scores[path]) == [(0, 2), (1, 4), (3,)]


def test_chain_rule_prefers_the_child_of_the_nearest():
    starts, ends, vectors = [0, 3, 6], [1, 4, 9], np.array([[0, 0], [0, 1], [0.4, 0]])
    distances = appearance_distances(vectors)
    assert find_parents(starts, ends, distances) == [-1, 0, 1]
    assert trajectories(starts, ends, vectors, 10) == [(0, 1, 2)]
    assert find_parents(starts, ends, distances, parent_rule="nearest") == [-1, 0, 0]


def test_equal_distances_choose_the_latest_end():
    distances = np.zeros((3, 3))
    assert find_parents([0, 0, 5], [1, 3, 6], distances, parent_rule="nearest") == [-1, -1, 1]


def test_path_score_quirk_of_one_frame_tracklets():
    score = partial(path_score, starts=[0, 4], ends=[0, 6], normalised=np.zeros((2, 2)), video_length=10)
    assert score((0,)) == 0.0
    assert score((0,), cover_measure="frames") == pytest.approx(0.9 * 0.1)
    assert score((0, 1)) == pytest.approx(0.9 * 0.2 + 0.1)


def test_equal_path_scores_choose_the_latest_end():
    assert cut_paths([(0, 1), (0, 2)], lambda path: 1.0, [0, 5, 8]) == [(0, 2), (1,)]


def test_empty_and_single():
    assert find_parents([], [], np.zeros((0, 0))) == []
    assert leaf_paths([]) == [] and cut_paths([], len, []) == []
    assert normalise_distances(np.zeros((0, 0))).shape == (0, 0)
    assert normalise_distances(np.zeros((1, 1))).tolist() == [[0.0]]


def slow_parents(starts, ends, distances):
    parents = []
    for i, start in enumerate(starts):
        order = sorted((c for c in range(i) if ends[c] < start), key=lambda c: (distances[i, c], -ends[c], c))
        if len(order) > 1 and parents[order[1]] == order[0]:
            parents.append(order[1])
        else:
            parents.append(order[0] if order else -1)
    return parents


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=14), st.integers(0, 2**32 - 1))
def test_random_forests(spans, seed):
    spans = sorted((start, start + extent) for start, extent in spans)
    starts, ends = [a for a, _ in spans], [b for _, b in spans]
    vectors = np.random.default_rng(seed).integers(0, 4, (len(spans), 2)).astype(float)
    distances = appearance_distances(vectors.reshape(len(spans), 2))
    assert find_parents(starts, ends, distances) == slow_parents(starts, ends, distances)
    found = trajectories(starts, ends, vectors.reshape(len(spans), 2), 30)
    assert sorted(i for path in found for i in path) == list(range(len(spans)))
    for path in found:
        assert all(ends[a] < starts[b] for a, b in zip(path[:-1], path[1:], strict=True))
