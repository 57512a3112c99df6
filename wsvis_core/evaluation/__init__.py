"""Metrics: video instance segmentation, frame AP, pseudo-label AP, temporal consistency. Values are 0..1."""
