from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from wsvis_core.cam.infer import CamReader
from wsvis_core.config import FlowirnSettings
from wsvis_core.errors import WsvisError
from wsvis_core.flow.camera import camera_flow
from wsvis_core.flow.load import FlowReader, NextFlow
from wsvis_core.flow.warp import resize_flow
from wsvis_core.flowirn.flow_gradient import flow_at_cells, scaled_flow_gradient
from wsvis_core.flowirn.label_map_shards import LabelMapReader, f_cams, make_label_maps
from wsvis_core.flowirn.train import (
    TrainingFrames,
    _check_crop,
    _example,
    _training_flow,
    build_irnet,
    measure_mean_displacement,
    train_flowirn,
)
from wsvis_core.storage.files import load_tensors
from wsvis_core.storage.shards import ShardReader

CPU = torch.device("cpu")


def train(stage1, run, folder: Path, *, scale: float = 1.0, dataset=None, f_bound=None, **changes) -> bytes:
    """Train in `folder`; the bytes of weights and records."""
    settings = stage1.settings.flowirn.model_copy(update=changes)
    outputs = folder / "irn.pt", folder / "irn.jsonl"
    train_flowirn(
        dataset or stage1.dataset,
        [stage1.label_maps],
        [stage1.flow],
        stage1.cam_weights,
        settings,
        f_bound or stage1.settings.f_bound,
        scale,
        run,
        *outputs,
    )
    return b"".join(path.read_bytes() for path in outputs)


@pytest.fixture(scope="module")
def source(stage1) -> TrainingFrames:
    frames = tuple((video, t) for video in stage1.dataset.videos for t in range(len(video)))
    return TrainingFrames(stage1.dataset, LabelMapReader([stage1.label_maps]), FlowReader([stage1.flow]), frames)


def test_label_maps_are_made_of_the_frames_classes(stage1, source):
    for video in stage1.dataset.videos:
        for t in range(len(video)):
            labels = source.label_maps.frame(video.id, t)
            allowed = {0, 255, *(np.flatnonzero(stage1.dataset.class_labels(video)[t]) + 1)}
            assert labels.shape == (48, 80) and labels.dtype == np.uint8 and set(np.unique(labels)) <= allowed


def test_a_frame_without_a_class_is_all_background(stage1, source):
    bare = [(v, t) for v, t in source.frames if not stage1.dataset.class_labels(v)[t].any()]
    assert len(bare) == 2 and all(not source.label_maps.frame(v.id, t).any() for v, t in bare)


def test_f_cam_changes_label_maps_of_moving_frames_only_where_switched_on(stage1, tmp_path):
    digests = {}
    for name, f_cam in (("on", {}), ("off", {"enabled": False}), ("seeds only", {"labels": False})):
        path = tmp_path / f"{name}.h5"
        settings = stage1.settings.f_cam.model_copy(update=f_cam)
        videos = stage1.dataset.videos
        make_label_maps(
            stage1.dataset, videos, stage1.cams, stage1.flow, path, stage1.settings.label_maps, settings, digest_of={}
        )
        reader = ShardReader([path], kind="label_maps")
        digests[name] = [reader.columns(video.id).attrs["content_digest"] for video in videos]
    assert digests["off"] == digests["seeds only"] != digests["on"]
    still = next(i for i, video in enumerate(stage1.dataset.videos) if len(video) == 1)
    assert digests["on"][still] == digests["off"][still]


def test_slow_motion_is_measured_per_native_frame(stage1, source):
    """Four times the distance in time, four times the flow: the same motion, and the same amplification."""
    cams = CamReader([stage1.cams])

    class Far:
        def next_flow_as_stored(self, *key):
            near = source.flow.next_flow_as_stored(*key)
            return dataclasses.replace(near, flow=4 * near.flow, gap=4)

    def label_cams(flow, video, t, min_motion_px: float = 0.0) -> torch.Tensor:
        settings = stage1.settings.f_cam.model_copy(update={"min_motion_px": min_motion_px})
        return f_cams(cams, flow, video, t, settings)[1]

    amplified = 0
    for video, t in source.frames:
        plain = torch.from_numpy(cams.frame(video.id, t).high_res)
        entry = source.flow.next_flow_as_stored(video.id, t, (48, 80))
        if entry.step == 0 or len(plain) == 0:
            continue
        speed = entry.flow.norm(dim=0).max().item()
        for limit in (0.0, speed / 2):
            assert torch.equal(label_cams(source.flow, video, t, limit), label_cams(Far(), video, t, limit))
        assert torch.equal(label_cams(Far(), video, t, 1.01 * speed), plain)
        amplified += not torch.equal(label_cams(Far(), video, t), plain)
    assert amplified > 0


def test_the_crf_is_used_when_asked_for(stage1, tmp_path):
    settings = stage1.settings.label_maps.model_copy(update={"crf": "mean_field", "crf_iterations": 2})
    video = stage1.dataset.videos[0]
    make_label_maps(
        stage1.dataset,
        [video],
        stage1.cams,
        stage1.flow,
        tmp_path / "crf.h5",
        settings,
        stage1.settings.f_cam,
        digest_of={},
    )
    refined = LabelMapReader([tmp_path / "crf.h5"]).frame(video.id, 0)
    plain = LabelMapReader([stage1.label_maps]).frame(video.id, 0)
    assert refined.shape == plain.shape and (refined != plain).any()


# ---- examples -------------------------------------------------------------------------------------------------------


def example(source, stage1, seed: int, **changes):
    video = max(stage1.dataset.videos, key=len)
    settings = stage1.settings.flowirn.model_copy(update={"rescale": (1.0, 1.0), "crop": 80, **changes})
    return _example(source, video, 1, settings, stage1.settings.f_bound, np.random.default_rng(seed)), video


def test_image_labels_and_flow_of_an_example_lie_on_each_other(source, stage1):
    mirrored = 0
    for seed in range(8):
        (image, labels, flow, valid), video = example(source, stage1, seed)
        assert image.shape == (3, 80, 80) and flow.shape == (2, 80, 80)
        top = int(valid.any(dim=1).nonzero()[0])
        shown = slice(top, top + 48)
        assert valid[shown].all() and int(valid.sum()) == 48 * 80
        plain = torch.from_numpy(source.label_maps.frame(video.id, 1))
        native = source.flow.next_flow(video.id, 1, (48, 80)).flow
        if not torch.equal(labels[shown], plain):
            mirrored += 1
            assert torch.equal(labels[shown], plain.flip(-1))
            native = native.flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
        assert torch.allclose(flow[:, shown], native, atol=1e-4)
        outside = ~valid
        assert (labels[outside] == 255).all() and (flow[:, outside] == 0).all() and image[:, outside].abs().max() < 0.02
    assert 0 < mirrored < 8


def test_the_rescale_and_irnet_scale_change_sizes_but_only_the_rescale_changes_native_flow(source, stage1):
    def speed_and_size(scale: float, rescale: float):
        larger = dataclasses.replace(source, irnet_scale=scale)
        (_, _, flow, valid), _ = example(larger, stage1, 0, rescale=(rescale, rescale), crop=400)
        return float(flow[:, valid].abs().mean()), int(valid.sum())

    speed, size = speed_and_size(1, 1)
    assert speed > 0.1 and size == 48 * 80
    for scale, rescale in ((2, 1), (1, 2), (2, 1.5)):
        found, pixels = speed_and_size(scale, rescale)
        assert pixels == pytest.approx(size * (scale * rescale) ** 2)
        assert found == pytest.approx(speed * rescale, rel=0.05)


def test_units_of_the_training_flow(source, stage1):
    video, f_bound = max(stage1.dataset.videos, key=len), stage1.settings.f_bound

    def speed(size=(48, 80), rescale=1.0, reader=source.flow, **changes) -> float:
        flow, valid = _training_flow(reader, video, 1, size, rescale, f_bound.model_copy(update=changes))
        assert flow.shape == (2, *size) and valid
        return float(flow.abs().mean())

    native = speed()
    assert speed((96, 160)) == pytest.approx(native, rel=0.02)
    assert speed((96, 160), 2.0) == pytest.approx(2 * native, rel=0.02)
    assert speed((96, 160), flow_units="working") == pytest.approx(2 * native, rel=0.02)
    assert speed(flow_value_scale=3.0) == pytest.approx(3 * native)

    class Far:
        def next_flow(self, *key):
            return dataclasses.replace(source.flow.next_flow(*key), gap=5)

    assert speed(reader=Far()) == pytest.approx(native / 5)


def test_no_flow_is_not_valid(source, stage1):
    video = next(video for video in stage1.dataset.videos if len(video) == 1)
    flow, valid = _training_flow(source.flow, video, 0, (48, 80), 1.0, stage1.settings.f_bound)
    assert not valid and not flow.any()
    off = stage1.settings.f_bound.model_copy(update={"enabled": False})
    flow, valid = _training_flow(source.flow, stage1.dataset.videos[0], 0, (48, 80), 1.0, off)
    assert not valid and not flow.any()


def zoomed(stage1):
    """A reader of the flow of a camera that zooms and tilts, a box in the middle moving beside it, in two frames."""
    video = max(stage1.dataset.videos, key=len)
    camera = torch.tensor([[1.06, 0.0, -2.0], [0.0, 1.06, -1.0], [2e-4, 1e-4, 1.0]])
    flow = camera_flow(camera, (video.height, video.width)).float()
    flow[0, 16:32, 30:50] += 4.0

    class Zoomed:
        def next_flow(self, video_id, index, at):
            return NextFlow(resize_flow(flow, at), 1, 2)

    return video, Zoomed()


@pytest.mark.parametrize("camera", ["homography", "auto"])
@pytest.mark.parametrize("size", [(48, 80), (72, 120)])
def test_without_the_camera_the_training_flow_has_the_object_alone(source, stage1, camera, size):
    video, reader = zoomed(stage1)
    rescale = size[0] / 48
    kept, left = (
        _training_flow(reader, video, 1, size, rescale, stage1.settings.f_bound.model_copy(update={"camera": name}))[0]
        for name in ("keep", camera)
    )
    inside = torch.zeros(size, dtype=torch.bool)
    inside[size[0] * 18 // 48 : size[0] * 30 // 48, size[1] * 32 // 80 : size[1] * 48 // 80] = True
    outside = torch.ones(size, dtype=torch.bool)
    outside[size[0] * 14 // 48 : size[0] * 34 // 48, size[1] * 28 // 80 : size[1] * 52 // 80] = False
    assert kept[:, outside].abs().max() > 0.9
    assert left[:, outside].abs().max() < 0.05
    # Two native frames lie between the two: per native frame the box moves by 2 px, times the rescale.
    assert (left[:, inside] - torch.tensor([[2.0 * rescale], [0.0]])).abs().max() < 0.1


def test_without_the_camera_f_prime_of_the_background_is_0(source, stage1):
    video, reader = zoomed(stage1)
    gradients = {}
    for name in ("keep", "homography"):
        settings = stage1.settings.f_bound.model_copy(update={"camera": name})
        flow, _ = _training_flow(reader, video, 1, (48, 80), 1.0, settings)
        cells, valid = flow_at_cells(flow[None], torch.ones(1, 48, 80, dtype=torch.bool))
        gradients[name] = scaled_flow_gradient(cells, valid)[0][0].norm(dim=0)
    assert gradients["keep"][:2].min() > 0.1 and gradients["homography"][:2].max() < 0.02
    # The box's edges stay.
    assert gradients["homography"][6, 5:9].max() > 0.9 < gradients["homography"][6, 11:14].max()


# ---- training -------------------------------------------------------------------------------------------------------


def test_twice_the_same_seed_gives_the_same_bytes(stage1, make_run, tmp_path):
    def once(name: str, **options) -> bytes:
        run = dataclasses.replace(make_run(tmp_path / name, "train_flowirn"), **options)
        return train(stage1, run, tmp_path / name, epochs=0.3)

    first = once("a")
    assert once("b") == first and once("workers", workers=1) == first and once("c", seed=1) != first


def test_a_camera_taken_away_is_the_same_in_every_process(stage1, make_run, tmp_path):
    def once(name: str, **options) -> bytes:
        run = dataclasses.replace(make_run(tmp_path / name, "train_flowirn"), **options)
        f_bound = stage1.settings.f_bound.model_copy(update={"camera": "homography"})
        return train(stage1, run, tmp_path / name, epochs=0.3, f_bound=f_bound)

    assert once("a") == once("workers", workers=1)


def test_a_run_in_two_pieces_equals_one(stage1, make_run, tmp_path, monkeypatch):
    import wsvis_core.flowirn.train as module

    whole = train(stage1, make_run(tmp_path / "a", "train_flowirn"), tmp_path / "a", epochs=1)
    irn_step, calls = module.irn_step, []

    def breaks_once(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return irn_step(*arguments)

    monkeypatch.setattr(module, "irn_step", breaks_once)
    run = make_run(tmp_path / "b", "train_flowirn", checkpoint_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        train(stage1, run, tmp_path / "b", epochs=1)
    assert not (tmp_path / "b" / "irn.pt").exists()
    assert train(stage1, run, tmp_path / "b", epochs=1) == whole


def test_losses_that_are_recorded(stage1, make_run, tmp_path):
    train(stage1, make_run(tmp_path / "on", "x"), tmp_path / "on", epochs=0.2)
    off = stage1.settings.f_bound.model_copy(update={"enabled": False})
    train(stage1, make_run(tmp_path / "off", "x"), tmp_path / "off", epochs=0.2, f_bound=off)
    with_flow, without = (json.loads((tmp_path / n / "irn.jsonl").read_text().splitlines()[0]) for n in ("on", "off"))
    by_motion = {"boundary_on_motion_edges", "boundary_in_smooth_motion"}
    assert set(with_flow) - set(without) == {"loss_flow_boundary"} | by_motion and "boundary_mean" in without
    shared = {key: with_flow[key] for key in without if key.startswith("loss_")}
    # Before the first step the networks are the same, so IRN's own losses are too.
    assert shared == pytest.approx({key: without[key] for key in shared})


def test_larger_frames_for_irnet(stage1, make_run, tmp_path):
    run = make_run(tmp_path, "x")
    assert train(stage1, run, tmp_path / "large", scale=1.5, epochs=0.2) != train(
        stage1, run, tmp_path / "plain", epochs=0.2
    )


def test_only_what_trains_changes(stage1, irn_weights):
    saved, classifier = load_tensors(irn_weights)["model"], load_tensors(stage1.cam_weights)["backbone"]
    weights = {key: value for key, value in classifier.items() if value.is_floating_point()}
    changed = [key for key, value in weights.items() if not torch.equal(saved[f"backbone.{key}"], value)]
    assert changed == []
    network = build_irnet(stage1.settings.flowirn, weights=str(stage1.cam_weights))
    network.load_state_dict(saved)
    assert network.mean_displacement.shape == (2,) and network.mean_displacement.abs().sum() > 0


def test_the_mean_displacement_is_the_mean_over_frames(stage1, source, irn_weights):
    network = build_irnet(stage1.settings.flowirn, weights="none")
    network.load_state_dict(load_tensors(irn_weights)["model"])
    few = dataclasses.replace(source, frames=source.frames[:2])
    singles = [dataclasses.replace(source, frames=(item,)) for item in few.frames]
    both, *each = (measure_mean_displacement(network, item, 64, CPU) for item in (few, *singles))
    assert torch.allclose(both, torch.stack(each).mean(dim=0), atol=1e-6) and not torch.equal(*each)
    # What was measured before does not count.
    network.mean_displacement.fill_(100)
    assert torch.equal(measure_mean_displacement(network, few, 64, CPU), both)


def test_a_set_without_labels_is_refused(stage1, make_run, tmp_path):
    labels = {number: rows & False for number, rows in stage1.dataset.labels.items()}
    bare = dataclasses.replace(stage1.dataset, labels=labels)
    with pytest.raises(WsvisError) as caught:
        train(stage1, make_run(tmp_path, "x"), tmp_path, dataset=bare)
    assert str(caught.value) == "no training frame has a class label; check the annotations of the training split"


def test_a_crop_without_room_for_a_pair_is_refused() -> None:
    with pytest.raises(WsvisError, match=r"flowirn.crop = 64 is too small .* at least 76"):
        _check_crop(FlowirnSettings(crop=64, radius=10))
    _check_crop(FlowirnSettings(crop=76, radius=10))
