"""`wsvis check`: everything wrong with the configuration and the data sets, found before a long run."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from wsvis_core.config import SECTIONS, Config, DatasetSettings
from wsvis_core.datasets import VideoDataset
from wsvis_core.datasets.prepare import prepare_from_settings
from wsvis_core.datasets.synthetic import SyntheticSettings
from wsvis_core.errors import WsvisError


def check_project(config_files: Sequence[Path], dataset: str | None) -> list[str]:
    """Problems of the merged configuration, of one data set or of all, each a message; [] when a run may start.

    config_files: merged over `config.yaml` of the working directory, in order, as Snakemake does with --configfile.
    """
    try:
        config = load_config(list(dict.fromkeys([Path("config.yaml"), *config_files])))
        names = [dataset] if dataset else list(config.datasets)
        for name in names:
            config.section("pipeline", name)
    except WsvisError as error:
        return [str(error)]
    problems = [_data_problem(name, config.datasets[name]) for name in names]
    problems += [message for name in names for message in _weight_problems(config, name)]
    problems += [_backend_problem(config, name) for name in names]
    return [problem for problem in problems if problem]


def load_config(files: Sequence[Path]) -> Config:
    """The merged and checked configuration of some YAML files."""
    merged: dict[str, Any] = {}
    for path in files:
        merged = _merge(merged, _read_yaml(path))
    return Config(merged, source=" + ".join(str(path) for path in files))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise WsvisError(
            f"config file {path} does not exist; start in the folder of the Snakefile or name it"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WsvisError(f"{path} is not valid YAML: {error}") from None
    if value is not None and not isinstance(value, dict):
        raise WsvisError(f"{path} must hold a mapping of settings, not {type(value).__name__}")
    return value or {}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` merged into `base`, mapping by mapping."""
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _data_problem(name: str, block: DatasetSettings) -> str | None:
    """What is wrong with the files of a data set; for a generated one only its settings are looked at."""
    try:
        if block.kind == "synthetic":
            SyntheticSettings.from_mapping(block.synthetic)
            return None
        with tempfile.TemporaryDirectory() as scratch:
            prepare_from_settings(name, block, Path(scratch))
            return _label_problem(name, VideoDataset.load(Path(scratch)))
    except WsvisError as error:
        return str(error)
    return None


def _label_problem(name: str, dataset: VideoDataset) -> str | None:
    """Every training frame shows every class: a classifier then learns nothing of where they are."""
    if not all(dataset.class_labels(video).all() for video in dataset.split("train")):
        return None
    names = ", ".join(category.name for category in dataset.categories)
    return (
        f"data set '{name}': every training frame shows every class ({names}), so that there is nothing to tell them "
        f"from; add videos, or name frames, without them"
    )


def _weight_problems(config: Config, dataset: str) -> list[str]:
    """Weights files that a data set's settings name, in any labeller or segmenter too, and that do not exist."""
    variants = [{kind: name} for kind in ("labeller", "segmenter") for name in config.variants(f"{kind}s")]
    named = dict.fromkeys(
        (section, getattr(config.section(section, dataset, **variant), "backbone_weights", None))
        for section in SECTIONS
        for variant in ({}, *variants)
    )
    return [
        f"data set '{dataset}': {section}.backbone_weights names {weights}, which does not exist; give the "
        f"path of a torchvision ResNet state dict, or 'torchvision' to let torchvision download one"
        for section, weights in named
        if weights not in (None, "torchvision", "none", "cam") and not Path(weights).exists()
    ]


def _backend_problem(config: Config, dataset: str) -> str | None:
    """A segmenter of the pipeline is built on detectron2, the one framework that is not installed with wsvis."""
    pipeline = config.section("pipeline", dataset)
    names = (pipeline.segmenter, *pipeline.compare_segmenters)
    backends = {name: config.section("maskconsist", dataset, segmenter=name).backend for name in names}
    segmenter = next((name for name, backend in backends.items() if backend == "detectron2"), None)
    if segmenter is None or importlib.util.find_spec("detectron2") is not None:
        return None
    return (
        f"data set '{dataset}': segmenter '{segmenter}' has the backend 'detectron2', which is not installed; "
        f"docs/detectron2.md tells how, or set pipeline.segmenter to one without it"
    )
