"""A video as a contact sheet: one table, layers as rows, time as columns, the tracks' presence at its foot."""

from __future__ import annotations

from collections.abc import Sequence

from wsvis_core.visualization.inputs import TrackMask, VideoStrip
from wsvis_core.visualization.layers import Cell, Item, Row, layer_rows
from wsvis_core.visualization.markup import escape, image
from wsvis_core.visualization.overlays import hex_colour, track_colour

CAPTION_ENTRIES = 4
# Row keys with the words on the page's switches, in pipeline order.
LAYERS = {
    "frame": "frame",
    "flow": "flow",
    "cam": "CAM",
    "labels": "label map",
    "pseudo": "pseudo-label",
    "prediction": "prediction",
    "tracks": "tracks",
    "truth": "ground truth",
}
NOUNS = {"pseudo": "pseudo-labels", "prediction": "predictions", "tracks": "tracks", "truth": "objects"}
FIELDS = {
    "frame": "frame",
    "flow": "flow",
    "cam": "cam",
    "labels": "label_map",
    "pseudo": "pseudo_labels",
    "prediction": "predictions",
    "tracks": "tracks",
    "truth": "ground_truth",
}


def strip_html(strip: VideoStrip, class_names: Sequence[str]) -> str:
    """One video as an <article> with its table; layers that were not made are named under it."""
    heading = f'<h3>{escape(strip.name)}</h3><p class="note">{escape(strip.note)}</p>'
    if not strip.columns:
        return (
            f'<article class="sheet"><header>{heading}</header><p class="empty">no frames of this video</p></article>'
        )
    rows = layer_rows(strip, class_names)
    numbers = "".join(f'<th scope="col"><span class="edge">{column.index}</span></th>' for column in strip.columns)
    body = "".join(_row_html(row) for row in rows)
    region = f'class="scroll" tabindex="0" role="region" aria-label="Layers of {escape(strip.name)} over time"'
    return (
        f'<article class="sheet"><header>{heading}</header><div {region}><table class="strip">'
        f'<thead><tr><th scope="col"><span class="edge">frame no.</span></th>{numbers}</tr></thead>'
        f"<tbody>{body}</tbody>{_presence(strip)}</table></div>{_missing_layers(strip)}</article>"
    )


def track_presence(strip: VideoStrip) -> dict[int, list[TrackMask | None]]:
    """Track id → its entry at each of the strip's moments, or None where it is absent or its mask empty.

    In order of first appearance; tracks that never have a pixel in these moments are left out.
    """
    presence: dict[int, list[TrackMask | None]] = {}
    for position, column in enumerate(strip.columns):
        for entry in column.tracks or ():
            track = TrackMask(*entry)
            if track.mask.any():
                presence.setdefault(track.track_id, [None] * len(strip.columns))[position] = track
    return presence


def made_layers(strip: VideoStrip) -> list[str]:
    """Keys of the layers that at least one moment of the strip has, in pipeline order."""
    return [key for key, name in FIELDS.items() if any(getattr(column, name) is not None for column in strip.columns)]


def _row_html(row: Row) -> str:
    if _is_hollow(row):
        words = f"no {NOUNS[row.key]} in these frames"
        head = f'<th scope="row">{escape(row.title)}</th>'
        return f'<tr class="layer-{row.key}">{head}<td class="hollow" colspan="{len(row.cells)}">{words}</td></tr>'
    key = "" if row.key_picture is None else image(row.key_picture, "colour key of the flow directions", kind="wheel")
    note = f'<span class="note">{escape(row.note)}</span>' if row.note else ""
    head = f'<th scope="row">{escape(row.title)}{note}{items_html(row.items)}{key}</th>'
    return f'<tr class="layer-{row.key}">{head}{"".join(_cell_html(row, cell) for cell in row.cells)}</tr>'


def _is_hollow(row: Row) -> bool:
    """True for a layer of instances that was made at every moment and found nothing at any."""
    return row.key in NOUNS and all(cell is not None and not cell.items for cell in row.cells)


def _cell_html(row: Row, cell: Cell | None) -> str:
    if cell is None:
        return '<td class="blank"><span>not made</span></td>'
    caption = ""
    if row.key in NOUNS:
        nothing = '<span class="note">nothing</span>'
        caption = items_html(cell.items[:CAPTION_ENTRIES], len(cell.items) - CAPTION_ENTRIES) or nothing
    return f"<td>{image(cell.picture, cell.alt)}{caption}</td>"


def items_html(items: Sequence[Item], more: int = 0) -> str:
    if not items:
        return ""
    entries = "".join(f'<li style="--dot:{item.colour}">{escape(item.text)}</li>' for item in items)
    rest = f"<li>+{more}</li>" if more > 0 else ""
    return f'<ul class="dots">{entries}{rest}</ul>'


def _presence(strip: VideoStrip) -> str:
    presence = track_presence(strip)
    if not presence:
        return ""
    return f'<tbody class="presence layer-tracks">{"".join(_presence_row(i, p) for i, p in presence.items())}</tbody>'


def _presence_row(track_id: int, entries: Sequence[TrackMask | None]) -> str:
    seen = [entry for entry in entries if entry is not None]
    scores = [entry.score for entry in seen if entry.score is not None]
    score = f" {100 * sum(scores) / len(scores):.0f}" if scores else ""
    colour = hex_colour(track_colour(track_id))
    item = Item(colour, f"{track_id} {seen[0].class_name}{score}")
    cells = "".join(
        f'<td><i class="{"on" if entry else "off"}" style="--dot:{colour}"></i>'
        f'<span class="sr">{"present" if entry else "absent"}</span></td>'
        for entry in entries
    )
    return f'<tr><th scope="row">{items_html([item])}</th>{cells}</tr>'


def _missing_layers(strip: VideoStrip) -> str:
    made = made_layers(strip)
    # The label map is an extra of whoever studies the labeller; its absence is no news.
    missing = [words for key, words in LAYERS.items() if key not in made and key != "labels"]
    return f'<p class="empty">Not made for this video: {escape(", ".join(missing))}.</p>' if missing else ""
