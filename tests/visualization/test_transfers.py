"""The pairs of MaskConsist's transfers as a file, and their section of the report."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from wsvis_core.errors import WsvisError
from wsvis_core.instances import InstanceSet
from wsvis_core.maskconsist.diagnostics import TransferDiagnostics
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.visualization.inputs import TransferSheet, TransferView
from wsvis_core.visualization.transfers import INSTANCES, PairTransfer, Transfers, read_transfers, write_transfers
from wsvis_core.visualization.transfers_section import TRANSFER_SCALARS, transfer_charts, transfers_section

SIZE = (24, 40)
FRAME = np.full((*SIZE, 3), 90, np.uint8)
NAMES = ["fox", "<crab>"]


def instances(*places: tuple[int, int, float]) -> EncodedInstances:
    """8×8 squares: (left edge, class, score)."""
    masks = torch.zeros((len(places), *SIZE), dtype=torch.bool)
    for mask, (left, _, _) in zip(masks, places, strict=True):
        mask[8:16, left : left + 8] = True
    classes = torch.tensor([label for _, label, _ in places], dtype=torch.int64)
    return EncodedInstances.encode(InstanceSet.from_masks(masks, classes, torch.tensor([s for _, _, s in places])))


def pair(**parts) -> PairTransfer:
    some = {
        "source_labels": instances((2, 0, 1.0)),
        "source_predictions": instances((2, 0, 0.9), (20, 1, 0.25)),
        "target_labels": instances(),
        "target_predictions": instances((4, 0, 0.75)),
        "targets": instances((4, 0, 0.75), (30, 1, 1.0)),
        "transferred": (True, False),
    }
    return PairTransfer(video_id=3, source=4, target=5, **(some | parts))


def view(**parts) -> TransferView:
    return TransferView("clip & co", FRAME, FRAME, pair(**parts))


def records(**values) -> list[dict[str, float]]:
    summary = TransferDiagnostics(pairs=1, predictions=9, expanded=11, matches=4, transferred=2).summary()
    return [{"iteration": i, "loss": 1.0, **summary, **values} for i in range(4)]


def test_the_file_gives_back_what_was_written(tmp_path):
    path = tmp_path / "transfers.json"
    written = Transfers(True, 7, 2, (pair(), pair(target_predictions=instances())))
    write_transfers(written, path)
    found = read_transfers(path)
    assert (found.transfer, found.looked_at, found.with_transfer) == (True, 7, 2)
    for before, after in zip(written.pairs, found.pairs, strict=True):
        assert (after.video_id, after.source, after.target) == (3, 4, 5) and after.transferred == before.transferred
        for name in INSTANCES:
            one, other = getattr(before, name).decode(), getattr(after, name).decode()
            assert torch.equal(one.masks, other.masks) and torch.equal(one.classes, other.classes)
            assert torch.allclose(one.scores, other.scores) and torch.allclose(one.boxes_xyxy, other.boxes_xyxy)
    write_transfers(found, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_a_missing_file_names_its_rule(tmp_path):
    with pytest.raises(WsvisError, match=r"none\.json does not exist; it is made by rule show_transfers"):
        read_transfers(tmp_path / "none.json")


def test_every_count_of_the_log_has_its_place_in_a_chart():
    summary = set(TransferDiagnostics().summary())
    assert summary >= TRANSFER_SCALARS
    shown = {line.name for chart in transfer_charts("s", records()) for line in chart.series}
    assert shown == TRANSFER_SCALARS - {"skipped_pairs"}
    assert {line.name for line in transfer_charts("s", records(skipped_pairs=1.0))[-1].series} == {"skipped_pairs"}
    assert transfer_charts("s", []) == [] == transfer_charts("s", [{"iteration": 0, "loss": 1.0}])


def test_area_ratios_show_where_one_is():
    titled = {chart.title: chart.svg for chart in transfer_charts("s", records())}
    (ratio,) = (svg for title, svg in titled.items() if "area ratio" in title)
    assert "stroke-dasharray" in ratio and "stroke-dasharray" not in titled["labels and targets per pair"]


def test_a_pair_shows_both_frames_and_names_what_was_transferred():
    sheet = TransferSheet(True, 20, 3, [view()], records())
    html = transfers_section({"round 0": sheet}, NAMES)
    assert "3 of 20 training pairs looked at have a transferred label." in html
    assert html.count("<img") == 7 and html.count("<svg") == 5 and "clip &amp; co" in html
    heads = re.findall(r'<th scope="col"><span class="edge">(.*?)</span>', html)
    assert heads[1:] == ["source frame", "labels", "predictions", "target frame", "labels", "predictions", "trains on"]
    captions = [re.findall(r"<li[^>]*>(.*?)</li>", cell) for cell in re.findall(r"<td>(.*?)</td>", html)]
    assert captions == [
        [],
        ["fox"],
        ["fox 90", "&lt;crab&gt; 25"],
        [],
        [],
        ["fox 75"],
        ["fox, transferred", "&lt;crab&gt;"],
    ]
    assert '<span class="note">nothing</span>' in html and "frame 4 → 5" in html
    assert 'alt="labels: fox; of clip &amp; co, frame 4"' in html
    assert 'alt="labels: none; of clip &amp; co, frame 5"' in html


def test_the_white_line_is_around_transferred_targets_only():
    def pictures(**parts) -> list[str]:
        html = transfers_section({"r": TransferSheet(True, 1, 1, [view(**parts)])}, NAMES)
        return re.findall(r'<img[^>]* src="([^"]*)"', html)

    with_line, without = pictures(), pictures(transferred=(False, False))
    assert with_line[:6] == without[:6] and with_line[6] != without[6]


def test_pictures_of_masks_at_another_size_and_of_nothing():
    small = EncodedInstances.encode(InstanceSet.empty(12, 20))
    parts = {name: small for name in INSTANCES} | {"transferred": ()}
    html = transfers_section({"r": TransferSheet(True, 5, 0, [view(**parts)])}, NAMES)
    assert html.count("nothing</span>") == 5 and html.count("<img") == 7


@pytest.mark.parametrize(
    ("sheet", "words", "pictures", "charts"),
    [
        (TransferSheet(False, 1, 0, [view(transferred=(False, False))], records()), "A plain Mask R-CNN", 7, 0),
        (TransferSheet(True, 9, 0, [view(transferred=(False, False))], records()), "None of 9 training pairs", 7, 5),
        (TransferSheet(True, 0, 0, [], records()), "No pair was looked at (report.transfers is 0).", 0, 5),
        (TransferSheet(True, 9, 1, [view()], []), "1 of 9 training pairs", 7, 0),
    ],
)
def test_what_there_is_not_is_said(sheet, words, pictures, charts):
    html = transfers_section({"round 0": sheet}, NAMES)
    assert words in html and html.count("<img") == pictures and html.count("<svg") == charts


def test_a_run_without_a_segmenter_says_so():
    assert transfers_section({}, NAMES).startswith('<p class="empty">No transfers were recorded')
