"""The Kalman filter by value, against textbook matrices one track at a time."""

from __future__ import annotations

import numpy as np
import pytest

from wsvis_core.tracking.kalman import KalmanFilter, to_measurements


class SlowFilter:
    """One track; the equations as a textbook has them, with explicit inverses."""

    def __init__(self, z):
        h = z[3]
        self.x = np.array([*z, 0, 0, 0, 0], float)
        self.p = np.diag([h / 10, h / 10, 1e-2, h / 10, h / 16, h / 16, 1e-5, h / 16]) ** 2
        self.f = np.eye(8)
        for i in range(4):
            self.f[i, i + 4] = 1
        self.h = np.hstack([np.eye(4), np.zeros((4, 4))])

    def predict(self):
        h = self.x[3]
        q = np.diag([h / 20, h / 20, 1e-2, h / 20, h / 160, h / 160, 1e-5, h / 160]) ** 2
        self.x, self.p = self.f @ self.x, self.f @ self.p @ self.f.T + q

    def innovation(self):
        h = self.x[3]
        return self.h @ self.p @ self.h.T + np.diag([h / 20, h / 20, 1e-1, h / 20]) ** 2

    def distance(self, z):
        d = z - self.h @ self.x
        return d @ np.linalg.inv(self.innovation()) @ d

    def update(self, z):
        k = self.p @ self.h.T @ np.linalg.inv(self.innovation())
        self.x = self.x + k @ (z - self.h @ self.x)
        self.p = (np.eye(8) - k @ self.h) @ self.p


def test_measurements_are_centre_aspect_and_height():
    boxes = np.array([[10, 20, 30, 60], [5, 5, 5, 5]], np.float32)
    assert to_measurements(boxes).tolist() == [[20, 40, 0.5, 40], [5, 5, 1, 1]]
    assert to_measurements(boxes[:0]).shape == (0, 4)


def test_ten_steps_of_three_tracks_equal_the_slow_filter():
    rng = np.random.default_rng(0)
    first = to_measurements(np.array([[0, 0, 20, 40], [50, 10, 90, 30], [5, 60, 30, 90]], float))
    quick = KalmanFilter()
    slow = [SlowFilter(z) for z in first]
    means, covariances = (np.stack(parts) for parts in zip(*map(quick.start, first), strict=True))
    for step in range(1, 11):
        means, covariances = quick.predict(means, covariances)
        z = first + step * np.array([3, -1, 0, 0.5]) + rng.normal(0, [1, 1, 0.02, 1], (3, 4))
        distances = quick.distances(means, covariances, z)
        for track in slow:
            track.predict()
        np.testing.assert_allclose(distances, [[track.distance(m) for m in z] for track in slow], rtol=1e-8)
        if step != 5:  # one missed frame
            means, covariances = quick.update(means, covariances, z)
            for track, m in zip(slow, z, strict=True):
                track.update(m)
        np.testing.assert_allclose(means, [track.x for track in slow], rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(covariances, [track.p for track in slow], rtol=1e-6, atol=1e-9)
    assert means[0, 4] == pytest.approx(3, abs=0.6)  # it has learnt the speed


def test_the_gate_widens_while_a_track_is_missed():
    quick = KalmanFilter()
    mean, covariance = quick.start(np.array([50, 50, 1, 20.0]))
    means, covariances = mean[None], covariance[None]
    away = np.array([[60, 50, 1, 20.0]])
    distances = []
    for _ in range(4):
        means, covariances = quick.predict(means, covariances)
        distances.append(quick.distances(means, covariances, away)[0, 0])
    assert distances == sorted(distances, reverse=True) and distances[0] > 9.4877 > distances[-1]
