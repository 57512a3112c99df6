"""Which route is published: its evidence against hand-made masks, the choice and its file, and the column it makes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsvis_core.datasets.video import Category, Frame, Video, VideoDataset
from wsvis_core.errors import WsvisError
from wsvis_core.quality.files import COLUMNS, FORMAT, write_table
from wsvis_core.quality.routes import (
    Evidence,
    RouteFiles,
    choose_route,
    chosen_route,
    label_agreement,
    mean_worth,
    read_choice,
    route_evidence,
)
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, open_instances, to_columns
from wsvis_core.storage.rle import encode_mask
from wsvis_core.storage.shards import write_shard
from wsvis_core.tracking.results import write_results

HEIGHT, WIDTH = 8, 10
CAT, DOG = 0, 1
CATEGORIES = (Category(3, "cat"), Category(7, "dog"))


def box(x: int, width: int = 4) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:6, x : x + width] = True
    return mask


def frame(*instances: tuple[np.ndarray, int]) -> EncodedInstances:
    """Labels of one frame: (mask, class) each."""
    count = len(instances)
    rles = tuple(encode_mask(mask) for mask, _ in instances)
    classes = np.array([category for _, category in instances], np.int64)
    return EncodedInstances((HEIGHT, WIDTH), rles, classes, np.ones(count, np.float32), np.zeros((count, 4)))


def rles(*masks: np.ndarray | None) -> list:
    return [None if mask is None else encode_mask(mask) for mask in masks]


def make_video(number: int, length: int) -> Video:
    return Video(number, f"clip{number}", WIDTH, HEIGHT, tuple(Frame(f"{number}/{t}.jpg", t) for t in range(length)))


# Held out: 2 with both classes, 5 without any label, 9 with a cat. Video 4 is there for training alone.
VIDEOS = (make_video(2, 2), make_video(4, 1), make_video(5, 2), make_video(9, 1))
BOTH = np.array([[1, 0], [1, 1]], bool)
LABELS = {2: BOTH, 4: np.ones((1, 2), bool), 5: np.zeros((2, 2), bool), 9: np.array([[1, 0]], bool)}
DATASET = VideoDataset(Path("here"), CATEGORIES, VIDEOS, (), LABELS, {"train": (4,), "val": (2, 5, 9)})
PSEUDO_LABELS = {
    2: [frame((box(0), CAT)), frame((box(1), CAT), (box(6), DOG))],
    4: [frame((box(0), CAT))],
    5: [frame(), frame()],
    9: [frame((box(3), CAT))],
}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.h5"
    write_shard(path, kind=KIND, videos=VIDEOS, make_columns=lambda v: to_columns(PSEUDO_LABELS[v.id]), settings={})
    return path


def track(video: int, category: int, *masks: np.ndarray | None, **parts) -> tuple[dict, dict]:
    """A track and the parts of its quality."""
    entry = {"video_id": video, "category_id": CATEGORIES[category].id, "score": 0.5, "segmentations": rles(*masks)}
    return entry, {"labels": 1.0, "stability": 1.0, "cover": 0.0} | parts


def route(folder: Path, *tracks: tuple[dict, dict]) -> RouteFiles:
    """The files of a route: tracks of a video are numbered from 1 in the order of the file."""
    folder.mkdir()
    entries = [entry for entry, _ in tracks]
    rows = []
    for n, (entry, parts) in enumerate(tracks):
        number = sum(other["video_id"] == entry["video_id"] for other in entries[: n + 1])
        rows.append({"video_id": entry["video_id"], "track": number, **parts})
    write_results(folder / "tracks.json", entries)
    (folder / "quality.json").write_text(json.dumps({"format": FORMAT, "notes": [], "tracks": rows, "not_found": []}))
    return RouteFiles(folder / "tracks.json", folder / "quality.json")


# ---- agreement with the labels --------------------------------------------------------------------------------------


def test_agreement_is_the_mean_over_frames_that_have_a_mask_and_a_label_of_the_class():
    masks = rles(box(0), box(0), None, box(4))
    frames = [
        frame((box(2), CAT), (box(9, 1), CAT), (box(0), DOG)),  # 8 of 24 pixels; the dog's label does not count
        frame((box(0), DOG)),
        frame((box(0), CAT)),
        frame((box(4), CAT)),
    ]
    assert label_agreement(masks, CAT, frames) == pytest.approx((1 / 3 + 1) / 2)
    assert label_agreement(masks, DOG, frames) == 1


def test_nothing_to_agree_with_is_no_agreement():
    assert label_agreement(rles(box(0), None), CAT, [frame((box(0), DOG)), frame((box(0), CAT))]) == 0
    assert label_agreement([], CAT, []) == 0
    with pytest.raises(ValueError, match="longer"):
        label_agreement(rles(box(0)), CAT, [frame(), frame()])


def test_the_further_a_track_lies_from_its_label_the_less_they_agree():
    found = [label_agreement(rles(box(x)), CAT, [frame((box(0), CAT))]) for x in range(5)]
    assert found[0] == 1 and found[4] == 0 and sorted(found, reverse=True) == found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_agreement_is_that_of_a_slow_loop(seed):
    rng = np.random.default_rng(seed)

    def some_mask() -> np.ndarray:
        return rng.random((HEIGHT, WIDTH)) < rng.random()

    length = int(rng.integers(0, 4))
    masks = [some_mask() if rng.random() < 0.7 else None for _ in range(length)]
    known = [[(some_mask(), int(rng.integers(2))) for _ in range(rng.integers(4))] for _ in range(length)]
    best = []
    for mask, instances in zip(masks, known, strict=True):
        overlaps = []
        for other, category in instances:
            if mask is not None and category == CAT:
                union = int((mask | other).sum())
                overlaps.append((mask & other).sum() / union if union else 0.0)
        if overlaps:
            best.append(max(overlaps))
    expected = sum(best) / len(best) if best else 0.0
    assert label_agreement(rles(*masks), CAT, [frame(*instances) for instances in known]) == pytest.approx(expected)


# ---- evidence -------------------------------------------------------------------------------------------------------


def test_worth_is_the_product_and_small_for_whole_frames():
    assert Evidence("v", "cat", 0.8, 0.5, 0.5, 0.25).worth == pytest.approx(0.8 * 0.5 * 0.5 * 0.75)
    assert Evidence("v", "cat", 1, 1, 1, 0).worth == 1
    assert Evidence("v", "cat", 1, 1, 1, 1).worth == Evidence("v", "cat").worth == 0
    assert mean_worth([]) == 0 and mean_worth([Evidence("v", "a"), Evidence("v", "b", 1, 1, 1, 0.5)]) == 0.25


def test_every_named_class_has_its_best_track(tmp_path, labels):
    files = route(
        tmp_path / "route",
        track(9, CAT, box(3), stability=None, cover=0.2),
        track(2, CAT, box(0), None, labels=0.5, stability=0.9),
        track(5, CAT, box(0), box(0)),  # no label names a class here
        track(2, DOG, None, box(8), labels=0.25, stability=0.5, cover=0.125),
        track(2, CAT, box(0), box(1), labels=1.0, stability=0.75, cover=0.25),
    )
    assert list(route_evidence(DATASET, files, open_instances([labels]))) == [
        Evidence("clip2", "cat", 1.0, 0.75, 1.0, 0.25),
        Evidence("clip2", "dog", 0.25, 0.5, 0.5, 0.125),
        Evidence("clip9", "cat", 1.0, 1.0, 1.0, 0.2),
    ]


def test_a_named_class_without_a_track_counts_nothing(tmp_path, labels):
    files = route(tmp_path / "route", track(2, DOG, None, box(6)))
    cat, dog, other = route_evidence(DATASET, files, open_instances([labels]))
    assert cat == Evidence("clip2", "cat", 0.0, 0.0, 0.0, 0.0) and other == Evidence("clip9", "cat")
    assert dog.worth == 1
    nothing = route(tmp_path / "nothing")
    assert [item.worth for item in route_evidence(DATASET, nothing, open_instances([labels]))] == [0, 0, 0]


# ---- the choice -----------------------------------------------------------------------------------------------------


def good(folder: Path) -> RouteFiles:
    tracks = track(2, CAT, box(0), box(1), cover=0.2), track(2, DOG, None, box(6), labels=0.5), track(9, CAT, box(3))
    return route(folder, *tracks)


@pytest.mark.parametrize("order", [("poor", "good"), ("good", "poor")])
def test_the_better_route_is_published(tmp_path, labels, order):
    routes = {"good": good(tmp_path / "good"), "poor": route(tmp_path / "poor", track(9, CAT, box(3)))}
    choose_route(DATASET, {name: routes[name] for name in order}, [labels], tmp_path / "route.json")
    choice = read_choice(tmp_path / "route.json")
    assert choice["published"] == "good" and choice["number"] == order.index("good")
    assert choice["worth"] == {"good": pytest.approx((0.8 + 0.5 + 1) / 3), "poor": pytest.approx(1 / 3)}
    assert choice["reason"] == (
        "tracks of good are published: worth 0.767 (labels 0.83, stability 1.00, agreement 1.00, cover 0.07), "
        "against poor: 0.333 (labels 0.33, stability 0.33, agreement 0.33, cover 0.00)"
    )
    assert choice["evidence"]["poor"][1] == {
        "video": "clip2",
        "category": "dog",
        "labels": 0,
        "stability": 0,
        "agreement": 0,
        "cover": 0,
        "worth": 0,
    }
    assert chosen_route([str(tmp_path / "route.json")]) == order.index("good")


def test_the_first_wins_a_tie_and_twice_gives_the_same_bytes(tmp_path, labels):
    one, two = good(tmp_path / "one"), good(tmp_path / "two")
    for routes in ({"one": one, "two": two}, {"two": two, "one": one}):
        written = []
        for name in ("a.json", "b.json"):
            choose_route(DATASET, routes, [labels], tmp_path / name)
            written.append((tmp_path / name).read_bytes())
        assert written[0] == written[1]
        choice = read_choice(tmp_path / "a.json")
        assert choice["published"] == next(iter(routes)) and choice["number"] == 0


def test_without_a_named_class_the_first_is_published(tmp_path, labels):
    bare = VideoDataset(Path("here"), CATEGORIES, VIDEOS, (), LABELS, {"train": (4,), "val": (5,)})
    routes = {"a": route(tmp_path / "a"), "b": good(tmp_path / "b")}
    choose_route(bare, routes, [labels], tmp_path / "route.json")
    choice = read_choice(tmp_path / "route.json")
    assert choice["published"] == "a" and choice["worth"] == {"a": 0, "b": 0}
    assert choice["evidence"] == {"a": [], "b": []}


def test_nothing_to_choose_is_the_first():
    assert chosen_route([]) == 0


@pytest.mark.parametrize("content", [[], {}, {"format": 2, "number": 0}, "1"])
def test_a_choice_of_another_format_is_refused(tmp_path, content):
    path = tmp_path / "route.json"
    path.write_text(json.dumps(content))
    for read in (read_choice, lambda path: chosen_route([str(path)])):
        with pytest.raises(WsvisError) as caught:
            read(path)
        assert str(caught.value) == f"{path} is not of format 1; delete it and run rule choose_route again"


def test_a_choice_that_was_not_made_names_its_rule(tmp_path):
    with pytest.raises(WsvisError) as caught:
        read_choice(tmp_path / "route.json")
    assert str(caught.value) == f"{tmp_path / 'route.json'} does not exist; it is made by rule choose_route"


# ---- the table ------------------------------------------------------------------------------------------------------


def test_the_table_names_the_route_where_there_was_a_choice(tmp_path):
    rows = [dict.fromkeys(COLUMNS, 1) | {"track": n, "estimate": estimate} for n, estimate in ((1, 0.75), (2, 0.5))]
    (tmp_path / "quality.json").write_text(json.dumps({"format": FORMAT, "tracks": rows, "not_found": []}))
    write_table(tmp_path / "quality.json", tmp_path / "plain.csv")
    write_table(tmp_path / "quality.json", tmp_path / "chosen.csv", route="labels")
    plain, chosen = ((tmp_path / name).read_text().splitlines() for name in ("plain.csv", "chosen.csv"))
    assert plain[0] == ",".join(COLUMNS) and plain[1].startswith("1,2,1,0.5000,1,")
    assert chosen == [f"{plain[0]},route", *(f"{line},labels" for line in plain[1:])]
    assert [row["route"] for row in csv.DictReader(chosen)] == ["labels", "labels"]


def test_a_table_without_tracks_has_its_head(tmp_path):
    (tmp_path / "quality.json").write_text(json.dumps({"format": FORMAT, "tracks": [], "not_found": []}))
    write_table(tmp_path / "quality.json", tmp_path / "t.csv", route="labels")
    assert (tmp_path / "t.csv").read_text() == ",".join((*COLUMNS, "route")) + "\n"


def test_a_class_that_was_not_found_was_not_found_on_the_published_route(tmp_path):
    missing = {"video_id": 2, "video": "clip2", "class": "dog", "labelled": [[0, 1], [3, 3]]}
    (tmp_path / "quality.json").write_text(json.dumps({"format": FORMAT, "tracks": [], "not_found": [missing]}))
    write_table(tmp_path / "quality.json", tmp_path / "t.csv", route="labels")
    [row] = csv.DictReader((tmp_path / "t.csv").read_text().splitlines())
    assert {name: value for name, value in row.items() if value} == {
        "video": "clip2",
        "class": "dog",
        "first_frame": "0",
        "last_frame": "3",
        "frames": "0",
        "video_id": "2",
        "note": "not found",
        "route": "labels",
    }
