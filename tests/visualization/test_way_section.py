from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from wsvis_core.visualization.inputs import ReportInputs
from wsvis_core.visualization.markup import jpeg
from wsvis_core.visualization.page import page_html
from wsvis_core.visualization.way import LAST, ClassWay, VideoWay, Way, WayMoment
from wsvis_core.visualization.way_section import HINTS, MOST_ROWS, NO_CLASS, way_section

EVIL = "<b>cow & co</b>"
GOOD = ClassWay("dog", 10, 10, 10, 10, cover=0.2, steadiness=0.8, agreement=0.7, track=1, estimate=0.9)
LOST = ClassWay(EVIL, 10, 2, 0, 0)
EVIDENCE = {"labels": 0.5, "stability": 0.8, "agreement": 0.5, "cover": 0.5, "worth": 0.1}
CHOICE = {
    "published": "direct",
    "worth": {"maskconsist": 0.1, "direct": 0.4},
    "reason": f"tracks of direct are published: {EVIL}",
    "evidence": {"maskconsist": [EVIDENCE, {**EVIDENCE, "labels": 0.7}], "direct": []},
}


def link(video: int, frame: int, track: int | None) -> str | None:
    return f"#video={video}&frame={frame}" if video == 7 else None


def moment(frame: int, *, drawn: bool = True) -> WayMoment:
    picture = jpeg(np.full((12, 20, 3), 90, np.uint8))
    return WayMoment(frame, "dog: no label", (12, 20), {"CAM": picture, "Tracks": picture} if drawn else {})


def way() -> Way:
    videos = [
        VideoWay(7, "meadow", [LOST, GOOD], [moment(3), moment(5)]),
        VideoWay(8, "yard", [GOOD], [moment(2, drawn=False)]),
        VideoWay(9, "empty"),
    ]
    return Way(videos, 5, CHOICE)


def words(html: str) -> list[str]:
    """The texts between the tags."""
    return [text for text in re.split("<[^>]*>", html) if text.strip()]


def test_published_route_videos_without_label_and_verdicts_are_said():
    html = way_section(way(), link)
    texts = " ".join(words(html))
    assert "Tracks of direct are published" in texts and "direct (published)" in texts
    assert "Videos without a usable label: meadow (&lt;b&gt;cow &amp; co&lt;/b&gt;)." in texts
    assert "no usable label" in texts and "looks steady" in texts and NO_CLASS in texts
    assert "2 of 10" in texts and "Looked at: 3 of 5 videos" in texts and EVIL not in html


def test_a_route_has_the_means_of_its_parts():
    row = re.search("<tr><th[^>]*>maskconsist</th>(.*?)</tr>", way_section(way(), link)).group(1)
    assert words(row) == ["10", "60", "80", "50", "50"]


def test_pictures_and_links_are_there_where_they_can_be():
    html = way_section(way(), link)
    assert html.count("<img") == 4 and html.count("<article") == 1 and 'id="way-7"' in html
    assert 'href="#way-7"' in html and 'href="#way-8"' not in html
    assert html.count('href="#video=7&amp;frame=3"') == 3 and "#video=8" not in html
    assert 'alt="CAM of meadow, frame 3"' in html


def test_without_a_choice_and_without_videos():
    assert "are published" not in way_section(replace(way(), choice=None), link)
    html = way_section(Way(), link)
    assert "No videos were looked at" in html and "<table" not in html
    steady = Way([VideoWay(1, "a", [GOOD])], 1)
    assert "usable label: none." in way_section(steady, link) and "Looked at" not in way_section(steady, link)


def test_a_long_list_is_cut():
    many = Way([VideoWay(n, f"v{n}", [GOOD]) for n in range(MOST_ROWS + 2)], MOST_ROWS + 2)
    assert "… and 2 more" in way_section(many, link)
    lost = replace(many, videos=[replace(video, classes=[LOST]) for video in many.videos])
    assert f"v{MOST_ROWS - 1} and 2 more." in way_section(lost, link)


def test_every_verdict_has_a_hint():
    assert set(HINTS) == {replace(GOOD, **change).verdict for change in CHANGES}
    assert VideoWay(1, "a").rank == LAST


CHANGES = (
    {},
    {"with_label": 0},
    {"cover": 0.9},
    {"steadiness": 0.0},
    {"agreement": 0.0},
    {"track": None},
    {"with_track": 1},
    {"estimate": 0.0},
)


def test_the_section_and_its_style_are_on_the_page_only_where_there_is_a_way():
    html, without = page_html(ReportInputs("a", way=way())), page_html(ReportInputs("a"))
    assert '<section id="way"' in html and 'href="#way"' in html and ".lost" in html
    assert html.index('id="videos"') < html.index('id="way"') < html.index('id="metrics"')
    assert 'id="way"' not in without and ".lost" not in without and "#way" not in without
