"""MaskTrack R-CNN's online matching, for appearance vectors that nobody trained for it (docs/method.md §6.7).

The published track head is trained on the identities of annotated objects, which a weakly supervised system does not
have. This is its matcher alone: the logit of "same object" is an affine function of the cosine of our vectors (of the
detector's box head, or an ImageNet network), in place of the inner product of its trained ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wsvis_core.config import MasktrackSettings
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.tracking.assignment import box_ious
from wsvis_core.tracking.proposals import appearance_of, unit_vectors
from wsvis_core.tracking.tracks import Chain, Place


def link_masktrack(proposals: Sequence[EncodedInstances], settings: MasktrackSettings) -> list[Chain]:
    """Chains of T frames of proposals, best score first; looks at boxes and appearance, not at flow.

    Every proposal takes its best track, or begins one; of two that take the same track the one of the larger sum
    keeps it and the other is lost. A track is remembered to the end of the video, as it was last seen. Without
    appearance the logits are all 0: box and class decide.
    """
    paths: list[list[Place]] = []
    vectors = [unit_vectors(v) for v in appearance_of(proposals)]
    has_looks = any(v.any() for v in vectors)
    for t, frame in enumerate(proposals):
        count = min(len(frame), settings.max_proposals)
        cosines = _last(paths, vectors, vectors[t].shape[1]) @ vectors[t][:count].T
        logits = settings.similarity_scale * (cosines.T - settings.new_similarity) * has_looks
        sums = _sums(logits, frame, count, *_last_seen(paths, proposals), settings)
        choice = sums.argmax(axis=1)
        for i in range(count):
            track = int(choice[i]) - 1
            if track < 0:
                paths.append([(t, i)])
            elif i == _keeper(track, sums, choice):
                paths[track].append((t, i))
    return [Chain(tuple(path)) for path in paths]


def _keeper(track: int, sums: np.ndarray, choice: np.ndarray) -> int:
    """Of the proposals that chose a track, the one with the largest sum; of equals the first."""
    rivals = np.flatnonzero(choice == track + 1)
    return int(rivals[np.argmax(sums[rivals, track + 1])])


def _last(paths: Sequence[Sequence[Place]], vectors: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Appearance (N,D) of every track where it was last seen."""
    return np.array([vectors[t][i] for (t, i) in (path[-1] for path in paths)], np.float32).reshape(-1, width)


def _last_seen(
    paths: Sequence[Sequence[Place]], proposals: Sequence[EncodedInstances]
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N,4) and classes (N,) of every track where it was last seen."""
    last = [path[-1] for path in paths]
    boxes = np.array([proposals[t].boxes_xyxy[i] for t, i in last], np.float32).reshape(-1, 4)
    return boxes, np.array([proposals[t].classes[i] for t, i in last], np.int64)


def _sums(
    logits: np.ndarray,
    frame: EncodedInstances,
    count: int,
    boxes: np.ndarray,
    classes: np.ndarray,
    settings: MasktrackSettings,
) -> np.ndarray:
    """What each of M proposals is worth as a new track (column 0, logit 0, IoU 0, class 1) and in each of N: (M,1+N).

    log softmax of the logits (M,N) + weighted log score, box IoU, and whether the class is the same.
    """
    with_new = np.concatenate([np.zeros((count, 1)), logits], axis=1)
    likely = with_new - np.log(np.exp(with_new - with_new.max(1, keepdims=True)).sum(1, keepdims=True))
    likely -= with_new.max(1, keepdims=True)
    overlaps = np.concatenate([np.zeros((count, 1)), box_ious(frame.boxes_xyxy[:count], boxes)], axis=1)
    same = np.concatenate([np.ones((count, 1)), frame.classes[:count, None] == classes[None, :]], axis=1)
    # The score is the same for all tracks of a proposal: it only counts between proposals that want one track.
    scores = np.log(np.maximum(frame.scores[:count].astype(np.float64), 1e-12))[:, None]
    return likely + settings.score_weight * scores + settings.iou_weight * overlaps + settings.class_weight * same
