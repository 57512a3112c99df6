"""From the parts of a track to one figure: the probability that it is right, by coefficients that lie in a file.

"Right": a track has IoU ≥ 0.5 (over all frames, as the VIS metrics define it) with a true track of its class. The file
has one or more logistic models; of those whose parts a track has, the one with most parts is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from wsvis_core.errors import WsvisError
from wsvis_core.quality.logistic import fit_logistic
from wsvis_core.quality.parts import ALWAYS_KNOWN, PARTS
from wsvis_core.storage.files import read_json, write_json

# Fitted by benchmarks/track_quality.py; docs/quality.md has the figures.
BUILT_IN = Path(__file__).with_name("calibration.json")
MADE_BY = "python -m benchmarks.track_quality"
FORMAT = 1
# Weak: it only keeps weights finite where few tracks are there to fit them.
RIDGE = 0.1


@dataclass(frozen=True)
class Model:
    """P(right) = σ(intercept + Σ weights[part]·part)."""

    intercept: float
    weights: Mapping[str, float]

    def __call__(self, parts: Mapping[str, float]) -> float:
        return float(expit(self.intercept + sum(weight * parts[name] for name, weight in self.weights.items())))


@dataclass(frozen=True)
class Calibration:
    """models: the more parts the earlier · about: on what it was fitted, for a reader."""

    models: tuple[Model, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def estimate(self, parts: Mapping[str, float]) -> float:
        """P(right) of a track with these known parts, 0..1."""
        return next(model for model in self.models if parts.keys() >= model.weights.keys())(parts)


def fit_calibration(
    parts: Sequence[Mapping[str, float]],
    right: Sequence[bool],
    about: Mapping[str, Any],
    *,
    used: Sequence[Sequence[str]] = (("score", "labels", "stability"), ("score", "labels")),
) -> Calibration:
    """One model for each tuple of `used`, each fitted on all tracks that have its parts."""
    models = []
    for names in sorted(used, key=len, reverse=True):
        rows = [i for i, known in enumerate(parts) if known.keys() >= set(names)]
        x = np.array([[parts[i][name] for name in names] for i in rows]).reshape(len(rows), len(names))
        intercept, weights = fit_logistic(x, np.array([right[i] for i in rows], bool), ridge=RIDGE)
        models.append(Model(intercept, dict(zip(names, weights.tolist(), strict=True))))
    return Calibration(tuple(models), dict(about))


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a file that `read_calibration` reads; four decimals are more than the data know."""
    models = [
        {"intercept": round(model.intercept, 4), "weights": {k: round(v, 4) for k, v in model.weights.items()}}
        for model in calibration.models
    ]
    write_json(path, {"format": FORMAT, "about": dict(calibration.about), "models": models}, indent=1)


def read_calibration(path: Path) -> Calibration:
    """The calibration in a file; WsvisError that says what is wrong with it and what makes such files."""
    value = read_json(path, made_by=MADE_BY)
    problem = _problem(value)
    if problem:
        raise WsvisError(f"calibration {path}: {problem}; make it with `{MADE_BY}`, or unset quality.calibration")
    models = [Model(float(m["intercept"]), {k: float(v) for k, v in m["weights"].items()}) for m in value["models"]]
    return Calibration(tuple(sorted(models, key=lambda m: len(m.weights), reverse=True)), value.get("about", {}))


def _problem(value: Any) -> str | None:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else None
        return f"format must be {FORMAT}, not {found!r}"
    models = value.get("models")
    if not isinstance(models, list) or not models:
        return "models must be a list with at least one model"
    for number, model in enumerate(models, 1):
        problem = _model_problem(model)
        if problem:
            return f"model {number}: {problem}"
    if not any(set(model["weights"]) <= set(ALWAYS_KNOWN) for model in models):
        return f"one model must have no other parts than {' and '.join(ALWAYS_KNOWN)}, which every track has"
    return None


def _model_problem(model: Any) -> str | None:
    if not isinstance(model, dict) or not isinstance(model.get("weights"), dict):
        return "needs intercept and weights"
    unknown = [name for name in model["weights"] if name not in PARTS]
    if unknown:
        return f"there is no part {unknown[0]!r}; the parts are {', '.join(PARTS)}"
    numbers = {"intercept": model.get("intercept"), **model["weights"]}
    wrong = [name for name, number in numbers.items() if not _is_number(number)]
    return f"{wrong[0]} must be a finite number, not {numbers[wrong[0]]!r}" if wrong else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
