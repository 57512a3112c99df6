"""The report's part on trust: every track's estimated quality, worst first, and how true the estimates are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from wsvis_core.evaluation.infer import NOT_EVALUATED
from wsvis_core.quality.files import frames_in_words, worst_first
from wsvis_core.quality.parts import PARTS
from wsvis_core.quality.reliability import BINS
from wsvis_core.visualization.drawing import (
    INK,
    SERIES,
    Chart,
    Series,
    bare,
    css_colour,
    drawing_style,
    new_figure,
    to_svg,
)
from wsvis_core.visualization.markup import MISSING, bar, escape, number, table
from wsvis_core.visualization.sections import empty, figure_html

Link = Callable[[int, int, int | None], str | None]
Tracks = Sequence[Mapping[str, Any]]
# Title, least estimate, unfolded. On `bench` no track of the first group was right, and all of the last were.
GROUPS = (
    ("Below 5: almost surely wrong", 0.0, False),
    ("From 5 to 80: look at these", 0.05, True),
    ("80 and more: most likely right", 0.8, False),
)
MOST_ROWS = 100
MISSING_HEAD = ("video", "class", "labelled")
HEAD = ("track", "estimate", "class", *PARTS, "frames", "weakest frame")


def quality_section(quality: Mapping[str, Any], link: Link) -> str:
    """The figures, the classes that were labelled and not found, then the tracks in groups, worst first.

    quality: a quality.json; under `evaluation` the quality_metrics.json beside it, where there is one.
    link: the page's address for (video id, frame from 0, track from 1), None where the page does not have the video.
    """
    tracks, missing = worst_first(quality), _not_found(quality["not_found"], link)
    if not tracks:
        return empty("No tracks, so there is nothing to trust or to doubt.") + missing
    evaluation = quality.get("evaluation") or {NOT_EVALUATED: ""}
    known = NOT_EVALUATED not in evaluation
    charts = [histogram(tracks)] + ([reliability_chart(evaluation)] if known else [])
    figures = "".join(figure_html(chart) for chart in charts)
    numbers = f'<div class="stage tables">{_figures(evaluation)}</div>' if known else ""
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in (_what(tracks, known), *quality["notes"]))
    figures = f'<div class="stage">{notes}</div><div class="stage charts">{figures}</div>'
    return f"{figures}{numbers}{missing}{_groups(tracks, link)}"


def _what(tracks: Tracks, known: bool) -> str:
    held = "held against ground truth below" if known else "there is no ground truth here to hold it against"
    return (
        "Estimated probability, in percent, that a track is right: IoU of at least 0.5 with a true track of its class; "
        f"{held}. All {number(len(tracks))} tracks are in the _quality.csv beside this page; docs/quality.md says what "
        "the parts mean."
    )


def _not_found(missing: Tracks, link: Link) -> str:
    """A class and video per row, its frames with a link to the first of them; nothing where all have a track."""
    rows = {
        str(n): [
            escape(row["video"]),
            escape(row["class"]),
            _anchor(frames_in_words(row["labelled"]), link(row["video_id"], row["labelled"][0][0], None)),
        ]
        for n, row in enumerate(missing[:MOST_ROWS], 1)
    }
    title = "Labelled, not found: no track has the class"
    return _folded(title, table("by video", MISSING_HEAD, rows, head_of_rows="no.", kind="metrics"), len(missing))


def _groups(tracks: Tracks, link: Link) -> str:
    bounds = [low for _, low, _ in GROUPS[1:]] + [float("inf")]
    parts = []
    for (title, low, unfolded), high in zip(GROUPS, bounds, strict=True):
        own = [track for track in tracks if low <= track["estimate"] < high]
        rows = {str(n): _cells(track, link) for n, track in enumerate(own[:MOST_ROWS], 1)}
        shown = table("worst first", HEAD, rows, head_of_rows="no.", kind="metrics quality")
        parts.append(_folded(title, shown, len(own), unfolded=unfolded))
    return "".join(parts)


def _folded(title: str, shown: str, count: int, *, unfolded: bool = True) -> str:
    """A table of the first MOST_ROWS of `count` rows, under its title; nothing without rows."""
    if not count:
        return ""
    more = f'<p class="note">… and {number(count - MOST_ROWS)} more</p>' if count > MOST_ROWS else ""
    mark = " open" if unfolded else ""
    return f"<details{mark}><summary>{escape(title)} ({number(count)})</summary>{shown}{more}</details>"


def _cells(track: Mapping[str, Any], link: Link) -> list[str]:
    """The cells of a track: its name and its weakest frame are links into the player."""
    place = track["video_id"], track["track"]
    name = f"{track['video']}, track {track['track']}"
    weakest = track["weakest_frame"]
    start = track["first_frame"] if weakest is None else weakest
    look = (
        MISSING
        if weakest is None
        else _anchor(str(weakest), link(place[0], weakest, place[1]), f"{name}, frame {weakest}")
    )
    return [
        _anchor(name, link(place[0], start, place[1])),
        f"{_percent(track['estimate'])}{bar(track['estimate'])}",
        escape(track["class"]),
        *(_percent(track[part]) for part in PARTS),
        f"{track['first_frame']} to {track['last_frame']} ({track['frames']})",
        look,
    ]


def _anchor(text: str, href: str | None, label: str = "") -> str:
    named = f' aria-label="{escape(label)}"' if label else ""
    return escape(text) if href is None else f'<a href="{escape(href)}"{named}>{escape(text)}</a>'


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.0f}"


def _figures(evaluation: Mapping[str, Any]) -> str:
    """How well the estimate and each part alone tell right from wrong, and how true the estimate is."""
    rows = {name: [_share(value)] for name, value in evaluation["AUC"].items()}
    auc = table("Told right from wrong by (AUC, 50 is chance)", ["AUC"], rows, head_of_rows="figure", kind="metrics")
    true = {
        "tracks": [number(evaluation["tracks"])],
        "of them right": [number(evaluation["right_tracks"])],
        "Brier score (0 is best)": [number(evaluation["Brier"])],
        "mean error of the bins": [number(evaluation["ECE"])],
    }
    return auc + table("Does the estimate mean what it says?", ["value"], true, head_of_rows="figure", kind="metrics")


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.1f}{bar(value)}"


def histogram(tracks: Tracks) -> Chart:
    """Numbers of tracks in ten equal bins of the estimate."""
    counts = [0] * BINS
    for track in tracks:
        counts[min(int(track["estimate"] * BINS), BINS - 1)] += 1
    with drawing_style("estimates of tracks"):
        figure = new_figure(3.6, 2.5)
        axes = bare(figure.add_subplot())
        width = 100 / BINS
        axes.bar([k * width for k in range(BINS)], counts, width * 0.86, align="edge", color=SERIES[0], linewidth=0)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set(xlim=(0, 100), xticks=(0, 25, 50, 75, 100))
        said = ", ".join(f"{count} from {k * 100 // BINS}" for k, count in enumerate(counts) if count)
        svg = to_svg(figure, f"tracks over estimate: {said}")
    return Chart("tracks over estimate", svg, (Series("tracks", css_colour(SERIES[0]), str(len(tracks))),))


def reliability_chart(evaluation: Mapping[str, Any]) -> Chart:
    """Share of right tracks over the mean estimate of each bin, with the number of tracks; the diagonal is the aim."""
    bins = [row for row in evaluation["bins"] if row["tracks"]]
    x, y = ([100 * row[key] for row in bins] for key in ("mean_estimate", "right_share"))
    with drawing_style("reliability of estimates"):
        figure = new_figure(3.6, 2.9)
        axes = bare(figure.add_subplot(), grid="both")
        axes.plot([0, 100], [0, 100], color=INK, linewidth=0.9, linestyle="--")
        # Points only: a line between bins of a few tracks would draw what is chance.
        axes.plot(x, y, color=SERIES[0], linestyle="none", marker="o", markersize=5, clip_on=False)
        for row, px, py in zip(bins, x, y, strict=True):
            # Above the point where there is room, else below it.
            up = py < 88
            axes.annotate(
                str(row["tracks"]),
                (px, py),
                xytext=(0, 6 if up else -12),
                textcoords="offset points",
                ha="center",
                color=INK,
                fontsize=8,
            )
        quarters = (0, 25, 50, 75, 100)
        axes.set(xlim=(-3, 103), ylim=(-3, 103), xticks=quarters, yticks=quarters, xlabel="estimate", ylabel="right")
        said = "; ".join(
            f"of {row['tracks']} tracks said {a:.0f} %, {b:.0f} % are right"
            for row, a, b in zip(bins, x, y, strict=True)
        )
        svg = to_svg(figure, f"right tracks over estimate: {said}")
    names = (
        Series("tracks of a bin, with their number", css_colour(SERIES[0]), ""),
        Series("as it should be", css_colour(INK), ""),
    )
    return Chart("right tracks over estimate, in percent", svg, names)
