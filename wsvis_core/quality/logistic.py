"""Logistic regression with few coefficients: P(y = 1 | x) = σ(b + w·x)."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, xlogy


def fit_logistic(x: np.ndarray, y: np.ndarray, *, ridge: float) -> tuple[float, np.ndarray]:
    """Intercept b and weights w (K,) that minimise −Σ log P(y_i|x_i) + ridge·‖w‖²/2, by Newton's method.

    x (N,K) float, y (N,) bool. ridge > 0 keeps the weights finite where a part tells right from wrong without error;
    the intercept is free, so the mean estimate is the share of y. ValueError where all y are equal: any b is too small.
    """
    y = np.asarray(y, np.float64)
    if len(y) == 0 or y.min() == y.max():
        raise ValueError("a calibration needs both tracks that are right and tracks that are wrong")
    design = np.column_stack([np.ones(len(x)), np.asarray(x, np.float64)])
    penalty = ridge * np.diag([0.0, *np.ones(x.shape[1])])
    found = np.zeros(design.shape[1])
    for _ in range(100):
        p = expit(design @ found)
        gradient = design.T @ (p - y) + penalty @ found
        hessian = (design * (p * (1 - p))[:, None]).T @ design + penalty
        step = np.linalg.solve(hessian, gradient)
        found = _descend(design, y, penalty, found, step)
        if np.abs(step).max() < 1e-10:
            break
    return float(found[0]), found[1:]


def _descend(x: np.ndarray, y: np.ndarray, penalty: np.ndarray, found: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The step, halved until it does not make the loss larger."""
    before = _loss(x, y, penalty, found)
    for _ in range(30):
        if _loss(x, y, penalty, found - step) <= before:
            return found - step
        step = step / 2
    return found


def _loss(x: np.ndarray, y: np.ndarray, penalty: np.ndarray, found: np.ndarray) -> float:
    p = expit(x @ found)
    return float(-(xlogy(y, p) + xlogy(1 - y, 1 - p)).sum() + found @ penalty @ found / 2)
