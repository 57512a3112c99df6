from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wsvis_core.check import load_config
from wsvis_core.config import MaskconsistSettings, PredictionSettings
from wsvis_core.errors import WsvisError
from wsvis_core.segmentation.build import segmenter_from_settings

ROOT = Path(__file__).resolve().parents[2]


def test_detectron2_where_it_is_missing(monkeypatch):
    monkeypatch.delitem(sys.modules, "wsvis_core.segmentation.detectron2_backend", raising=False)
    monkeypatch.setitem(sys.modules, "detectron2.layers", None)
    monkeypatch.setitem(sys.modules, "detectron2", None)
    with pytest.raises(WsvisError) as caught:
        segmenter_from_settings(MaskconsistSettings(backend="detectron2"), 4, weights="none")
    expected = (
        "maskconsist.backend is 'detectron2', which Python cannot import here (import of detectron2.layers halted; "
        "None in sys.modules); install it with `pip install --no-build-isolation "
        "git+https://github.com/facebookresearch/detectron2` (docs/detectron2.md), or set the backend to "
        "'torchvision' (the default)"
    )
    assert str(caught.value) == expected


def test_only_one_module_imports_detectron2():
    imports = ("import detectron2", "from detectron2")
    found = [
        path.name
        for path in (ROOT / "wsvis_core").rglob("*.py")
        if any(line.strip().startswith(imports) for line in path.read_text().splitlines())
    ]
    assert found == ["detectron2_backend.py"]
    assert "model_zoo import" not in (ROOT / "wsvis_core/segmentation/detectron2_backend.py").read_text()


@pytest.mark.parametrize("segmenter", ["maskconsist", "maskconsist_detectron2", "maskrcnn_detectron2"])
@pytest.mark.parametrize("dataset", ["ytvis", "bench"])
def test_the_projects_segmenters_can_be_built(dataset, segmenter):
    """With the paper's sizes and with those for a CPU; both backends have the same trunk, trained in the same parts."""
    config = load_config([ROOT / "config.yaml"])
    settings = config.section("maskconsist", dataset, segmenter=segmenter)
    if settings.backend == "detectron2":
        pytest.importorskip("detectron2", reason="detectron2 is not installed (docs/detectron2.md)")
    settings = settings.model_copy(update={"backbone_weights": "none"})
    made = segmenter_from_settings(settings, 4, weights="none", prediction=PredictionSettings(max_detections=7))
    assert type(made).__name__.lower().startswith(settings.backend)
    learnt = {name.split(".")[1] for name, p in made.backbone.named_parameters(prefix="b") if p.requires_grad}
    assert ("conv1" in learnt) == (dataset == "bench") and "layer4" in learnt
    heads = made.heads
    limit = heads.detections_per_img if settings.backend == "torchvision" else heads.box_predictor.test_topk_per_image
    assert limit == 7
