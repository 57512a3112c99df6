"""Every step of §3.2-3.6 against the slow reference: the same pixels, classes, scores and counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wsvis_core.maskconsist import TransferSettings, transfer_labels
from wsvis_core.maskconsist.assignment import TransferredLabels, assign_labels, limit_growth, require_target_agreement
from wsvis_core.maskconsist.combine import combine_labels
from wsvis_core.maskconsist.inter_frame import match_by_class, match_frames
from wsvis_core.maskconsist.intra_frame import expand_predictions

PAPER = TransferSettings()
seeds = st.integers(0, 100_000)


def assert_same(slow, instances, expected):
    """Same pixels, classes and scores, in the same order; boxes are tight."""
    got = slow.things(instances)
    assert [(a.pixels, a.label, a.score) for a in got] == [(b.pixels, b.label, b.score) for b in expected]


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from([0.3, 0.5, 0.6]))
def test_intra_frame_matching(slow, random_scene, seed, threshold):
    scene = random_scene(seed)
    for name in "ts":
        predictions, labels = scene[f"predictions_{name}"], scene[f"labels_{name}"]
        expanded = expand_predictions(predictions, labels, min_box_iou=threshold)
        expected = slow.expand(slow.things(predictions), slow.things(labels), threshold)
        assert_same(slow, expanded, expected)
        assert [thing.box for thing in slow.things(expanded)] == [thing.box for thing in expected]


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.25, 0.3, 0.5]))
def test_inter_frame_matching_on_masks(slow, random_scene, seed, min_edge):
    scene = random_scene(seed)
    source, target = scene["predictions_t"], scene["predictions_s"]
    matches = match_frames(source, target, scene["flow_st"], min_edge=min_edge)
    warped, edges, best = slow.match(slow.things(source), slow.things(target), scene["flow_st"], min_edge)
    assert [frozenset(map(tuple, mask.nonzero().tolist())) for mask in matches.warped_masks] == warped
    pairs = tuple(map(tuple, matches.pairs.tolist()))
    assert pairs in best
    assert matches.edges.tolist() == pytest.approx([float(edges[i][j]) for i, j in pairs])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 2), max_size=5),
    st.lists(st.integers(0, 2), max_size=5),
    st.sampled_from([0.0, 0.25, 0.5]),
    seeds,
)
def test_assignment_is_one_of_the_best_of_all(slow, rows, columns, min_edge, seed):
    """Edges are few multiples of ⅛, so ties and missing edges are common."""
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(0, 9, (len(rows), len(columns)), generator=generator) / 8
    classes = [torch.tensor(labels, dtype=torch.int64) for labels in (rows, columns)]
    total, best = slow.best_assignments(edges.tolist(), rows, columns)
    every = match_by_class(edges, *classes)
    assert float(edges[every[:, 0], every[:, 1]].sum()) == total
    kept = {tuple((i, j) for i, j in pairs if edges[i, j] > min_edge) for pairs in best}
    pairs = match_by_class(edges, *classes, min_edge=min_edge).tolist()
    assert tuple(map(tuple, pairs)) in kept


@pytest.mark.parametrize("min_edge", [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
def test_an_edge_of_exactly_the_minimum_does_not_match_whatever_its_rounding(rectangles, translation, min_edge):
    tenths = round(10 * min_edge)
    source, target = rectangles([[0, 0, tenths, 4]]), rectangles([[0, 0, 10, 4]])
    assert len(match_frames(source, target, translation(0), min_edge=min_edge)) == 0
    assert len(match_frames(source, target, translation(0), min_edge=min_edge - 0.01)) == 1


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from(["union", "prediction", "warped", "intersection"]))
def test_assignment_of_labels(slow, random_scene, seed, merge_rule):
    scene = random_scene(seed)
    source, target, labels = scene["predictions_t"], scene["predictions_s"], scene["labels_t"]
    matches = match_frames(source, target, scene["flow_st"])
    made = assign_labels(source, labels, target, matches, merge_rule=merge_rule)
    warped = [slow.warp(thing.pixels, scene["flow_st"]) for thing in slow.things(source)]
    things = (slow.things(source), slow.things(labels), slow.things(target))
    expected = slow.assign(*things, matches.pairs.tolist(), warped, merge_rule=merge_rule)
    assert_same(slow, made.instances, [thing for thing, _ in expected])
    assert made.gate_areas.tolist() == [area for _, area in expected]


@settings(max_examples=30, deadline=None)
@given(seeds, st.booleans(), st.sampled_from(["area", "labels_first"]), st.sampled_from([0.3, 0.5, 0.6]))
def test_combination(slow, rectangles, seed, class_aware, priority, threshold):
    """Small blocks on a small grid: equal areas and overlaps of exactly the threshold are common."""
    generator = torch.Generator().manual_seed(seed)

    def blocks(count):
        corners = torch.randint(0, 4, (count, 2), generator=generator)
        sides = torch.randint(0, 6, (count, 2), generator=generator)
        classes = torch.randint(0, 2, (count,), generator=generator).tolist()
        return rectangles(torch.cat([corners, corners + sides], 1).tolist(), classes, size=(10, 10))

    labels, transferred = blocks(4), blocks(5)
    options = replace(PAPER, class_aware_iom=class_aware, label_priority=priority, iom_threshold=threshold)
    targets, origin = combine_labels(
        labels, transferred, iom_threshold=threshold, class_aware=class_aware, priority=priority
    )
    kept = slow.combine(slow.things(labels), slow.things(transferred), options)
    assert origin.tolist() == kept
    assert_same(slow, targets, [(slow.things(labels) + slow.things(transferred))[i] for i in kept])


@pytest.mark.parametrize("cap", [1.0, 1.1, 1.15, 1.3, 1.4, 1.7, 2.2])
def test_a_label_of_exactly_the_growth_cap_stays(rectangles, slow, cap):
    areas = [area for area in range(1, 400) if (slow.decimal(cap) * area).denominator == 1]
    limits = [int(slow.decimal(cap) * area) for area in areas]
    size = (1, max(limits) + 1)
    for extra in (0, 1):
        grown = rectangles([[0, 0, limit + extra, 1] for limit in limits], size=size)
        kept = limit_growth(TransferredLabels(grown, torch.tensor(areas).float()), cap)
        assert len(kept) == (0 if extra else len(limits))


def assert_like_the_reference(slow, scene, options, expected):
    targets_t, targets_s, seen = transfer_labels(**scene, settings=options)
    assert_same(slow, targets_t, expected.t)
    assert_same(slow, targets_s, expected.s)
    assert (seen.transferred, seen.matches) == (expected.transferred, expected.matches)


def reference_or_skip(slow, scene, options):
    """What the reference says; a scene with two equally good matchings is no question to ask."""
    expected = slow.transfer(scene, options)
    assume(expected.unique)
    return expected


ROWS = {
    "plain Mask R-CNN": (False, False, False),
    "without intra": (False, True, True),
    "without inter": (True, False, True),
    "without IoM-NMS": (True, True, False),
    "full": (True, True, True),
}


@pytest.mark.parametrize("row", ROWS)
@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_rows_of_the_ablation(slow, random_scene, row, seed):
    intra, inter, iom = ROWS[row]
    options = replace(PAPER, intra_frame=intra, inter_frame=inter, iom_nms=iom)
    scene = random_scene(seed)
    assert_like_the_reference(slow, scene, options, reference_or_skip(slow, scene, options))


def test_the_random_scenes_do_exercise_every_row(slow, random_scene):
    """Seeds 0..19 transfer, merge, suppress and fill; otherwise the comparisons above would prove little."""
    seen = [transfer_labels(**random_scene(seed), settings=PAPER)[2] for seed in range(20)]
    total = sum(seen[1:], seen[0])
    assert total.matches > 20 and total.transferred > 15 and total.kept_transferred > 5
    assert total.expanded > total.predictions
    assert total.targets < total.labels + total.transferred


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    options=st.builds(
        TransferSettings,
        intra_frame=st.booleans(),
        iom_nms=st.booleans(),
        iom_threshold=st.sampled_from([0.3, 0.5]),
        min_edge=st.sampled_from([0.0, 0.3, 0.5]),
        class_aware_iom=st.booleans(),
        shared_matching=st.booleans(),
        min_candidate_score=st.sampled_from([0.0, 0.25]),
        merge_rule=st.sampled_from(["union", "prediction", "warped", "intersection"]),
        label_priority=st.sampled_from(["area", "labels_first"]),
        fill_only=st.booleans(),
        growth_cap=st.sampled_from([None, 1.0, 1.1, 1.3]),
        require_agreement=st.booleans(),
    ),
)
def test_any_settings_together(slow, random_scene, seed, options):
    scene = random_scene(seed)
    assert_like_the_reference(slow, scene, options, reference_or_skip(slow, scene, options))


@pytest.mark.parametrize(
    "option",
    [
        {"class_aware_iom": False},
        {"label_priority": "labels_first"},
        {"fill_only": True},
        {"growth_cap": 1.1},
        {"require_agreement": True, "gate_box_iou": 0.7},
        {"min_candidate_score": 0.5},
        {"min_edge": 0.6},
        {"merge_rule": "intersection"},
        {"shared_matching": True},
        {"iom_threshold": 0.8},
    ],
    ids=lambda option: ", ".join(option),
)
def test_each_setting_alone_follows_the_reference_and_changes_some_target(slow, random_scene, option):
    options, changed = replace(PAPER, **option), False
    for seed in range(25):
        scene = random_scene(seed)
        expected = slow.transfer(scene, options)
        if not expected.unique:
            continue
        assert_like_the_reference(slow, scene, options, expected)
        plain, other = (transfer_labels(**scene, settings=chosen)[:2] for chosen in (PAPER, options))
        changed |= any(not torch.equal(a.masks, b.masks) for a, b in zip(plain, other, strict=True))
    assert changed


def test_a_score_of_exactly_the_minimum_takes_part(golden, rectangles):
    golden["predictions_s"] = rectangles([[5, 0, 15, 10]], scores=[0.5])
    for minimum, arrived in ((0.5, 1), (0.51, 0)):
        options = replace(PAPER, min_candidate_score=minimum)
        assert len(transfer_labels(**golden, settings=options)[1]) == arrived


def test_a_box_overlap_of_exactly_the_gate_is_no_agreement(rectangles):
    new = TransferredLabels(rectangles([[0, 0, 10, 10]]), torch.ones(1))
    half = rectangles([[0, 0, 10, 5]])
    assert len(require_target_agreement(new, half)) == 0
    assert len(require_target_agreement(new, half, gate_box_iou=0.49)) == 1


@pytest.mark.parametrize(("class_aware", "arrived"), [(True, 1), (False, 0)])
def test_filling_only_asks_other_classes_when_suppression_does(golden, rectangles, class_aware, arrived):
    golden["labels_s"] = rectangles([[5, 0, 15, 9]], classes=[1])
    options = replace(PAPER, iom_nms=False, fill_only=True, class_aware_iom=class_aware)
    assert len(transfer_labels(**golden, settings=options)[1]) == 1 + arrived
