"""Frames to look at: pseudo-labels in colour and the true objects in white, one picture per labeller side by side."""

from __future__ import annotations

from collections.abc import Sequence

from wsvis_core.errors import WsvisError
from wsvis_core.visualization.inputs import LabelExample, LabelView
from wsvis_core.visualization.layers import Item, class_name, instances_as_arrays, items_html, overlay_scale
from wsvis_core.visualization.markup import escape, image
from wsvis_core.visualization.overlays import check_frame, class_colours, draw_labels, hex_colour

ENTRIES = 5
MISSED_IOU = 0.1
UNNAMED = "#ffffff"


def gallery_html(title: str, examples: Sequence[LabelExample], class_names: Sequence[str]) -> str:
    """One sheet of frames, each as often as there are labellers; no frame, a sheet that says so."""
    figures = "".join(_figure(example, class_names) for example in examples)
    body = f'<div class="gallery">{figures}</div>' if figures else '<p class="empty">no such frame</p>'
    return f'<article class="sheet"><header><h3>{escape(title)}</h3></header>{body}</article>'


def _figure(example: LabelExample, class_names: Sequence[str]) -> str:
    try:
        check_frame(example.frame)
    except WsvisError as error:
        raise WsvisError(f"example {example.title!r}: {error}") from None
    views = "".join(_view(name, view, example, class_names) for name, view in example.views.items())
    style = f"--views:{max(len(example.views), 1)}"
    return f'<figure style="{style}"><figcaption>{escape(example.title)}</figcaption><div>{views}</div></figure>'


def _view(labeller: str, view: LabelView, example: LabelExample, class_names: Sequence[str]) -> str:
    masks, classes, _ = instances_as_arrays(view.labels)
    picture = draw_labels(
        example.frame,
        masks,
        class_colours(classes.tolist()),
        [mask for _, mask in example.objects],
        scale=overlay_scale(example.frame),
    )
    items = _object_items(view, example, class_names) if example.objects else _label_items(classes, class_names)
    words = ", ".join(item.text for item in items) or "nothing"
    alt = f"pseudo-labels of {labeller}, {example.title}: {words}"
    caption = items_html(items[:ENTRIES], len(items) - ENTRIES) or '<span class="note">nothing</span>'
    return f'<div><span class="edge">{escape(labeller)}</span>{image(picture, alt)}{caption}</div>'


def _object_items(view: LabelView, example: LabelExample, class_names: Sequence[str]) -> list[Item]:
    """Each object by its class with the IoU of its best label, in percent."""
    names = [name for name, _ in example.objects]
    return [
        Item(_colour(name, class_names), f"{name} {100 * iou:.0f}" if iou >= MISSED_IOU else f"{name} missed")
        for name, iou in zip(names, view.best_ious, strict=True)
    ]


def _label_items(classes: Sequence[int], class_names: Sequence[str]) -> list[Item]:
    """Labels by class, for a frame without objects."""
    names = [class_name(int(c), class_names) for c in classes]
    return [Item(_colour(name, class_names), name) for name in names]


def _colour(name: str, class_names: Sequence[str]) -> str:
    return hex_colour(class_colours([list(class_names).index(name)])[0]) if name in class_names else UNNAMED
