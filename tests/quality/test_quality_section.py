"""The report's part on trust: order, links, groups, what is not known, and the reliability plot."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from wsvis_core.quality.evaluate import quality_metrics
from wsvis_core.visualization.quality_section import MOST_ROWS, quality_section


def track(number: int, estimate: float, **other) -> dict:
    row = {"video_id": 7, "video": "a <clip>", "track": number, "category_id": 1, "class": "cow & calf"}
    row |= {"estimate": estimate, "score": 0.5, "labels": 0.25, "stability": 0.875, "agreement": None}
    return row | {"first_frame": 2, "last_frame": 9, "frames": 6, "weakest_frame": 4} | other


def quality(*tracks: dict, **other) -> dict:
    return {"format": 3, "notes": [], "tracks": list(tracks), "not_found": []} | other


def missing(video: str, category: str, *labelled: list[int]) -> dict:
    return {"video_id": 8, "video": video, "category_id": 2, "class": category, "labelled": list(labelled)}


def link(video: int, frame: int, track: int | None) -> str | None:
    return f"#video={video}&frame={frame}&track={track}"


def nowhere(video: int, frame: int, track: int | None) -> str | None:
    return None


class _Text(HTMLParser):
    """The cells of every table, and the links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self._cell = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._cell = self._cell or tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_endtag(self, tag):
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._cell:
            self.rows[-1][-1] += data


def test_tracks_are_worst_first_with_links_to_the_player():
    page = _Text(quality_section(quality(track(1, 0.7), track(2, 0.31), track(3, 0.02), track(4, 0.9)), link))
    rows = [row for row in page.rows if row and row[0].isdigit()]
    assert [row[1] for row in rows] == [f"a <clip>, track {n}" for n in (3, 2, 1, 4)]
    assert rows[0][2:] == ["2", "cow & calf", "50", "25", "88", "–", "2 to 9 (6)", "4"]
    assert page.links == [f"#video=7&frame=4&track={n}" for n in (3, 3, 2, 2, 1, 1, 4, 4)]


def test_classes_without_a_track_stand_before_the_tracks_with_a_link_to_their_first_frame():
    lost = [missing("<yard>", "dog", [0, 11]), missing("<yard>", "cow & calf", [3, 3], [7, 9])]
    page = quality_section(quality(track(1, 0.3), not_found=lost), link)
    assert page.index("Labelled, not found: no track has the class (2)") < page.index("From 5 to 80")
    rows = [row for row in _Text(page).rows if row and row[0].isdigit()]
    assert rows[:2] == [["1", "<yard>", "dog", "frames 0 to 11"], ["2", "<yard>", "cow & calf", "frames 3, 7 to 9"]]
    assert _Text(page).links[:2] == ["#video=8&frame=0&track=None", "#video=8&frame=3&track=None"]
    without = quality_section(quality(not_found=lost), nowhere)
    assert "No tracks" in without and "(2)" in without and _Text(without).links == []
    assert "Labelled, not found" not in quality_section(quality(track(1, 0.3)), link)


def test_only_what_needs_a_look_is_unfolded():
    page = quality_section(quality(track(1, 0.0), track(2, 0.0499), track(3, 0.05), track(4, 0.8), track(5, 1.0)), link)
    groups = re.findall(r"<details( open)?><summary>(.*?)</summary>", page)
    assert groups == [
        ("", "Below 5: almost surely wrong (2)"),
        (" open", "From 5 to 80: look at these (1)"),
        ("", "80 and more: most likely right (2)"),
    ]


def test_a_video_that_is_not_in_the_page_has_no_links():
    page = _Text(quality_section(quality(track(1, 0.5)), nowhere))
    assert page.links == [] and page.rows[-1][1] == "a <clip>, track 1"


def test_a_track_without_a_weakest_frame_is_shown_from_its_first():
    page = _Text(quality_section(quality(track(1, 0.5, weakest_frame=None, stability=None)), link))
    assert page.links == ["#video=7&frame=2&track=1"] and page.rows[-1][-1] == "–" and page.rows[-1][6] == "–"


def test_long_lists_are_cut_and_say_so():
    many = [track(n, 0.5) for n in range(1, MOST_ROWS + 31)]
    page = quality_section(quality(*many), link)
    assert "… and 30 more" in page and page.count("<tr>") == MOST_ROWS + 1


def test_no_tracks_and_notes():
    assert (
        quality_section(quality(), link) == '<p class="empty">No tracks, so there is nothing to trust or to doubt.</p>'
    )
    assert "agreement is &lt;not&gt; known" in quality_section(
        quality(track(1, 0.5), notes=["agreement is <not> known"]), link
    )


@pytest.mark.parametrize("evaluation", [None, {"not_evaluated": "labels only"}])
def test_without_ground_truth_there_is_no_reliability(evaluation):
    page = quality_section(quality(track(1, 0.5), evaluation=evaluation), link)
    assert "there is no ground truth here" in page and page.count("<svg") == 1 and "AUC" not in page


def test_with_ground_truth_the_plot_says_what_the_bins_say():
    tracks = [track(n, estimate) for n, estimate in enumerate((0.12, 0.18, 0.62, 0.64, 0.66, 1.0), 1)]
    right = np.array([0, 0, 1, 1, 0, 1], bool)
    page = quality_section(quality(*tracks, evaluation=quality_metrics(tracks, right)), link)
    said = ("of 2 tracks said 15 %, 0 %", "of 3 tracks said 64 %, 67 %", "of 1 tracks said 100 %, 100 %")
    assert f"right tracks over estimate: {'; '.join(f'{words} are right' for words in said)}" in page
    cells = {row[0]: row[1] for row in _Text(page).rows if len(row) == 2}
    assert cells["tracks"] == "6" and cells["of them right"] == "3"
    assert cells["estimate"] == "77.8" and cells["score"] == "50.0" and cells["agreement"] == "–"
    assert "track over estimate" not in page and page.count("<svg") == 2


def test_one_class_of_tracks_only_has_no_auc():
    tracks = [track(1, 0.5)]
    page = quality_section(quality(*tracks, evaluation=quality_metrics(tracks, np.ones(1, bool))), link)
    assert {row[0]: row[1] for row in _Text(page).rows if len(row) == 2}["estimate"] == "–"


def test_the_same_input_gives_the_same_text_and_names_are_escaped():
    content = quality(track(1, 0.5, video='"><script>'))
    assert quality_section(content, link) == quality_section(content, link)
    assert "<script>" not in quality_section(content, link)
