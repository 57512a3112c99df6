"""Pictures, charts and the report page, from arrays and plain data."""

from __future__ import annotations

from wsvis_core.visualization.inputs import FrameColumn, ReportInputs, TrackMask, VideoStrip
from wsvis_core.visualization.report import make_report

__all__ = ["FrameColumn", "ReportInputs", "TrackMask", "VideoStrip", "make_report"]
