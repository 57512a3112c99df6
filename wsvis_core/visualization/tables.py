"""Tables over many runs: from CSV to an HTML table, to charts on the page, and to a plot beside the CSV.

A table has one row per variant, named by its first cell. `<metric>_mean` and `<metric>_se` are a mean over replicates
and its standard error; `gain` is a difference to the first row, or to what `gain_over` names; `paper_<...>` is what the
paper reports. Fractions are 0..1 and shown times 100; an empty cell is unknown.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from wsvis_core.errors import WsvisError
from wsvis_core.visualization.drawing import (
    INK,
    SERIES,
    Chart,
    Series,
    bare,
    css_colour,
    drawing_style,
    new_figure,
    to_svg,
    write_svg,
)
from wsvis_core.visualization.inputs import ResultTable
from wsvis_core.visualization.markup import MISSING, bar, escape, fraction, is_fraction, number, table

GAIN, PAPER_GAIN, GAIN_OVER, REPLICATES = "gain", "paper_gain", "gain_over", "replicates"
CONSISTENCY = "TC"
OURS, PAPER = SERIES[0], SERIES[1]
BOTH_ROWS = ' rowspan="2"'


def read_table(path: Path) -> ResultTable:
    """The table in a CSV file; an empty file gives an empty table.

    Raises WsvisError with all rows that do not fit, repeated row names, and means or errors that are no numbers.
    """
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            lines = [tuple(line) for line in csv.reader(stream) if line]
    except FileNotFoundError:
        raise WsvisError(f"{path} does not exist; it is made by the rules in rules/tables.smk") from None
    result = ResultTable(lines[0], tuple(lines[1:])) if lines else ResultTable((), ())
    problems = _problems(result)
    if problems:
        raise WsvisError(f"{path} is not a table of results; delete it and make it again:\n  " + "\n  ".join(problems))
    return result


def table_html(name: str, result: ResultTable) -> str:
    """The table: means with their standard errors, in percent with one digit, the paper's number beside ours.

    What else the file holds (single data sets, more of the paper's numbers) is a second table, folded away.
    """
    groups = _groups(result)
    shown = {k for group in groups for k in (group.ours, group.paper) if k is not None}
    hidden = {k for k in range(1, len(result.head)) if k in shown or _is_said_elsewhere(result, k)}
    rest = [k for k in range(1, len(result.head)) if k not in hidden]
    replicates = _replicates(result)
    caption = readable(name) + (f", means over {replicates} data sets" if replicates > 1 else "")
    heads = "".join(group.first_row for group in groups)
    below = "".join(group.second_row for group in groups)
    spans = BOTH_ROWS if below else ""
    rows = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(group.cells(result, row) for group in groups)}</tr>'
        for row in result.rows
    )
    second = f"<tr>{below}</tr>" if below else ""
    head_of_rows = escape(result.head[0].replace("_", " ")) if result.head else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="metrics wide">'
        f'<caption>{escape(caption)}</caption><thead><tr><th scope="col"{spans}>{head_of_rows}</th>{heads}</tr>{second}'
        f"</thead><tbody>{rows}</tbody></table></div>{_folded(name, result, rest)}"
    )


@dataclass(frozen=True)
class _Group:
    """A metric's columns: ours, and the paper's where it has one. wide: does the table have any of the paper's?"""

    title: str
    ours: int
    paper: int | None
    wide: bool

    @property
    def first_row(self) -> str:
        if self.paper is not None:
            return f'<th scope="colgroup" colspan="2">{escape(self.title)}</th>'
        return f'<th scope="col"{BOTH_ROWS if self.wide else ""}>{escape(self.title)}</th>'

    @property
    def second_row(self) -> str:
        return "" if self.paper is None else '<th scope="col">ours</th><th scope="col" class="paper">paper</th>'

    def cells(self, result: ResultTable, row: Sequence[str]) -> str:
        ours = f"<td>{_cell(result, row, self.ours)}</td>"
        return ours if self.paper is None else f'{ours}<td class="paper">{_cell(result, row, self.paper)}</td>'


def _groups(result: ResultTable) -> list[_Group]:
    """The metrics of the table in their order; a table without means has all its columns."""
    means = [k for k, name in enumerate(result.head) if name.endswith("_mean")]
    if not means:
        return [_Group(_column_name(result, k), k, None, False) for k in range(1, len(result.head))]
    papers = {k: _paper_column(result, k) for k in means}
    wide = any(paper is not None for paper in papers.values())
    return [_Group(_column_name(result, k), k, paper, wide) for k, paper in papers.items()]


def _paper_column(result: ResultTable, column: int) -> int | None:
    name = f"paper_{result.head[column].removesuffix('_mean')}"
    return result.head.index(name) if name in result.head else None


def _is_said_elsewhere(result: ResultTable, column: int) -> bool:
    """Standard errors stand beside their means; what is the same in all rows in the caption or a heading."""
    name = result.head[column]
    same = (name == GAIN_OVER and _gain_over(result) is not None) or (name == REPLICATES and _replicates(result) > 0)
    return same or _mean_of_error(result, column) is not None


def _replicates(result: ResultTable) -> int:
    """Data sets that the means are over, where it is the same in all rows; else 0."""
    if REPLICATES not in result.head:
        return 0
    counts = {row[result.head.index(REPLICATES)] for row in result.rows}
    count = counts.pop() if len(counts) == 1 else ""
    return int(count) if count.isdigit() else 0


def _folded(name: str, result: ResultTable, columns: Sequence[int]) -> str:
    if not columns:
        return ""
    rows = {row[0]: [_cell(result, row, k) for k in columns] for row in result.rows}
    head = [_column_name(result, k) for k in columns]
    caption = f"{readable(name)}, further columns"
    inner = table(caption, head, rows, head_of_rows=result.head[0], kind="metrics wide")
    return f"<details><summary>single data sets, and more of the paper's numbers</summary>{inner}</details>"


def table_charts(name: str, result: ResultTable) -> list[Chart]:
    """Means of the first metric, gains beside the paper's, and TC; what the table lacks is left out."""
    charts = []
    for metric in _drawn_metrics(result) if result.rows else []:
        named = [Series("ours", css_colour(OURS), "")]
        if metric == GAIN and PAPER_GAIN in result.head:
            named += [Series("the paper's", css_colour(PAPER), "")]
        charts.append(_chart(name, result, metric, named))
    return charts


def write_table_plot(path: Path, output: Path) -> None:
    """Write an SVG file with the charts of a table side by side, on white; an empty table gives empty axes."""
    result = read_table(path)
    metrics: list[str | None] = [*_drawn_metrics(result)] or [None]
    with drawing_style(path.stem):
        figure = new_figure(_width(result) * len(metrics), _height(result) + 0.45)
        panels = figure.subplots(1, len(metrics), squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            _draw(bare(axes, grid="x"), result, metric)
            title = _title(result, metric)
            # Longer ones would run into the next panel's.
            axes.set_title(title if len(title) <= 48 else title.replace(", mean", "\nmean"), fontsize=9, loc="left")
        named = {
            text: handle for axes in panels for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        if len(named) > 1:
            figure.legend(named.values(), named, loc="outside lower center", ncols=len(named), frameon=False)
        write_svg(figure, output)


def main_metric(result: ResultTable) -> str | None:
    """The first metric with means that is no gain."""
    means = (name.removesuffix("_mean") for name in result.head if name.endswith("_mean"))
    return next((name for name in means if name != GAIN), None)


def readable(name: str) -> str:
    """A table's file name as words: table4 → Table 4."""
    words = re.sub(r"(?<=[A-Za-z])(?=\d)", " ", name.replace("_", " ").replace("-", " "))
    return words[:1].upper() + words[1:]


def _problems(result: ResultTable) -> list[str]:
    width = len(result.head)
    problems = [
        f"row {n} has {len(row)} cells, the header {width}" for n, row in enumerate(result.rows, 1) if len(row) != width
    ]
    names = [row[0] for row in result.rows]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    problems += [f"row {name!r} occurs {names.count(name)} times" for name in repeated]
    numeric = [k for k, name in enumerate(result.head) if name.endswith(("_mean", "_se")) or name == PAPER_GAIN]
    return problems + [
        f"row {row[0]!r}: {result.head[k]} must be a number or empty, not {row[k]!r}"
        for row in result.rows
        for k in numeric
        if len(row) == width and row[k].strip() and _number(row[k]) is None
    ]


def _number(text: str) -> float | None:
    """The finite number in a cell; None when it is empty, no number, or not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _mean_of_error(result: ResultTable, column: int) -> int | None:
    """The column of the means that a column of standard errors belongs to."""
    name = result.head[column]
    mean = f"{name.removesuffix('_se')}_mean"
    return result.head.index(mean) if name.endswith("_se") and mean in result.head else None


def _cell(result: ResultTable, row: Sequence[str], column: int) -> str:
    name, text = result.head[column], row[column]
    if not name.endswith("_mean"):
        return escape(_shown(name, text))
    shown = escape(_shown(name, text))
    error = f"{name.removesuffix('_mean')}_se"
    spread = _number(row[result.head.index(error)]) if error in result.head else None
    share = fraction(name, _number(text))
    if MISSING != shown and spread is not None:
        digits = len(shown.partition(".")[2])
        scale = 100 if is_fraction(name) or _is_gain(name) else 1
        shown += f' <span class="error">± {scale * spread:.{digits}f}</span>'
    return shown + ("" if share is None or _is_gain(name) else bar(share))


def _shown(name: str, text: str) -> str:
    """A cell as text: gains as signed percentage points, fractions in percent, means in few digits, the rest as is."""
    value = _number(text)
    if value is None:
        return text.strip() or MISSING
    if _is_gain(name):
        return f"{100 * value:+.1f}" if round(100 * value, 1) else "0.0"
    if is_fraction(name):
        return MISSING if value < 0 else f"{100 * value:.1f}"
    return number(value) if name.endswith("_mean") else text


def _is_gain(name: str) -> bool:
    return re.search(r"(^|_)gain($|_)", name) is not None


def _column_name(result: ResultTable, column: int) -> str:
    """A column as it is called on the page; that of the gains says over what."""
    name = result.head[column].removesuffix("_mean").replace("_", " ")
    over = _gain_over(result)
    return f"gain over {over}" if name == GAIN and over is not None else name


def _gain_over(result: ResultTable) -> str | None:
    """What the gains of all rows are over; None where the table does not say, or rows differ."""
    if GAIN_OVER not in result.head:
        return None
    named = {row[result.head.index(GAIN_OVER)] for row in result.rows}
    return named.pop() if len(named) == 1 else None


def _drawn_metrics(result: ResultTable) -> list[str]:
    """The first metric, the gains, and TC where any row has it."""
    metrics = [main_metric(result), GAIN if f"{GAIN}_mean" in result.head else None]
    known = any(value is not None for value in _column(result, f"{CONSISTENCY}_mean"))
    metrics += [CONSISTENCY] if known and CONSISTENCY != metrics[0] else []
    return [metric for metric in metrics if metric is not None]


def _chart(name: str, result: ResultTable, metric: str, named: Sequence[Series]) -> Chart:
    with drawing_style(f"{name} {metric}"):
        figure = new_figure(_width(result), _height(result))
        _draw(bare(figure.add_subplot(), grid="x"), result, metric)
        svg = to_svg(figure, f"{readable(name)}: {_title(result, metric)}")
    return Chart(_title(result, metric), svg, tuple(named))


def _title(result: ResultTable, metric: str | None) -> str:
    if metric is None:
        return "no results"
    if metric == GAIN:
        first = result.rows[0][0] if result.rows else "the first row"
        return f"gain over {_gain_over(result) or first}, mean ± standard error"
    return f"{metric.replace('_', ' ')}, mean ± standard error"


def _height(result: ResultTable) -> float:
    lines = max((_lines_of_name(row[0]).count("\n") for row in result.rows), default=0)
    return 0.55 + (0.3 if lines == 0 else 0.36) * max(len(result.rows), 2)


def _width(result: ResultTable) -> float:
    """Inches of one plot: wider where the names of rows would leave it no room."""
    longest = max((len(line) for row in result.rows for line in _lines_of_name(row[0]).split("\n")), default=0)
    return max(3.8, 2.1 + 0.08 * longest)


def _lines_of_name(name: str) -> str:
    """The name of a row as it stands beside a plot: what was added to a variant has a line of its own."""
    return name.replace(" + ", "\n+ ")


def _draw(axes: Axes, result: ResultTable, metric: str | None) -> None:
    """Rows from the top, a dot with its error for ours, and an open diamond for the paper's gain."""
    places = list(range(len(result.rows)))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_yticks(places, [_lines_of_name(row[0]) for row in result.rows])
    axes.set_ylim(max(len(places), 2) - 0.5, -0.5)
    axes.spines["bottom"].set_visible(False)
    if metric is None:
        return
    means, errors = _column(result, f"{metric}_mean"), _column(result, f"{metric}_se")
    paper = _column(result, PAPER_GAIN) if metric == GAIN else [None] * len(places)
    lift = 0.13 if any(value is not None for value in paper) else 0.0
    if metric == GAIN:
        axes.axvline(0, color=INK, linewidth=0.8)
    _dots(axes, [p - lift for p in places], means, errors, OURS, "o", "ours")
    _dots(axes, [p + lift for p in places], paper, [None] * len(places), PAPER, "D", "the paper's")


def _dots(
    axes: Axes,
    places: Sequence[float],
    values: Sequence[float | None],
    errors: Sequence[float | None],
    colour: str,
    marker: str,
    name: str,
) -> None:
    known = [(v, p, e or 0.0) for p, v, e in zip(places, values, errors, strict=True) if v is not None]
    if not known:
        return
    x, y, spread = zip(*known, strict=True)
    fill = "none" if marker == "D" else colour
    axes.errorbar(
        x, y, xerr=spread, fmt=marker, color=colour, markersize=5, markerfacecolor=fill, elinewidth=1.3, label=name
    )


def _column(result: ResultTable, name: str) -> list[float | None]:
    """Values as they are drawn (fractions and gains times 100), None where unknown or not in the table."""
    if name not in result.head:
        return [None] * len(result.rows)
    k = result.head.index(name)
    return [_drawn(name, _number(row[k])) for row in result.rows]


def _drawn(name: str, value: float | None) -> float | None:
    if value is None or _is_gain(name):
        return None if value is None else 100 * value
    share = fraction(name, value)
    return 100 * share if share is not None else None if is_fraction(name) else value
