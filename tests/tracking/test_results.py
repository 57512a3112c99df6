"""The result file: bytes, round trip, refusals."""

from __future__ import annotations

import json
import weakref

import numpy as np
import pytest

from wsvis_core.errors import WsvisError
from wsvis_core.storage.rle import encode_mask
from wsvis_core.tracking.results import read_results, tracks_to_results, write_results
from wsvis_core.tracking.tracks import Track

MASK = encode_mask(np.eye(4, 6, dtype=bool))
TRACKS = [
    Track(1, 0.75, (MASK, None, dict(MASK, counts=MASK["counts"].encode())), (0.5, None, 1.0)),
    Track(0, 0.5, (None, None, None), (None, None, None)),
]


def entry(**changes):
    return {"video_id": 3, "category_id": 7, "score": 0.5, "segmentations": [MASK, None], **changes}


def test_tracks_become_plain_entries():
    (result,) = tracks_to_results(np.int64(3), TRACKS, np.array([5, 9]))
    assert list(result) == ["video_id", "category_id", "score", "segmentations"]
    assert result == {"video_id": 3, "category_id": 9, "score": 0.75, "segmentations": [MASK, None, MASK]}
    assert type(result["video_id"]) is int and type(result["category_id"]) is int


def test_bytes_are_stable_and_read_back(tmp_path):
    results = tracks_to_results(3, TRACKS, [5, 9])
    write_results(tmp_path / "a.json", results)
    shuffled = [dict(reversed(list(row.items())), id=17, score=np.float64(row["score"])) for row in results]
    write_results(tmp_path / "b.json", shuffled)
    text = (tmp_path / "a.json").read_bytes()
    assert text == (tmp_path / "b.json").read_bytes()
    counts = MASK["counts"]
    rle = f'{{"size":[4,6],"counts":"{counts}"}}'
    expected = f'[\n{{"video_id":3,"category_id":9,"score":0.75,"segmentations":[{rle},null,{rle}]}}\n]\n'
    assert text.decode() == expected
    assert read_results(tmp_path / "a.json") == json.loads(expected) == results


def test_empty_result_file(tmp_path):
    write_results(tmp_path / "r.json", [])
    assert (tmp_path / "r.json").read_text() == "[]\n" and read_results(tmp_path / "r.json") == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (entry(video_id=0), "video_id must be a whole number from 1, not 0"),
        (entry(category_id=True), "category_id must be a whole number from 1, not True"),
        (entry(score=float("nan")), "score must be a finite number, not nan"),
        (entry(score="high"), "score must be a finite number, not 'high'"),
        (entry(segmentations=None), "segmentations must be a list with one entry per frame, not nothing"),
        (entry(segmentations=[[1, 2, 3]]), "segmentations[0] must be an RLE object or null, not a list"),
        (entry(segmentations=[{"size": [4], "counts": "a"}]), "segmentations[0] needs size [height, width]"),
        (entry(segmentations=[{"size": [4, 6], "counts": [24]}]), "segmentations[0] needs counts as compressed"),
        (entry(segmentations=[{"size": [4, 6], "counts": " é"}]), "counts that are not a compressed RLE"),
        (entry(segmentations=[{"size": [4, 6], "counts": "é"}]), "counts that are not a compressed RLE"),
        (entry(segmentations=[{"size": [4, 6], "counts": "\ud800"}]), "counts that are not a compressed RLE"),
        (entry(segmentations=[{"size": [4, 6], "counts": "P"}]), "counts that are not a compressed RLE"),
        (7, "must be an object with video_id, category_id, score, segmentations, not a number"),
    ],
)
def test_wrong_entries_are_named(tmp_path, wrong, message):
    with pytest.raises(WsvisError) as caught:
        write_results(tmp_path / "r.json", [entry(), wrong])
    assert "has 1 problem:\n  result 2: " in str(caught.value) and message in str(caught.value)
    assert not (tmp_path / "r.json").exists()


def test_entries_that_come_one_by_one_are_not_kept(tmp_path):
    """Each is written and let go before the one after the next, and the bytes are those of the list."""
    watched: list[weakref.ref] = []

    class Entry(dict):
        """An entry whose life can be watched."""

    def entries():
        for n in range(1, 6):
            assert sum(one() is not None for one in watched) <= 1
            one = Entry(entry(video_id=n))
            watched.append(weakref.ref(one))
            yield one
            del one

    write_results(tmp_path / "a.json", entries())
    write_results(tmp_path / "b.json", [entry(video_id=n) for n in range(1, 6)])
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_all_problems_are_listed_and_nothing_stays(tmp_path):
    wrong = [entry(), entry(score=float("nan")), entry(), entry(video_id=0)]
    for results in (wrong, iter(wrong)):
        with pytest.raises(WsvisError, match=r"has 2 problems:\n  result 2: score .*\n  result 4: video_id "):
            write_results(tmp_path / "r.json", results)
    assert list(tmp_path.iterdir()) == []


def test_wrong_files(tmp_path):
    path = tmp_path / "r.json"
    with pytest.raises(WsvisError, match="does not exist"):
        read_results(path)
    path.write_text('{"a": 1}')
    with pytest.raises(WsvisError, match="must be a JSON list of tracks, not a dict"):
        read_results(path)
    path.write_text("[{]")
    with pytest.raises(WsvisError, match="not valid JSON"):
        read_results(path)
    path.write_text(json.dumps([entry(video_id=0)] * 70))
    with pytest.raises(WsvisError, match="70 problems") as caught:
        read_results(path)
    assert "… and 52 more" in str(caught.value)
