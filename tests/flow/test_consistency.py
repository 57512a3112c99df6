from __future__ import annotations

import pytest
import torch

from wsvis_core.flow.consistency import consistent_share, occluded

HEIGHT, WIDTH = 16, 30


def moving_square(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(F_ab, F_ba) of an 8×8 square at x = 6 in a, at x = 6 + step in b, before a resting background."""
    forward, backward = torch.zeros(2, HEIGHT, WIDTH), torch.zeros(2, HEIGHT, WIDTH)
    forward[0, 4:12, 6:14] = step
    backward[0, 4:12, 6 + step : 14 + step] = -step
    return forward, backward


def box(x0: int, x1: int) -> torch.Tensor:
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    mask[4:12, x0:x1] = True
    return mask


@pytest.mark.parametrize("step", [3, 5])
def test_the_band_a_square_covers_or_uncovers_has_no_counterpart(step):
    forward, backward = moving_square(step)
    # Background of a that lies behind the square in b, and background of b that was behind it in a.
    assert torch.equal(occluded(forward, backward), box(14, 14 + step))
    assert torch.equal(occluded(backward, forward), box(6, 6 + step))
    share = consistent_share(forward, backward)
    assert share == pytest.approx(1 - 8 * step / (HEIGHT * WIDTH))


def test_a_small_mismatch_is_allowed_more_so_where_it_moves_fast():
    zero = torch.zeros(2, 4, 4)
    assert not occluded(zero + 0.49, zero).any()  # 2·0.49² < 0.5
    assert occluded(zero + 0.51, zero).all()
    fast = torch.zeros(2, 4, 60)
    fast[0] = 10.0
    back = torch.zeros(2, 4, 60)
    back[0] = -10.0 + 1.5  # 1.5² = 2.25 < 0.01·(10² + 8.5²) + 0.5 = 2.22, barely not
    assert occluded(fast, back)[:, :50].all()
    back[0] = -10.0 + 1.45
    assert not occluded(fast, back)[:, :50].any()


def test_what_leaves_the_frame_is_occluded():
    forward, backward = torch.zeros(2, 4, 10), torch.zeros(2, 4, 10)
    forward[0], backward[0] = 3.0, -3.0
    assert occluded(forward, backward).tolist() == [[False] * 7 + [True] * 3] * 4


def test_batches_and_identity():
    flows = torch.zeros(3, 2, 5, 6)
    assert occluded(flows, flows).shape == (3, 5, 6) and consistent_share(flows, flows) == 1.0
