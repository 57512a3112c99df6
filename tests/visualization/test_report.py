from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from wsvis_core.errors import WsvisError
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.visualization import FrameColumn, ReportInputs, TrackMask, make_report
from wsvis_core.visualization.clips import ClipFacts, TrackFacts, make_clip
from wsvis_core.visualization.inputs import Gallery, LabelExample, LabelQuality, LabelView, ResultTable
from wsvis_core.visualization.page import page_html
from wsvis_core.visualization.sections import by_quality, cost_table, headline

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
        # An empty text is right for a picture inside a link that has words.
        if tag == "img" and "alt" not in values:
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


def clip(name: str, frames: int, number: int):
    generator = np.random.default_rng(number)
    columns = []
    for index in range(frames):
        frame = generator.integers(0, 255, (12, 20, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        mask = np.zeros((96, 160), bool)
        mask[20:70, 30 + 5 * index : 90 + 5 * index] = True
        track = TrackMask(1, "fox", 0.8, mask)
        flow = generator.normal(size=(2, 48, 80)).astype(np.float32)
        cam = np.full((1, 24, 40), 0.6)
        columns.append(FrameColumn(index, frame, flow, cam, ["fox"], None, None, None, [track], [track]))
    facts, tracks, truth = ClipFacts(number, name, "160x96", frames), [TrackFacts(1, 0, 0.8)], [TrackFacts(1, 0, None)]
    return make_clip(facts, columns, ["fox", "crab"], tracks, truth, long_side=320)


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
        gallery=Gallery([clip("one", 2, 7)], held_out=1, candidates=1),
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
    assert seen.headings[0] == "h1" and seen.headings.count("h2") == 7 + 1  # the player's
    assert seen.wordless == [] and len(set(seen.ids)) == len(seen.ids)
    assert all(address.startswith(("data:", "#")) for address in seen.addresses)
    sections = [address[1:] for address in seen.addresses if re.fullmatch(r"#[a-z-]+", address)]
    assert {*sections} <= {*seen.ids} and "main" in sections and "videos" in sections
    assert "http://" not in html and "https://" not in html and "@import" not in html
    assert re.search(r"url\((?!#)", html) is None  # parts of a drawing refer to each other
    assert "light-dark(" in html and "<title>Masks &amp; tracks: demo</title>" in html
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
    assert "No records of this stage." in html and "On this page: 1 of 1 held-out videos." in html
    assert page_html(inputs()) == html


def test_an_empty_run_says_what_is_missing():
    html = page_html(ReportInputs("nothing yet"))
    outline(html)
    for words in (
        "Nothing was evaluated",
        "No video or frame metrics",
        "No training records",
        "No transfers were recorded",
        "No videos were selected",
        "No counts of the data set",
        "No benchmark files",
        "No settings",
    ):
        assert words in html
    for key in ("tables", "pseudo-labels", "trust"):
        assert f'<section id="{key}"' not in html and f'href="#{key}"' not in html


def test_only_what_was_evaluated_has_a_card_and_videos_without_masks_show_counts():
    html = headline(inputs())
    assert html.count('class="card"') == 5 and "Temporal consistency" not in html and "Tracks" not in html
    own = replace(inputs(), video_metrics={}, frame_metrics={"TC": 0.5}, pseudo_labels={})
    html = headline(own)
    assert re.findall('class="name">(.*?)</p>', html) == ["Temporal consistency", "Tracks", "Videos"] and "50.0" in html


def test_estimates_of_quality_have_a_section_of_their_own():
    html = page_html(replace(inputs(), quality={"format": 3, "notes": [], "tracks": [], "not_found": []}))
    assert '<section id="trust"' in html and 'href="#trust"' in html and "nothing to trust" in html
    assert "#trust" not in outline(page_html(inputs())).addresses


def test_only_the_page_s_own_scripts_may_run():
    html = page_html(inputs())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1)
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert len(digests) == 2 and re.findall("sha256-([^&]*)&#x27;", policy) == digests
    assert policy.startswith("default-src &#x27;none&#x27;; img-src data:;") and "unsafe-eval" not in policy
    assert re.search(r"\son\w+=", re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)) is None


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


def test_a_report_that_cannot_be_made_leaves_no_file(tmp_path):
    bad = LabelExample("cat, frame 3", np.zeros((4, 4)), [], {})
    with pytest.raises(WsvisError, match="example 'cat, frame 3'"):
        make_report(ReportInputs("bad", label_examples={"worst": [bad]}), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
