from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.datasets.segmentations import checked_rle, compact_counts, run_lengths
from wsvis_core.storage.rle import decode_mask, encode_mask


def column_counts(mask: np.ndarray) -> list[int]:
    """Uncompressed run lengths, by a slow loop."""
    counts, current = [0], False
    for value in mask.ravel(order="F"):
        if value != current:
            counts.append(0)
            current = value
        counts[-1] += 1
    return counts


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_every_form_of_an_rle_gives_the_mask_back(seed, height, width):
    mask = np.random.default_rng(seed).random((height, width)) < 0.4
    mask[0, 0] = True
    compressed, counts = encode_mask(mask), column_counts(mask)
    assert run_lengths(compressed["counts"]).tolist() == counts
    for form in (compressed, {"size": [height, width], "counts": counts}):
        assert np.array_equal(decode_mask(checked_rle(form, height, width)), mask)
        hooked = json.loads(json.dumps(form), object_hook=compact_counts)
        assert np.array_equal(decode_mask(checked_rle(hooked, height, width)), mask)


def test_polygons_are_filled():
    mask = decode_mask(checked_rle([[1, 1, 5, 1, 5, 4, 1, 4]], 6, 8))
    assert mask[1:4, 1:5].all() and mask.sum() == 12


@pytest.mark.parametrize("form", [[], {"size": [2, 3], "counts": [6]}, {"size": [2, 3], "counts": "6"}])
def test_a_mask_without_a_pixel_is_none(form):
    assert checked_rle(form, 2, 3) is None


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"size": [3, 2], "counts": [6]}, "RLE size [3, 2], expected [2, 3] (height, width)"),
        ({"size": [2, 3], "counts": [1, 4]}, "RLE counts sum to 5, expected 2 x 3 = 6"),
        ({"size": [2, 3], "counts": [8, -2]}, "RLE counts sum to 6, expected 2 x 3 = 6"),
        ({"size": [2, 3], "counts": [2**40]}, "RLE counts hold a number above 2^31"),
        ({"size": [2, 3], "counts": [1.5, 4.5]}, "RLE counts are neither text nor a list of integers"),
        ({"size": [2, 3], "counts": 6}, "RLE counts are neither text nor a list of integers"),
        ({"size": [2, 3], "counts": "~~"}, "RLE counts are not valid compressed text"),
        ({"size": [2, 3], "counts": "PPPPPPPPPP"}, "RLE counts are not valid compressed text"),
        ({"size": [2, 3], "counts": "P"}, "RLE counts end in the middle of a number"),
        ({"size": [2, 3], "counts": ""}, "RLE counts sum to 0, expected 2 x 3 = 6"),
        ({"counts": [6]}, "neither a polygon list nor an RLE with 'size' and 'counts'"),
        ("mask", "neither a polygon list nor an RLE with 'size' and 'counts'"),
        ([[0, 0, 1, 1]], "a polygon must be a list of at least 3 x, y pairs"),
        ([[0, 0, 1, 1, 2, "x"]], "a polygon holds something that is not a number"),
        ([[0, 0, 1, 1, 2, 1e9]], "a polygon lies far outside of the 3x2 frame"),
        (
            [[0, 0, 1, 1, 2, float("nan")]],
            "a polygon holds NaN or infinity; remove the polygon, or write its coordinates",
        ),
    ],
)
def test_bad_masks_are_refused_with_the_reason(form, message):
    with pytest.raises(ValueError) as error:
        checked_rle(form, 2, 3)
    assert str(error.value) == message
