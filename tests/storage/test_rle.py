from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from wsvis_core.storage.rle import decode_mask, encode_mask, to_compressed_rle


def plain_runs(mask: np.ndarray) -> list[int]:
    """Run lengths in column-major order, starting with zeros, by a slow loop."""
    runs, value = [0], False
    for pixel in mask.flatten(order="F").tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@settings(max_examples=30, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)))
def test_round_trip_of_every_kind(mask):
    height, width = mask.shape
    encoded = encode_mask(mask)
    assert encoded["size"] == [height, width] and isinstance(encoded["counts"], str)
    assert all(type(v) is int for v in encoded["size"])
    decoded = decode_mask(encoded)
    assert decoded.dtype == bool and np.array_equal(decoded, mask)
    as_bytes = {"size": [height, width], "counts": encoded["counts"].encode()}
    uncompressed = {"size": [height, width], "counts": plain_runs(mask)}
    for given_rle in (encoded, as_bytes, uncompressed):
        assert to_compressed_rle(given_rle, height, width) == encoded


def test_any_memory_order_gives_the_same_code():
    mask = np.arange(30).reshape(5, 6) % 4 == 0
    assert encode_mask(mask) == encode_mask(np.asfortranarray(mask)) == encode_mask(mask[:, ::-1][:, ::-1])


def test_a_polygon_covers_its_pixels_and_several_are_united():
    square, other = [2, 1, 6, 1, 6, 4, 2, 4], [7.0, 0.0, 9.0, 0.0, 9.0, 2.0, 7.0, 2.0]
    expected = np.zeros((5, 10), bool)
    expected[1:4, 2:6] = True
    assert np.array_equal(decode_mask(to_compressed_rle([square], 5, 10)), expected)
    expected[0:2, 7:9] = True
    assert np.array_equal(decode_mask(to_compressed_rle([square, other], 5, 10)), expected)


RLE = encode_mask(np.eye(4, 6, dtype=bool))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (RLE | {"size": [6, 4]}, r"RLE size \[6, 4\] is not \[4, 6\]"),
        (RLE | {"size": None}, r"RLE size None is not \[4, 6\]"),
        ({"size": [4, 6], "counts": [3, 4]}, "RLE counts sum to 7, not to 4×6 = 24"),
        ({"size": [4, 6], "counts": [30, -6]}, "RLE counts hold a negative run"),
        ({"size": [4, 6], "counts": []}, "RLE counts sum to 0, not to 4×6 = 24"),
        ({"size": [4, 6], "counts": None}, "RLE counts are a NoneType, expected text or a list of run lengths"),
        ({"size": [4, 6]}, "a dict is neither a polygon list nor an RLE"),
        ([], "an empty polygon list is no mask"),
        ([1, 2, 3, 4, 5, 6], "a polygon must be a list of x, y pairs, not int"),
        ([[]], "a polygon needs at least 3 x, y pairs, got 0 numbers"),
        ([[1, 1, 2, 2]], "a polygon needs at least 3 x, y pairs, got 4 numbers"),
        ([[1, 1, 2, 2, 3, 3, 4]], "a polygon needs at least 3 x, y pairs, got 7 numbers"),
        ("1234", "a str is neither a polygon list nor an RLE"),
        (None, "a NoneType is neither a polygon list nor an RLE"),
    ],
)
def test_bad_segmentations_are_refused(segmentation, message):
    with pytest.raises(ValueError, match=message):
        to_compressed_rle(segmentation, 4, 6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=6))
def test_only_runs_that_fill_the_frame_are_taken(runs):
    rle = {"size": [3, 4], "counts": runs}
    if sum(runs) == 12:
        assert plain_runs(decode_mask(to_compressed_rle(rle, 3, 4))) == plain_runs(
            np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(3, 4, order="F")
        )
    else:
        with pytest.raises(ValueError, match="not to 3×4 = 12"):
            to_compressed_rle(rle, 3, 4)
