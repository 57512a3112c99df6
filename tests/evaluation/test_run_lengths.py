"""Run lengths of compressed RLEs against the plain decoder and on broken text."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.evaluation.run_lengths import NO_CODE, decode_masks, decode_rles
from wsvis_core.storage.rle import encode_mask
from wsvis_core.tracking.results import rle_problem


def slow_runs(text):
    """The runs of a compressed RLE, one character at a time."""
    runs, p = [], 0
    while p < len(text):
        value, digit, more = 0, 0, True
        while more:
            code = ord(text[p]) - 48
            value |= (code & 31) << (5 * digit)
            more, p, digit = bool(code & 32), p + 1, digit + 1
            if not more and code & 16:
                value |= -1 << (5 * digit)
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs


def wrong_totals(rles):
    return decode_rles(rles).wrong_totals


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_right_masks_pass(seed, count):
    rng = np.random.default_rng(seed)
    masks = [rng.random(rng.integers(1, 90, 2)) < rng.random() ** 3 for _ in range(count)]
    assert wrong_totals([encode_mask(mask) for mask in masks]) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("0123456789:;<=>?@ABCDE", min_size=1, max_size=8), min_size=1, max_size=6))
def test_any_text_against_the_slow_decoder(texts):
    rles = [{"size": [3, 5], "counts": text} for text in texts]
    bad = [i for i, text in enumerate(texts) if sum(slow_runs(text)) != 15 or min(slow_runs(text)) < 0]
    assert wrong_totals(rles) == bad


def test_broken_ones_are_found():
    right = {"size": [4, 6], "counts": "H"}  # one run of 24
    assert slow_runs("d0") == [20]
    short = {"size": [4, 6], "counts": "d0"}
    long = {"size": [4, 6], "counts": b"l0"}
    endless = {"size": [4, 6], "counts": "P" * 30 + "0"}
    assert wrong_totals([{"size": [4, 6], "counts": "h0"}, short, long, endless]) == [1, 2, 3]
    assert wrong_totals([right]) == [0]
    assert wrong_totals([]) == []


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_edges_and_areas_against_the_slow_decoder(seed):
    rng = np.random.default_rng(seed)
    digits = [rng.choice([0, 0, 0, 1, 2, 3, 5], rng.integers(1, 7)) for _ in range(rng.integers(1, 9))]
    texts = ["".join(chr(c) for n in row for c in [*rng.integers(80, 112, n), rng.integers(48, 80)]) for row in digits]
    runs = [slow_runs(text) for text in texts]
    pixels = np.array([sum(row) for row in runs])
    decoded = decode_masks("".join(texts).encode(), [len(text) for text in texts], pixels)
    edges = [decoded.edges[a:b].tolist() for a, b in zip(decoded.starts[:-1], decoded.starts[1:], strict=True)]
    assert edges == [np.cumsum(row).tolist() for row in runs]
    assert np.diff(decoded.starts).tolist() == [len(row) for row in runs]
    assert decoded.areas.tolist() == [sum(row[1::2]) for row in runs]
    assert decoded.wrong_totals == [i for i, row in enumerate(runs) if min(row) < 0]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text([chr(c) for c in (0, 47, 48, 63, 64, 79, 80, 111, 112, 127)], max_size=5), max_size=3))
def test_what_is_no_code_is_found_where_the_format_check_finds_it(texts):
    decoded = decode_masks("".join(texts).encode(), [len(text) for text in texts], np.full(len(texts), 6))
    bad = [rle_problem({"size": [2, 3], "counts": text}) is not None for text in texts]
    assert (decoded.state == NO_CODE).tolist() == bad


def test_a_run_too_long_for_32_bits_is_found():
    step = "o" * 5 + "?"  # 2^29 - 1
    assert slow_runs(step) == [2**29 - 1]
    wraps = {"size": [1, 2**29 - 9], "counts": step + "0" + step * 16 + "4"}
    assert wrong_totals([wraps, {"size": [1, 2**29 - 1], "counts": step}]) == [0]
