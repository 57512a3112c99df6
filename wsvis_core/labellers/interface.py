"""What a stage-1 labeller offers."""

from __future__ import annotations

from typing import Protocol

from wsvis_core.datasets.video import Video
from wsvis_core.instances import InstanceSet


class Labeller(Protocol):
    """Makes pseudo-labels of frames from their class labels."""

    def produce(self, video: Video, index: int) -> InstanceSet:
        """Instances of one frame at its original size; only classes of its label occur; empty without a class."""
        ...
