"""Parts of a track's quality against slow loops; directions; what is missing stays missing."""

from __future__ import annotations

import numpy as np
import pytest

from wsvis_core.quality.parts import frame_agreements, pair_stabilities, track_parts
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import encode_mask

SIZE = (12, 16)


def box(x: int, y: int = 3, width: int = 5, height: int = 4, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[max(y, 0) : y + height, max(x, 0) : x + width] = True
    return mask


def rles(masks) -> list:
    return [None if mask is None else encode_mask(mask) for mask in masks]


def constant_flow(u: float, v: float = 0.0) -> np.ndarray:
    """F_{t+1→t} of a scene that moves by (-u, -v) from t to t+1."""
    return np.stack([np.full(SIZE, u, np.float32), np.full(SIZE, v, np.float32)])


def instances(masks, classes) -> EncodedInstances:
    count = len(masks)
    return EncodedInstances(
        SIZE, tuple(rles(masks)), np.array(classes, np.int64), np.full(count, 0.5, np.float32), np.zeros((count, 4))
    )


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0


def slowly_carried(mask: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Pixel by pixel: bilinear at p + flow(p), 0 outside, inside from exactly ½ on."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            sx, sy = x + float(flow[0, y, x]), y + float(flow[1, y, x])
            x0, y0 = int(np.floor(sx)), int(np.floor(sy))
            value = 0.0
            for cy, wy in ((y0, 1 - (sy - y0)), (y0 + 1, sy - y0)):
                for cx, wx in ((x0, 1 - (sx - x0)), (x0 + 1, sx - x0)):
                    if 0 <= cy < height and 0 <= cx < width:
                        value += wy * wx * mask[cy, cx]
            found[y, x] = value >= 0.5
    return found


def test_stability_is_that_of_a_slow_loop():
    rng = np.random.default_rng(0)
    tracks = [[box(*rng.integers(0, 8, 2)) if rng.random() > 0.2 else None for _ in range(5)] for _ in range(3)]
    # Eighths of a pixel are exact, ½ among them.
    flows = [rng.integers(-24, 25, (2, *SIZE)).astype(np.float32) / 8 for _ in range(4)]
    flows[2] = None
    found = pair_stabilities([rles(track) for track in tracks], SIZE, iter(flows))
    expected = np.full((3, 4), np.nan)
    for n, track in enumerate(tracks):
        for t, flow in enumerate(flows):
            if flow is not None and track[t] is not None and track[t + 1] is not None:
                expected[n, t] = iou(slowly_carried(track[t], flow), track[t + 1])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.isnan(found[:, 2]).all() and 0 < np.nanmean(found) < 1


def test_a_track_that_follows_the_flow_is_stable_and_one_that_jumps_is_not():
    # The scene moves 2 px to the right per frame: a pixel of t+1 comes from 2 px further left.
    follows, stays, jumps = [box(2 + 2 * t) for t in range(4)], [box(2)] * 4, [box(2), box(9), box(2), box(9)]
    flows = [constant_flow(-2.0)] * 3
    mean = np.nanmean(pair_stabilities([rles(t) for t in (follows, stays, jumps)], SIZE, flows), axis=1)
    assert mean[0] == 1 and mean[0] > mean[1] > mean[2]
    against = np.nanmean(pair_stabilities([rles(follows)], SIZE, [constant_flow(2.0)] * 3))
    assert against < mean[2] + 0.2 and against < 0.2


def test_a_move_by_half_pixels_loses_nothing():
    """At ½ exactly `flow.warp.warp_masks` loses pixels to rounding; stability must not."""
    mask, flow = box(4), constant_flow(-0.5)
    found = pair_stabilities([rles([mask, slowly_carried(mask, flow)])], SIZE, [flow])
    assert found.tolist() == [[1.0]]


def test_flow_is_scaled_from_the_size_it_is_stored_at():
    half = np.zeros((2, SIZE[0] // 2, SIZE[1] // 2), np.float32)
    half[0] = -1  # 1 pixel of half the size is 2 of the frame
    assert pair_stabilities([rles([box(2), box(4)])], SIZE, [half]).tolist() == [[1.0]]


def test_no_tracks_one_frame_and_gaps_have_no_stability():
    assert pair_stabilities([], SIZE, [constant_flow(0)]).shape == (0, 0)
    assert pair_stabilities([rles([box(1)])], SIZE, []).shape == (1, 0)
    gap = pair_stabilities([rles([box(1), None, box(1)])], SIZE, [constant_flow(0)] * 2)
    assert np.isnan(gap).all()


def test_agreement_is_the_best_overlap_within_the_class():
    rng = np.random.default_rng(1)
    tracks = [[box(*rng.integers(0, 8, 2)) for _ in range(3)] for _ in range(2)]
    tracks[1][2] = None
    before = [([box(*rng.integers(0, 8, 2)) for _ in range(4)], [0, 1, 1, 2]) for _ in range(2)] + [([], [])]
    found = frame_agreements([rles(t) for t in tracks], [1, 2], (instances(*frame) for frame in before))
    expected = np.full((2, 3), np.nan)
    for n, wanted in enumerate((1, 2)):
        for t, (masks, classes) in enumerate(before):
            if tracks[n][t] is not None:
                same = [iou(tracks[n][t], mask) for mask, c in zip(masks, classes, strict=True) if c == wanted]
                expected[n, t] = max(same, default=0.0)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found[0, 2] == 0 and np.isnan(found[1, 2])


def test_without_a_round_before_agreement_is_not_known():
    assert np.isnan(frame_agreements([rles([box(1)] * 2)], [0], None)).all()
    assert frame_agreements([], [], None).shape == (0, 0)


def parts(masks, labelled, stability, agreement=None, score=0.7):
    length = len(masks)
    agreement = np.full(length, np.nan) if agreement is None else np.array(agreement, float)
    return track_parts(score, rles(masks), np.array(labelled, bool), np.array(stability, float), agreement)


def test_labels_are_the_overlap_in_time_with_the_frames_of_the_class():
    here = box(1)
    assert parts([here, here, None, None], [1, 1, 1, 0], [1, np.nan, np.nan]).labels == pytest.approx(2 / 3)
    assert parts([here, here], [0, 0], [1]).labels == 0
    assert parts([None, here], [0, 1], [np.nan]).labels == 1


def test_cover_is_the_share_of_the_frame_that_a_mask_holds():
    half, all_of_it = np.zeros(SIZE, bool), np.ones(SIZE, bool)
    half[: SIZE[0] // 2] = True
    share = half.mean()
    assert parts([half, None, all_of_it], [1, 1, 1], [np.nan, np.nan]).cover == pytest.approx((share + 1) / 2)


def test_means_are_over_what_is_known():
    here = box(1)
    found = parts([here, here, here, None], [1, 1, 1, 1], [0.5, np.nan, np.nan], [1.0, 0.2, np.nan, np.nan])
    assert (found.stability, found.agreement) == (0.5, pytest.approx(0.6))
    assert (found.first, found.last, found.frames) == (0, 2, 3)
    assert found.known() == {"score": 0.7, "labels": 0.75, "stability": 0.5, "agreement": pytest.approx(0.6)}


def test_the_weakest_frame_is_the_one_whose_neighbours_disagree_with_it():
    here = box(1)
    assert parts([here] * 5, [1] * 5, [0.9, 0.2, 0.3, 0.9]).weakest == 2
    assert parts([here] * 3, [1] * 3, [0.9, 0.9], [1, 1, 0.1]).weakest == 2
    assert parts([None, here], [1, 1], [np.nan]).weakest is None
    single = parts([None, here], [1, 1], [np.nan], [np.nan, 0.4])
    assert single.weakest == 1 and single.stability is None and "stability" not in single.known()
