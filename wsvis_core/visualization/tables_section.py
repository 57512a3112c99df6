"""The report's section with the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping

from wsvis_core.visualization.inputs import ResultTable
from wsvis_core.visualization.markup import escape
from wsvis_core.visualization.sections import empty, figure_html
from wsvis_core.visualization.tables import readable, table_charts, table_html

NOTE = (
    "Mean ± standard error over data sets that differ in their seed; AP, TC, IoU, shares and gains in percent. "
    "Columns of the paper are its own numbers, on its own data. –: not known, or not on every one of the data sets."
)
# What a reader must know of a table, by its name.
NOTES = {
    "table1": "Masks on frames of held-out videos, from labels of stage 1 through stage 2 to self-training.",
    "table3": "Tracks on held-out videos: masks of stage 2 with every tracker; a gain is of mAP, over other masks with "
    "the same tracker. val: the paper's numbers on the official validation set; supervised: the paper's with this "
    "tracker on a detector trained with masks. masktrack is the matcher of MaskTrack R-CNN on our appearance vectors, "
    "without its trained track head.",
    "table4": "Pseudo-labels of stage 1 on frames of the training videos; no stage 2.",
    "table5": "Masks on frames of held-out videos: the parts of MaskConsist, on the same labels.",
    "table6": "Masks on frames of held-out videos: labellers without and with MaskConsist. TC is the AP50 of the masks "
    "of a frame against those of the frame before, carried along the flow.",
}


def tables_section(tables: Mapping[str, ResultTable]) -> str:
    """Every table with its charts, in the given order."""
    parts = "".join(_table(name, result) for name, result in tables.items())
    return f'<p class="note">{escape(NOTE)}</p>{parts}'


def _table(name: str, result: ResultTable) -> str:
    if not result.rows:
        return empty(f"{readable(name)} has no rows.")
    charts = "".join(map(figure_html, table_charts(name, result)))
    note = f'<p class="note">{escape(NOTES[name])}</p>' if name in NOTES else ""
    return f'<div class="result">{note}{table_html(name, result)}<div class="charts">{charts}</div></div>'
