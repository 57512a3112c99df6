"""Optical flow: estimators, warping, forward-backward consistency, extraction and loading."""
