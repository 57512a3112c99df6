"""Reading JSON entry by entry: the same as json.loads, doubled keys, broken files."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation import json_input
from wsvis_core.evaluation.json_input import read_entries, read_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=6)
FIXTURE = [HealthCheck.function_scoped_fixture]


def entries(path, problems=None):
    return list(read_entries(path, [] if problems is None else problems, made_by="you"))


@settings(max_examples=100, deadline=None, suppress_health_check=FIXTURE)
@given(OBJECTS, st.sampled_from([None, 1]), st.integers(1, 40), st.sampled_from(["", " \n"]))
def test_any_list_in_blocks_of_any_size(tmp_path, monkeypatch, value, indent, block, around):
    monkeypatch.setattr(json_input, "_BLOCK", block)
    path = tmp_path / "r.json"
    path.write_text(around + json.dumps(value, indent=indent) + around)
    # A list that begins beyond the first block is refused; real files do not begin with millions of spaces.
    if len(around) < block:
        assert entries(path) == value


def test_doubled_keys_are_named(tmp_path):
    path = tmp_path / "r.json"
    path.write_text('[{"a": 1}, {"score": 1, "score": 2, "masks": [{"size": 1, "counts": 2, "counts": 3}]}]')
    problems = []
    assert entries(path, problems) == [{"a": 1}, {"score": 2, "masks": [{"size": 1, "counts": 3}]}]
    assert problems == [
        "result 2: an object with keys size, counts: key 'counts' occurs 2 times",
        "result 2: an object with keys score, masks: key 'score' occurs 2 times",
    ]
    path.write_text('{"videos": [{"id": 3, "width": 1, "width": 2, "width": 3}]}')
    value, problems = read_object(path, made_by="you")
    assert value == {"videos": [{"id": 3, "width": 3}]}
    assert problems == ["the object with id 3: key 'width' occurs 3 times"]


def test_doubled_keys_are_named_once_in_small_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(json_input, "_BLOCK", 3)
    path = tmp_path / "r.json"
    path.write_text('[{"a": {"b": 1, "b": 2}, "c": 1}, {"d": 1}]')
    problems = []
    assert len(entries(path, problems)) == 2 and len(problems) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a JSON list of tracks"),
        ('{"a": 1}', "must be a JSON list of tracks"),
        ("[", "is not valid JSON"),
        ("[{}", "is not valid JSON"),
        ("[{},", "is not valid JSON"),
        ("[{},]", "is not valid JSON"),
        ("[{} {}]", "is not valid JSON (Expecting ',' delimiter: character 4)"),
        ('[{"a": }]', "is not valid JSON (Expecting value: character 7)"),
        ("[] x", "is not valid JSON (Extra data after the list)"),
        ("[{}]]", "is not valid JSON (Extra data after the list)"),
        ('[{"a": "\udcff"}]', "is not valid JSON ('utf-8' codec can't decode"),
        ("[" * 100_000, "is not valid JSON (maximum recursion depth exceeded"),
    ],
)
@pytest.mark.parametrize("block", [1 << 20, 2])
def test_broken_files(tmp_path, monkeypatch, text, message, block):
    monkeypatch.setattr(json_input, "_BLOCK", block if len(text) < 100 else 1 << 20)
    path = tmp_path / "r.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(WsvisError, match=re.escape(message)):
        entries(path)


def test_missing_and_broken_object(tmp_path):
    path = tmp_path / "gt.json"
    with pytest.raises(WsvisError, match=r"gt\.json does not exist; it is made by you"):
        read_object(path, made_by="you")
    with pytest.raises(WsvisError, match=r"gt\.json does not exist; it is made by you"):
        entries(path)
    path.write_text('{"a": 1')
    with pytest.raises(WsvisError, match="is not valid JSON"):
        read_object(path, made_by="you")
