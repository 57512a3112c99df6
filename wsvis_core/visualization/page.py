"""The whole report as one HTML text: nothing from outside, light and dark, a script for gallery and player alone."""

from __future__ import annotations

from wsvis_core.visualization.assets import EARLY_SCRIPTS, LATE_SCRIPTS, WAY_STYLES, content_policy, script, stylesheet
from wsvis_core.visualization.inputs import ReportInputs
from wsvis_core.visualization.label_section import pseudo_labels_section
from wsvis_core.visualization.markup import escape
from wsvis_core.visualization.quality_section import quality_section
from wsvis_core.visualization.sections import facts_list, headline, metrics_section, run_section, training_section
from wsvis_core.visualization.tables_section import tables_section
from wsvis_core.visualization.track_section import tracks_part
from wsvis_core.visualization.transfers_section import TRANSFER_SCALARS, transfers_section
from wsvis_core.visualization.videos_section import video_link, videos_data, videos_section
from wsvis_core.visualization.way_section import way_section


def page_html(inputs: ReportInputs) -> str:
    """The page as text. The same inputs give the same text."""
    styles = stylesheet(() if inputs.way is None else WAY_STYLES)
    early, late = script(EARLY_SCRIPTS), script(LATE_SCRIPTS)
    shown = sections(inputs)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{html}</section>\n'
        for key, (title, html) in shown.items()
    )
    # The videos' data come last: a browser shows the page while it still reads them.
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(content_policy(early, late))}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>{escape(inputs.title)}</title><link rel="icon" href="data:,">'
        f"<style>\n{styles}</style><script>{early}</script></head>\n"
        f'<body><a class="skip" href="#main">Skip to the content</a>\n'
        f'<header class="top"><h1>{escape(inputs.title)}</h1>{facts_list(inputs.facts)}'
        f"{headline(inputs)}</header>\n{_contents(shown)}\n"
        f'<main id="main" tabindex="-1">{body}</main>\n'
        f"{videos_data(inputs.gallery, inputs.class_names)}<script>{late}</script></body></html>\n"
    )


def sections(inputs: ReportInputs) -> dict[str, tuple[str, str]]:
    """Anchor → (title, HTML) of every section, in page order. Here a new section is added.

    What only some data sets have (the way to its tracks, estimates, tables, ground truth for pseudo-labels) has a
    section where it is there.
    """
    way, quality, link = inputs.way, inputs.quality, video_link(inputs.gallery)
    labels = inputs.pseudo_labels or inputs.label_quality or inputs.label_examples
    return {
        "videos": ("Videos", videos_section(inputs.gallery, inputs.class_names)),
        **({} if way is None else {"way": ("From label to track", way_section(way, link))}),
        **({} if quality is None else {"trust": ("Trust", quality_section(quality, link))}),
        "metrics": ("Metrics", metrics_section(inputs) + tracks_part(inputs)),
        **({"tables": ("The paper's tables", tables_section(inputs.tables))} if inputs.tables else {}),
        **({"pseudo-labels": ("Pseudo-labels", pseudo_labels_section(inputs))} if labels else {}),
        "training": ("Training", training_section(inputs.scalars, without=TRANSFER_SCALARS)),
        "transfers": ("MaskConsist's transfers", transfers_section(inputs.transfers, inputs.class_names)),
        "run": ("Run", run_section(inputs)),
    }


def _contents(shown: dict[str, tuple[str, str]]) -> str:
    links = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, (title, _) in shown.items())
    button = '<button type="button" class="button" id="theme" hidden>theme</button>'
    return f'<nav class="contents" aria-label="Contents"><ul>{links}</ul>{button}</nav>'
