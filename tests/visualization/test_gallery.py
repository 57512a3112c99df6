"""Sheets of example frames: captions, pictures, escaping, nothing to show."""

from __future__ import annotations

import numpy as np
import pytest

from wsvis_core.errors import WsvisError
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.storage.rle import encode_mask
from wsvis_core.visualization.gallery import gallery_html
from wsvis_core.visualization.inputs import LabelExample, LabelView
from wsvis_core.visualization.overlays import draw_labels

SIZE = (20, 30)
NAMES = ["fox", "crab"]


def mask(x0, x1):
    found = np.zeros(SIZE, bool)
    found[5:15, x0:x1] = True
    return found


def labels(*classes):
    none = EncodedInstances.empty(SIZE)
    if not classes:
        return none
    rles = tuple(encode_mask(mask(3 * n, 3 * n + 6)) for n in range(len(classes)))
    boxes = np.zeros((len(classes), 4), np.float32)
    return EncodedInstances(SIZE, rles, np.array(classes), np.ones(len(classes), np.float32), boxes)


def example(objects, views, title="clip, frame 3"):
    return LabelExample(title, np.full((*SIZE, 3), 90, np.uint8), objects, views)


def test_captions_give_the_iou_of_every_object_and_the_missed_ones():
    objects = [("fox", mask(0, 5)), ("crab", mask(8, 20))]
    views = {"irn": LabelView(labels(0), [0.62, 0.0]), "flowirn": LabelView(labels(0, 1), [0.1, 0.995])}
    html = gallery_html("Worst", [example(objects, views)], NAMES)
    for text in (">fox 62<", ">crab missed<", ">fox 10<", ">crab 100<", ">irn<", ">flowirn<", "clip, frame 3"):
        assert text in html
    assert html.count("<img") == 2 and "--views:2" in html
    assert 'alt="pseudo-labels of irn, clip, frame 3: fox 62, crab missed"' in html


def test_a_frame_without_objects_names_its_labels():
    views = {"irn": LabelView(labels(1, 5), []), "none": LabelView(labels(), [])}
    html = gallery_html("Alarms", [example([], views)], NAMES)
    assert ">crab<" in html and ">class 5<" in html and ">nothing<" in html


def test_many_objects_are_cut_with_their_number():
    objects = [("fox", mask(n, n + 2)) for n in range(9)]
    html = gallery_html("Worst", [example(objects, {"irn": LabelView(labels(), [0.0] * 9)})], NAMES)
    assert html.count("<li style") == 5 and "<li>+4</li>" in html


def test_names_are_escaped_and_nothing_says_so():
    one = example([("<fox>", mask(0, 5))], {'"a"': LabelView(labels(), [0.5])}, title="<clip>")
    html = gallery_html("<Worst>", [one], ["<fox>"])
    assert "&lt;Worst&gt;" in html and "&lt;clip&gt;" in html and "&lt;fox&gt; 50" in html and "&quot;a&quot;" in html
    assert "<fox>" not in html and "<clip>" not in html
    assert "no such frame" in gallery_html("Best", [], NAMES)


def test_a_frame_that_cannot_be_drawn_is_named():
    bad = LabelExample("clip, frame 3", np.zeros(SIZE), [], {"irn": LabelView(labels(), [])})
    with pytest.raises(WsvisError, match=r"example 'clip, frame 3': a frame of shape \(20, 30\)"):
        gallery_html("Worst", [bad], NAMES)


def test_labels_are_drawn_in_colour_and_objects_as_white_lines_on_top():
    frame = np.full((*SIZE, 3), 90, np.uint8)
    colour = np.array([[255, 0, 0]], np.uint8)
    drawn = draw_labels(frame, mask(4, 14)[None], colour, [mask(4, 22)])
    assert drawn[10, 4].tolist() == [255, 255, 255] and drawn[10, 21].tolist() == [255, 255, 255]
    assert drawn[10, 13].tolist() == [255, 0, 0] and drawn[10, 18].tolist() == [90, 90, 90]
    assert drawn[10, 9, 0] > drawn[10, 9, 1] and (frame == 90).all()
    assert draw_labels(frame, np.zeros((0, *SIZE), bool), colour[:0], []).shape == frame.shape
