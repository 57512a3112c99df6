"""The report's section of videos: filters, a card per video, and the data that the page's player reads."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wsvis_core.visualization.assets import web_file
from wsvis_core.visualization.inputs import Clip, ClipTrack, Gallery
from wsvis_core.visualization.layers import Item, class_name, items_html
from wsvis_core.visualization.markup import escape, number
from wsvis_core.visualization.overlays import class_colours, hex_colour, track_colour
from wsvis_core.visualization.sections import empty

CARD_ENTRIES = 3
HINT = (
    "A card opens the player: frame, flow, CAM, pseudo-labels, predictions and tracks{truth} as layers, over a "
    "timeline of the tracks; its keys stand below it. The address of the page keeps filters, video and frame."
)
WITHOUT_SCRIPT = "Filters and player need JavaScript, which this browser does not run; all else on the page does not."
ORDERS = {"given": "as in the data set", "best": "best first", "worst": "worst first", "random": "random"}


def videos_section(gallery: Gallery, class_names: Sequence[str]) -> str:
    """Filters and cards; an empty gallery says so."""
    if not gallery.clips:
        return empty("No videos were selected for this report.")
    cards = "".join(_card(clip, class_names, gallery.quality_name) for clip in gallery.clips)
    hint = HINT.format(truth=", and ground truth," if any(clip.truth is not None for clip in gallery.clips) else "")
    return (
        f'<p class="note">{escape(left_out(gallery))} {escape(hint)} {escape(gallery.quality_note)}</p>'
        f'<noscript><p class="empty">{escape(WITHOUT_SCRIPT)}</p></noscript>'
        f'<p class="nothing" id="absent" role="status" hidden></p>{_filters(gallery, class_names)}'
        f'<ul class="clips" id="clips">{cards}</ul>'
        '<div class="nothing" id="nothing" hidden><p>No video matches these filters.</p>'
        '<button type="button" class="button clear-filters">clear filters</button></div>'
    )


def videos_data(gallery: Gallery, class_names: Sequence[str]) -> str:
    """The player, and the clips as blocks of JSON that it reads when they are opened; nothing for an empty gallery."""
    if not gallery.clips:
        return ""
    indices = range(_class_count(gallery, class_names))
    colours = map(hex_colour, class_colours(list(indices)))
    classes = [{"name": class_name(k, class_names), "colour": c} for k, c in zip(indices, colours, strict=True)]
    blocks = "".join(f"{_block(f'clip-{clip.video_id}', clip_data(clip))}\n" for clip in gallery.clips)
    return f"{web_file('player.html')}{_block('classes', classes)}\n{blocks}"


def clip_data(clip: Clip) -> dict[str, Any]:
    """A clip as plain JSON values, pictures in base 64."""
    return {
        "id": clip.video_id,
        "name": clip.name,
        "note": clip.note,
        "width": clip.size[1],
        "height": clip.size[0],
        "length": clip.length,
        "frames": list(clip.frames),
        "pictures": _texts(clip.pictures),
        "flow": _texts(clip.flow),
        "full_flow": round(clip.full_flow, 2),
        "cam": _texts(clip.cam),
        "cam_classes": [list(keys) for keys in clip.cam_classes],
        "pseudo": _marks(clip.pseudo_labels),
        "prediction": _marks(clip.predictions),
        "tracks": _tracks(clip.tracks),
        "truth": _tracks(clip.truth),
    }


def video_link(gallery: Gallery) -> Callable[[int, int, int | None], str | None]:
    """(video id, frame from 0, track or None) → address of that moment on the page; None for a video it lacks."""
    known = {clip.video_id for clip in gallery.clips}

    def link(video_id: int, frame: int, track: int | None) -> str | None:
        chosen = "" if track is None else f"&track={track}"
        return f"#video={video_id}&frame={frame}{chosen}" if video_id in known else None

    return link


def left_out(gallery: Gallery) -> str:
    """How many of the held-out videos and of their frames are on the page, and what bounds them."""
    clips = gallery.clips
    kind = "videos" if gallery.trained_on else "held-out videos"
    parts = [f"On this page: {number(len(clips))} of {number(max(gallery.held_out, len(clips)))} {kind}"]
    if len(clips) < gallery.held_out:
        among = f"spread evenly over the {number(gallery.candidates)} whose layers were all made for it"
        parts.append(f", {among} (report.videos, report.megabytes)")
    cut = [len(clip.frames) for clip in clips if len(clip.frames) < clip.length]
    if cut:
        parts.append(f", longer ones at {number(max(cut))} of their frames (report.frames_per_video)")
    return "".join(parts) + "."


def _class_count(gallery: Gallery, class_names: Sequence[str]) -> int:
    """Classes that the page must be able to name: a result may hold more than the data set's."""
    used = [track.class_index for clip in gallery.clips for track in (*(clip.tracks or ()), *(clip.truth or ()))]
    for clip in gallery.clips:
        used += [key for keys in clip.cam_classes for key in keys] + list(clip.classes)
        layers = (*(clip.pseudo_labels or ()), *(clip.predictions or ()))
        used += [mark.class_index for marks in layers for mark in marks]
    return max(len(class_names), 1 + max(used, default=-1))


def _filters(gallery: Gallery, class_names: Sequence[str]) -> str:
    classes = "".join(f'<option value="{k}">{escape(name)}</option>' for k, name in enumerate(class_names))
    trusted = any(track.estimate is not None for clip in gallery.clips for track in clip.tracks or ())
    orders = ORDERS | ({"trust": "least trusted first"} if trusted else {})
    named = {key: f"{words} ({gallery.quality_name})" for key, words in orders.items() if key in ("best", "worst")}
    sorts = "".join(f'<option value="{key}">{escape(words)}</option>' for key, words in (orders | named).items())
    return (
        '<form class="filters" id="filters" aria-label="Filters of the gallery" hidden>'
        f'<label><span>class</span><select name="class"><option value="">all</option>{classes}</select></label>'
        '<div class="pair" role="group" aria-label="score of a track"><span>score of a track</span><div>'
        '<input type="number" name="min" min="0" max="100" value="0" aria-label="lowest score"> to '
        '<input type="number" name="max" min="0" max="100" value="100" aria-label="highest score"></div></div>'
        '<label><span>video</span><input type="search" name="name" placeholder="part of the name"></label>'
        f'<label><span>order</span><select name="sort">{sorts}</select></label>'
        '<div class="pair" id="random" role="group" aria-label="seed" hidden><span>seed</span><div>'
        '<input type="number" name="seed" min="0" value="1" aria-label="seed of the random order"> '
        '<button type="button" class="button" id="draw">draw again</button></div></div>'
        '<button type="button" class="button clear-filters">clear</button>'
        '<output id="shown" aria-live="polite"></output></form>'
    )


def _card(clip: Clip, class_names: Sequence[str], quality_name: str) -> str:
    tracks = sorted(clip.tracks or (), key=lambda track: -(track.score or 0.0))
    scored = [[track.class_index, round(track.score or 0.0, 4)] for track in tracks]
    classes = sorted({*clip.classes, *(track.class_index for track in tracks)})
    estimates = [track.estimate for track in tracks if track.estimate is not None]
    facts = {
        "video": clip.video_id,
        "name": clip.name,
        "classes": json.dumps(classes),
        "tracks": json.dumps(scored),
        "quality": "" if clip.quality is None else f"{clip.quality:.4f}",
        "trust": f"{min(estimates):.4f}" if estimates else "",
    }
    attributes = "".join(f' data-{name}="{escape(value)}"' for name, value in facts.items())
    items = [Item(hex_colour(track_colour(track.number)), _words(track, class_names)) for track in tracks]
    quality = (
        "" if clip.quality is None else f' <span class="note">{escape(quality_name)} {100 * clip.quality:.0f}</span>'
    )
    dots = items_html(items[:CARD_ENTRIES], len(items) - CARD_ENTRIES) or '<p class="note">no tracks</p>'
    height, width = clip.size
    picture = base64.b64encode(clip.cover).decode("ascii")
    return (
        f'<li class="clip"{attributes}><a href="#video={clip.video_id}">'
        f'<img src="data:image/jpeg;base64,{picture}" width="{width}" height="{height}" alt="" loading="lazy">'
        f"<h3>{escape(clip.name)}{quality}</h3>{dots}</a></li>"
    )


def _words(track: ClipTrack, class_names: Sequence[str]) -> str:
    score = "" if track.score is None else f" {100 * track.score:.0f}"
    return f"{class_name(track.class_index, class_names)}{score}"


def _block(name: str, value: object) -> str:
    """A block of JSON; no "<" in it, so nothing can end it early."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{escape(name)}">{text}</script>'


def _texts(pictures: Sequence[bytes] | None) -> list[str] | None:
    return None if pictures is None else [base64.b64encode(picture).decode("ascii") for picture in pictures]


def _marks(layer: Sequence[Sequence[Any]] | None) -> list[list[list[Any]]] | None:
    if layer is None:
        return None
    return [[[mark.class_index, round(mark.score, 3), mark.mask] for mark in marks] for marks in layer]


def _tracks(tracks: Sequence[ClipTrack] | None) -> list[Mapping[str, Any]] | None:
    if tracks is None:
        return None
    return [
        {
            "number": track.number,
            "class": track.class_index,
            "score": None if track.score is None else round(track.score, 4),
            "estimate": None if track.estimate is None else round(track.estimate, 4),
            "colour": hex_colour(track_colour(track.number)),
            "masks": list(track.masks),
        }
        for track in tracks
    ]
