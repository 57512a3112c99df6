"""A segmenter from its config: the backend by name, sizes and thresholds from the settings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from torch import nn

from wsvis_core.backbones import Backbone, build_backbone, norm_for
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
    build = BACKENDS[settings.backend]
    norm = norm_for(settings.backbone_weights, "constant_batch")
    backbone = build_backbone(settings.backbone, output_stride=settings.output_stride, weights=weights, norm=norm)
    values = settings.model_dump() | (prediction.model_dump() if prediction is not None else {})
    options = {field.name: values[field.name] for field in fields(SegmenterOptions) if field.name in values}
    options["anchor_sizes"] = tuple((size,) for size in settings.anchor_sizes)
    return build(backbone, num_classes, **options)


def _detectron2(backbone: Backbone, num_classes: int, **options: Any) -> nn.Module:
    """`build_segmenter` with detectron2's parts, which are imported only where they are asked for."""
    # What new torch says about detectron2's code, and no user can change.
    warnings.filterwarnings("ignore", message="torch.meshgrid: in an upcoming release")
    warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated")
    try:
        from wsvis_core.segmentation.detectron2_backend import build_detectron2_segmenter
    except ImportError as error:
        raise WsvisError(
            f"maskconsist.backend is 'detectron2', which Python cannot import here ({error}); install it with "
            "`pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2` "
            "(docs/detectron2.md), or set the backend to 'torchvision' (the default)"
        ) from None
    return build_detectron2_segmenter(backbone, num_classes, **options)


# What builds a segmenter, by the names of `maskconsist.backend`: a trunk, the number of classes, and fields of
# `SegmenterOptions` (docs/add_segmenter.md).
BACKENDS: dict[str, Callable[..., nn.Module]] = {"torchvision": build_segmenter, "detectron2": _detectron2}


def transfer_from_settings(settings: MaskconsistSettings) -> TransferSettings | None:
    """How labels travel between frames; None when every switch is off: a plain Mask R-CNN (§3.6, first row)."""
    if not (settings.intra_frame or settings.inter_frame or settings.iom_nms):
        return None
    return TransferSettings(**{field.name: getattr(settings, field.name) for field in fields(TransferSettings)})
