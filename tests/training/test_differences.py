from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.training.differences import setting_differences

PLAIN = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)
TREES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1, max_size=2), inner)
)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": {"lr": 0.01, "n": 3}}, {"a": {"lr": 0.02, "n": 3}}, ["a.lr: 0.01 -> 0.02"]),
        ({"b": 1, "a": True}, {"b": "1", "a": None}, ["a: true -> null", 'b: 1 -> "1"']),
        ({"a": {"x": 1}}, {"a": {"y": 1}}, ["a.x: 1 -> (absent)", "a.y: (absent) -> 1"]),
        ({"steps": [0.5, 0.8]}, {"steps": [0.5, 0.9]}, ["steps: [0.5, 0.8] -> [0.5, 0.9]"]),
        (
            {"inputs": [["a.h5", 5, 1], ["b.h5", 6, 2]]},
            {"inputs": [["a.h5", 5, 1], ["b.h5", 7, 3], ["c.h5", 1, 1]]},
            ['inputs.1: ["b.h5", 6, 2] -> ["b.h5", 7, 3]', 'inputs.2: (absent) -> ["c.h5", 1, 1]'],
        ),
        ({"a": {}}, {"a": {"x": 1}}, ["a: {} -> (absent)", "a.x: (absent) -> 1"]),
        ({"a": 1}, {"a": {"x": 1}}, ["a: 1 -> (absent)", "a.x: (absent) -> 1"]),
        ({"a": 1.0}, {"a": 1}, ["a: 1.0 -> 1"]),
        ({}, {}, []),
    ],
)
def test_every_difference_by_its_dotted_name(old, new, expected):
    assert setting_differences(old, new) == expected


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), TREES), st.data())
@settings(max_examples=30, deadline=None)
def test_equal_settings_have_none_and_swapping_turns_every_line(old, data):
    new = data.draw(st.dictionaries(st.text("ab", min_size=1, max_size=2), TREES))
    assert setting_differences(old, json.loads(json.dumps(old))) == []
    turned = [
        f"{name}: {after} -> {before}"
        for name, change in (line.split(": ", 1) for line in setting_differences(new, old))
        for before, after in [change.split(" -> ")]
    ]
    assert setting_differences(old, new) == turned
