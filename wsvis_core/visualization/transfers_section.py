"""The report's section on MaskConsist's transfers: how many labels move between frames, and what that looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.visualization.drawing import Chart
from wsvis_core.visualization.inputs import TransferSheet, TransferView
from wsvis_core.visualization.layers import Cell, Item, class_name, instances_as_arrays, items_html, overlay_scale
from wsvis_core.visualization.markup import escape, image
from wsvis_core.visualization.overlays import class_colours, draw_instances, draw_labels, enlarge, hex_colour
from wsvis_core.visualization.plots import grouped_charts
from wsvis_core.visualization.sections import empty, figure_html

EXPLANATION = (
    "MaskConsist trains on pairs of frames. What the network predicts on one frame is carried along the flow to the "
    "other and matched with what it predicts there; a match that lies on a stage-1 label of the first frame becomes a "
    "label of the second: what its two masks have in common, or together, as maskconsist.merge_rule says. The curves "
    "count this while the network trains, both directions of a pair together. The pictures are training pairs as the "
    "finished network sees them."
)
LEGEND = "White line: a label that the target frame did not have of its own. Colour: the class."
# Title -> names of the training records that share a chart.
GROUPS = {
    "predictions per pair, and candidates of the matching": ("predictions", "expanded"),
    "matches and transfers per pair": ("matches", "transferred", "kept_transferred"),
    "labels and targets per pair": ("labels", "targets"),
    "share of the targets that was transferred": ("transferred_share",),
    "area ratio to stage-1 labels: targets, transferred ones": ("area_ratio", "transferred_growth"),
    "pairs skipped, predictions not finite": ("skipped_pairs",),
}
TRANSFER_SCALARS = frozenset(name for names in GROUPS.values() for name in names)
COLUMNS = ("source frame", "labels", "predictions", "target frame", "labels", "predictions", "trains on")
SHOWN_PREDICTIONS = 5
CAPTION_ENTRIES = 4
WHITE = "#ffffff"


def transfers_section(sheets: Mapping[str, TransferSheet], class_names: Sequence[str]) -> str:
    """Curves and pairs of every round of training, under an explanation of what they show."""
    if not sheets:
        return empty("No transfers were recorded: this run has no segmenter.")
    parts = "".join(_round(name, sheet, class_names) for name, sheet in sheets.items())
    return f'<p class="note">{escape(EXPLANATION)}</p>{parts}'


def transfer_charts(stage: str, records: Sequence[Mapping[str, float]]) -> list[Chart]:
    """The charts of `GROUPS` that the records have; that of skipped pairs only where one was skipped."""
    skipped = any(record.get("skipped_pairs") for record in records)
    groups = {title: names for title, names in GROUPS.items() if skipped or names != ("skipped_pairs",)}
    return grouped_charts(stage, groups, records)


def _round(name: str, sheet: TransferSheet, class_names: Sequence[str]) -> str:
    header = f'<header><h3>{escape(name)}</h3><p class="note">{escape(_summary(sheet))}</p></header>'
    charts = transfer_charts(f"{name} of MaskConsist", sheet.records) if sheet.transfer else []
    body = f'<div class="charts">{"".join(map(figure_html, charts))}</div>' if charts else ""
    return f'<section class="stage">{header}{body}</section>{_sheet(name, sheet, class_names)}'


def _summary(sheet: TransferSheet) -> str:
    if not sheet.transfer:
        return "A plain Mask R-CNN: every frame trains on its own stage-1 labels, nothing is transferred."
    if not sheet.looked_at:
        return "No pair was looked at (report.transfers is 0)."
    if not sheet.with_transfer:
        return f"None of {sheet.looked_at} training pairs has a transferred label; one of them is shown as it is."
    return f"{sheet.with_transfer} of {sheet.looked_at} training pairs looked at have a transferred label."


def _sheet(name: str, sheet: TransferSheet, class_names: Sequence[str]) -> str:
    if not sheet.views:
        return ""
    head = "".join(f'<th scope="col"><span class="edge">{text}</span></th>' for text in ("training pair", *COLUMNS))
    rows = "".join(_row(view, class_names) for view in sheet.views)
    heading = f'<h3>Training pairs, {escape(name)}</h3><p class="note">{escape(LEGEND)}</p>'
    region = f'class="scroll" tabindex="0" role="region" aria-label="Training pairs of {escape(name)}"'
    return (
        f'<article class="sheet"><header>{heading}</header><div {region}><table class="strip">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></article>"
    )


def _row(view: TransferView, class_names: Sequence[str]) -> str:
    pair = view.pair
    cells = [
        _frame(view.source_frame),
        _instances(view.source_frame, "labels", pair.source_labels, class_names, scores=False),
        _instances(view.source_frame, "predictions", pair.source_predictions, class_names, scores=True),
        _frame(view.target_frame),
        _instances(view.target_frame, "labels", pair.target_labels, class_names, scores=False),
        _instances(view.target_frame, "predictions", pair.target_predictions, class_names, scores=True),
        _targets(view, class_names),
    ]
    frames = f"frame {pair.source} → {pair.target}"
    head = f'<th scope="row">{escape(view.title)}<span class="note">{escape(frames)}</span></th>'
    return f"<tr>{head}{''.join(_cell(view, k, cell) for k, cell in enumerate(cells))}</tr>"


def _cell(view: TransferView, column: int, cell: Cell) -> str:
    number = view.pair.source if column < 3 else view.pair.target
    picture = image(cell.picture, f"{cell.alt} of {view.title}, frame {number}")
    if column in (0, 3):
        return f"<td>{picture}</td>"
    nothing = '<span class="note">nothing</span>'
    return f"<td>{picture}{items_html(cell.items[:CAPTION_ENTRIES], len(cell.items) - CAPTION_ENTRIES) or nothing}</td>"


def _frame(frame: np.ndarray) -> Cell:
    return Cell(enlarge(frame, overlay_scale(frame)), "picture")


def _instances(
    frame: np.ndarray, words: str, instances: EncodedInstances, class_names: Sequence[str], *, scores: bool
) -> Cell:
    """Instances in the colours of their classes, the best-scoring ones only where there are many."""
    masks, classes, values = instances_as_arrays(instances)
    shown = slice(SHOWN_PREDICTIONS)
    picture = draw_instances(frame, masks[shown], class_colours(classes[shown].tolist()), scale=overlay_scale(frame))
    texts = [
        f"{class_name(c, class_names)} {100 * s:.0f}" if scores else class_name(c, class_names)
        for c, s in zip(classes, values, strict=True)
    ]
    items = [Item(hex_colour(colour), text) for colour, text in zip(class_colours(classes), texts, strict=True)]
    return Cell(picture, f"{words}: {', '.join(texts) or 'none'};", tuple(items))


def _targets(view: TransferView, class_names: Sequence[str]) -> Cell:
    """What the target frame trains on; a white line around what was transferred, which the caption names first."""
    targets, new = view.pair.targets.decode(), np.array(view.pair.transferred, bool)
    masks, classes = targets.masks.numpy(), targets.classes.numpy()
    colours = class_colours(classes.tolist())
    picture = draw_labels(view.target_frame, masks, colours, masks[new], scale=overlay_scale(view.target_frame))
    names = [class_name(c, class_names) for c in classes]
    items = [Item(WHITE, f"{name}, transferred") for name, moved in zip(names, new, strict=True) if moved]
    items += [Item(hex_colour(c), n) for c, n, moved in zip(colours, names, new, strict=True) if not moved]
    return Cell(picture, f"targets: {', '.join(item.text for item in items) or 'none'};", tuple(items))
