"""The report file from its plain inputs."""

from __future__ import annotations

from pathlib import Path

from wsvis_core.storage.files import atomic_path
from wsvis_core.visualization.inputs import ReportInputs
from wsvis_core.visualization.page import page_html


def make_report(inputs: ReportInputs, output: Path) -> None:
    """Write the report as one self-contained HTML file, atomically; the same inputs give the same bytes.

    Raises WsvisError naming video and frame when a picture's shape or type cannot be drawn.
    """
    html = page_html(inputs)
    with atomic_path(output) as temporary:
        temporary.write_text(html, encoding="utf-8")
