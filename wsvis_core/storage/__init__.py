"""Artefacts on disk: HDF5 shards of videos, mask coding, weights, JSON."""
