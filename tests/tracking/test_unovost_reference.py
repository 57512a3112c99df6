"""UnOVOST against a slow version written from docs/method.md §5.1 alone, sentence by sentence."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.config import UnovostSettings
from wsvis_core.storage.rle import decode_mask
from wsvis_core.tracking.proposals import remove_overlaps
from wsvis_core.tracking.unovost import link_unovost


def iou(a, b):
    return (a & b).sum() / max((a | b).sum(), 1)


def slow_overlap_removal(masks, scores, threshold=0.2):
    """As published: walk the proposals, keep of two that overlap the better one, until no overlap remains."""
    kept = list(range(len(masks)))
    while True:
        walked = []
        for candidate in kept:
            overlaps = [iou(masks[candidate], masks[other]) for other in walked]
            if not overlaps or max(overlaps) < threshold:
                walked.append(candidate)
                continue
            rival = walked[int(np.argmax(overlaps))]
            if scores[candidate] > scores[rival]:
                walked[walked.index(rival)] = candidate
        if walked == kept:
            return kept
        kept = walked


def slow_forward(mask, flow):
    """The mask on the next frame: what lies at p + flow(p). Whole pixels, so nothing is interpolated."""
    out = np.zeros_like(mask)
    for y, x in np.ndindex(mask.shape):
        sx, sy = x + int(flow[0, y, x]), y + int(flow[1, y, x])
        if 0 <= sy < mask.shape[0] and 0 <= sx < mask.shape[1]:
            out[y, x] = mask[sy, sx]
    return out


def slow_links(before, after, flow, threshold):
    """The assignment with the largest sum of IoU, by trying all of them."""
    overlaps = [[iou(slow_forward(a, flow), b) for b in after] for a in before]
    rows, columns = len(before), len(after)
    if rows <= columns:
        choices = (list(zip(range(rows), c, strict=True)) for c in itertools.permutations(range(columns), rows))
    else:
        choices = (list(zip(r, range(columns), strict=True)) for r in itertools.permutations(range(rows), columns))
    best = max(choices, key=lambda pairs: sum(overlaps[a][b] for a, b in pairs))
    return [(a, b) for a, b in best if overlaps[a][b] > threshold]


def slow_tracklets(video, flows, keep_last_frame, threshold):
    """Lists of (frame, proposal); a proposal that no link reaches begins one."""
    tracklets = []
    ending_at = {}
    for t, masks in enumerate(video):
        reached = {b: a for a, b in slow_links(video[t - 1], masks, flows[t - 1], threshold)} if t else {}
        for i in range(len(masks)):
            if i in reached:
                tracklet = ending_at[t - 1, reached[i]]
            elif t == len(video) - 1 and not keep_last_frame:
                continue
            else:
                tracklet = []
                tracklets.append(tracklet)
            tracklet.append((t, i))
            ending_at[t, i] = tracklet
    return tracklets


def slow_parents(spans, distance, published):
    parents = []
    for i, (start, _) in enumerate(spans):
        earlier = sorted((distance(i, j), -spans[j][1], j) for j in range(len(spans)) if spans[j][1] < start)
        parent = earlier[0][2] if earlier else None
        if published and len(earlier) > 1 and parents[earlier[1][2]] == parent:
            parent = earlier[1][2]
        parents.append(parent)
    return parents


def slow_paths(parents):
    visited, paths = set(), []
    for leaf in reversed(range(len(parents))):
        if leaf not in visited:
            path = [leaf]
            while parents[path[0]] is not None:
                path.insert(0, parents[path[0]])
            visited |= set(path)
            paths.append(path)
    return paths


def slow_cut(paths, score, spans):
    """Per root the best path is a trajectory; the others lose their common prefix with it; again for each new root."""
    trajectories = []
    for root in sorted({path[0] for path in paths}):
        group = [path for path in paths if path[0] == root]
        best = group[0]
        for path in group[1:]:
            if (score(path), spans[path[-1]][1]) > (score(best), spans[best[-1]][1]):
                best = path
        trajectories.append(tuple(best))
        rest = []
        for path in group:
            if path is not best:
                k = 0
                while path[k] == best[k]:
                    k += 1
                rest.append(path[k:])
        trajectories += slow_cut(rest, score, spans) if rest else []
    return trajectories


def slow_unovost(frames, flows, options):
    """{chain of (frame, proposal): published ranking score}."""
    video = [[decode_mask(rle) for rle in frame.rles] for frame in frames]
    tracklets = slow_tracklets(video, flows, options.keep_last_frame, options.link_threshold)
    vectors = [np.mean([frames[t].appearance[i].astype(float) for t, i in tracklet], axis=0) for tracklet in tracklets]
    spans = [(tracklet[0][0], tracklet[-1][0]) for tracklet in tracklets]

    def distance(a, b):
        return math.sqrt(sum((x - y) ** 2 for x, y in zip(vectors[a], vectors[b], strict=True)))

    largest = max((distance(a, b) for a, b in itertools.combinations(range(len(tracklets)), 2)), default=0) or 1

    def score(path):
        single = 1 if options.cover_measure == "frames" else 0
        cover = sum(spans[i][1] - spans[i][0] + single for i in path) / len(frames)
        similarity = max((1 - distance(a, b) / largest for a, b in itertools.combinations(path, 2)), default=0)
        return round(options.cover_weight * cover + options.appearance_weight * similarity, 9)

    paths = [[i] for i in range(len(tracklets))]
    if options.merge:
        paths = slow_paths(slow_parents(spans, distance, options.parent_rule == "published"))
    found = {}
    for path in slow_cut(paths, score, spans):
        frames_so_far, parts = 0, []
        for i in path:
            frames_so_far += len(tracklets[i])
            parts.append(np.mean([frames[t].scores[a] for t, a in tracklets[i]], dtype=float) * frames_so_far)
        found[tuple(place for i in path for place in tracklets[i])] = np.mean(parts)
    return found


def random_frames(make_frame, rng, count):
    """Up to four boxes per frame that do not overlap much, each with a vector of its own."""
    frames = []
    for _ in range(count):
        corners = [(int(x), int(y)) for x, y in rng.integers(0, (24, 9), (rng.integers(0, 5), 2))]
        sides = rng.integers(3, 8, (len(corners), 2))
        rows = [
            ((x, y, x + int(w), y + int(h)), 0, rng.uniform(0.1, 1), rng.normal(size=3))
            for (x, y), (w, h) in zip(corners, sides, strict=True)
        ]
        frames.append(make_frame(*rows, size=(16, 32)))
    flows = [rng.integers(-2, 3, (2, 16, 32)).astype(np.float32) for _ in range(count - 1)]
    return frames, flows


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "keep_last_frame": st.booleans(),
        "merge": st.booleans(),
        "parent_rule": st.sampled_from(["published", "nearest"]),
        "cover_measure": st.sampled_from(["published", "frames"]),
        "link_threshold": st.sampled_from([0.0, 0.05, 0.3]),
        "cover_weight": st.sampled_from([0.9, 0.2]),
    },
)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), OPTIONS)
def test_whole_videos_equal_the_slow_version(make_frame, seed, count, options):
    frames, flows = random_frames(make_frame, np.random.default_rng(seed), count)
    chosen = UnovostSettings(ranking="published", **options)
    found = {chain.places: chain.ranking for chain in link_unovost(frames, flows, chosen)}
    assert found == pytest.approx(slow_unovost(frames, flows, chosen))
    assert {c.places for c in link_unovost(frames, flows, UnovostSettings(**options))} == set(found)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 7))
def test_overlap_removal_equals_the_published_walk_on_sorted_input(make_frame, seed, count):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, (20, 8), (count, 2))
    scores = np.sort(rng.random(count))[::-1]
    rows = [((x, y, x + 8, y + 6), 0, s) for (x, y), s in zip(corners.tolist(), scores, strict=True)]
    frame = make_frame(*rows, size=(16, 32))
    masks = [decode_mask(rle) for rle in frame.rles]
    assert remove_overlaps(frame.rles, scores) == slow_overlap_removal(masks, scores)
