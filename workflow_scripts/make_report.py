"""Rule make_report: one page about a run of the configured pipeline."""

from pathlib import Path

from wsvis_core.config import build_section
from wsvis_core.job import job
from wsvis_core.quality.routes import chosen_route
from wsvis_core.visualization.collect import RunFiles, collect_report
from wsvis_core.visualization.picture import write_picture
from wsvis_core.visualization.report import make_report

files, pipeline = snakemake.input, snakemake.params.pipeline
labellers = dict.fromkeys([pipeline["labeller"], *pipeline["compare_labellers"]])
rounds = [f"round {number}" for number in range(pipeline["rounds"] + 1)]
labels = [Path(path) for path in files.train_labels]
each = len(labels) // len(labellers)
route = chosen_route(files.route)
predictions = [Path(path) for path in files.predictions]
shown = len(predictions) // len(snakemake.params.routes)
frame_metrics = dict(zip(rounds, map(Path, files.frame_metrics), strict=True))
if route > 0:  # Not the pipeline's own segmenter: its masks come last, as those of the page.
    frame_metrics[snakemake.params.routes[route]] = Path(files.route_frame_metrics[route])
trained = rounds if files.segmenter_records else []
records = {"classifier": files.cam_records}
records |= {f"labeller {Path(path).parent.name}": path for path in files.labeller_records}
records |= {f"segmenter, {name}": path for name, path in zip(trained, files.segmenter_records, strict=True)}
pairs = zip(trained, files.transfers, files.segmenter_records, strict=True)
transfers = {name: (Path(found), Path(seen)) for name, found, seen in pairs}
with job(snakemake.log[0], threads=snakemake.threads):
    inputs = collect_report(
        snakemake.wildcards.dataset,
        RunFiles(
            dataset=Path(files.dataset),
            ground_truth=Path(files.ground_truth),
            flow=[Path(path) for path in files.flow],
            cams=[Path(path) for path in files.cams],
            pseudo_labels=[Path(path) for path in files.pseudo_labels],
            predictions=predictions[route * shown : (route + 1) * shown],
            tracks=Path(files.tracks[route]),
            video_metrics=Path(files.metrics[route]),
            frame_metrics=frame_metrics,
            pseudo_label_metrics=dict(zip(labellers, map(Path, files.pseudo_label_metrics), strict=True)),
            train_ground_truth=Path(files.train_ground_truth),
            train_labels={name: labels[i * each : (i + 1) * each] for i, name in enumerate(labellers)},
            records={name: Path(path) for name, path in records.items()},
            benchmarks=Path(snakemake.params.benchmarks),
            transfers=transfers,
            consistency=Path(files.consistency[route]),
            quality=Path(files.quality[route]),
            quality_metrics=Path(files.quality_metrics[route]),
            routes=Path(files.route[0]) if files.route else None,
            tables={Path(path).stem: Path(path) for path in files.tables},
        ),
        pipeline | {"segmenter": snakemake.params.routes[route]},
        snakemake.params.run_settings,
        build_section("report", snakemake.params.settings["report"]),
    )
    make_report(inputs, Path(snakemake.output.page))
    write_picture(inputs, Path(snakemake.output.picture))
