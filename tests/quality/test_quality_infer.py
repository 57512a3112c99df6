"""Quality of a whole result file: rows, notes, the table, and the comparison with ground truth."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import track_quality
from wsvis_core.config import QualitySettings, TrackingSettings
from wsvis_core.errors import WsvisError
from wsvis_core.quality.calibration import BUILT_IN, read_calibration
from wsvis_core.quality.evaluate import evaluate_quality, quality_metrics, right_tracks
from wsvis_core.quality.files import frames_in_words, read_estimates, read_quality, write_table
from wsvis_core.quality.infer import estimate_quality, not_found
from wsvis_core.storage.files import read_json
from wsvis_core.storage.rle import decode_mask, encode_mask
from wsvis_core.tracking.infer import track_instances
from wsvis_core.tracking.results import read_results, write_results


@pytest.fixture(scope="module")
def tracks(dataset, perfect, flow_shard, tmp_path_factory) -> Path:
    """True tracks, and after those of each video the same upside down with a low score."""
    folder = tmp_path_factory.mktemp("tracks")
    track_instances(dataset, [perfect], [flow_shard], TrackingSettings(), folder / "true.json")
    entries = []
    for video in dataset.videos:
        own = [entry for entry in read_results(folder / "true.json") if entry["video_id"] == video.id]
        entries += own + [turned(entry) for entry in own]
    write_results(folder / "tracks.json", entries)
    return folder / "tracks.json"


def turned(entry: dict) -> dict:
    """Every second mask mirrored: it does not follow the flow, and covers something else."""
    masks = [
        mask if mask is None or t % 2 else encode_mask(np.ascontiguousarray(decode_mask(mask)[::-1, ::-1]))
        for t, mask in enumerate(entry["segmentations"])
    ]
    return entry | {"score": 0.2, "segmentations": masks}


@pytest.fixture(scope="module")
def quality(dataset, tracks, perfect, flow_shard, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("quality") / "quality.json"
    estimate_quality(dataset, tracks, [flow_shard], [perfect], QualitySettings(), output)
    return output


def test_every_track_has_a_row_in_the_order_of_the_file(dataset, tracks, quality):
    found, entries = read_quality(quality), read_results(tracks)
    assert found["notes"] == [] and found["calibration"] == "built-in"
    assert [(row["video_id"], row["category_id"]) for row in found["tracks"]] == [
        (entry["video_id"], entry["category_id"]) for entry in entries
    ]
    calibration = read_calibration(BUILT_IN)
    for row, entry in zip(found["tracks"], entries, strict=True):
        present = [t for t, mask in enumerate(entry["segmentations"]) if mask is not None]
        assert (row["first_frame"], row["last_frame"], row["frames"]) == (present[0], present[-1], len(present))
        assert row["video"] == dataset.video(row["video_id"]).name
        assert row["class"] == dataset.categories[dataset.class_index(row["category_id"])].name
        known = {name: row[name] for name in ("score", "labels", "stability") if row[name] is not None}
        assert row["estimate"] == calibration.estimate(known) and all(0 <= value <= 1 for value in known.values())
    for video in dataset.videos:
        numbers = [row["track"] for row in found["tracks"] if row["video_id"] == video.id]
        assert numbers == list(range(1, len(numbers) + 1))


def test_true_tracks_agree_with_the_round_before_and_follow_the_flow_better(quality):
    rows = read_quality(quality)["tracks"]
    true, wrong = ([row for row in rows if (row["score"] > 0.5) == good] for good in (True, False))
    assert len(true) == len(wrong) >= 6
    assert all(row["agreement"] == 1 for row in true) and all(row["agreement"] < 1 for row in wrong)
    pairs = [(a, b) for a, b in zip(true, wrong, strict=True) if a["stability"] is not None]
    assert len(pairs) >= 4 and all(a["stability"] > b["stability"] for a, b in pairs)
    assert all(a["estimate"] > b["estimate"] for a, b in zip(true, wrong, strict=True))


def test_a_one_frame_video_has_no_stability_and_an_estimate_without_it(dataset, quality):
    short = next(video for video in dataset.videos if len(video) == 1)
    rows = [row for row in read_quality(quality)["tracks"] if row["video_id"] == short.id]
    assert rows and all(row["stability"] is None and row["weakest_frame"] == 0 for row in rows)
    assert all(0 < row["estimate"] < 1 for row in rows)


def test_round_0_has_no_agreement_and_says_so(dataset, tracks, flow_shard, quality, tmp_path):
    estimate_quality(dataset, tracks, [flow_shard], [], QualitySettings(), tmp_path / "q.json")
    found = read_quality(tmp_path / "q.json")
    assert found["notes"] == ["agreement of rounds is not known: round 0 has no round before it"]
    assert all(row["agreement"] is None for row in found["tracks"])
    # It has no weight in the built-in calibration: rounds compare.
    assert [r["estimate"] for r in found["tracks"]] == [r["estimate"] for r in read_quality(quality)["tracks"]]


def test_tracks_of_whole_frames_are_named_in_a_note(dataset, tracks, flow_shard, perfect, tmp_path):
    entries = read_results(tracks)
    video = dataset.video(entries[0]["video_id"])
    almost = np.ones((video.height, video.width), bool)
    almost[: video.height // 10] = False
    entries[0]["segmentations"] = [encode_mask(almost)] * len(video)
    write_results(tmp_path / "tracks.json", entries)
    estimate_quality(dataset, tmp_path / "tracks.json", [flow_shard], [perfect], QualitySettings(), tmp_path / "q.json")
    found = read_quality(tmp_path / "q.json")
    assert found["tracks"][0]["cover"] == pytest.approx(almost.mean())
    [note] = found["notes"]
    assert note.startswith("1 of the tracks hold 80% of their frames") and note.endswith(f": {video.name} track 1")


def test_twice_gives_the_same_bytes(dataset, tracks, perfect, flow_shard, quality, tmp_path):
    estimate_quality(dataset, tracks, [flow_shard], [perfect], QualitySettings(), tmp_path / "q.json")
    assert (tmp_path / "q.json").read_bytes() == quality.read_bytes()


def test_no_tracks_at_all(dataset, prepared, flow_shard, tmp_path):
    (tmp_path / "tracks.json").write_text("[]\n")
    files = [tmp_path / name for name in ("tracks.json", "quality.json", "metrics.json", "table.csv")]
    estimate_quality(dataset, files[0], [flow_shard], [], QualitySettings(), files[1])
    assert read_quality(files[1])["tracks"] == []
    evaluate_quality(files[1], files[0], prepared / "ground_truth_val.json", files[2])
    metrics = json.loads(files[2].read_text())
    assert metrics["tracks"] == 0 and metrics["ECE"] is None and metrics["AUC"]["estimate"] is None
    write_table(files[1], files[3])
    lost = read_quality(files[1])["not_found"]
    assert files[3].read_text().count("\n") == 1 + len(lost) and read_estimates(files[3]) == {}
    labelled = sum(int(dataset.class_labels(video).any(axis=0).sum()) for video in dataset.videos)
    assert len(lost) == labelled > 0


def test_labelled_classes_without_a_track_are_named(dataset, tracks, perfect, flow_shard, tmp_path):
    entries = read_results(tracks)
    first = entries[0]
    gone = first["video_id"], first["category_id"]
    video, c = dataset.video(gone[0]), dataset.class_index(gone[1])
    labels = dataset.class_labels(video).copy()
    labels[:, c] = [True, False, True, True]
    changed = replace(dataset, labels=dataset.labels | {video.id: labels})
    write_results(tmp_path / "tracks.json", [e for e in entries if (e["video_id"], e["category_id"]) != gone])
    files = changed, tmp_path / "tracks.json", [flow_shard], [perfect], QualitySettings(), tmp_path / "q.json"
    estimate_quality(*files)
    found = read_quality(tmp_path / "q.json")
    name = dataset.categories[c].name
    row = {"video_id": video.id, "video": video.name, "category_id": gone[1], "class": name}
    assert found["not_found"] == [row | {"labelled": [[0, 0], [2, 3]]}]
    assert found["notes"] == [f"labelled, not found: {name} in {video.name} (frames 0, 2 to 3)"]
    write_table(tmp_path / "q.json", tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as stream:
        top, *others = csv.DictReader(stream)
    assert {key: value for key, value in top.items() if value} == {
        **{"video": video.name, "video_id": str(video.id), "class": name, "note": "not found"},
        **{"first_frame": "0", "last_frame": "3", "frames": "0"},
    }
    assert len(others) == len(found["tracks"]) == len(read_estimates(tmp_path / "table.csv"))
    assert {row["note"] for row in others} == {""}


def test_labels_of_held_out_videos_are_not_missed(dataset, tmp_path, flow_shard):
    (tmp_path / "tracks.json").write_text("[]\n")
    held_out = replace(dataset, splits={"train": (), "val": dataset.splits["val"]})
    estimate_quality(held_out, tmp_path / "tracks.json", [flow_shard], [], QualitySettings(), tmp_path / "q.json")
    assert read_quality(tmp_path / "q.json")["not_found"] == [] == not_found(held_out, set())


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ([[3, 3]], "frame 3"),
        ([[0, 11]], "frames 0 to 11"),
        ([[0, 0], [2, 4]], "frames 0, 2 to 4"),
        ([[0, 0], [2, 2], [4, 4], [6, 9]], "frames 0, 2, 4 …"),
    ],
)
def test_frames_in_words(ranges, words):
    assert frames_in_words(ranges) == words


def test_many_missing_classes_are_counted(dataset, flow_shard, tmp_path):
    (tmp_path / "tracks.json").write_text("[]\n")
    every = {video.id: np.ones((len(video), dataset.num_classes), bool) for video in dataset.videos}
    full = replace(dataset, labels=every)
    estimate_quality(full, tmp_path / "tracks.json", [flow_shard], [], QualitySettings(), tmp_path / "q.json")
    note = read_quality(tmp_path / "q.json")["notes"][1]
    assert note.endswith(f" and {len(dataset.videos) * dataset.num_classes - 10} more") and note.count(" in ") == 10


def test_a_calibration_of_one_s_own_is_used(dataset, tracks, flow_shard, tmp_path):
    models = [{"intercept": 0.0, "weights": {"labels": 0.0}}]
    (tmp_path / "own.json").write_text(json.dumps({"format": 1, "models": models}))
    settings = QualitySettings(calibration=str(tmp_path / "own.json"))
    estimate_quality(dataset, tracks, [flow_shard], [], settings, tmp_path / "q.json")
    assert {row["estimate"] for row in read_quality(tmp_path / "q.json")["tracks"]} == {0.5}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"segmentations": [None]}, "result 1: 1 segmentations, but video {video} has {frames} frames"),
        ({"segmentations": "none"}, "result 1: no frame has a mask"),
        ({"segmentations": "small"}, "result 1: masks of another size than the frames of video {video}, [48, 80]"),
        ({"score": "good"}, "result 1: score must be a finite number, not 'good'"),
    ],
)
def test_a_result_that_does_not_fit_the_data_set_is_named(dataset, tracks, flow_shard, tmp_path, change, said):
    entry = read_results(tracks)[0]
    video = dataset.video(entry["video_id"])
    small = [{"size": [2, 2], "counts": encode_mask(np.ones((2, 2), bool))["counts"]}] * len(video)
    known = {"none": [None] * len(video), "small": small}
    wrong = entry | {key: known.get(value, value) if isinstance(value, str) else value for key, value in change.items()}
    (tmp_path / "tracks.json").write_text(json.dumps([wrong]))
    with pytest.raises(WsvisError) as error:
        estimate_quality(dataset, tmp_path / "tracks.json", [flow_shard], [], QualitySettings(), tmp_path / "q.json")
    words = said.format(video=video.name, frames=len(video))
    assert str(error.value) == f"{tmp_path / 'tracks.json'} has 1 problem:\n  {words}"
    assert not (tmp_path / "q.json").exists()


def test_the_table_is_worst_first_and_read_back(quality, tmp_path):
    write_table(quality, tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    estimates = [float(row["estimate"]) for row in rows]
    assert estimates == sorted(estimates) and len(rows) == len(read_quality(quality)["tracks"])
    assert list(rows[0])[:4] == ["video", "track", "class", "estimate"]
    assert any(row["stability"] == "" for row in rows)
    found = read_estimates(tmp_path / "table.csv")
    for row in read_quality(quality)["tracks"]:
        assert found[row["video_id"], row["track"]] == pytest.approx((row["estimate"], row["score"]), abs=1e-4)


def test_a_table_that_is_none_is_explained(tmp_path):
    (tmp_path / "t.csv").write_text("video,class\na.mp4,cow\n")
    with pytest.raises(WsvisError, match="needs columns video_id, track, estimate and score with numbers"):
        read_estimates(tmp_path / "t.csv")
    with pytest.raises(WsvisError, match="nowhere.csv does not exist; it is made by rule publish_quality"):
        read_estimates(tmp_path / "nowhere.csv")
    (tmp_path / "q.json").write_text("{}")
    with pytest.raises(WsvisError, match="is not of format 3; delete it and run rule estimate_quality again"):
        read_quality(tmp_path / "q.json")


def test_estimates_are_held_against_the_ground_truth(prepared, tracks, quality, tmp_path):
    evaluate_quality(quality, tracks, prepared / "ground_truth_val.json", tmp_path / "m.json")
    metrics, rows = json.loads((tmp_path / "m.json").read_text()), read_quality(quality)["tracks"]
    right = right_tracks(tracks, read_json(prepared / "ground_truth_val.json", made_by=""))
    assert metrics["tracks"] == len(rows) and metrics["right_tracks"] == right.sum() >= 0.4 * len(rows)
    assert metrics["AUC"]["estimate"] > 0.9 and set(metrics["AUC"]) == {
        *("estimate", "score", "labels", "stability", "agreement")
    }
    assert sum(row["tracks"] for row in metrics["bins"]) == len(rows)


def test_nothing_to_compare_with_is_said(quality, tracks, prepared, tmp_path):
    truth = read_json(prepared / "ground_truth_val.json", made_by="")
    (tmp_path / "truth.json").write_text(json.dumps(truth | {"annotations": None}))
    evaluate_quality(quality, tracks, tmp_path / "truth.json", tmp_path / "m.json")
    assert list(json.loads((tmp_path / "m.json").read_text())) == ["not_evaluated"]


def test_files_of_different_runs_are_not_compared():
    with pytest.raises(WsvisError, match="1 tracks have a quality, but the result file has 2: run both again"):
        quality_metrics([{"estimate": 0.5}], np.zeros(2, bool))


def test_anybody_can_fit_the_calibration_again(prepared, tracks, quality, tmp_path, capsys):
    folder = tmp_path / "results/mine/flowirn/maskrcnn/round-1/unovost"
    folder.mkdir(parents=True)
    (folder / "tracks.json").write_bytes(tracks.read_bytes())
    (folder / "quality.json").write_bytes(quality.read_bytes())
    (tmp_path / "results/mine/dataset").symlink_to(prepared)
    track_quality.main([str(folder), "--output", str(tmp_path / "own.json")])
    own, screen = read_calibration(tmp_path / "own.json"), capsys.readouterr().out
    assert own.about["data_sets"] == ["mine"] and own.about["variants"] == ["flowirn, maskrcnn, round-1, unovost"]
    assert "| score, labels, stability, agreement |" in screen and "nan" not in screen
    rows = read_quality(quality)["tracks"]
    good = own.estimate({name: rows[0][name] for name in ("score", "labels", "stability")})
    assert good > 0.5
