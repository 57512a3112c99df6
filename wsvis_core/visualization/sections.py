"""The sections of the report, each from its part of ReportInputs to HTML; an empty part says that it is empty."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import yaml

from wsvis_core.visualization.drawing import Chart
from wsvis_core.visualization.inputs import Metrics, ReportInputs
from wsvis_core.visualization.markup import (
    MISSING,
    bar,
    duration,
    escape,
    fraction,
    metric,
    metric_table,
    number,
    table,
)
from wsvis_core.visualization.plots import scalar_charts


def headline(inputs: ReportInputs) -> str:
    """The few numbers a reader came for, largest first on the page; what was not evaluated has no card."""
    clips, held_out = inputs.gallery.clips, inputs.gallery.held_out
    tracks = sum(len(clip.tracks or ()) for clip in clips)
    cards = [
        _card("Video AP50", "AP50", inputs.video_metrics, "tracked masks, whole videos"),
        _card("Video mAP", "mAP", inputs.video_metrics, "mean over IoU .50 to .95"),
        _card("Frame AP50", "AP50", inputs.frame_metrics, "masks of single frames"),
        _card(
            "Temporal consistency",
            "TC",
            inputs.frame_metrics,
            "masks against those of the frame before: how steady, not how right",
        ),
        *(
            _card(f"Pseudo-label AP50, {name}", "AP50", metrics, "training labels of stage 1")
            for name, metrics in inputs.pseudo_labels.items()
        ),
    ]
    if not inputs.video_metrics and clips:
        cards += [
            _count_card("Tracks", tracks, "in the videos on this page"),
            _count_card("Videos", held_out, "looked at, without masks to compare with"),
        ]
    return f'<div class="cards">{"".join(cards)}</div>' if any(cards) else empty("Nothing was evaluated.")


def metrics_section(inputs: ReportInputs) -> str:
    """The tables of video and frame metrics, whole and per category."""
    whole = {"video": inputs.video_metrics, "frame": inputs.frame_metrics}
    main = {name: values for name, values in whole.items() if values}
    parts = [
        metric_table("Held-out videos and frames", main, head_of_rows="level")
        if main
        else empty("No video or frame metrics: the data set has no ground truth, or evaluation has not run."),
    ]
    if inputs.categories:
        parts.append(metric_table("Per category, best first", by_quality(inputs.categories), head_of_rows="category"))
    return f'<div class="tables one">{"".join(parts)}</div>'


def by_quality(categories: Mapping[str, Metrics]) -> dict[str, Metrics]:
    """The categories sorted by their first metric, best first, unknown last, ties in the given order."""

    def rank(item: tuple[str, Metrics]) -> float:
        first = next(iter(item[1].items()), None)
        value = None if first is None else fraction(*first)
        return 1.0 if value is None else -value

    return dict(sorted(categories.items(), key=rank))


def training_section(scalars: Mapping[str, Sequence[Mapping[str, float]]], *, without: Collection[str] = ()) -> str:
    """The curves of every training stage as small multiples; `without`: scalars that are shown elsewhere."""
    if not scalars:
        return empty("No training records.")
    parts = []
    for stage, records in scalars.items():
        charts = scalar_charts(stage, records, without=without)
        body = "".join(map(figure_html, charts)) or empty("No records of this stage.")
        last = max((int(record.get("iteration", 0)) for record in records), default=0)
        note = f"{number(last)} iterations" if last else ""
        parts.append(
            f'<section class="stage"><header><h3>{escape(stage)}</h3><p class="note">{note}</p></header>'
            f'<div class="charts">{body}</div></section>'
        )
    return "".join(parts)


def run_section(inputs: ReportInputs) -> str:
    """Split counts, cost per stage, and the settings folded away."""
    counts = _count_table(inputs.split_counts) if inputs.split_counts else empty("No counts of the data set's splits.")
    costs = cost_table(inputs.stage_costs) if inputs.stage_costs else empty("No benchmark files of the stages.")
    text = yaml.safe_dump(_plain(inputs.settings), sort_keys=False, allow_unicode=True) if inputs.settings else ""
    settings = (
        f'<details><summary>Settings</summary><pre tabindex="0">{escape(text)}</pre></details>'
        if text
        else empty("No settings.")
    )
    return f'<div class="tables">{counts}{costs}</div>{settings}'


def cost_table(costs: Sequence[Mapping[str, object]]) -> str:
    """Time and peak memory per rule, a bar against the longest rule, and a last row of totals."""
    seconds = [_float(cost.get("seconds")) for cost in costs]
    total = sum(value for value in seconds if value is not None)
    longest = max((value for value in seconds if value is not None), default=0.0)
    rows: dict[str, list[str]] = {}
    for cost, value in zip(costs, seconds, strict=True):
        time = MISSING if value is None else duration(value) + bar(value / longest if longest else 0.0)
        rows[_unused(str(cost.get("rule", "?")), rows)] = [time, _memory(_float(cost.get("max_rss_mb")))]
    peaks = [value for cost in costs if (value := _float(cost.get("max_rss_mb"))) is not None]
    rows["all stages"] = [duration(total), _memory(max(peaks, default=None))]
    return table("Cost per stage", ["time", "peak memory"], rows, head_of_rows="rule", kind="metrics costs")


def facts_list(facts: Mapping[str, str]) -> str:
    """Short facts of the run as one line of terms and values."""
    if not facts:
        return ""
    entries = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{entries}</dl>'


def _card(title: str, name: str, metrics: Metrics, note: str) -> str:
    """A card of a metric that is known, else nothing."""
    share = fraction(name, metrics.get(name))
    if share is None:
        return ""
    shown = f"<strong>{metric(name, share)}</strong>{bar(share)}"
    return f'<div class="card"><p class="name">{escape(title)}</p>{shown}<p class="note">{escape(note)}</p></div>'


def _count_card(title: str, count: int, note: str) -> str:
    shown = f"<strong>{number(count)}</strong>"
    return f'<div class="card"><p class="name">{escape(title)}</p>{shown}<p class="note">{escape(note)}</p></div>'


def figure_html(chart: Chart) -> str:
    """A chart with its title above and its lines named below."""
    if len(chart.series) == 1:
        caption, keys = f"{escape(chart.title)} <b>{escape(chart.series[0].last)}</b>", ""
    else:
        caption = escape(chart.title)
        entries = "".join(
            f'<li style="--dot:{line.colour}">{escape(line.name)} <b>{escape(line.last)}</b></li>'
            for line in chart.series
        )
        keys = f'<ul class="dots">{entries}</ul>'
    return f'<figure class="chart"><figcaption>{caption}</figcaption>{chart.svg}{keys}</figure>'


def _count_table(counts: Mapping[str, Mapping[str, int]]) -> str:
    names = list(dict.fromkeys(name for row in counts.values() for name in row))
    rows = {split: [number(row.get(name)) for name in names] for split, row in counts.items()}
    return table("Data set splits", names, rows, head_of_rows="split", kind="metrics")


def empty(text: str) -> str:
    """A line that says what is missing."""
    return f'<p class="empty">{escape(text)}</p>'


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _memory(megabytes: float | None) -> str:
    if megabytes is None:
        return MISSING
    return f"{megabytes / 1024:.1f} GiB" if megabytes >= 1024 else f"{megabytes:.0f} MiB"


def _unused(name: str, rows: Mapping[str, object]) -> str:
    count = sum(1 for other in rows if other == name or other.startswith(f"{name} ("))
    return name if count == 0 else f"{name} ({count + 1})"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | str | bool | None) else str(value)
