"""What happened in a transfer, as sums that add up over pairs, steps and processes."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor

from wsvis_core.instances import InstanceSet
from wsvis_core.mask_ops import mask_areas
from wsvis_core.maskconsist.assignment import TransferredLabels


@dataclass(frozen=True)
class TransferDiagnostics:
    """Counts over both frames of any number of pairs; `+` adds them, `summary` gives what a log should show.

    predictions |P| and expanded |P_exp| · matches |M|, both directions · transferred |Q| before
    any filter · labels: stage-1 labels |G| · targets after IoM-NMS · kept_transferred: targets that come from Q ·
    *_area: summed mask areas in pixels, gate_area that of the stage-1 labels which gated the kept transferred
    ones · skipped_pairs: pairs left without transfer because a prediction was not finite.
    """

    pairs: int = 0
    skipped_pairs: int = 0
    predictions: int = 0
    expanded: int = 0
    matches: int = 0
    transferred: int = 0
    labels: int = 0
    targets: int = 0
    kept_transferred: int = 0
    label_area: float = 0.0
    target_area: float = 0.0
    transferred_area: float = 0.0
    gate_area: float = 0.0

    def __add__(self, other: TransferDiagnostics) -> TransferDiagnostics:
        return TransferDiagnostics(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def transferred_share(self) -> float:
        """Share of the targets that come from Q, 0..1; 0 without targets."""
        return _ratio(self.kept_transferred, self.targets, default=0.0)

    @property
    def area_ratio(self) -> float:
        """Mean area of a target over mean area of a stage-1 label; above 1 and growing = the union ratchet.

        1 when there is nothing to compare. Means, not sums: a filled gap alone does not change it.
        """
        target = _ratio(self.target_area, self.targets, default=0.0)
        label = _ratio(self.label_area, self.labels, default=0.0)
        return _ratio(target, label, default=1.0) if target else 1.0

    @property
    def transferred_growth(self) -> float:
        """Summed area of the kept transferred labels over that of the labels that gated them; 1 without any."""
        return _ratio(self.transferred_area, self.gate_area, default=1.0)

    def summary(self) -> dict[str, float]:
        """Scalars for the log: counts per pair, shares and area ratios."""
        counts = ("predictions", "expanded", "matches", "transferred", "labels", "targets", "kept_transferred")
        per_pair = {name: _ratio(getattr(self, name), self.pairs, default=0.0) for name in counts}
        return per_pair | {
            "transferred_share": self.transferred_share,
            "area_ratio": self.area_ratio,
            "transferred_growth": self.transferred_growth,
            "skipped_pairs": float(self.skipped_pairs),
        }


def frame_diagnostics(
    labels: InstanceSet, transferred: TransferredLabels, targets: InstanceSet, origin: Tensor
) -> TransferDiagnostics:
    """Counts and areas of one frame's combination; origin (T,) is what `combine_labels` returned."""
    areas = mask_areas(targets.masks)
    from_transfer = origin >= len(labels)
    return TransferDiagnostics(
        labels=len(labels),
        targets=len(targets),
        kept_transferred=int(from_transfer.sum()),
        label_area=float(mask_areas(labels.masks).sum()),
        target_area=float(areas.sum()),
        transferred_area=float(areas[from_transfer].sum()),
        gate_area=float(transferred.gate_areas[origin[from_transfer] - len(labels)].sum()),
    )


def _ratio(numerator: float, denominator: float, *, default: float) -> float:
    return numerator / denominator if denominator else default
