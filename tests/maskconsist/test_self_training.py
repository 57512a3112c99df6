from __future__ import annotations

import pytest
import torch

from wsvis_core.maskconsist import self_training_labels


def test_good_detections_of_labelled_classes_and_the_best_of_the_rest(rectangles):
    found = rectangles(
        [[0, 0, 5, 5], [10, 0, 15, 5], [20, 0, 25, 5], [30, 0, 35, 5], [0, 10, 5, 15], [10, 10, 15, 15]],
        classes=[0, 0, 1, 1, 2, 3],
        scores=[0.9, 0.3, 0.2, 0.4, 0.99, 0.04],
    )
    frame_classes = torch.tensor([True, True, False, True])
    labels = self_training_labels(found, frame_classes)
    assert labels.boxes_xyxy.tolist() == [[0, 0, 5, 5], [30, 0, 35, 5]]
    assert labels.classes.tolist() == [0, 1] and labels.scores.tolist() == [1.0, 1.0]
    soft = self_training_labels(found, frame_classes, hard=False)
    assert soft.scores.tolist() == pytest.approx([0.9, 0.4])
    assert len(self_training_labels(found, frame_classes, fallback_min=0.03)) == 3


def test_overlapping_detections_collapse_to_the_largest(rectangles):
    found = rectangles([[0, 0, 5, 5], [0, 0, 9, 9], [0, 0, 9, 8]], classes=[0, 0, 1], scores=[0.9, 0.6, 0.7])
    labels = self_training_labels(found, torch.tensor([True, True]))
    assert labels.boxes_xyxy.tolist() == [[0, 0, 9, 9], [0, 0, 9, 8]]


def test_no_detection_no_label(rectangles):
    assert len(self_training_labels(rectangles([]), torch.tensor([True]))) == 0
    assert len(self_training_labels(rectangles([[0, 0, 5, 5]]), torch.tensor([False]))) == 0
    assert len(self_training_labels(rectangles([[2, 2, 2, 2]]), torch.tensor([True]))) == 0
