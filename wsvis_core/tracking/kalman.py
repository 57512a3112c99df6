"""DeepSORT's Kalman filter: boxes that move at a constant velocity, all tracks at once (docs/method.md §6.7).

A state is (cx, cy, aspect, height) and their change per frame, a measurement the first four: aspect = width / height,
the rest pixels. Pure numpy. Standard deviations grow with the height of the box; those of the aspect are constants.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Of the aspect: as measured, of a new track's value and its change, and what is added to both per frame.
ASPECT_MEASURED_STD, ASPECT_STD, ASPECT_VELOCITY_STD = 1e-1, 1e-2, 1e-5
_MOVE = np.eye(8) + np.eye(8, k=4)


def to_measurements(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(cx, cy, aspect, height) of boxes (N,4) → (N,4) float64; a side counts as one pixel at least."""
    corners = np.asarray(boxes_xyxy, np.float64)
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 1.0)
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    return np.concatenate([centres, sides[:, :1] / sides[:, 1:], sides[:, 1:]], axis=1)


@dataclass(frozen=True)
class KalmanFilter:
    """The filter's two scales: standard deviation of positions and of velocities, in heights of the box."""

    position_std: float = 1 / 20
    velocity_std: float = 1 / 160

    def start(self, measurement: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (8,) and covariance (8,8) of a new track that rests, from its first measurement (4,)."""
        height = measurement[3]
        deviations = self._deviations(np.array([height]), 2 * self.position_std, 10 * self.velocity_std)[0]
        return np.concatenate([measurement, np.zeros(4)]), np.diag(deviations**2)

    def predict(self, means: np.ndarray, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One frame later: means (N,8), covariances (N,8,8) → the same."""
        noise = self._deviations(means[:, 3], self.position_std, self.velocity_std)
        return means @ _MOVE.T, _MOVE @ covariances @ _MOVE.T + _diagonals(noise**2)

    def distances(self, means: np.ndarray, covariances: np.ndarray, measurements: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance of every measurement from every track: (N,8), (N,8,8), (M,4) → (N,M)."""
        differences = measurements[None] - means[:, None, :4]
        solved = np.linalg.solve(self._innovations(means, covariances), differences.transpose(0, 2, 1))
        return np.einsum("nmk,nkm->nm", differences, solved)

    def update(
        self, means: np.ndarray, covariances: np.ndarray, measurements: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """States after a measurement each: (N,8), (N,8,8), (N,4) → (N,8), (N,8,8)."""
        innovations = self._innovations(means, covariances)
        gains = np.linalg.solve(innovations, covariances[:, :4, :]).transpose(0, 2, 1)
        corrections = np.einsum("nij,nj->ni", gains, measurements - means[:, :4])
        return means + corrections, covariances - gains @ innovations @ gains.transpose(0, 2, 1)

    def _innovations(self, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
        """Covariance (N,4,4) of the difference between a measurement and what the state predicts."""
        deviations = np.repeat(self.position_std * means[:, 3:4], 4, axis=1)
        deviations[:, 2] = ASPECT_MEASURED_STD
        return covariances[:, :4, :4] + _diagonals(deviations**2)

    def _deviations(self, heights: np.ndarray, position: float, velocity: float) -> np.ndarray:
        scales = [position, position, 0, position, velocity, velocity, 0, velocity]
        constants = [0, 0, ASPECT_STD, 0, 0, 0, ASPECT_VELOCITY_STD, 0]
        return heights[:, None] * scales + np.array(constants)


def _diagonals(values: np.ndarray) -> np.ndarray:
    """(N,K) → (N,K,K) with the values on the diagonals."""
    return values[:, :, None] * np.eye(values.shape[1])
