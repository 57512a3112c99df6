"""Hand-made and random scenes, and MaskConsist written slowly: sets of pixels, exact fractions, plain loops."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch

from wsvis_core.instances import InstanceSet
from wsvis_core.mask_ops import boxes_from_masks

HEIGHT, WIDTH = 20, 40


def make_rectangles(boxes, classes=None, scores=None, size=(HEIGHT, WIDTH)):
    """InstanceSet whose masks are the filled `[x0, y0, x1, y1)` rectangles."""
    masks = torch.zeros((len(boxes), *size), dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    classes = torch.tensor(classes if classes is not None else [0] * len(boxes), dtype=torch.int64)
    scores = torch.tensor(scores if scores is not None else [1.0] * len(boxes), dtype=torch.float32)
    return InstanceSet.from_masks(masks, classes, scores)


def make_translation(dx, dy=0.0, size=(HEIGHT, WIDTH)):
    """Constant flow (2,H,W)."""
    return torch.tensor([float(dx), float(dy)]).view(2, 1, 1).expand(2, *size).clone()


@pytest.fixture(scope="session")
def rectangles():
    return make_rectangles


@pytest.fixture(scope="session")
def translation():
    return make_translation


@pytest.fixture
def boxes_of():
    """The boxes of a set as a sorted list of integer lists."""
    return lambda instances: sorted(instances.boxes_xyxy.int().tolist())


@pytest.fixture
def golden(rectangles, translation):
    """Appendix B.4: the object moves +5 px in x from t to s; only t has a stage-1 label."""
    return {
        "predictions_t": rectangles([[0, 0, 10, 6], [0, 4, 10, 10]]),
        "labels_t": rectangles([[0, 0, 10, 10]]),
        "predictions_s": rectangles([[5, 0, 15, 10]]),
        "labels_s": rectangles([]),
        "flow_st": translation(-5),
        "flow_ts": translation(5),
    }


# --- Random scenes -------------------------------------------------------------------------------------------------

SCENE = (20, 28)
MARGIN = 5


@pytest.fixture(scope="session")
def random_scene():
    """seed → arguments of `transfer_labels`: objects that move, ragged fragments, missing labels, imperfect flow.

    Nothing comes nearer than 5 px to the border. Flow is a multiple of ⅛ px, so that bilinear weights are exact
    and ties at 0.5 do occur.
    """
    return make_scene


def make_scene(seed):
    generator = torch.Generator().manual_seed(seed)
    draw = _Draw(generator)
    objects = [_draw_box(draw) for _ in range(draw.integer(1, 2))]
    classes = [draw.integer(0, 1) for _ in objects]
    motion = (draw.integer(-2, 2), draw.integer(-2, 2))
    scene = {}
    for name, (dx, dy) in {"t": (0, 0), "s": motion}.items():
        boxes = [(x0 + dx, y0 + dy, x1 + dx, y1 + dy) for x0, y0, x1, y1 in objects]
        labelled = [i for i in range(len(boxes)) if draw.integer(0, 3)]
        found = [i for i in range(len(boxes)) for _ in range(draw.integer(0, 3))]
        scene[f"labels_{name}"] = _ragged(draw, [boxes[i] for i in labelled], [classes[i] for i in labelled], 0)
        predicted = [classes[i] if draw.integer(0, 5) else 1 - classes[i] for i in found]
        scene[f"predictions_{name}"] = _ragged(draw, [boxes[i] for i in found], predicted, 0.25)
    for name, sign in {"flow_st": -1, "flow_ts": 1}.items():
        blocks = torch.randint(-6, 7, (2, 5, 7), generator=generator) / 8
        noise = blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)
        scene[name] = noise + sign * torch.tensor(motion).view(2, 1, 1)
    return scene


class _Draw:
    def __init__(self, generator):
        self.generator = generator

    def integer(self, low, high):
        return int(torch.randint(low, high + 1, (1,), generator=self.generator))


def _draw_box(draw):
    width, height = draw.integer(4, 8), draw.integer(3, 5)
    x = draw.integer(MARGIN + 3, SCENE[1] - MARGIN - 3 - width)
    y = draw.integer(MARGIN + 2, SCENE[0] - MARGIN - 2 - height)
    return x, y, x + width, y + height


def _ragged(draw, boxes, classes, box_noise):
    """Rectangles with moved sides and holes; boxes off by `box_noise` pixels, as a detector's are."""
    masks = torch.zeros((len(boxes), *SCENE), dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        window = mask[y0 + draw.integer(-1, 1) : y1 + draw.integer(-1, 1), x0 + draw.integer(-1, 2) : x1]
        window[:] = torch.rand(window.shape, generator=draw.generator) < 0.85
    noise = box_noise * torch.randint(-2, 3, (len(boxes), 4), generator=draw.generator)
    scores = torch.rand(len(boxes), generator=draw.generator)
    return InstanceSet(masks, boxes_from_masks(masks) + noise, torch.tensor(classes, dtype=torch.int64), scores)


# --- The slow reference --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thing:
    """One instance: its pixels as (y, x), its box, class and score."""

    pixels: frozenset[tuple[int, int]]
    box: tuple[float, ...]
    label: int
    score: float


def things_of(instances):
    columns = zip(instances.masks, instances.boxes_xyxy, instances.classes, instances.scores, strict=True)
    return [Thing(pixels_of(mask), tuple(box.tolist()), int(c), float(s)) for mask, box, c, s in columns]


def pixels_of(mask):
    return frozenset(map(tuple, mask.nonzero().tolist()))


def made_of(pixels, label, score):
    ys, xs = [y for y, _ in pixels], [x for _, x in pixels]
    return Thing(frozenset(pixels), (min(xs), min(ys), max(xs) + 1, max(ys) + 1), label, score)


def decimal(value):
    """A setting as it is written: 0.3 is three tenths."""
    return Fraction(str(value))


def ratio(part, whole):
    return Fraction(part) / Fraction(whole) if whole else Fraction(0)


def slow_mask_iou(a, b):
    return ratio(len(a & b), len(a | b))


def slow_iom(a, b):
    return ratio(len(a & b), min(len(a), len(b)))


def slow_box_iou(a, b):
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = [[Fraction(v) for v in box] for box in (a, b)]
    shared = max(min(ax1, bx1) - max(ax0, bx0), 0) * max(min(ay1, by1) - max(ay0, by0), 0)
    area = max(ax1 - ax0, 0) * max(ay1 - ay0, 0) + max(bx1 - bx0, 0) * max(by1 - by0, 0)
    return ratio(shared, area - shared)


def agree(a, b, threshold):
    return a.label == b.label and slow_box_iou(a.box, b.box) > decimal(threshold)


def slow_expand(predictions, labels, threshold=0.5):
    """§3.2."""
    parts = [p for p in predictions if p.pixels]
    added = []
    for g in labels:
        fitting = [p for p in parts if agree(p, g, threshold)]
        if len(fitting) >= 2:
            pixels = {pixel for p in fitting for pixel in p.pixels}
            added.append(made_of(pixels, g.label, max(p.score for p in fitting)))
    return parts + added


def slow_warp(pixels, flow):
    """§3.3.1: bilinear reading at p + flow(p), zero outside, ≥ ½."""
    height, width = flow.shape[-2:]
    u, v = flow.tolist()
    found = set()
    for y, x in itertools.product(range(height), range(width)):
        sx, sy = x + u[y][x], y + v[y][x]
        value = 0.0
        for ny, nx in itertools.product((math.floor(sy), math.floor(sy) + 1), (math.floor(sx), math.floor(sx) + 1)):
            value += ((ny, nx) in pixels) * (1 - abs(sy - ny)) * (1 - abs(sx - nx))
        if value >= 0.5:
            found.add((y, x))
    return frozenset(found)


def all_best_assignments(edges, rows, columns):
    """(largest total, every one-to-one assignment that reaches it), by trying all of them class by class.

    edges[i][j] numbers, rows and columns classes. Pairs without an edge are left out.
    """
    total, best = 0, [()]
    for label in sorted(set(rows) & set(columns)):
        mine = [i for i, c in enumerate(rows) if c == label]
        theirs = [j for j, c in enumerate(columns) if c == label]
        weights = {
            chosen: sum(edges[i][j] for i, j in chosen)
            for chosen in one_to_one(mine, theirs)
            if all(edges[i][j] > 0 for i, j in chosen)
        }
        top = max(weights.values())
        total += top
        best = [a + b for a in best for b, weight in weights.items() if weight == top]
    return total, [tuple(sorted(pairs)) for pairs in best]


def one_to_one(mine, theirs):
    """Every way to pair some of `mine` with different ones of `theirs`."""
    if not mine:
        yield ()
        return
    first, *rest = mine
    yield from one_to_one(rest, theirs)
    for j in theirs:
        for others in one_to_one(rest, [k for k in theirs if k != j]):
            yield ((first, j), *others)


def slow_match(source, target, flow, min_edge=0.0):
    """§3.3: (warped source pixels, edges, every optimal set of kept pairs)."""
    warped = [slow_warp(thing.pixels, flow) for thing in source]
    edges = [[slow_mask_iou(w, b.pixels) if a.label == b.label else Fraction(0) for b in target]
             for w, a in zip(warped, source, strict=True)]  # fmt: skip
    _, best = all_best_assignments(edges, [a.label for a in source], [b.label for b in target])
    kept = {tuple((i, j) for i, j in pairs if edges[i][j] > decimal(min_edge)) for pairs in best}
    return warped, edges, sorted(kept)


MERGE = {
    "union": lambda warped, predicted: warped | predicted,
    "prediction": lambda warped, predicted: predicted,
    "warped": lambda warped, predicted: warped,
    "intersection": lambda warped, predicted: warped & predicted,
}


def slow_gate(thing, labels, threshold):
    """Area of the agreeing label of highest box IoU (the first of several); None without one."""
    fitting = [g for g in labels if agree(thing, g, threshold)]
    return len(max(fitting, key=lambda g: slow_box_iou(thing.box, g.box)).pixels) if fitting else None


def slow_assign(source, source_labels, target, pairs, warped, gate=0.5, merge_rule="union"):
    """Algorithm 1: [(label, area of its gate)]."""
    made = []
    for i, j in pairs:
        area = slow_gate(source[i], source_labels, gate)
        pixels = MERGE[merge_rule](warped[i], target[j].pixels)
        if area is not None and pixels:
            made.append((made_of(pixels, source[i].label, max(source[i].score, target[j].score)), area))
    return made


def slow_filter(made, labels, options):
    """The brakes of docs/method.md §3.5, one question for each label."""
    kept = []
    for thing, gate_area in made:
        rivals = [g for g in labels if slow_iom(thing.pixels, g.pixels) > decimal(options.iom_threshold)]
        same = [g for g in rivals if g.label == thing.label]
        if options.growth_cap is not None and len(thing.pixels) > decimal(options.growth_cap) * gate_area:
            continue
        tight = made_of(thing.pixels, thing.label, thing.score)
        if options.require_agreement and same and not any(agree(tight, g, options.gate_box_iou) for g in same):
            continue
        if options.fill_only and (same if options.class_aware_iom else rivals):
            continue
        kept.append(thing)
    return kept


def slow_combine(labels, transferred, options):
    """§3.5: indices into labels + transferred that stay, by two loops."""
    things = [*labels, *transferred]
    present = [i for i, thing in enumerate(things) if thing.pixels]
    if not options.iom_nms:
        return present

    def order(i):
        late = options.label_priority == "labels_first" and i >= len(labels)
        return late, -len(things[i].pixels), i

    kept = []
    for i in sorted(present, key=order):
        for k in kept:
            rival = not options.class_aware_iom or things[i].label == things[k].label
            if rival and slow_iom(things[i].pixels, things[k].pixels) > decimal(options.iom_threshold):
                break
        else:
            kept.append(i)
    return sorted(kept)


def slow_transfer(scene, options):
    """§3.2-3.6: targets, |Q| and |M| of both frames, and whether the best matching is unique in both directions."""
    pairs_of = {"t": ("s", scene["flow_ts"]), "s": ("t", scene["flow_st"])}
    labels = {name: things_of(scene[f"labels_{name}"]) for name in pairs_of}
    found = {}
    for name in pairs_of:
        sure = [p for p in things_of(scene[f"predictions_{name}"]) if p.score >= options.min_candidate_score]
        expand = slow_expand(sure, labels[name], options.intra_box_iou)
        found[name] = expand if options.intra_frame else [p for p in sure if p.pixels]
    matches = {name: slow_match(found[other], found[name], flow, options.min_edge)
               for name, (other, flow) in pairs_of.items()}  # fmt: skip
    if options.shared_matching:
        shared = [tuple(sorted((j, i) for i, j in pairs)) for pairs in matches["s"][2]]
        matches["t"] = (*matches["t"][:2], shared)
    targets, areas, counts = {}, [], {"transferred": 0, "matches": 0}
    for name, (other, _) in pairs_of.items():
        warped, _, best = matches[name]
        if options.inter_frame:
            made = slow_assign(found[other], labels[other], found[name], best[0], warped,
                               options.gate_box_iou, options.merge_rule)  # fmt: skip
            counts["matches"] += len(best[0])
        elif options.intra_frame:
            gates = [(p, slow_gate(p, labels[name], options.gate_box_iou)) for p in found[name]]
            made = [(p, area) for p, area in gates if area is not None]
        else:
            made = []
        counts["transferred"] += len(made)
        both = [*labels[name], *(kept := slow_filter(made, labels[name], options))]
        areas.append([len(thing.pixels) for thing in both])
        targets[name] = [both[i] for i in slow_combine(labels[name], kept, options)]
    unique = all(len(match[2]) == 1 for match in matches.values())
    return SimpleNamespace(t=targets["t"], s=targets["s"], unique=unique, areas=areas, **counts)


@pytest.fixture(scope="session")
def slow():
    """The slow reference, by name."""
    return SimpleNamespace(
        things=things_of,
        expand=slow_expand,
        warp=slow_warp,
        match=slow_match,
        best_assignments=all_best_assignments,
        assign=slow_assign,
        filter=slow_filter,
        combine=slow_combine,
        transfer=slow_transfer,
        decimal=decimal,
    )
