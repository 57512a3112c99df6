"""Which pairs are chosen, from which side they are seen, and what is said to be transferred."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from wsvis_core.config import MaskconsistSettings, ReportSettings
from wsvis_core.flow.load import FlowReader
from wsvis_core.instances import InstanceSet
from wsvis_core.segmentation.build import segmenter_from_settings, transfer_from_settings
from wsvis_core.segmentation.train import StageOneLabels
from wsvis_core.storage.files import save_tensors
from wsvis_core.storage.instance_shards import KIND, EncodedInstances, open_instances, to_columns
from wsvis_core.storage.shards import write_shard
from wsvis_core.visualization.show_transfers import TrainedPairs, choose_transfers, pair_transfer, show_transfers
from wsvis_core.visualization.transfers import INSTANCES, read_transfers

CPU = torch.device("cpu")
SETTINGS = MaskconsistSettings(short_side=48, min_edge=0.3, label_priority="labels_first", fill_only=True)
PLAIN = MaskconsistSettings(short_side=48, intra_frame=False, inter_frame=False, iom_nms=False)


class PerfectSegmenter:
    """Predicts the true objects of the tiny set's frames, which it knows by their pixels."""

    def __init__(self, dataset, perfect) -> None:
        reader = open_instances([perfect])
        self._known = {
            dataset.read_frame(video, t).tobytes(): reader.frame(video.id, t).decode()
            for video in dataset.videos
            for t in range(len(video))
        }

    def encode(self, images: Sequence[torch.Tensor]) -> list[bytes]:
        return [image.permute(1, 2, 0).to(torch.uint8).numpy().tobytes() for image in images]

    def predict(self, state: list[bytes]) -> list[InstanceSet]:
        return [self._known[pixels] for pixels in state]


@pytest.fixture(scope="module")
def gaps(dataset, perfect, tmp_path_factory):
    """True labels on even frames, none on odd ones."""
    reader, path = open_instances([perfect]), tmp_path_factory.mktemp("gaps") / "labels.h5"

    def columns(video):
        frames = reader.video(video.id)
        return to_columns([EncodedInstances.empty(f.size) if t % 2 else f for t, f in enumerate(frames)])

    write_shard(path, kind=KIND, videos=dataset.videos, make_columns=columns, settings={})
    return path


@pytest.fixture(scope="module")
def make_pairs(dataset, perfect, flow_shard):
    def make(labels, settings=SETTINGS) -> TrainedPairs:
        source = StageOneLabels(open_instances([labels]), dataset, None)
        segmenter = PerfectSegmenter(dataset, perfect)
        return TrainedPairs(dataset, source, FlowReader([flow_shard]), segmenter, settings, CPU)

    return make


def test_a_gap_is_filled_from_the_side_that_has_a_label(make_pairs, gaps, dataset, perfect):
    trained, reader = make_pairs(gaps), open_instances([perfect])
    video = dataset.videos[0]
    for t in (0, 1):  # t = 0: the second frame has the gap; t = 1: the first
        pair = pair_transfer(trained, video, t, transfer_from_settings(SETTINGS))
        assert (pair.source, pair.target) == ((0, 1) if t == 0 else (2, 1)) and pair.video_id == video.id
        assert len(pair.source_labels) > 0 and len(pair.target_labels) == 0
        assert len(pair.targets) > 0 and all(pair.transferred)
        truth = reader.frame(video.id, 1).decode()
        # A union of what is predicted on the target frame, here the truth, and what the flow brings.
        missing = (truth.masks[None] & ~pair.targets.decode().masks[:, None]).flatten(2).any(dim=2)
        assert not missing.all(dim=1).any()
        assert torch.equal(pair.target_predictions.decode().masks, truth.masks)
        source = reader.frame(video.id, pair.source).decode()
        assert torch.equal(pair.source_predictions.decode().masks, source.masks)


def test_pairs_with_a_transfer_come_first_each_of_another_video(make_pairs, gaps):
    found = choose_transfers(make_pairs(gaps), count=3, most_looked_at=100, seed=0)
    assert found.transfer and found.looked_at >= found.with_transfer >= len(found.pairs) == 3
    assert len({pair.video_id for pair in found.pairs}) == 3
    assert all(any(pair.transferred) for pair in found.pairs)
    again = choose_transfers(make_pairs(gaps), count=3, most_looked_at=100, seed=0)
    assert [(p.video_id, p.source, p.target) for p in again.pairs] == [
        (p.video_id, p.source, p.target) for p in found.pairs
    ]
    orders = {
        tuple(
            (p.video_id, p.source)
            for p in choose_transfers(make_pairs(gaps), count=3, most_looked_at=100, seed=s).pairs
        )
        for s in range(5)
    }
    assert len(orders) > 1


def test_the_search_is_bounded(make_pairs, gaps):
    found = choose_transfers(make_pairs(gaps), count=99, most_looked_at=4, seed=0)
    assert found.looked_at == 4 and len(found.pairs) <= 4


def test_without_a_transferred_label_one_pair_is_shown_as_it_is(make_pairs, perfect):
    # Every object has its label: transfers that only fill gaps have none to fill.
    found = choose_transfers(make_pairs(perfect), count=3, most_looked_at=5, seed=0)
    assert found.transfer and (found.looked_at, found.with_transfer, len(found.pairs)) == (5, 0, 1)
    (pair,) = found.pairs
    assert not any(pair.transferred) and pair.target == pair.source + 1
    assert np.array_equal(pair.targets.classes, pair.target_labels.classes)


def test_a_plain_mask_r_cnn_shows_one_pair_with_its_labels_as_targets(make_pairs, gaps):
    found = choose_transfers(make_pairs(gaps, PLAIN), count=3, most_looked_at=50, seed=0)
    assert not found.transfer and (found.looked_at, found.with_transfer, len(found.pairs)) == (1, 0, 1)
    (pair,) = found.pairs
    assert pair.targets.rles == pair.target_labels.rles and not any(pair.transferred)


def test_nothing_asked_for_nothing_done(make_pairs, gaps):
    found = choose_transfers(make_pairs(gaps), count=0, most_looked_at=5, seed=0)
    assert (found.looked_at, found.pairs) == (0, ())


def test_predictions_that_take_no_part_are_not_shown(make_pairs, gaps, dataset):
    settings = SETTINGS.model_copy(update={"min_candidate_score": 0.99})
    trained = make_pairs(gaps, settings)
    doubtful = {
        key: dataclasses.replace(found, scores=torch.full_like(found.scores, 0.5))
        for key, found in trained.segmenter._known.items()
    }
    trained.segmenter._known = doubtful
    pair = pair_transfer(trained, dataset.videos[0], 0, transfer_from_settings(settings))
    assert len(pair.source_predictions) == len(pair.target_predictions) == len(pair.transferred) == 0


def test_the_file_of_an_untrained_network(dataset, perfect, flow_shard, tmp_path):
    settings = MaskconsistSettings(
        backbone="resnet_tiny",
        backbone_weights="none",
        short_side=40,
        fpn_channels=16,
        representation_size=32,
        box_layers=1,
        mask_channels=16,
        mask_layers=1,
        anchor_sizes=(8, 16, 32, 48, 64),
        pre_nms=(50, 50),
        post_nms=(20, 20),
        max_detections=5,
    )
    torch.manual_seed(0)
    segmenter = segmenter_from_settings(settings, len(dataset.categories), weights="none")
    save_tensors(tmp_path / "weights.pt", {"model": segmenter.state_dict()})
    report = ReportSettings(transfers=2, transfer_pairs=3)
    outputs = [tmp_path / name for name in ("a.json", "b.json")]
    for output in outputs:
        files = ([perfect], [flow_shard], tmp_path / "weights.pt")
        show_transfers(dataset, *files, settings, None, report, output, seed=1, device=CPU)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    found = read_transfers(outputs[0])
    assert found.transfer and 1 <= found.looked_at <= 3 and 1 <= len(found.pairs) <= 2
    for pair in found.pairs:
        assert len(pair.transferred) == len(pair.targets) and abs(pair.source - pair.target) == 1
        assert {getattr(pair, name).size for name in INSTANCES} == {(40, 67)}
