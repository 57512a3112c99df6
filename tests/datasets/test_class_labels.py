from __future__ import annotations

import json

import numpy as np

from wsvis_core.datasets.class_labels import frame_labels, labels_from_json, labels_to_json


def test_a_class_is_positive_where_some_track_of_it_is_seen():
    mask = {"size": [1, 1], "counts": "01"}
    tracks = [(7, [mask, None, None]), (7, [None, mask, None]), (2, [mask, mask, None])]
    expected = [[True, True, False], [True, True, False], [False, False, False]]
    assert frame_labels(3, [2, 7, 9], tracks).tolist() == expected


def test_no_track_gives_negatives():
    assert frame_labels(2, [1, 2], []).tolist() == [[False, False], [False, False]]
    assert frame_labels(0, [1, 2], []).shape == (0, 2)


def test_json_round_trip_keeps_category_ids():
    labels = {10: np.asarray([[True, False], [False, False]]), 2: np.zeros((1, 2), dtype=bool)}
    value = labels_to_json(labels, [3, 8])
    assert value == {"version": 1, "videos": {"2": [[]], "10": [[3], []]}}
    back = labels_from_json(json.loads(json.dumps(value)), [3, 8])
    assert all(np.array_equal(back[key], labels[key]) for key in labels)
