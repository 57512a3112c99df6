from __future__ import annotations

import logging

import pytest

from wsvis_core.maskconsist.diagnostics import TransferDiagnostics
from wsvis_core.segmentation.transfer_watch import TransferWatch


@pytest.fixture(autouse=True)
def all_messages(caplog):
    caplog.set_level(logging.INFO)


def pair(ratio: float = 1.0, **counts) -> TransferDiagnostics:
    """One pair with a label of 100 pixels and a target `ratio` times as large."""
    return TransferDiagnostics(pairs=1, labels=1, targets=1, label_area=100.0, target_area=100.0 * ratio, **counts)


def test_a_line_per_hundred_steps_holds_means_per_pair_of_all_of_them(caplog):
    watch = TransferWatch("toy")
    for iteration in range(230):
        counts = pair(1.2, predictions=iteration, expanded=2 * iteration, matches=3, transferred=2, skipped_pairs=1)
        watch.add([counts, pair(1.0, kept_transferred=1, transferred_area=30.0, gate_area=20.0)], iteration, 230)
    assert [message.split(", per pair")[0] for message in caplog.messages] == [
        "toy: steps 1-100",
        "toy: steps 101-200",
        "toy: steps 201-230",
    ]
    # Mean of 100 … 199 over the steps, halved by the second pair of each step, which has no predictions.
    assert caplog.messages[1] == (
        "toy: steps 101-200, per pair: |P| 74.75, |P_exp| 149.50, matches 1.50, transferred 1.00, kept after IoM-NMS "
        "0.50; 50 % of the targets are transferred; area of targets / stage-1 labels 1.10, of transferred / gating "
        "labels 1.50; 100 pairs skipped"
    )


def test_a_record_holds_the_steps_since_the_last_one():
    watch = TransferWatch("toy")
    for iteration, predictions in enumerate((1, 3, 8)):
        watch.add([pair(predictions=predictions)], iteration, 10)
        if iteration == 1:
            assert watch.record()["predictions"] == 2.0
    assert watch.record()["predictions"] == 8.0
    assert watch.record() == TransferDiagnostics().summary()


def test_without_any_pair_there_is_no_line(caplog):
    watch = TransferWatch("toy")
    for iteration in range(100):
        watch.add([TransferDiagnostics()], iteration, 100)
    assert caplog.messages == []


def warned_after(ratios: list[float], caplog) -> list[int]:
    """After which hundreds of steps with these area ratios a warning came."""
    watch, found = TransferWatch("toy"), []
    for hundred, ratio in enumerate(ratios):
        caplog.clear()
        for i in range(100):
            watch.add([pair(ratio)], 100 * hundred + i, 10_000)
        found += [hundred for record in caplog.records if record.levelno == logging.WARNING]
    return found


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.0, 1.2, 1.5], []),
        ([1.0, 1.51, 1.8, 1.4, 1.6], [1]),
        ([1.6, 1.2, 1.3, 1.6], [0, 3]),
        ([1.6, 1.2, 1.1, 1.4], [0]),
    ],
)
def test_growth_is_warned_of_once_per_rise(ratios, expected, caplog):
    assert warned_after(ratios, caplog) == expected


def test_the_warning_names_the_ratchet_and_what_cuts_it(caplog):
    watch = TransferWatch("toy")
    for i in range(100):
        watch.add([pair(1.7)], i, 100)
    assert caplog.messages[-1] == (
        "toy: in the last 100 steps the targets were 1.70 times as large as the stage-1 labels (limit 1.5), which "
        "looks like the union ratchet (docs/method.md, 3.5). If the ratio keeps rising, cut it by "
        "maskconsist.merge_rule: intersection, label_priority: labels_first with fill_only: true, growth_cap, "
        "or a later start_iteration"
    )


def test_interrupted_at_any_step_it_says_the_same(caplog):
    """Lines, warnings and records of a run in pieces are those of a whole one."""

    def run(pieces: list[int]) -> tuple[list[str], list[dict]]:
        caplog.clear()
        watch, records = TransferWatch("toy"), []
        for i in range(300):
            watch.add([pair(1.0 + i / 300, predictions=i)], i, 300)
            if i % 7 == 0:
                records.append(watch.record())
            if i in pieces:
                state = watch.state_dict()
                watch = TransferWatch("toy")
                watch.load_state_dict(state)
        return list(caplog.messages), records

    assert run([5, 99, 150, 222]) == run([])
