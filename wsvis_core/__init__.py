"""wsvis: weakly supervised video instance segmentation with temporal mask consistency (CVPR 2021)."""

__version__ = "0.1.0"
