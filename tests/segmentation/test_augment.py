from __future__ import annotations

import pytest
import torch

from wsvis_core.flow.warp import backward_warp, warp_masks
from wsvis_core.instances import InstanceSet
from wsvis_core.segmentation.augment import (
    FramePair,
    augment_pair,
    crop_pair,
    flip_pair,
    jitter_brightness,
    resize_instances,
    resize_pair,
    training_size,
)

HEIGHT, WIDTH, SHIFT = 24, 40, 6


@pytest.fixture
def moving_pair():
    """A textured frame whose whole content moves SHIFT px to the right; flow stored at half size."""
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand((3, HEIGHT // 4, (WIDTH + SHIFT) // 4 + 2), generator=generator) * 255
    wide = texture.repeat_interleave(4, 1).repeat_interleave(4, 2)
    masks = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    masks[0, 4:16, 8:20] = True
    classes = torch.tensor([1])
    flow = torch.zeros(2, HEIGHT // 2, WIDTH // 2)
    flow[0] = SHIFT / 2
    return FramePair(
        torch.stack([wide[..., SHIFT : SHIFT + WIDTH], wide[..., :WIDTH]]).to(torch.uint8),
        (InstanceSet.from_masks(masks, classes), InstanceSet.from_masks(masks.roll(SHIFT, -1), classes)),
        -flow,
        flow,
    )


def check_consistency(pair, margin=10):
    """The flows still carry the masks and the pixels of one frame onto the other."""
    on_s = warp_masks(pair.labels[0].masks, pair.flow_st)
    assert torch.equal(on_s, pair.labels[1].masks)
    assert torch.equal(warp_masks(pair.labels[1].masks, pair.flow_ts), pair.labels[0].masks)
    inside = slice(margin, pair.size[1] - margin)
    error = (backward_warp(pair.images[0].float(), pair.flow_st) - pair.images[1].float()).abs()[..., inside]
    assert error.mean() < 2


def test_resizing_keeps_flow_masks_and_frames_together(moving_pair):
    check_consistency(resize_pair(moving_pair, (HEIGHT, WIDTH)))
    double = resize_pair(moving_pair, (2 * HEIGHT, 2 * WIDTH))
    assert double.flow_st[0].unique().tolist() == [-2.0 * SHIFT] and double.size == (2 * HEIGHT, 2 * WIDTH)
    check_consistency(double, margin=20)


def test_flipping_keeps_them_together_and_twice_is_nothing(moving_pair):
    pair = resize_pair(moving_pair, (HEIGHT, WIDTH))
    flipped = flip_pair(pair)
    assert flipped.flow_ts[0].unique().tolist() == [-float(SHIFT)]
    assert flipped.labels[0].boxes_xyxy.tolist() == [[WIDTH - 20, 4, WIDTH - 8, 16]]
    check_consistency(flipped)
    again = flip_pair(flipped)
    assert torch.equal(again.images, pair.images) and torch.equal(again.flow_st, pair.flow_st)


def test_cropping_keeps_them_together(moving_pair):
    cropped = crop_pair(resize_pair(moving_pair, (HEIGHT, WIDTH)), 2, 4, 20, 30)
    assert cropped.size == (20, 30) and cropped.labels[0].boxes_xyxy.tolist() == [[4, 2, 16, 14]]
    check_consistency(cropped)


def test_cropping_refuses_a_window_outside_or_flow_of_another_size(moving_pair):
    with pytest.raises(ValueError, match="window 24x40 at row 0, column 1 does not fit frames of 24x40"):
        crop_pair(resize_pair(moving_pair, (HEIGHT, WIDTH)), 0, 1, HEIGHT, WIDTH)
    with pytest.raises(ValueError, match="with flow of 12x20"):
        crop_pair(moving_pair, 0, 0, 10, 10)


def test_instances_that_vanish_are_dropped():
    masks = torch.zeros(2, 40, 40, dtype=torch.bool)
    masks[0, 0, 0] = masks[1, 10:30, 10:30] = True
    small = resize_instances(InstanceSet.from_masks(masks, torch.tensor([0, 1])), (10, 10))
    assert small.classes.tolist() == [1]
    box = small.boxes_xyxy[0].tolist()
    assert box[2] - box[0] == box[3] - box[1] == 5 and 2 <= box[0] <= 3
    assert len(resize_instances(InstanceSet.empty(40, 40), (10, 10))) == 0
    assert resize_instances(InstanceSet.empty(40, 40), (10, 10)).size == (10, 10)


def test_resizing_keeps_appearance():
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[1, 2:6, 2:6] = True
    classes, scores = torch.tensor([0, 1]), torch.tensor([0.2, 0.9])
    found = InstanceSet(masks, torch.zeros(2, 4), classes, scores, torch.eye(2))
    for size in ((8, 8), (16, 16)):
        assert resize_instances(found, size).appearance.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("size", "wanted"), [((720, 1280), (480, 853)), ((1024, 2048), (480, 960)), ((300, 3000), (133, 1333))]
)
def test_training_size(size, wanted):
    assert training_size(size, 480, 1333) == wanted


def test_augmentation_repeats_with_its_generator(moving_pair):
    def once(seed, **options):
        return augment_pair(moving_pair, torch.Generator().manual_seed(seed), short_side=24, **options)

    assert torch.equal(once(3).images, once(3).images)
    check_consistency(once(1, flip_probability=1.0))
    assert torch.equal(flip_pair(once(1, flip_probability=0.0)).flow_st, once(1, flip_probability=1.0).flow_st)
    assert not torch.equal(once(1, brightness=0.3).images, once(1).images)


def test_brightness_changes_each_frame_alone(moving_pair):
    bright = jitter_brightness(moving_pair, torch.Generator().manual_seed(0), 0.2)
    ratio = bright.images.sum((1, 2, 3)) / moving_pair.images.float().sum((1, 2, 3))
    assert ratio[0] != ratio[1] and bool((ratio > 0.75).all()) and bright.images.max() <= 255


def test_a_range_of_one_scale_draws_no_number(moving_pair):
    """Results from before there was a range stay valid."""
    plain, ranged, double = (torch.Generator().manual_seed(5) for _ in range(3))
    before = augment_pair(moving_pair, plain, short_side=24)
    same = augment_pair(moving_pair, ranged, short_side=24, scale_range=(1.0, 1.0))
    assert torch.equal(before.images, same.images) and torch.equal(before.flow_st, same.flow_st)
    assert torch.equal(plain.get_state(), ranged.get_state())
    # One number, which decides on the mirror.
    once = torch.Generator().manual_seed(5)
    torch.rand((), generator=once)
    assert torch.equal(once.get_state(), ranged.get_state())
    larger = augment_pair(moving_pair, double, short_side=24, scale_range=(2.0, 2.0))
    expected = augment_pair(moving_pair, torch.Generator().manual_seed(5), short_side=48)
    assert torch.equal(larger.images, expected.images) and torch.equal(plain.get_state(), double.get_state())


def test_a_random_scale_stays_in_its_range_and_is_one_for_both_frames(moving_pair):
    sides = []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        pair = augment_pair(moving_pair, generator, short_side=24, scale_range=(0.5, 2.0))
        sides.append(min(pair.size))
        assert all(item.size == pair.size for item in pair.labels)
        assert pair.flow_st.shape[-2:] == pair.flow_ts.shape[-2:] == pair.size
        assert pair.size[1] == pytest.approx(pair.size[0] * WIDTH / HEIGHT, abs=1)
        # What moves by SHIFT px of 40 moves by the same share of any other width.
        assert float(pair.flow_ts[0].abs().mean()) == pytest.approx(SHIFT * pair.size[1] / WIDTH, rel=1e-4)
    assert 12 <= min(sides) < 16 and 36 < max(sides) <= 48 and len(set(sides)) > 10
    # Uniform in its logarithm: as often smaller as larger.
    assert 12 <= sum(side < 24 for side in sides) <= 28
    repeated = [
        augment_pair(moving_pair, torch.Generator().manual_seed(1), scale_range=(0.5, 2.0)).size for _ in range(2)
    ]
    assert repeated[0] == repeated[1]


def test_the_limit_of_the_long_side_holds_for_a_random_scale_too(moving_pair):
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        pair = augment_pair(moving_pair, generator, short_side=24, max_side=50, scale_range=(1.5, 2.0))
        assert pair.size == (30, 50)
