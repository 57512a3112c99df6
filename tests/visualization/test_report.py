from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from wsvis_core.errors import WsvisError
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.visualization import FrameColumn, ReportInputs, TrackMask, VideoStrip, make_report
from wsvis_core.visualization.inputs import LabelExample, LabelQuality, LabelView, ResultTable
from wsvis_core.visualization.page import page_html
from wsvis_core.visualization.sections import by_quality, cost_table

VOID = {"meta", "link", "img", "input", "br"}


class Outline(HTMLParser):
    """Checks that tags close in order; collects headings, addresses and pictures without words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.addresses: list[str] = []
        self.wordless: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        self.ids += [values["id"]] if "id" in values else []
        if tag == "img" and not values.get("alt"):
            self.wordless.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    assert parser.open == []
    return parser


def strip(name: str, frames: int, seed: int) -> VideoStrip:
    generator = np.random.default_rng(seed)
    columns = []
    for index in range(frames):
        frame = generator.integers(0, 255, (12, 20, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        mask = np.zeros((96, 160), bool)
        mask[20:70, 30 + 5 * index : 90 + 5 * index] = True
        track = TrackMask(1, "fox", 0.8, mask)
        flow = generator.normal(size=(2, 48, 80)).astype(np.float32)
        columns.append(
            FrameColumn(index, frame, flow, np.full((1, 24, 40), 0.6), ["fox"], None, None, None, [track], [track])
        )
    return VideoStrip(name, columns, "160x96")


def example() -> LabelExample:
    frame, mask = np.zeros((12, 20, 3), np.uint8), np.eye(12, 20, dtype=bool)
    view = LabelView(EncodedInstances.empty((12, 20)), [0.0])
    return LabelExample("clip, frame 3", frame, [("fox", mask)], {"irn": view})


def inputs() -> ReportInputs:
    return ReportInputs(
        title="Masks & tracks: demo",
        class_names=["fox", "crab"],
        video_metrics={"mAP": 0.1, "AP50": 0.214},
        frame_metrics={"AP50": 0.3, "frames": 480},
        pseudo_labels={"irn": {"AP50": 0.15}, "flowirn": {"AP50": 0.2}},
        categories={"fox": {"AP50": 0.1}, "crab": {"AP50": 0.4}},
        label_quality={"irn": LabelQuality([1.0, 0.5], {"fox": [1.0, 0.5]}, [0, 2], [1, 0], [1, 3])},
        label_examples={"Worst frames of irn": [example()]},
        tables={"table4": ResultTable(("labeller", "AP50_mean"), (("irn", "0.2542"),))},
        scalars={
            "train_cam": [{"iteration": i, "loss": 1.0 / (i + 1), "loss_cls": 1.0} for i in range(20)],
            "train_flow": [],
        },
        strips=[strip("one", 2, 0), VideoStrip("none")],
        settings={"cam": {"scales": (0.5, 1.0), "backbone": "resnet18"}, "root": Path("data")},
        split_counts={"train": {"videos": 100, "frames": 1200}},
        stage_costs=[{"rule": "train_cam", "seconds": 73.0, "max_rss_mb": 1536.0}],
        facts={"commit": "1a2b3c"},
    )


def test_the_page_is_sound_html_without_anything_from_outside(tmp_path):
    output = tmp_path / "deep" / "report.html"
    make_report(inputs(), output)
    html = output.read_text(encoding="utf-8")
    seen = outline(html)
    assert seen.headings[0] == "h1" and seen.headings.count("h2") == 7
    assert seen.wordless == [] and len(set(seen.ids)) == len(seen.ids)
    assert all(address.startswith(("data:", "#")) for address in seen.addresses)
    assert all(address[1:] in seen.ids for address in seen.addresses if address.startswith("#"))
    assert "http" not in html and "<script" not in html and "@import" not in html
    assert "prefers-color-scheme:dark" in html and "<title>Masks &amp; tracks: demo</title>" in html
    assert list(output.parent.iterdir()) == [output]


def test_the_numbers_stand_in_the_page():
    html = page_html(inputs())
    for text in (
        "21.4",
        "30.0",
        "15.0",
        "20.0",
        "1 min 13 s",
        "1.5 GiB",
        "1\u202f200",
        "scales:",
        "1a2b3c",
        "loss_cls",
        "25.4",
        "Table 4",
        "clip, frame 3",
        "fox missed",
        "4 objects",
    ):
        assert text in html
    assert "No records of this stage." in html and "no frames of this video" in html
    assert page_html(inputs()) == html


def test_an_empty_run_says_what_is_missing():
    html = page_html(ReportInputs("nothing yet"))
    outline(html)
    assert html.count("not evaluated") == 3
    for words in (
        "No video or frame metrics",
        "No pseudo-label metrics",
        "No per-category metrics",
        "No training records",
        "No transfers were recorded",
        "No videos were selected",
        "No tables were made",
        "No counts of the data set",
        "No benchmark files",
        "No settings",
    ):
        assert words in html


def test_six_videos_of_five_frames_stay_below_three_megabytes():
    many = ReportInputs("size", ["fox"], strips=[strip(str(i), 5, i) for i in range(6)])
    # Blocks of random colour are harder for JPEG than real frames are; two of six layers are missing here.
    assert len(page_html(many).encode()) < 3e6 * 4 / 6


def test_only_layers_that_exist_have_a_switch():
    html = page_html(inputs())
    assert 'id="layer-flow"' in html and 'id="layer-prediction"' not in html


def test_categories_come_best_first_and_unknown_ones_last():
    rows = {"a": {"AP50": float("nan")}, "b": {"AP50": 0.1}, "c": {"AP50": 0.9}, "d": {}, "e": {"AP50": -1.0}}
    assert list(by_quality(rows)) == ["c", "b", "a", "d", "e"]


def test_costs_have_totals_repeated_rules_stay_apart_and_unknown_figures_are_dashes():
    costs = [
        {"rule": "train", "seconds": 30.0, "max_rss_mb": 512.0},
        {"rule": "train", "seconds": 40.0, "max_rss_mb": None},
        {"rule": "odd", "seconds": None},
    ]
    html = cost_table(costs)
    assert "train (2)" in html and "1 min 10 s" in html and html.count("512 MiB") == 2 and html.count("–") == 3


def test_a_bad_picture_leaves_no_file(tmp_path):
    bad = ReportInputs("bad", strips=[VideoStrip("cat", [FrameColumn(3, np.zeros((4, 4)))])])
    with pytest.raises(WsvisError, match="video 'cat', frame 3"):
        make_report(bad, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
