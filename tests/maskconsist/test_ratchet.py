"""The union ratchet in the small: a detector that learns its targets perfectly, round after round."""

from __future__ import annotations

import pytest

from wsvis_core.maskconsist import TransferSettings, transfer_labels

LITERAL = TransferSettings()
CONFIGURED = TransferSettings(merge_rule="intersection", min_candidate_score=0.3, min_edge=0.3)
GENTLE = TransferSettings(label_priority="labels_first", fill_only=True)
ROUNDS = 6


@pytest.fixture
def still(rectangles, translation):
    """An object that stands still, labelled right on both frames; both flows carry it one pixel to the right."""
    thing = rectangles([[12, 4, 22, 14]])
    return {
        "predictions_t": thing,
        "labels_t": thing,
        "predictions_s": thing,
        "labels_s": thing,
        "flow_st": translation(-1),
        "flow_ts": translation(-1),
    }


def rounds(scene, options):
    """Diagnostics of each round; what a round's targets are is predicted in the next."""
    scene, seen = dict(scene), []
    for _ in range(ROUNDS):
        scene["predictions_t"], scene["predictions_s"], counts = transfer_labels(**scene, settings=options)
        seen.append((scene["predictions_t"], scene["predictions_s"], counts))
    return seen


def widths(seen):
    """Width in pixels of the one target of each frame, round by round."""
    boxes = [(t.boxes_xyxy[0], s.boxes_xyxy[0]) for t, s, _ in seen]
    return [tuple(int(box[2] - box[0]) for box in pair) for pair in boxes]


def test_read_literally_the_masks_grow_every_round(still):
    seen = rounds(still, LITERAL)
    sizes = widths(seen)
    assert sizes == [(11 + k, 11 + k) for k in range(ROUNDS)]
    ratios = [counts.area_ratio for _, _, counts in seen]
    assert ratios == sorted(ratios) and ratios[-1] >= 1.6
    assert seen[-1][2].transferred_growth == ratios[-1]


@pytest.mark.parametrize(
    "options", [CONFIGURED, GENTLE], ids=["the configured segmenter", "labels first, filling only"]
)
def test_the_readings_that_stop_it(still, options):
    seen = rounds(still, options)
    assert widths(seen) == [(10, 10)] * ROUNDS
    assert all(counts.area_ratio == 1.0 and counts.kept_transferred == 0 for _, _, counts in seen)
    assert seen[-1][2].matches == 2


def test_a_gap_is_still_filled_and_grows_by_one_error_of_the_flow_only(still, rectangles):
    still["labels_s"] = rectangles([])
    seen = rounds(still, GENTLE)
    assert widths(seen) == [(10, 11)] * ROUNDS
    assert all(counts.kept_transferred == 1 for _, _, counts in seen)


def test_read_literally_a_gap_grows_by_one_error_too(still, rectangles):
    """Growth needs two labelled frames: each passes its own growth on to the other."""
    still["labels_s"] = rectangles([])
    assert widths(rounds(still, LITERAL)) == [(10, 11)] * ROUNDS


def test_errors_that_cancel_there_and_back_add_one_step_only(still, translation):
    """What a frame gives away comes back unmoved: growth also needs flows that disagree with each other."""
    still["flow_ts"] = translation(1)
    assert widths(rounds(still, LITERAL)) == [(11, 11)] * ROUNDS


def test_the_gate_ends_it_at_twice_the_label(still):
    """A prediction of more than twice its label fails the box gate, so nothing is transferred any more."""
    scene, largest = dict(still), 0
    for _ in range(12):
        scene["predictions_t"], scene["predictions_s"], _ = transfer_labels(**scene, settings=LITERAL)
        largest = max(largest, int(scene["predictions_t"].masks.sum(dim=(1, 2)).max()))
    assert largest == 2 * int(still["labels_t"].masks.sum())


def test_right_flow_does_not_grow_what_fits(still, translation):
    still["flow_st"] = still["flow_ts"] = translation(0)
    assert widths(rounds(still, LITERAL)) == [(10, 10)] * ROUNDS


@pytest.mark.parametrize("option", [{"merge_rule": "prediction"}, {"merge_rule": "intersection"}, {"growth_cap": 1.0}])
def test_other_brakes_stop_it_too(still, option):
    assert widths(rounds(still, TransferSettings(**option))) == [(10, 10)] * ROUNDS


def test_a_certain_edge_alone_does_not_stop_it(still):
    """Two masks that grow together go on agreeing."""
    assert widths(rounds(still, TransferSettings(min_edge=0.5))) == widths(rounds(still, LITERAL))


def test_the_configured_segmenter_fills_a_gap_with_what_both_frames_agree_on(still, rectangles):
    """Flow that is off by a pixel costs the filled mask that pixel; the next round fills it no smaller."""
    still["labels_s"] = rectangles([])
    assert widths(rounds(still, CONFIGURED)) == [(10, 9)] * ROUNDS
