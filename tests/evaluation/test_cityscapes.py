"""Cityscapes metrics by hand, and against Cityscapes' own programs on random scenes."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling as OfficialInstances
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as OfficialPixels
from cityscapesscripts.helpers.labels import labels as official_labels
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wsvis_core.errors import WsvisError
from wsvis_core.evaluation.cityscapes_instances import (
    RankedDetections,
    area_under_curve,
    coco_instance_ap,
    official_instance_ap,
    true_instances,
)
from wsvis_core.evaluation.cityscapes_labels import CATEGORIES, CLASS_IDS, CLASS_NAMES, VOID_IDS, label_ids
from wsvis_core.evaluation.cityscapes_semantic import predicted_classes, semantic_iou
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import decode_mask, encode_mask

SIZE = (40, 60)
CAR, ROAD = 2, 7


def region(x0, y0, x1, y1, size=SIZE):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def id_map(*parts, size=SIZE):
    """Road, with (id, mask) parts painted over it in order."""
    ids = np.full(size, ROAD, np.int32)
    for value, mask in parts:
        ids[mask] = value
    return ids


def found(*rows, size=SIZE):
    """Instances from rows (mask, class index, score)."""
    classes, scores = np.array([r[1] for r in rows], np.int64), np.array([r[2] for r in rows], np.float32)
    rles = tuple(encode_mask(row[0]) for row in rows)
    return EncodedInstances(size, rles, classes, scores, np.zeros((len(rows), 4), np.float32))


def ap50(ids, instances, name="car", **options):
    rows = official_instance_ap([ids], [instances], **options)["per_class"]
    return next(row["AP50"] for row in rows if row["name"] == name)


BIG, OTHER = region(0, 0, 20, 10), region(30, 0, 50, 10)


def test_labels_are_those_of_cityscapes():
    with_instances = [label for label in official_labels if label.hasInstances and not label.ignoreInEval]
    assert tuple(label.id for label in with_instances) == CLASS_IDS
    assert tuple(label.name for label in with_instances) == CLASS_NAMES
    assert sorted(label.id for label in official_labels if label.ignoreInEval) == list(VOID_IDS)
    for name, members in CATEGORIES.items():
        assert [label.name for label in with_instances if label.category == name] == [CLASS_NAMES[m] for m in members]


def test_a_perfect_image_and_classes_without_objects_or_predictions():
    ids = id_map((26000, BIG), (24000, OTHER))
    metrics = official_instance_ap([ids], [found((BIG, CAR, 0.9))])
    rows = {row["name"]: row for row in metrics["per_class"]}
    assert rows["car"] == {"name": "car", "AP": 1.0, "AP50": 1.0}
    assert rows["person"]["AP50"] == 0.0 and np.isnan(rows["bus"]["AP50"])
    assert metrics["AP50"] == 0.5 and metrics["AP"] == 0.5 and metrics["images"] == 1


def test_of_several_matches_the_most_confident_counts():
    ids = id_map((26000, BIG), (26001, OTHER))
    # Scores .9 (TP), .8 (FP: the same car), .7 (TP). Curve, by ascending score: (2/3, 1), (1/2, 1/2), (1, 1/2), (1, 0).
    golden = 2 / 3 * (1 - 1 / 2) / 2 + 1 / 2 * (1 - 1 / 2) / 2 + 1 * (1 / 2 - 0) / 2 + 1 * (1 / 2 - 0) / 2
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        rows = [(BIG, CAR, 0.8), (region(0, 0, 19, 10), CAR, 0.9), (OTHER, CAR, 0.7)]
        assert ap50(ids, found(*[rows[k] for k in order])) == pytest.approx(golden)


def test_a_match_must_exceed_the_threshold():
    ids = id_map((26000, BIG))
    half = region(0, 0, 10, 10)  # IoU exactly 0.5
    assert ap50(ids, found((half, CAR, 0.9))) == 0.0
    assert ap50(ids, found((region(0, 0, 11, 10), CAR, 0.9))) == 1.0


@pytest.mark.parametrize(
    "ignored",
    [(26, OTHER), (0, OTHER), (26001, region(30, 0, 39, 11))],
    ids=["group of the class", "void", "too small object"],
)
def test_what_lies_on_ignored_regions_is_no_false_positive(ignored):
    ids = id_map((26000, BIG), ignored)
    stray = found((BIG, CAR, 0.5), (ignored[1], CAR, 0.9))
    assert ap50(ids, stray) == 1.0
    # On plain road the same mask, ranked first, costs: curve (1/2, 1), (0, 0), (1, 0).
    assert ap50(id_map((26000, BIG)), stray) == pytest.approx(0.5 * (1 - 0) / 2)


def test_more_than_the_threshold_must_be_ignored_and_only_groups_of_the_own_class():
    stray = found((BIG, CAR, 0.5), (OTHER, CAR, 0.9))
    half_void = id_map((26000, BIG), (0, region(30, 0, 40, 10)))
    assert ap50(half_void, stray) == pytest.approx(0.25)
    assert ap50(id_map((26000, BIG), (0, region(30, 0, 41, 10))), stray) == 1.0
    assert ap50(id_map((26000, BIG), (24, OTHER)), stray) == pytest.approx(0.25)


def test_too_small_objects_are_not_missed_either():
    small = region(30, 0, 39, 11)
    ids = id_map((26000, BIG), (26001, small))
    assert ap50(ids, found((BIG, CAR, 0.5))) == 1.0
    assert ap50(ids, found((BIG, CAR, 0.5)), min_area=99) < 1.0
    assert np.isnan(ap50(id_map((26001, small)), found((small, CAR, 0.5))))


def test_nothing_that_counts_is_zero():
    # A class with an object whose only prediction is ignored: the official program stops with an error here.
    ids = id_map((26000, BIG), (26, OTHER))
    assert ap50(ids, found((OTHER, CAR, 0.9))) == 0.0
    assert area_under_curve(RankedDetections(np.zeros(0), np.zeros(0, bool), 3)) == 0.0
    assert ap50(ids, found((np.zeros(SIZE, bool), CAR, 0.9))) == 0.0
    nothing = official_instance_ap([], [])
    assert np.isnan(nothing["AP"]) and np.isnan(nothing["AP50"]) and nothing["images"] == 0


def test_coco_style_takes_groups_as_crowds():
    ids = id_map((26000, BIG), (26, OTHER), (24000, region(0, 20, 5, 25)))
    truth = true_instances(ids)
    assert (truth.category_ids, truth.crowd) == ([26, 24, 26], [True, False, False])
    assert (decode_mask(truth.rles[0]) == OTHER).all()
    metrics = coco_instance_ap([ids], [found((BIG, CAR, 0.5), (region(30, 0, 40, 10), CAR, 0.9))])
    rows = {row["name"]: row["AP50"] for row in metrics["per_category"]}
    assert rows["car"] == pytest.approx(1.0) and rows["person"] == 0.0 and rows["bus"] == -1.0
    assert metrics["AP50"] == pytest.approx(0.5)
    assert coco_instance_ap([], [])["AP50"] == -1.0


def test_input_that_does_not_fit_is_named():
    with pytest.raises(WsvisError, match=r"image 2: the id map is \(3, 3\), the predicted masks are \(40, 60\)"):
        official_instance_ap([id_map(), id_map(size=(3, 3))], [found(), found()])
    with pytest.raises(WsvisError, match=r"image 1: the id map must hold whole numbers \(H,W\), not float64"):
        semantic_iou([np.zeros(SIZE)], [found()])
    for metric in (official_instance_ap, coco_instance_ap, semantic_iou):
        with pytest.raises(WsvisError, match=r"image 1: class indices must be 0\.\.7, found \[8\]"):
            metric([id_map()], [found((BIG, 8, 0.5))])
    with pytest.raises(WsvisError, match="image 1: a score is not finite"):
        official_instance_ap([id_map()], [found((BIG, CAR, float("nan")))])
    with pytest.raises(ValueError, match="thresholds must be 0.5 or more"):
        official_instance_ap([], [], thresholds=(0.3,))
    with pytest.raises(ValueError):
        semantic_iou([id_map()], [])


def test_the_highest_score_wins_a_pixel_and_the_first_of_equals():
    rows = [(region(0, 0, 4, 1), 0, 0.5), (region(1, 0, 4, 1), 1, 0.5), (region(2, 0, 6, 1), 2, 0.9)]
    rows += [(region(5, 0, 8, 1), 3, 0.05), (region(8, 0, 9, 1), 4, 0.04)]
    assert predicted_classes(found(*rows), 0.05)[0, :10].tolist() == [0, 0, 2, 2, 2, 2, 3, 3, 8, 8]


def test_semantic_variants_by_hand():
    # One row of 20 pixels: 4 car, 4 truck (2 of them a group), 4 road, 4 person, 4 void.
    size = (1, 20)
    pixels = [26000] * 4 + [27000] * 2 + [27] * 2 + [ROAD] * 4 + [24000] * 4 + [0] * 4
    ids = np.array([pixels], np.int32)
    rows = [(region(0, 0, 3, 1, size), 2, 0.9)]  # 3 of 4 car pixels
    rows += [(region(4, 0, 7, 1, size), 2, 0.8)]  # 3 of 4 truck pixels called car
    rows += [(region(8, 0, 10, 1, size), 3, 0.7)]  # 2 road pixels called truck
    rows += [(region(12, 0, 20, 1, size), 0, 0.6)]  # all person pixels, and the void ones
    metrics = semantic_iou([ids], [found(*rows, size=size)])
    person, car, truck, background = 1.0, 3 / (4 + 3), 0 / (4 + 2), 2 / (4 + 2)
    assert metrics["classes"] == pytest.approx((person + car + truck) / 3)
    assert metrics["with_background"] == pytest.approx((person + car + truck + background) / 4)
    assert metrics["stuff_ignored"] == pytest.approx((person + car + 0 / 4) / 3)
    assert metrics["categories"] == pytest.approx((person + 6 / (8 + 2)) / 2)
    by_name = {row["name"]: row["IoU"] for row in metrics["per_class"]}
    assert by_name["car"] == pytest.approx(car) and np.isnan(by_name["bus"])
    assert {row["name"]: row["IoU"] for row in metrics["per_category"]} == pytest.approx({"human": 1, "vehicle": 0.6})


def test_semantic_iou_of_nothing():
    nothing = semantic_iou([], [])
    assert np.isnan([nothing[key] for key in ("classes", "with_background", "stuff_ignored", "categories")]).all()
    empty = semantic_iou([id_map((26000, BIG))], [found()])
    assert empty["classes"] == 0.0 and empty["with_background"] == pytest.approx((0 + 2200 / 2400) / 2)


# ---- against cityscapesscripts


def random_scene(rng):
    """An id map with instances, groups, void and tiny objects, and predictions near and far from them."""
    ids = id_map()
    shapes = []
    for n in range(int(rng.integers(0, 9))):
        x, y = (int(v) for v in rng.integers(0, [48, 30]))
        w, h = (int(v) for v in rng.integers(6, [25, 18]))
        label = int(rng.choice([24, 26, 26, 33, 29]))
        value = int(rng.choice([label * 1000 + n, label * 1000 + n, label * 1000 + n, label, 0, 11]))
        ids[region(x, y, x + w, y + h)] = value
        shapes.append((label, x, y, w, h))
    rows = []
    for label, x, y, w, h in shapes:
        for _ in range(int(rng.integers(0, 4))):
            dx, dy = (int(v) for v in rng.integers(-4, 5, 2))
            index = CLASS_IDS.index(label) if label in CLASS_IDS and rng.random() < 0.85 else int(rng.integers(0, 8))
            mask = region(max(x + dx, 0), max(y + dy, 0), x + w, y + h)
            rows.append((mask, index, round(float(rng.integers(1, 10)) / 10, 1)))
    return ids, found(*rows)


def write_scene(folder, number, ids, instances):
    """The files of a scene: (prediction list, instance ids, label ids, predicted labels)."""
    truth, text = folder / f"gt_{number}_instanceIds.png", folder / f"pred_{number}.txt"
    Image.fromarray(ids.astype(np.uint16)).save(truth)
    lines = []
    for n, (rle, index, score) in enumerate(
        zip(instances.rles, instances.classes, instances.scores.tolist(), strict=True)
    ):
        name = f"mask_{number}_{n}.png"
        Image.fromarray(decode_mask(rle).astype(np.uint8) * 255).save(folder / name)
        lines.append(f"{name} {CLASS_IDS[index]} {score!r}\n")
    text.write_text("".join(lines))
    label_file, painted_file = folder / f"gt_{number}_labelIds.png", folder / f"painted_{number}.png"
    Image.fromarray(label_ids(ids).astype(np.uint8)).save(label_file)
    to_label = np.array([*CLASS_IDS, 23], np.uint8)  # background is given as sky
    Image.fromarray(to_label[predicted_classes(instances, 0.05)]).save(painted_file)
    return text, truth, label_file, painted_file


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Cityscapes' two programs on scenes; the first returns the AP matrix (class, threshold)."""
    # cityscapesscripts 2.3.0 calls a numpy function that numpy 2.4 no longer has.
    monkeypatch.setattr(np, "in1d", lambda a, b, **options: np.isin(np.ravel(a), b, **options), raising=False)
    # It also dumps its matches, with numpy numbers that json does not know, into the working folder.
    monkeypatch.setattr(OfficialInstances, "writeDict2JSON", lambda value, path: None)

    def run(scenes):
        files = [write_scene(tmp_path, n, *scene) for n, scene in enumerate(scenes)]
        texts, truths, label_files, painted = ([str(path) for path in column] for column in zip(*files, strict=True))
        args = OfficialInstances.args
        args.gtInstancesFile = str(tmp_path / "gtInstances.json")
        args.predictionPath, args.quiet, args.JSONOutput = str(tmp_path), True, False
        instances = OfficialInstances.evaluateImgLists(texts, truths, args)
        pixel_args = OfficialPixels.args
        pixel_args.quiet, pixel_args.JSONOutput, pixel_args.evalInstLevelScore = True, False, False
        return instances, OfficialPixels.evaluateImgLists(painted, label_files, pixel_args)

    return run


def same(a, b):
    return a == pytest.approx(b, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(25))
def test_equals_the_official_programs(official, seed):
    rng = np.random.default_rng(seed)
    # Every class has a right prediction somewhere, or the official program stops (see `test_nothing_that_counts`).
    scenes = [random_scene(rng) for _ in range(3)]
    sure = [(26000, BIG), (24001, OTHER), (33002, region(0, 20, 15, 30))]
    scenes.append((id_map(*sure), found(*[(mask, CLASS_IDS.index(v // 1000), 0.3) for v, mask in sure])))
    instances, pixels = official(scenes)
    id_maps, predictions = zip(*scenes, strict=True)
    ours = official_instance_ap(id_maps, predictions)
    averages = instances["averages"]
    assert same(ours["AP"], averages["allAp"]) and same(ours["AP50"], averages["allAp50%"])
    for row in ours["per_class"]:
        theirs = averages["classes"][row["name"]]
        assert same(row["AP"], theirs["ap"]) and same(row["AP50"], theirs["ap50%"])
    ious = semantic_iou(id_maps, predictions)
    assert all(same(row["IoU"], pixels["classScores"][row["name"]]) for row in ious["per_class"])
    assert all(same(row["IoU"], pixels["categoryScores"][row["name"]]) for row in ious["per_category"])
    assert same(ious["classes"], np.nanmean([pixels["classScores"][name] for name in CLASS_NAMES]))
    check_the_other_variants(ious, np.array(pixels["confMatrix"], np.int64))


def direct_coco(scenes):
    """AP50 of pycocotools used by hand: ids below 1000 of the eight classes are crowds."""
    images, truth, rows = [], [], []
    for n, (ids, instances) in enumerate(scenes, 1):
        images.append({"id": n, "height": SIZE[0], "width": SIZE[1]})
        for value in np.unique(ids).tolist():
            label = value // 1000 if value >= 1000 else value
            if label in CLASS_IDS:
                row = {"id": len(truth) + 1, "image_id": n, "category_id": label, "iscrowd": int(value < 1000)}
                truth.append(row | {"segmentation": encode_mask(ids == value), "area": int((ids == value).sum())})
        for rle, index, score in zip(instances.rles, instances.classes, instances.scores.tolist(), strict=True):
            rows.append({"image_id": n, "category_id": CLASS_IDS[index], "segmentation": rle, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": truth, "categories": [{"id": label} for label in CLASS_IDS]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:3]


@pytest.mark.parametrize("seed", range(10))
def test_coco_style_equals_pycocotools(seed):
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng) for _ in range(4)]
    ours = coco_instance_ap(*zip(*scenes, strict=True))
    assert [ours[key] for key in ("mAP", "AP50", "AP75")] == pytest.approx(direct_coco(scenes), abs=1e-9)


def check_the_other_variants(ious, confusion):
    """Those the official program does not print, from its own confusion matrix (rows: truth, by label id)."""
    stuff = [label.id for label in official_labels if label.id not in CLASS_IDS and not label.ignoreInEval]
    background = confusion[stuff][:, 23].sum() / (confusion[stuff].sum() + confusion[list(CLASS_IDS)][:, 23].sum())
    singles = [row["IoU"] for row in ious["per_class"]]
    assert same(ious["with_background"], np.nanmean([*singles, background]))
    own = confusion[list(CLASS_IDS)]
    columns = own[:, list(CLASS_IDS)]
    right = np.diag(columns)
    either = own.sum(axis=1) + columns.sum(axis=0) - right
    assert same(ious["stuff_ignored"], np.mean(right[either > 0] / either[either > 0]))
