"""What MaskConsist transfers while it trains, over a hundred steps at a time; warns of the union ratchet."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from wsvis_core.maskconsist.diagnostics import TransferDiagnostics

log = logging.getLogger(__name__)
STEPS_PER_LINE = 100
# Mean area of a target over that of a stage-1 label. A transferred label passed a box gate of IoU 0.5 against a stage-1
# label, so the ratchet ends near a ratio of 2 (tests/maskconsist/test_ratchet.py); this is halfway there.
LARGEST_RATIO = 1.5
# The warning comes again only after the ratio was clearly below the limit.
CALM_RATIO = 1.25


class TransferWatch:
    """Sums of `TransferDiagnostics` since the last line of the log, and since the last record; a `loop.Watch`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._since_line = self._since_record = TransferDiagnostics()
        self._warned = False

    def add(self, seen: Sequence[TransferDiagnostics], iteration: int, iterations: int) -> None:
        """Add the batches of a step; writes a line after every STEPS_PER_LINE steps and after the last."""
        for counts in seen:
            self._since_line += counts
            self._since_record += counts
        done = iteration + 1
        if done % STEPS_PER_LINE == 0 or done == iterations:
            self._tell(iteration // STEPS_PER_LINE * STEPS_PER_LINE + 1, done)
            self._since_line = TransferDiagnostics()

    def record(self) -> dict[str, float]:
        """Means per pair of the steps since the last call (`TransferDiagnostics.summary`)."""
        summary = self._since_record.summary()
        self._since_record = TransferDiagnostics()
        return summary

    def state_dict(self) -> dict[str, Any]:
        """The sums as plain values."""
        return {"line": asdict(self._since_line), "record": asdict(self._since_record), "warned": self._warned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the sums of `state_dict`."""
        self._since_line = TransferDiagnostics(**state["line"])
        self._since_record = TransferDiagnostics(**state["record"])
        self._warned = state["warned"]

    def _tell(self, first: int, last: int) -> None:
        """One line on the steps first … last; none for a plain Mask R-CNN and before `start_iteration`."""
        counts = self._since_line
        if counts.pairs == 0:
            return
        mean = counts.summary()
        log.info(
            "%s: steps %d-%d, per pair: |P| %.2f, |P_exp| %.2f, matches %.2f, transferred %.2f, kept after IoM-NMS "
            "%.2f; %.0f %% of the targets are transferred; area of targets / stage-1 labels %.2f, of transferred / "
            "gating labels %.2f; %d pairs skipped",
            self._name,
            first,
            last,
            *(mean[key] for key in ("predictions", "expanded", "matches", "transferred", "kept_transferred")),
            100 * counts.transferred_share,
            counts.area_ratio,
            counts.transferred_growth,
            counts.skipped_pairs,
        )
        self._warn_of_growth(counts.area_ratio, last - first + 1)

    def _warn_of_growth(self, ratio: float, steps: int) -> None:
        """Once per rise."""
        if ratio > LARGEST_RATIO and not self._warned:
            log.warning(
                "%s: in the last %d steps the targets were %.2f times as large as the stage-1 labels (limit %.1f), "
                "which looks like the union ratchet (docs/method.md, 3.5). If the ratio keeps rising, cut it by "
                "maskconsist.merge_rule: intersection, label_priority: labels_first with fill_only: true, growth_cap, "
                "or a later start_iteration",
                self._name,
                steps,
                ratio,
                LARGEST_RATIO,
            )
        self._warned = ratio > (CALM_RATIO if self._warned else LARGEST_RATIO)
