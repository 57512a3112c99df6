"""Forest path cutting (UnOVOST): tracklets to long trajectories by appearance alone (docs/method.md §5.1, 3-6).

Tracklets are numbered 0..N-1 in order of their first frame; every function keeps that numbering. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from scipy.spatial.distance import cdist

Path = tuple[int, ...]
ParentRule = Literal["published", "nearest"]
CoverMeasure = Literal["published", "frames"]


def appearance_distances(vectors: np.ndarray) -> np.ndarray:
    """Euclidean distance of every pair of tracklets: vectors (N,D), D ≥ 1 → (N,N) float64."""
    vectors = vectors.astype(np.float64)
    return cdist(vectors, vectors)


def normalise_distances(distances: np.ndarray) -> np.ndarray:
    """Distances divided by their largest; unchanged when all are 0 or there is none."""
    largest = float(distances.max(initial=0.0))
    return distances / largest if largest > 0 else distances


def find_parents(
    starts: Sequence[int],
    ends: Sequence[int],
    distances: np.ndarray,
    *,
    parent_rule: ParentRule = "published",
) -> list[int]:
    """Parent of each tracklet, -1 for a root.

    starts, ends: N first and last frames (inclusive), starts ascending · distances (N,N). Candidates are the
    tracklets that ended before this one starts; the parent is the nearest, however far. With
    `parent_rule="published"` the second nearest is the parent when it is itself a child of the nearest, so that
    A, B, C become one chain; with `"nearest"` never.
    """
    last_frames = np.asarray(ends)
    parents: list[int] = []
    for tracklet, start in enumerate(starts):
        row = np.where(last_frames[:tracklet] < start, distances[tracklet, :tracklet], np.inf)
        nearest = _nearest(row, last_frames)
        second = -1
        if nearest >= 0 and parent_rule == "published":
            row[nearest] = np.inf
            second = _nearest(row, last_frames)
        is_chain = second >= 0 and parents[second] == nearest
        parents.append(second if is_chain else nearest)
    return parents


def _nearest(row: np.ndarray, ends: np.ndarray) -> int:
    """Index of the smallest finite entry, -1 if none. Paper silent on ties: latest end, then lowest number."""
    smallest = row.min(initial=np.inf)
    if np.isinf(smallest):
        return -1
    ties = np.flatnonzero(row == smallest)
    return int(ties[np.argmax(ends[ties])])


def leaf_paths(parents: Sequence[int]) -> list[Path]:
    """One path of tracklet numbers, root first, per leaf of the forest; leaves in descending number."""
    visited: set[int] = set()
    paths = []
    for leaf in range(len(parents) - 1, -1, -1):
        if leaf in visited:
            continue
        path, node = [], leaf
        while node >= 0:
            path.append(node)
            node = parents[node]
        visited.update(path)
        paths.append(tuple(reversed(path)))
    return paths


def path_score(
    path: Path,
    starts: Sequence[int],
    ends: Sequence[int],
    normalised: np.ndarray,
    video_length: int,
    *,
    cover_weight: float = 0.9,
    appearance_weight: float = 0.1,
    cover_measure: CoverMeasure = "published",
) -> float:
    """`cover_weight`·(share of the video covered) + `appearance_weight`·(best similarity of a pair in the path) (§5.1).

    normalised (N,N) distances in 0..1. `cover_measure="published"` counts end − start per tracklet, so a tracklet
    of one frame adds nothing; `"frames"` counts its frames. A single tracklet has similarity 0.
    """
    extra = 1 if cover_measure == "frames" else 0
    cover = sum(ends[i] - starts[i] + extra for i in path) / video_length
    similarity = 0.0
    if len(path) > 1:
        pairs = normalised[np.ix_(path, path)][np.triu_indices(len(path), 1)]
        similarity = 1.0 - float(pairs.min())
    return cover_weight * cover + appearance_weight * similarity


def cut_paths(paths: Sequence[Path], score: Callable[[Path], float], ends: Sequence[int]) -> list[Path]:
    """Disjoint trajectories (§5.1): per root the best path wins, the others lose what they share with it and go again.

    paths root first, as from `leaf_paths`. Of equal scores the latest end wins, then the earlier path. Returned
    round by round: the winners of the full paths, then those of what was left, and so on.
    """
    trajectories: list[Path] = []
    while paths:
        remainders: list[Path] = []
        for group in _by_root(paths):
            best = max(group, key=lambda path: (score(path), ends[path[-1]]))
            trajectories.append(best)
            remainders += [path[_shared(path, best) :] for path in group if path is not best]
        paths = remainders
    return trajectories


def _by_root(paths: Sequence[Path]) -> list[list[Path]]:
    groups: dict[int, list[Path]] = {}
    for path in paths:
        groups.setdefault(path[0], []).append(path)
    return list(groups.values())


def _shared(path: Path, other: Path) -> int:
    """Length of the common prefix; shorter than `path`, because two leaves differ."""
    pairs = enumerate(zip(path, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(path), len(other)))


def accumulated_score(frame_counts: Sequence[int], mean_scores: Sequence[float]) -> float:
    """The published ranking score: mean over a trajectory's tracklets of (mean score × frames so far)."""
    totals = np.cumsum(frame_counts)
    return float(np.mean(totals * np.asarray(mean_scores, np.float64)))
