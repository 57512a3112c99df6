"""The report's part on the way from label to track: where each class of each video was lost, worst first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wsvis_core.quality.routes import PARTS
from wsvis_core.visualization.markup import MISSING, bar, escape, jpeg_uri, number, table
from wsvis_core.visualization.sections import empty
from wsvis_core.visualization.way import (
    DOUBTFUL_TRACK,
    JUMPING_LABEL,
    NO_LABEL,
    NO_TRACK,
    NOT_FOLLOWED,
    SHORT_TRACK,
    STEADY,
    WIDE_LABEL,
    ClassWay,
    VideoWay,
    Way,
    WayMoment,
)

Link = Callable[[int, int, int | None], str | None]
NO_CLASS = "no class given"
MOST_ROWS = 100
HEAD = ("video", "class", "verdict", "look at frame", "label", "mask", "track", "cover", "steady", "follows", "trust")
EXPLANATION = (
    "A row for every class that the labels of a video name, worst first. The verdict is the first step of the pipeline "
    "that fails. Label, mask, track: labelled frames that have a pseudo-label, a mask of the published tracks' route, "
    "a mask of the class's most trusted track. Cover: share of the frame that the labels hold. Steady: IoU of the "
    "labels with those of the next frame, carried along the flow or as they are. Follows: IoU of labels and masks. "
    "Trust: the track's estimate. All but the counts are means in percent. A steady way may still be wrong: look at "
    "the pictures."
)
HINTS = {
    NO_LABEL: "Does the CAM lie on the object? If not: label ranges of frames, add videos of the class in other places "
    "and videos of this place without it.",
    WIDE_LABEL: "Is that the object, or the place? If the place: add videos of it without the object, or ranges.",
    JUMPING_LABEL: "Look whether the CAM wanders, or finds parts of the object in turn.",
    NOT_FOLLOWED: "Look at the labels first: where they are right, train the detector for longer or let the labels "
    "themselves be tracked.",
    NO_TRACK: "Masks are there, but too weak, or too far apart in time, to make a track.",
    SHORT_TRACK: "The object was lost on the way, or the label names more frames than it is in.",
    DOUBTFUL_TRACK: "Its parts under Trust say why: weak masks, other frames than the labels name, or jumps.",
    STEADY: "Nothing failed that can be seen without ground truth.",
}


def way_section(way: Way, link: Link) -> str:
    """What was published and why, videos without a usable label, a table of all classes, and the worst in pictures.

    link: the page's address for (video id, frame from 0, track from 1), None where the player lacks the video.
    """
    choice = "" if way.choice is None else _choice(way.choice)
    if not way.videos:
        return choice + empty("No videos were looked at for this report.")
    sheets = "".join(_sheet(video, link) for video in way.videos if _has_pictures(video))
    notes = f'<p class="note">{escape(EXPLANATION)}{escape(_left_out(way))}</p>'
    return f"{choice}{_without_label(way)}{notes}{_table(way, link)}{sheets}"


def _choice(choice: Mapping[str, Any]) -> str:
    """The reason of rule choose_route, and what speaks for each route, mean over the classes of the videos."""
    rows = {}
    for name, evidence in choice["evidence"].items():
        mark = " (published)" if name == choice["published"] else ""
        means = [float(np.mean([row[part] for row in evidence])) if evidence else None for part in PARTS]
        rows[f"{name}{mark}"] = [_percent(choice["worth"][name], bars=True), *map(_percent, means)]
    reason = f'<p class="said">{escape(choice["reason"][:1].upper() + choice["reason"][1:])}.</p>'
    what = "Worth of the routes, in percent: labels × stability × agreement × (1 − cover), mean over classes of videos"
    return (
        f'<div class="route">{reason}{table(what, ["worth", *PARTS], rows, head_of_rows="route", kind="metrics")}</div>'
    )


def _without_label(way: Way) -> str:
    """The videos without a usable label; of several classes, which."""
    names = []
    for video in way.videos:
        lost = [found.name for found in video.classes if found.verdict == NO_LABEL]
        if lost:
            names.append(video.name + (f" ({', '.join(lost)})" if len(video.classes) > 1 else ""))
    more = f" and {number(len(names) - MOST_ROWS)} more" if len(names) > MOST_ROWS else ""
    return f'<p class="said">Videos without a usable label: {escape(", ".join(names[:MOST_ROWS]) or "none")}{more}.</p>'


def _left_out(way: Way) -> str:
    if len(way.videos) >= way.of:
        return ""
    return (
        f" Looked at: {number(len(way.videos))} of {number(way.of)} videos, those whose layers were made for the page."
    )


def _table(way: Way, link: Link) -> str:
    pairs = [(video, found) for video in way.videos for found in video.classes or (None,)]
    rows = {str(n): _cells(video, found, link) for n, (video, found) in enumerate(pairs[:MOST_ROWS], 1)}
    more = f'<p class="note">… and {number(len(pairs) - MOST_ROWS)} more</p>' if len(pairs) > MOST_ROWS else ""
    return table("From label to track, worst first", HEAD, rows, head_of_rows="no.", kind="metrics way") + more


def _cells(video: VideoWay, found: ClassWay | None, link: Link) -> list[str]:
    name = escape(video.name)
    if _has_pictures(video):
        name = f'<a href="#{_anchor(video)}">{name}</a>'
    if found is None:
        return [name, MISSING, NO_CLASS, *[MISSING] * (len(HEAD) - 3)]
    counts = (found.with_label, found.with_mask, found.with_track)
    return [
        name,
        escape(found.name),
        escape(found.verdict),
        ", ".join(_frame(video, moment, link) for moment in video.moments) or MISSING,
        *(f"{count} of {found.labelled}{bar(count / found.labelled)}" for count in counts),
        *map(_percent, (found.cover, found.steadiness, found.agreement)),
        _percent(found.estimate, bars=True),
    ]


def _frame(video: VideoWay, moment: WayMoment, link: Link, before: str = "") -> str:
    """The number of a frame, as a link into the player where that has the video."""
    text, href = escape(f"{before}{moment.frame}"), link(video.video_id, moment.frame, None)
    label = escape(f"{video.name}, frame {moment.frame}")
    return text if href is None else f'<a href="{escape(href)}" aria-label="{label}">{text}</a>'


def _sheet(video: VideoWay, link: Link) -> str:
    """Verdicts of a video on the left, its worst frames on the right: a row per frame, a column per layer."""
    titles = list(dict.fromkeys(title for moment in video.moments for title in moment.pictures))
    head = "".join(f'<th scope="col"><span class="edge">{escape(title)}</span></th>' for title in ("frame", *titles))
    rows = "".join(_row(video, moment, titles, link) for moment in video.moments if moment.pictures)
    region = f'class="scroll" tabindex="0" role="region" aria-label="Worst frames of {escape(video.name)}"'
    header = f"<header><h3>{escape(video.name)}</h3>{_verdicts(video)}</header>"
    strip = f'<table class="strip"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<article class="sheet lost" id="{_anchor(video)}">{header}<div {region}>{strip}</div></article>'


def _verdicts(video: VideoWay) -> str:
    """The classes' verdicts, each kind of them with its hint once."""
    kinds: dict[str, list[str]] = {}
    for found in video.classes:
        kinds.setdefault(found.verdict, []).append(found.name)
    return "".join(
        f'<p class="said"><b>{escape(", ".join(names))}: {escape(verdict)}</b></p>'
        f'<p class="note">{escape(HINTS[verdict])}</p>'
        for verdict, names in kinds.items()
    )


def _row(video: VideoWay, moment: WayMoment, titles: Sequence[str], link: Link) -> str:
    head = f'{_frame(video, moment, link, "frame ")}<span class="note">{escape(moment.why)}</span>'
    cells = "".join(f"<td>{_picture(video, moment, title)}</td>" for title in titles)
    return f'<tr><th scope="row">{head}</th>{cells}</tr>'


def _picture(video: VideoWay, moment: WayMoment, title: str) -> str:
    if title not in moment.pictures:
        return ""
    height, width = moment.size
    alt = escape(f"{title} of {video.name}, frame {moment.frame}")
    source = jpeg_uri(moment.pictures[title])
    return f'<img src="{source}" width="{width}" height="{height}" alt="{alt}" loading="lazy">'


def _has_pictures(video: VideoWay) -> bool:
    return any(moment.pictures for moment in video.moments)


def _anchor(video: VideoWay) -> str:
    return f"way-{video.video_id}"


def _percent(value: float | None, *, bars: bool = False) -> str:
    if value is None:
        return MISSING
    return f"{100 * value:.0f}{bar(value) if bars else ''}"
