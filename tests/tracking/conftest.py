"""Proposals made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import encode_mask


def proposals(*rows, size=(40, 80)):
    """Instances from rows (box xyxy, class, score[, appearance vector]); masks fill their boxes."""
    masks = np.zeros((len(rows), *size), bool)
    for mask, ((x0, y0, x1, y1), *_) in zip(masks, rows, strict=True):
        mask[y0:y1, x0:x1] = True
    with_looks = bool(rows) and len(rows[0]) > 3
    return EncodedInstances(
        size,
        tuple(encode_mask(mask) for mask in masks),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float32),
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[3] for row in rows], np.float32) if with_looks else None,
    )


@pytest.fixture(scope="session")
def make_frame():
    return proposals
