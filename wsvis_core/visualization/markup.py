"""Small pieces of HTML and of text: escaping, numbers, durations, tables with bars, pictures as data URIs."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

FRACTION = re.compile(r"(^|_)(m?AP|AR|TC)\d*($|_)|iou|share|precision|recall", re.IGNORECASE)
MISSING = "–"


def escape(text: object) -> str:
    """Text that is safe inside HTML and inside a quoted attribute."""
    return html.escape(str(text), quote=True)


def is_fraction(name: str) -> bool:
    """True for metrics that are fractions by their name: AP, AR, TC, IoU, share, precision, recall and their kin."""
    return FRACTION.search(name) is not None


def number(value: object) -> str:
    """A number in few characters: counts with thin spaces, others with three significant digits, "–" for none."""
    if isinstance(value, bool) or value is None:
        return MISSING if value is None else str(value)
    if isinstance(value, int | np.integer):
        return f"{int(value):,}".replace(",", "\u202f")
    if not isinstance(value, float | np.floating):
        return str(value)
    if not math.isfinite(value):
        return MISSING
    if value == 0 or 0.001 <= abs(value) < 1e5:
        digits = 2 if value == 0 else max(0, min(4, 2 - math.floor(math.log10(abs(value)))))
        return f"{value:.{digits}f}"
    return f"{value:.1e}"


def metric(name: str, value: object) -> str:
    """A metric as shown: fractions times 100 with one decimal, others as `number`; "–" when there is none."""
    share = fraction(name, value)
    if share is not None:
        return f"{100 * share:.1f}"
    return MISSING if is_fraction(name) else number(value)


def fraction(name: str, value: object) -> float | None:
    """The value of a metric that is a fraction and known (finite, not negative), else None."""
    if not is_fraction(name) or isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def duration(seconds: float) -> str:
    """Seconds as "0.4 s", "12 s", "3 min 05 s" or "2 h 07 min"; "–" when unknown."""
    if not math.isfinite(seconds) or seconds < 0:
        return MISSING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def bar(share: float) -> str:
    """A thin bar for a share in 0..1, drawn behind or under its number; says nothing to a screen reader."""
    return f'<i class="bar" aria-hidden="true" style="--share:{min(max(share, 0.0), 1.0):.3f}"></i>'


def table(
    caption: str, head: Sequence[str], rows: Mapping[str, Sequence[str]], *, head_of_rows: str = "", kind: str = ""
) -> str:
    """A table: one header row, one header cell per row; cells are HTML already, all the rest is escaped."""
    cells = "".join(f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in (head_of_rows, *head))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in row)}</tr>'
        for name, row in rows.items()
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="{escape(kind)}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def metric_table(caption: str, rows: Mapping[str, Mapping[str, float]], *, head_of_rows: str = "") -> str:
    """A table of metrics, a bar under every fraction; columns are the union of the rows' names in their order."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    body = {label: [_metric_cell(name, row.get(name)) for name in names] for label, row in rows.items()}
    return table(caption, names, body, head_of_rows=head_of_rows, kind="metrics")


def _metric_cell(name: str, value: object) -> str:
    share = fraction(name, value)
    return metric(name, value) + ("" if share is None else bar(share))


def data_uri(picture: np.ndarray, quality: int = 82) -> str:
    """A picture uint8 (H,W,3) RGB as a JPEG data URI."""
    return jpeg_uri(jpeg(picture, quality))


def jpeg(picture: np.ndarray, quality: int = 82) -> bytes:
    """A picture uint8 (H,W,3) RGB as a JPEG; colour is kept at full resolution, so thin lines stay clean."""
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ]
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)
    return encoded.tobytes()


def jpeg_uri(encoded: bytes) -> str:
    """A JPEG as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode("ascii")


def image(picture: np.ndarray, alt: str, *, kind: str = "", quality: int = 82) -> str:
    """An <img> with the picture inside it."""
    height, width = picture.shape[:2]
    source = data_uri(picture, quality)
    named = f' class="{escape(kind)}"' if kind else ""
    return f'<img{named} src="{source}" width="{width}" height="{height}" alt="{escape(alt)}" loading="lazy">'
