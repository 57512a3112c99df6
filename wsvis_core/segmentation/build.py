"""A segmenter from its config: the backend by name, sizes and thresholds from the settings."""

from __future__ import annotations

from dataclasses import fields

from torch import nn

from wsvis_core.backbones import build_backbone, norm_for
from wsvis_core.config import MaskconsistSettings, PredictionSettings
from wsvis_core.errors import WsvisError
from wsvis_core.maskconsist.transfer import TransferSettings
from wsvis_core.segmentation.builder import SegmenterOptions, build_segmenter


def segmenter_from_settings(
    settings: MaskconsistSettings,
    num_classes: int,
    *,
    weights: str,
    prediction: PredictionSettings | None = None,
) -> nn.Module:
    """A segmenter backend (interface.py). weights: as in `build_backbone`. prediction: test-time thresholds."""
    if settings.backend == "detectron2":
        raise WsvisError(
            "maskconsist.backend 'detectron2' is not part of this version; set it to 'torchvision' (the default)"
        )
    norm = norm_for(settings.backbone_weights, "constant_batch")
    backbone = build_backbone(settings.backbone, output_stride=settings.output_stride, weights=weights, norm=norm)
    values = settings.model_dump() | (prediction.model_dump() if prediction is not None else {})
    options = {field.name: values[field.name] for field in fields(SegmenterOptions) if field.name in values}
    options["anchor_sizes"] = tuple((size,) for size in settings.anchor_sizes)
    return build_segmenter(backbone, num_classes, **options)


def transfer_from_settings(settings: MaskconsistSettings) -> TransferSettings | None:
    """How labels travel between frames; None when every switch is off: a plain Mask R-CNN (§3.6, first row)."""
    if not (settings.intra_frame or settings.inter_frame or settings.iom_nms):
        return None
    return TransferSettings(**{field.name: getattr(settings, field.name) for field in fields(TransferSettings)})
