"""Reference rates of every stage, from `python -m benchmarks.reference_rates` (where and when: docs/cluster.md)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """cpu_seconds: of a CPU core, per unit of work (`planning.work.UNITS`) and megapixel that the stage sees.

    bytes: stored per unit and megapixel · job_bytes: stored per job, whatever its work.
    """

    cpu_seconds: float
    bytes: float = 0.0
    job_bytes: float = 0.0


# 2026-11-23, one thread of an AMD EPYC beside other work, no GPU: 1280×720, the paper's settings with a ResNet-50.
# Masks are those of untrained networks, 100 to a frame: `predict_masks` and what follows is rather too large.
# `estimate_quality` by itself: 20 tracks in a frame.
REFERENCE = {
    "generate_dataset": Reference(0.324, 8.06e03),
    "prepare_dataset": Reference(0.0333, 2.59e03),
    "extract_flow": Reference(0.258, 1.56e06),
    "train_cam": Reference(9.35, job_bytes=9.44e07),
    "extract_cam": Reference(25.7, 5.86e05),
    "make_label_maps": Reference(3.42, 1.15e04),
    "train_flowirn": Reference(21.5, job_bytes=9.99e07),
    "make_pseudo_labels": Reference(8.31, 1.3e04),
    "evaluate_pseudo_labels": Reference(0.0555, 2.24e03),
    "train_maskconsist": Reference(9, job_bytes=1.76e08),
    "predict_masks": Reference(5.72, 1.32e06),
    "show_transfers": Reference(3.62, job_bytes=1.67e03),
    "evaluate_frames": Reference(0.085, 119),
    "evaluate_consistency": Reference(0.544, 45.4),
    "track_instances": Reference(0.622, 5.35e04),
    "evaluate_video": Reference(0, 3.22e03),
    "estimate_quality": Reference(0.035, 300),
    "evaluate_quality": Reference(0, 5),
    "choose_route": Reference(0.01, 300),
    "publish_tracks": Reference(0, 5.35e04),
    "publish_quality": Reference(0, 80),
    "make_table": Reference(1.03, job_bytes=1.78e04),
    "make_report": Reference(6.03, job_bytes=2.23e06),
}
