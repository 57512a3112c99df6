"""Moving, mirroring and renaming a scene does to its targets what it does to the scene; wrong flow does not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist import TransferSettings, transfer_labels
from wsvis_core.segmentation.augment import FramePair, flip_pair, resize_pair

PAPER = TransferSettings()
LABELS_FIRST = TransferSettings(label_priority="labels_first", fill_only=True)
seeds = st.integers(0, 100_000)
readings = pytest.mark.parametrize("options", [PAPER, LABELS_FIRST], ids=["literal", "labels first"])


def mirror(value, axis):
    """An instance set or a flow mirrored along axis 0 = x or 1 = y."""
    if isinstance(value, InstanceSet):
        length = value.size[1 - axis]
        boxes = value.boxes_xyxy.clone()
        boxes[:, axis], boxes[:, axis + 2] = length - value.boxes_xyxy[:, axis + 2], length - value.boxes_xyxy[:, axis]
        return InstanceSet(value.masks.flip(2 - axis), boxes, value.classes, value.scores)
    sign = torch.ones(2, 1, 1)
    sign[axis] = -1
    return value.flip(2 - axis) * sign


def shift(value, dx, dy):
    """An instance set or a flow moved inside the frame; what leaves on one side enters on the other."""
    if isinstance(value, InstanceSet):
        masks = value.masks.roll((dy, dx), (1, 2))
        return InstanceSet(masks, value.boxes_xyxy + torch.tensor([dx, dy, dx, dy]), value.classes, value.scores)
    return value.roll((dy, dx), (1, 2))


def assert_same_after(change, scene, options):
    """The targets of the changed scene are the changed targets, in the same order."""
    plain = transfer_labels(**scene, settings=options)
    changed = transfer_labels(**{key: change(value) for key, value in scene.items()}, settings=options)
    for before, after in zip(plain[:2], changed[:2], strict=True):
        expected = change(before)
        assert torch.equal(expected.masks, after.masks) and torch.equal(expected.boxes_xyxy, after.boxes_xyxy)
        assert torch.equal(expected.classes, after.classes) and torch.equal(expected.scores, after.scores)
    assert plain[2] == changed[2]


@readings
@pytest.mark.parametrize("axis", [0, 1], ids=["horizontally", "vertically"])
@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_mirroring(random_scene, options, axis, seed):
    assert_same_after(lambda value: mirror(value, axis), random_scene(seed), options)


@readings
@settings(max_examples=30, deadline=None)
@given(seed=seeds, dx=st.integers(-2, 2), dy=st.integers(-2, 2))
def test_translation(random_scene, options, seed, dx, dy):
    """Scenes keep 5 px from the border and carry masks by less than 3 px."""
    assert_same_after(lambda value: shift(value, dx, dy), random_scene(seed), options)


@readings
@settings(max_examples=30, deadline=None)
@given(seed=seeds, shuffle=st.randoms(use_true_random=False))
def test_order_of_the_predictions_changes_only_the_order(random_scene, slow, options, seed, shuffle):
    scene = random_scene(seed)
    expected = slow.transfer(scene, options)
    # Among equally good matchings or equally large masks, order may decide.
    assume(expected.unique and all(len(set(areas)) == len(areas) for areas in expected.areas))
    shuffled = dict(scene)
    for name in ("predictions_t", "predictions_s"):
        order = list(range(len(scene[name])))
        shuffle.shuffle(order)
        shuffled[name] = scene[name].select(order)
    plain, other = (transfer_labels(**arguments, settings=options) for arguments in (scene, shuffled))
    for before, after in zip(plain[:2], other[:2], strict=True):
        assert set(slow.things(before)) == set(slow.things(after))
    assert plain[2] == other[2]


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_classes_are_only_names(random_scene, seed):
    def rename(value):
        if not isinstance(value, InstanceSet):
            return value
        return InstanceSet(value.masks, value.boxes_xyxy, 7 - 3 * value.classes, value.scores)

    assert_same_after(rename, random_scene(seed), PAPER)


def augmented(scene, change):
    """The scene after a change of its two frame pairs: labels with flows, and predictions as if they were labels."""
    frames = torch.zeros(2, 3, *scene["labels_t"].size)
    flows = scene["flow_st"], scene["flow_ts"]
    labels = change(FramePair(frames, (scene["labels_t"], scene["labels_s"]), *flows))
    found = change(FramePair(frames, (scene["predictions_t"], scene["predictions_s"]), *flows))
    return {
        "predictions_t": found.labels[0],
        "labels_t": labels.labels[0],
        "predictions_s": found.labels[1],
        "labels_s": labels.labels[1],
        "flow_st": labels.flow_st,
        "flow_ts": labels.flow_ts,
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (flip_pair, lambda masks: masks.flip(-1)),
        (
            lambda pair: resize_pair(pair, (40, 120)),
            lambda masks: masks.repeat_interleave(2, 1).repeat_interleave(3, 2),
        ),
    ],
    ids=["mirrored", "2 times higher, 3 times wider"],
)
def test_the_training_augmentations_do_to_the_targets_what_they_do_to_the_frames(golden, rectangles, change, expected):
    """§3.9: frames, labels and both flows together; the object moves by whole pixels before and after."""
    golden["labels_s"] = rectangles([[5, 0, 15, 4], [25, 10, 33, 17]], classes=[0, 2])
    plain = transfer_labels(**golden, settings=PAPER)
    changed = transfer_labels(**augmented(golden, change), settings=PAPER)
    for before, after in zip(plain[:2], changed[:2], strict=True):
        assert torch.equal(expected(before.masks), after.masks) and torch.equal(before.classes, after.classes)


def moving_object(rectangles, translation, dx, dy):
    """A label on t only, one prediction on each frame, flow without error."""
    here, there = rectangles([[14, 6, 24, 12]]), rectangles([[14 + dx, 6 + dy, 24 + dx, 12 + dy]])
    return {
        "predictions_t": here,
        "labels_t": here,
        "predictions_s": there,
        "labels_s": rectangles([]),
        "flow_st": translation(-dx, -dy),
        "flow_ts": translation(dx, dy),
    }


@settings(max_examples=30, deadline=None)
@given(dx=st.integers(-5, 5), dy=st.integers(-5, 5))
def test_only_the_right_flow_gives_the_object(rectangles, translation, dx, dy):
    assume((dx, dy) != (0, 0))
    scene = moving_object(rectangles, translation, dx, dy)
    there = scene["predictions_s"].masks
    assert torch.equal(transfer_labels(**scene, settings=PAPER)[1].masks, there)
    swapped = scene | {"flow_st": scene["flow_ts"], "flow_ts": scene["flow_st"]}
    assert not torch.equal(transfer_labels(**swapped, settings=PAPER)[1].masks, there)
    if dx != dy:
        transposed = scene | {name: scene[name].flip(0) for name in ("flow_st", "flow_ts")}
        assert not torch.equal(transfer_labels(**transposed, settings=PAPER)[1].masks, there)


def test_swapped_flows_miss_the_object_of_the_golden_scene(golden):
    golden["flow_st"], golden["flow_ts"] = golden["flow_ts"], golden["flow_st"]
    targets_t, targets_s, seen = transfer_labels(**golden, settings=PAPER)
    assert len(targets_t) == 1 and len(targets_s) == 0 and seen.matches == 0
