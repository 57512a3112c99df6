"""Mask R-CNN behind one interface, and the training step that MaskConsist needs."""

from wsvis_core.segmentation.builder import SegmenterOptions, build_segmenter
from wsvis_core.segmentation.interface import DetectorState, SegmenterBackend
from wsvis_core.segmentation.step import MaskConsistStep

__all__ = ["DetectorState", "MaskConsistStep", "SegmenterBackend", "SegmenterOptions", "build_segmenter"]
