"""Result files read in parts and by several processes: the same as the whole at once, also what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.evaluation.slow_video_metric import files_of, random_case
from wsvis_core.errors import WsvisError
from wsvis_core.evaluation import json_input, result_files
from wsvis_core.evaluation.bootstrap import Bootstrap
from wsvis_core.evaluation.json_input import entry_parts, read_part
from wsvis_core.evaluation.scoring import score_result_files
from wsvis_core.evaluation.video import evaluate_video_results
from wsvis_core.storage.rle import encode_mask

MASK = encode_mask(np.eye(4, 6, dtype=bool))
TRUTH = {
    "videos": [{"id": 1, "width": 6, "height": 4, "length": 2}],
    "categories": [{"id": 1, "name": "a"}],
    "annotations": [{"id": 1, "video_id": 1, "category_id": 1, "segmentations": [MASK, None]}],
}
RESULT = {"video_id": 1, "category_id": 1, "score": 0.5, "segmentations": [MASK, None]}


@pytest.fixture
def score(tmp_path, monkeypatch):
    """Metrics of content in parts of a few bytes; results may be given as text."""
    monkeypatch.setattr(result_files, "_PART_BYTES", 50)

    def run(truth, results, processes, indent=None):
        (tmp_path / "gt.json").write_text(json.dumps(truth))
        text = results if isinstance(results, str) else json.dumps(results, indent=indent)
        (tmp_path / "r.json").write_text(text)
        paths = tmp_path / "gt.json", [tmp_path / "r.json"]
        return score_result_files(*paths, Bootstrap(0), processes=processes)[0].metrics

    return run


@pytest.mark.parametrize("seed", range(4))
def test_any_number_of_processes_gives_the_same(score, seed):
    truth, results = files_of(random_case(np.random.default_rng(seed)))
    expected = score(truth, results, 1)
    assert score(truth, results, 2) == score(truth, results, 3, indent=1) == expected
    whole = evaluate_video_results(truth, results)
    assert {key: expected[key] for key in whole} == whole


@pytest.mark.parametrize("processes", [1, 2])
def test_problems_have_the_numbers_of_the_whole_file(score, processes):
    short = {"size": [4, 6], "counts": "d0"}
    results = [RESULT] * 12
    results[3], results[7] = RESULT | {"category_id": 2}, RESULT | {"segmentations": [None, short]}
    results[10] = RESULT | {"segmentations": [None]}
    expected = (
        "the evaluation input has 3 problems:\n"
        "  result 4 (video 1, category 2): there is no such category\n"
        "  result 8 (video 1, category 1): segmentations[1] has run lengths that do not sum to its size\n"
        "  result 11 (video 1, category 1): 1 segmentations, but the video has 2 frames"
    )
    with pytest.raises(WsvisError) as caught:
        score(TRUTH, results, processes)
    assert str(caught.value) == expected


@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_part_alone_does_not_show(score, processes):
    lines = [json.dumps(RESULT)] * 9
    doubled = [*lines[:8], lines[8].replace('"score": 0.5', '"score": 0.5, "score": 0.5')]
    with pytest.raises(WsvisError, match="result 9: an object with keys .*: key 'score' occurs 2 times"):
        score(TRUTH, "[" + ",\n".join(doubled) + "]", processes)
    with pytest.raises(WsvisError, match=r"result 5 \(video 1, category 1\): score must be a finite number, not nan"):
        score(TRUTH, "[" + ", ".join([*lines[:4], lines[4].replace("0.5", "NaN")]) + "]", processes)
    with pytest.raises(WsvisError, match="is not valid JSON"):
        score(TRUTH, "[" + ", ".join(lines) + ", ]", processes)
    with pytest.raises(WsvisError, match="is not valid JSON"):
        score(TRUTH, "[" + ", ".join(lines) + "], [" + ", ".join(lines) + "]", processes)
    with pytest.raises(WsvisError, match="must be a JSON list of tracks"):
        score(TRUTH, '{"results": [' + ", ".join(lines) + "]}", processes)


def test_parts_hold_all_entries_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(json_input, "_WINDOW", 16)
    path = tmp_path / "r.json"
    entries = [RESULT | {"score": k / 40, "note": "a brace } and a comma, {"} for k in range(40)]
    for indent in (None, 2):
        path.write_text(" " + json.dumps(entries, indent=indent) + "\n")
        for size in (1, 300, 10**6):
            parts = entry_parts(path, size)
            assert len(parts) == {1: 40, 10**6: 1}.get(size, len(parts))
            assert [entry for part in parts for entry in read_part(path, *part)] == entries
    path.write_text("[]")
    assert [read_part(path, *part) for part in entry_parts(path, 10)] == [[]]


def test_a_text_that_looks_like_the_border_of_two_entries(score):
    tricky = RESULT | {"note": '}, {"video_id" '}
    assert score(TRUTH, [tricky] * 6, 2)["mAP"] == score(TRUTH, [RESULT] * 6, 1)["mAP"]


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"b": {"a": "\\u0022", "a": 2}}]', '{"a": "\\"", "a": 1}'])
def test_doubled_keys_are_never_overlooked(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(f"[{text}]")
    [part] = entry_parts(path, 10**6)
    assert read_part(path, *part) is None
