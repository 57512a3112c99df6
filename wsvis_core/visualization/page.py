"""The whole report as one HTML text: no script, no external resource, light and dark by the reader's preference."""

from __future__ import annotations

from wsvis_core.visualization.inputs import ReportInputs
from wsvis_core.visualization.label_section import pseudo_labels_section
from wsvis_core.visualization.markup import escape
from wsvis_core.visualization.sections import (
    facts_list,
    headline,
    metrics_section,
    run_section,
    training_section,
    videos_section,
)
from wsvis_core.visualization.strips import LAYERS
from wsvis_core.visualization.stylesheet import COLOURS, FIGURES, SHEETS, TYPE, layer_switches
from wsvis_core.visualization.tables_section import tables_section
from wsvis_core.visualization.track_section import tracks_part
from wsvis_core.visualization.transfers_section import TRANSFER_SCALARS, transfers_section


def page_html(inputs: ReportInputs) -> str:
    """The page as text. The same inputs give the same text."""
    sections = {
        "metrics": ("Metrics", metrics_section(inputs) + tracks_part(inputs)),
        "tables": ("The paper's tables", tables_section(inputs.tables)),
        "pseudo-labels": ("Pseudo-labels", pseudo_labels_section(inputs)),
        "training": ("Training", training_section(inputs.scalars, without=TRANSFER_SCALARS)),
        "transfers": ("MaskConsist's transfers", transfers_section(inputs.transfers, inputs.class_names)),
        "videos": ("Videos", videos_section(inputs)),
        "run": ("Run", run_section(inputs)),
    }
    style = COLOURS + TYPE + FIGURES + SHEETS + layer_switches(list(LAYERS))
    links = "".join(f'<a href="#{key}">{title}</a>' for key, (title, _) in sections.items())
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{html}</section>'
        for key, (title, html) in sections.items()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>{escape(inputs.title)}</title><link rel="icon" href="data:,"><style>{style}</style></head>'
        f'<body><header class="top"><h1>{escape(inputs.title)}</h1>{facts_list(inputs.facts)}'
        f"{headline(inputs)}</header>"
        f'<nav aria-label="Sections">{links}</nav><main>{body}</main></body></html>\n'
    )
