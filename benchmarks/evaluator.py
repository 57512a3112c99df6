"""The VIS evaluator against a plain loop of pycocotools calls over pairs of tracks and frames, on a whole data set.

    python -m benchmarks.run evaluator

Both read two JSON files and end with mAP; each runs in a process of its own, ours with one more per core. Peak memory
includes the imports and is that of all processes, if they reached it at the same time; time does not include imports.
The loop runs on the first `share` of the videos, and its time counts divided by that share.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from benchmarks.video_results import Size, write_scene
from wsvis_core.evaluation.averages import AREA_RANGES, MAX_DETECTIONS, averages, category_tables
from wsvis_core.evaluation.bootstrap import Bootstrap
from wsvis_core.evaluation.matching import IOU_THRESHOLDS, Matches
from wsvis_core.evaluation.result_files import usable_cores
from wsvis_core.evaluation.scoring import score_result_files

Entry = dict[str, Any]


def print_evaluator(share: float = 0.05, size: Size = Size(), repeats: int = 3) -> None:  # noqa: B008 - frozen
    """Generate the data set and print a row of figures."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_scene(Path(folder), size)
        part = Size(**(vars(size) | {"videos": max(1, round(share * size.videos))}))
        (Path(folder) / "part").mkdir()
        small = write_scene(Path(folder) / "part", part)
        megabytes = paths[1].stat().st_size / 1e6
        pairs = [(_in_process("ours", paths), _in_process("plain", small)) for _ in range(repeats)]
        same = _in_process("ours", small)
        assert abs(same["mAP"] - pairs[0][1]["mAP"]) < 1e-9, (same, pairs[0])
    scale = size.videos / part.videos
    for _, other in pairs:
        other |= {"wall": scale * other["wall"], "cpu": scale * other["cpu"]}
    print(f"{size}, {megabytes:.0f} MB of results; the loop on {part.videos} videos, its time × {scale:g}")
    print(f"Medians of {repeats} runs taken in turn; load {os.getloadavg()[0]:.1f}, {usable_cores()} cores")
    print("| | wall, s | CPU, s | peak memory, MB |")
    print("|---|---|---|---|")
    for name, k in (("ours", 0), ("loop", 1)):
        wall, cpu, peak = (float(np.median([pair[k][key] for pair in pairs])) for key in ("wall", "cpu", "peak"))
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {peak:.0f} |")
    ratios = [float(np.median([other[key] / ours[key] for ours, other in pairs])) for key in ("wall", "cpu")]
    print(f"| ratio | {ratios[0]:.1f} | {ratios[1]:.1f} | |")


def _in_process(side: str, paths: Sequence[Path]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.evaluator", side, *map(str, paths)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _ours(truth: Path, results: Path) -> float:
    return score_result_files(truth, [results], Bootstrap(0), processes=usable_cores())[0].metrics["mAP"]


def _plain(truth: Path, results: Path) -> float:
    """Every pair of tracks of a video and category, frame by frame, then a loop over thresholds and areas."""
    content, found = json.loads(truth.read_text()), json.loads(results.read_text())
    groups: dict[tuple[int, int], tuple[list[Entry], list[Entry]]] = {}
    for side, entries in enumerate((content["annotations"], found)):
        for entry in entries:
            areas = [coco_mask.area(mask) for mask in entry["segmentations"] if mask]
            entry["area"] = float(np.mean(areas)) if areas else 0.0
            groups.setdefault((entry["category_id"], entry["video_id"]), ([], []))[side].append(entry)
    matches = {key: _plain_matches(*groups[key]) for key in sorted(groups)}
    categories = [category["id"] for category in content["categories"]]
    tables = category_tables([[m for (c, _), m in matches.items() if c == category] for category in categories])
    return float(averages(tables)["mAP"])


def _plain_matches(objects: Sequence[Entry], tracks: list[Entry]) -> Matches:
    tracks = sorted(tracks, key=lambda track: -track["score"])[: MAX_DETECTIONS[-1]]
    ious = [[_plain_iou(track["segmentations"], o["segmentations"]) for o in objects] for track in tracks]
    shape = (len(AREA_RANGES), len(IOU_THRESHOLDS), len(tracks))
    matched, ignored = np.zeros(shape, bool), np.zeros(shape, bool)
    positives = np.zeros(len(AREA_RANGES), int)
    for a, (low, high) in enumerate(AREA_RANGES.values()):
        outside = [not low <= o["area"] <= high for o in objects]
        order = sorted(range(len(objects)), key=lambda g: outside[g])
        positives[a] = outside.count(False)
        for t, threshold in enumerate(IOU_THRESHOLDS):
            taken: set[int] = set()
            for d, track in enumerate(tracks):
                best, choice = min(threshold, 1 - 1e-10), -1
                for g in order:
                    if g in taken:
                        continue
                    if choice >= 0 and not outside[choice] and outside[g]:
                        break
                    if ious[d][g] >= best:
                        best, choice = ious[d][g], g
                matched[a, t, d] = choice >= 0
                ignored[a, t, d] = outside[choice] if choice >= 0 else not low <= track["area"] <= high
                taken |= {choice} - {-1}
    return Matches(np.array([track["score"] for track in tracks]), matched, ignored, positives)


def _plain_iou(a: Sequence[Any], b: Sequence[Any]) -> float:
    shared = union = 0.0
    for first, second in zip(a, b, strict=True):
        if first and second:
            shared += coco_mask.area(coco_mask.merge([first, second], intersect=True))
            union += coco_mask.area(coco_mask.merge([first, second], intersect=False))
        elif first or second:
            union += coco_mask.area(first or second)
    return shared / union if union else 0.0


def measure(score: Callable[[Path, Path], float], truth: Path, results: Path) -> dict[str, float]:
    """mAP, wall and CPU seconds, and peak memory in MB, imports included; of this process and those it starts."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = score(truth, results)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    took["cpu"] += children.ru_utime + children.ru_stime
    workers = usable_cores() if children.ru_maxrss else 0
    # Not ru_maxrss: it begins with what the process held that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) + workers * children.ru_maxrss
    return {"mAP": value, "peak": peak / 1024} | took


if __name__ == "__main__":
    sides = {"ours": _ours, "plain": _plain}
    print(json.dumps(measure(sides[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3]))))
