"""The gallery as HTML and the clips as JSON: what a card says, links, what was left out, harmless names."""

from __future__ import annotations

import html
import json
import re

import numpy as np

from wsvis_core.visualization.clips import ClipFacts, TrackFacts, make_clip
from wsvis_core.visualization.inputs import FrameColumn, Gallery, TrackMask
from wsvis_core.visualization.videos_section import clip_data, left_out, video_link, videos_data, videos_section

EVIL = "</script><script>alert(1)</script>"
MASK = np.eye(8, 12, dtype=bool)


def clip(number: int = 7, name: str = "cat", frames: int = 2, **facts):
    track = TrackMask(1, "fox", 0.75, MASK)
    columns = [FrameColumn(t, np.zeros((8, 12, 3), np.uint8), tracks=[track]) for t in range(frames)]
    known = ClipFacts(number, name, f"note of {name}", **{"length": frames, "classes": [1], "quality": 0.5} | facts)
    return make_clip(known, columns, ["fox", "crab"], [TrackFacts(1, 0, 0.75, 0.125)], None, long_side=320)


def gallery(*clips, **known):
    return Gallery(clips, **{"held_out": len(clips), "candidates": len(clips), "quality_name": "mean IoU"} | known)


def test_a_card_links_to_its_video_and_holds_what_the_filters_ask_for():
    page = videos_section(gallery(clip()), ["fox", "crab"])
    card = re.search(r'<li class="clip"(.*?)>', page).group(1)
    facts = dict(re.findall(r' data-([a-z]+)="([^"]*)"', card))
    assert facts == {
        "video": "7",
        "name": "cat",
        "classes": "[0, 1]",
        "tracks": "[[0, 0.75]]",
        "quality": "0.5000",
        "trust": "0.1250",
    }
    assert 'href="#video=7"' in page and "mean IoU 50" in page and ">fox 75<" in page
    assert '<option value="1">crab</option>' in page and "least trusted first" in page


def test_a_video_without_tracks_or_quality_says_so():
    columns = [FrameColumn(0, np.zeros((8, 12, 3), np.uint8))]
    bare = make_clip(ClipFacts(2, "still", "", 1), columns, ["fox"], [], None, long_side=320)
    page = videos_section(gallery(bare, quality_name="mean score"), ["fox"])
    assert "no tracks" in page and 'data-quality=""' in page and 'data-trust=""' in page
    assert "mean score 0" not in page and "least trusted" not in page
    assert videos_section(Gallery(), ["fox"]) == '<p class="empty">No videos were selected for this report.</p>'
    assert videos_data(Gallery(), ["fox"]) == ""


def test_links_lead_to_videos_of_the_page_alone():
    link = video_link(gallery(clip(7)))
    assert link(7, 3, None) == "#video=7&frame=3" and link(7, 0, 2) == "#video=7&frame=0&track=2"
    assert link(8, 0, None) is None


def test_what_was_left_out_is_said_with_the_settings_that_did_it():
    assert left_out(gallery(clip())) == "On this page: 1 of 1 held-out videos."
    assert left_out(gallery(clip(), trained_on=True)) == "On this page: 1 of 1 videos."
    some = gallery(clip(), clip(8, length=90), held_out=390, candidates=49)
    assert left_out(some) == (
        "On this page: 2 of 390 held-out videos, spread evenly over the 49 whose layers were all made for it "
        "(report.videos, report.megabytes), longer ones at 2 of their frames (report.frames_per_video)."
    )


def test_names_from_outside_cannot_become_markup():
    some = gallery(clip(name=EVIL))
    page, data = videos_section(some, [EVIL, "crab"]), videos_data(some, [EVIL, "crab"])
    assert "<script>" not in page and html.escape(EVIL) in page
    blocks = re.findall(r'<script type="application/json" id="([^"]*)">(.*?)</script>', data, re.DOTALL)
    found = {name: json.loads(text) for name, text in blocks}
    assert list(found) == ["classes", "clip-7"] and found["classes"][0]["name"] == EVIL
    assert found["clip-7"]["name"] == EVIL and data.count("</script>") == 2


def test_a_class_that_the_data_set_lacks_has_a_name_and_a_colour():
    data = videos_data(gallery(clip()), [])
    classes = json.loads(re.search(r'id="classes">(.*?)</script>', data).group(1))
    assert [entry["name"] for entry in classes] == ["class 0", "class 1"]
    assert all(re.fullmatch("#[0-9a-f]{6}", entry["colour"]) for entry in classes)


def test_the_data_of_a_clip_are_plain_json():
    data = clip_data(clip())
    assert json.loads(json.dumps(data)) == data
    assert (data["width"], data["height"], data["frames"], data["flow"]) == (12, 8, [0, 1], None)
    assert data["tracks"][0] | {"masks": 0} == {
        "number": 1,
        "class": 0,
        "score": 0.75,
        "estimate": 0.125,
        "colour": data["tracks"][0]["colour"],
        "masks": 0,
    }
