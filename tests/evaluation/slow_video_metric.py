"""The VIS metric word by word from §5.4: dense masks, plain loops, nothing of the package; and random cases for it.

A case: {"videos": {id: (height, width, length)}, "categories": [ids], "truth": [objects], "results": [tracks]}, where
objects and tracks have "video", "category" and "masks", one dense bool array or None per frame. Objects also have
"crowd" and "areas" (annotated areas, or None), tracks have "score".
"""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

THRESHOLDS = [0.5 + 0.05 * k for k in range(10)]
RANGES = {"all": (0, 1e10), "small": (0, 128**2), "medium": (128**2, 256**2), "large": (256**2, 1e10)}
MAIN = {"mAP": (0, THRESHOLDS, 100), "AP50": (0, [0.5], 100), "AP75": (0, [THRESHOLDS[5]], 100)}
MAIN |= {f"AR{n}": (1, THRESHOLDS, n) for n in (1, 10, 100)}


def slow_metrics(case):
    """All metrics of a case, and those of MAIN for every category by id."""
    curves = {}

    def mean(categories, name, pick, thresholds, most):
        values = []
        for category in categories:
            for theta in thresholds:
                key = (category, theta, name, most)
                if key not in curves:
                    curves[key] = curve_of(case, *key)
                if curves[key] is not None:
                    values.append(curves[key][pick])
        return sum(values) / len(values) if values else -1.0

    everything = case["categories"]
    metrics = {key: mean(everything, "all", *rest) for key, rest in MAIN.items()}
    for name in ("small", "medium", "large"):
        metrics[f"AP_{name}"] = mean(everything, name, 0, THRESHOLDS, 100)
        metrics[f"AR_{name}"] = mean(everything, name, 1, THRESHOLDS, 100)
    return metrics, {c: {key: mean([c], "all", *rest) for key, rest in MAIN.items()} for c in everything}


def curve_of(case, category, theta, name, most):
    """Average precision and largest recall of one category; None without ground truth that counts."""
    low, high = RANGES[name]
    rows, positives = [], 0
    for video in sorted(case["videos"]):
        objects, ignored = [], []
        for g in case["truth"]:
            if (g["video"], g["category"]) == (video, category):
                area = mean_area(g["areas"] if g["areas"] is not None else pixels(g["masks"]))
                objects.append(g)
                ignored.append(bool(g["crowd"]) or area < low or area > high)
        tracks = [r for r in case["results"] if (r["video"], r["category"]) == (video, category)]
        tracks = sorted(tracks, key=lambda r: -r["score"])[:most]  # sorted() keeps the order of equals
        positives += ignored.count(False)
        rows += verdicts(tracks, objects, ignored, theta, low, high)
    return None if positives == 0 else average_precision(rows, positives)


def verdicts(tracks, objects, ignored, theta, low, high):
    """(score, right, counts) of every track of one video and category."""
    order = [k for k in range(len(objects)) if not ignored[k]] + [k for k in range(len(objects)) if ignored[k]]
    taken, rows = set(), []
    for track in tracks:
        best, choice = min(theta, 1 - 1e-10), None
        for k in order:
            if k in taken and not objects[k]["crowd"]:
                continue
            if choice is not None and not ignored[choice] and ignored[k]:
                break
            value = track_iou(track, objects[k])
            if value >= best:
                best, choice = value, k
        if choice is not None:
            taken.add(choice)
            rows.append((track["score"], True, not ignored[choice]))
        else:
            area = mean_area(pixels(track["masks"]))
            rows.append((track["score"], False, low <= area <= high))
    return rows


def average_precision(rows, positives):
    rows = sorted(rows, key=lambda row: -row[0])
    right = wrong = 0
    recalls, precisions = [], []
    for _, hit, counts in rows:
        right, wrong = right + (hit and counts), wrong + (not hit and counts)
        recalls.append(right / positives)
        precisions.append(right / (right + wrong) if right + wrong else 0.0)
    for k in range(len(rows) - 1, 0, -1):
        precisions[k - 1] = max(precisions[k - 1], precisions[k])
    total = 0.0
    for point in np.linspace(0, 1, 101).tolist():
        reached = [p for p, r in zip(precisions, recalls, strict=True) if r >= point]
        total += reached[0] if reached else 0.0
    return total / 101, recalls[-1] if recalls else 0.0


def pixels(masks):
    return [None if m is None else int(m.sum()) for m in masks]


def mean_area(areas):
    areas = [a for a in areas if a]
    return sum(areas) / len(areas) if areas else 0


def track_iou(track, other):
    """Remembered in the track, since every threshold asks again."""
    known = track.setdefault("ious", {})
    if id(other) not in known:
        shared = union = 0
        for a, b in zip(track["masks"], other["masks"], strict=True):
            if a is not None and b is not None:
                shared, union = shared + int((a & b).sum()), union + int((a | b).sum())
            elif a is not None or b is not None:
                union += int((b if a is None else a).sum())
        known[id(other)] = shared / union if union else 0.0
    return known[id(other)]


def files_of(case):
    """The case as a ground truth object and a result list."""
    videos = [{"id": v, "height": h, "width": w, "length": n} for v, (h, w, n) in case["videos"].items()]
    annotations = [
        {"id": n, "video_id": g["video"], "category_id": g["category"], "iscrowd": int(g["crowd"])}
        | {"segmentations": [rle_of(m) for m in g["masks"]]}
        | ({} if g["areas"] is None else {"areas": g["areas"]})
        for n, g in enumerate(case["truth"], 1)
    ]
    results = [
        {"video_id": r["video"], "category_id": r["category"], "score": r["score"]}
        | {"segmentations": [rle_of(m) for m in r["masks"]]}
        for r in case["results"]
    ]
    categories = [{"id": c, "name": f"class {c}"} for c in case["categories"]]
    return {"videos": videos, "categories": categories, "annotations": annotations}, results


def rle_of(mask):
    if mask is None:
        return None
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}


def random_case(rng, *, distinct_scores=False):
    """Few boxes from a coarse grid, so that equal IoUs, equal scores and IoUs on a threshold are common.

    Sometimes cells of 8000 pixels, so that tracks are small, medium and large; sometimes a crowd of detections.
    """
    cell = 8000 if rng.random() < 0.08 else 1
    categories = [5, 2, 3]
    case = {"videos": {}, "categories": categories, "truth": [], "results": []}

    def box():
        mask = np.zeros((6 * cell, 7), bool)
        (y, x), (h, w) = rng.integers(0, 4, 2), rng.integers(0, 4, 2)
        mask[y * cell : (y + h) * cell, x : x + w] = True
        return mask

    def masks(base=None):
        if base is not None and rng.random() < 0.7:
            return [m if rng.random() < 0.85 else (box() if rng.random() < 0.5 else None) for m in base]
        return [box() if rng.random() < 0.7 else None for _ in range(length)]

    for video in rng.permutation([1, 4, 9])[: rng.integers(1, 4)].tolist():
        length = int(rng.integers(1, 4))
        case["videos"][video] = (6 * cell, 7, length)
        objects = []
        for _ in range(rng.integers(0, 5)):
            found = {"video": video, "category": int(rng.choice([2, 5])), "masks": masks()}
            areas = [None if m is None else float(rng.integers(0, 90000)) for m in found["masks"]]
            found |= {"crowd": rng.random() < 0.25, "areas": areas if rng.random() < 0.3 else None}
            objects.append(found)
        detections = rng.choice([0, 3, 7, 14, 115], p=[0.1, 0.4, 0.33, 0.15, 0.02])
        for _ in range(detections if cell == 1 else min(detections, 3)):
            base = objects[rng.integers(len(objects))] if objects else None
            known = base is not None and rng.random() < 0.8
            found = {"video": video, "category": base["category"] if known else int(rng.choice(categories))}
            found |= {"score": int(rng.integers(1, 6)) / 5, "masks": masks(base["masks"] if base else None)}
            case["results"].append(found)
        case["truth"] += objects
    if distinct_scores:
        for track, score in zip(case["results"], rng.permutation(len(case["results"])), strict=True):
            track["score"] = (int(score) + 1) / 1000
    return case
