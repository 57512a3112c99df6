"""Data sets: what the pipeline reads, and the generated one it can make itself."""

from wsvis_core.datasets.prepare import prepare_dataset
from wsvis_core.datasets.synthetic import SyntheticSettings, generate_video, write_dataset
from wsvis_core.datasets.video import Category, Frame, Video, VideoDataset

__all__ = [
    "Category",
    "Frame",
    "SyntheticSettings",
    "Video",
    "VideoDataset",
    "generate_video",
    "prepare_dataset",
    "write_dataset",
]
