from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from wsvis_core.check import load_config
from wsvis_core.cli import main
from wsvis_core.errors import WsvisError
from wsvis_core.planning.jobs import read_summary
from wsvis_core.planning.plan import make_plan, plan_lines
from wsvis_core.planning.rates import own_rate, spent_so_far
from wsvis_core.planning.reference import REFERENCE
from wsvis_core.planning.size import DataSize, data_size, stated_size
from wsvis_core.planning.work import UNITS, Work, amount, megapixels
from wsvis_core.stages import STAGES

ROOT = Path(__file__).resolve().parents[2]
HEAD = "output_file\tdate\trule\tlog-file(s)\tinput-file(s)\tshellcmd\tstatus\tplan"
SIZE = DataSize({"train": 6, "val": 2}, {"train": 60, "val": 20}, 360, 640, "as stated")


@pytest.fixture
def config(tmp_path):
    """The repository's configuration with a data set `mine`."""
    mine = {
        "kind": "youtube_vis",
        "root": str(tmp_path / "data"),
        "shards": {"train": 3, "val": 1},
        "split": {"val_per_category": 1, "target_union": 2},
        "cam": {"epochs": 4, "crop": 100},
        "stage1": {"long_side": 320},
        "maskconsist": {"iterations": 50, "pairs_per_step": 2, "accumulate": 3, "short_side": 180},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"mine": mine}}))
    return load_config([ROOT / "config.yaml", tmp_path / "mine.yaml"])


def row(path: str, rule: str, plan: str = "update pending") -> str:
    return f"{path}\t-\t{rule}\t-\t-\t-\tmissing\t{plan}"


def test_every_stage_has_a_unit_and_a_reference():
    # publish_tracks copies one file: a rule without settings of its own.
    assert set(UNITS) == set(REFERENCE) == {*STAGES, "publish_tracks"}
    assert all(rate.cpu_seconds >= 0 and rate.bytes >= 0 for rate in REFERENCE.values())


def test_jobs_of_a_summary():
    lines = [
        HEAD,
        row("results/mine_report.html", "make_report"),
        row("results/mine_strips.jpg", "make_report"),
        row("results/mine/flow/dis/shard-train-000.h5", "extract_flow", "no update"),
        row("results/mine/flow/dis/shard-train-001.h5", "extract_flow"),
        row("results/mine/flow/dis/shard-val-000.h5", "extract_flow"),
        row("results/mine/irn/maskrcnn/round-1/weights.pt", "train_maskconsist", "no update"),
        row("results/mine/irn/maskrcnn/round-1/training.jsonl", "train_maskconsist"),
        row("results/other/tables/table5.csv", "make_table"),
        row("results/other/tables/table5.svg", "make_table"),
        row("results/other/tables/table6.csv", "make_table"),
        row("results/other/tables/table6.svg", "make_table"),
    ]
    jobs = read_summary("\n".join(lines), "mine")
    works = [(job.work.stage, job.work.dataset, job.work.split, job.todo, len(job.outputs)) for job in jobs]
    assert works == [
        ("make_report", "mine", None, True, 2),
        ("extract_flow", "mine", "train", False, 1),
        ("extract_flow", "mine", "train", True, 1),
        ("extract_flow", "mine", "val", True, 1),
        ("train_maskconsist", "mine", None, True, 2),
        ("make_table", "other", None, True, 2),
        ("make_table", "other", None, True, 2),
    ]
    assert (jobs[4].work.labeller, jobs[4].work.segmenter) == ("irn", "maskrcnn")


def test_no_job_in_an_empty_summary():
    assert read_summary(HEAD, "mine") == [] == read_summary("", "mine")


@pytest.mark.parametrize(
    ("stage", "path", "units", "pixels"),
    [
        ("extract_flow", "flow/dis/shard-train-001.h5", 20, 640 * 360),
        ("extract_flow", "flow/dis/shard-val-000.h5", 20, 640 * 360),
        ("train_cam", "cam/weights.pt", 4 * 60, 100 * 100),
        ("make_label_maps", "irn/label_maps/shard-train-002.h5", 20, 320 * 180),
        ("train_maskconsist", "irn/maskconsist/round-0/weights.pt", 50 * 3 * 2 * 2, 320 * 180),
        ("evaluate_pseudo_labels", "irn/pseudo_label_metrics.json", 60, 640 * 360),
        ("track_instances", "irn/maskconsist/round-0/unovost/tracks.json", 20, 640 * 360),
        ("prepare_dataset", "dataset/videos.json", 80, 640 * 360),
        ("make_table", "tables/table5.csv", 1, 1e6),
    ],
)
def test_work_of_a_job(config, stage, path, units, pixels):
    work = Work.of_path(stage, "mine", path)
    assert amount(work, config, SIZE) == units
    assert megapixels(work, config, SIZE) == pytest.approx(pixels / 1e6)


def test_a_segmenters_own_settings_decide_its_work(config, tmp_path):
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"segmenters": {"long": {"iterations": 500}}}))
    longer = load_config([ROOT / "config.yaml", tmp_path / "mine.yaml", tmp_path / "more.yaml"])
    work = Work.of_path("train_maskconsist", "mine", "irn/long/round-0/weights.pt")
    plain = Work.of_path("train_maskconsist", "mine", "irn/maskrcnn/round-0/weights.pt")
    assert amount(work, longer, SIZE) == 10 * amount(plain, longer, SIZE)


def test_shards_add_up_to_their_split(config):
    shards = [Work.of_path("extract_flow", "mine", f"flow/dis/shard-train-{n:03d}.h5") for n in range(3)]
    assert sum(amount(work, config, SIZE) for work in shards) == 60


def benchmark(folder: Path, name: str, seconds: object, cpu: object, log: str = "") -> None:
    path = folder / "benchmarks" / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:01\t1\t{cpu}\n")
    (folder / f"{name}.log").parent.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.log").write_text(log)


def test_rates_of_jobs_that_ran(config, tmp_path):
    benchmark(tmp_path, "extract_flow/dis/train-000", 10, 8)
    benchmark(tmp_path, "extract_flow/dis/val-000", 20, 12)
    spent = spent_so_far(tmp_path, "extract_flow", "mine", config, SIZE)
    assert (spent.units, spent.cpu_seconds, spent.wall_seconds, spent.on_gpu) == (40, 20, 30, False)
    rate = own_rate(spent)
    assert rate.own and rate.cpu_seconds == 0.5 and rate.gpu_seconds is None


def test_a_job_that_computed_on_a_gpu_gives_gpu_hours(config, tmp_path):
    benchmark(tmp_path, "train_cam", 480, 60, "10:00:00 computing on GPU 1\n")
    rate = own_rate(spent_so_far(tmp_path, "train_cam", "mine", config, SIZE))
    assert rate.gpu_seconds == 2.0 and rate.cpu_seconds == 0.25


def test_nothing_ran_nothing_known(config, tmp_path):
    assert spent_so_far(tmp_path, "train_cam", "mine", config, SIZE) is None and own_rate(None) is None
    benchmark(tmp_path, "train_cam", "NA", "-")
    assert spent_so_far(tmp_path, "train_cam", "mine", config, SIZE) is None


def test_the_plan_adds_up(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logs, results = Path("logs"), Path("results/mine/flow/dis")
    benchmark(logs / "mine", "extract_flow/dis/train-000", 3600, 7200)
    results.mkdir(parents=True)
    (results / "shard-train-000.h5").write_bytes(b"x" * 1000)
    shards = [("train-000", "no update"), ("train-001", "update pending"), ("val-000", "update pending")]
    lines = [row(f"{results}/shard-{name}.h5", "extract_flow", plan) for name, plan in shards]
    jobs = read_summary("\n".join([HEAD, *lines]), "mine")
    plan = make_plan(config, jobs, {"mine": SIZE}, logs)
    (stage,) = plan.stages
    assert (stage.jobs, stage.jobs_todo, stage.units, stage.units_todo, stage.own) == (3, 2, 60, 40, True)
    assert stage.cpu_hours == pytest.approx(6) and stage.cpu_hours_todo == pytest.approx(4)
    unseen = REFERENCE["extract_flow"].bytes * 20 * 640 * 360 / 1e6 / 1e9
    assert stage.gigabytes_todo == pytest.approx(2 * unseen)
    assert stage.gigabytes == pytest.approx(2 * unseen + 1000 / 1e9)
    assert re.search(r"^extract_flow +3 +2 +40 frames +0\.01 +4\.0 +own$", "\n".join(plan_lines(plan)), re.MULTILINE)


def test_hours_on_a_gpu_are_unknown_until_a_job_has_run_there(config, tmp_path):
    jobs = read_summary("\n".join([HEAD, row("results/mine/cam/weights.pt", "train_cam")]), "mine")
    text = "\n".join(plan_lines(make_plan(config, jobs, {"mine": SIZE}, tmp_path)))
    assert "reference" in text and "GPU h '?'" in text
    benchmark(tmp_path / "mine", "train_cam", 7200, 60, "10:00:00 computing on GPU 0\n")
    text = "\n".join(plan_lines(make_plan(config, jobs, {"mine": SIZE}, tmp_path)))
    assert "GPU h '?'" not in text and "2.0  own" in text


def test_sizes_from_what_is_there(config, tmp_path):
    results, data = tmp_path / "results", tmp_path / "data"
    with pytest.raises(WsvisError, match=r"data/train.json does not exist, so the size of data set 'mine' is unknown"):
        data_size(config, "mine", results)
    stated = stated_size(config.datasets["mine"], 8, 81, 360, 640)
    assert data_size(config, "mine", results, stated) is stated
    assert sum(stated.frames.values()) == 81 and stated.videos == {"train": 6, "val": 2}
    data.mkdir()
    videos = [{"height": 90, "width": 160, "file_names": ["x.jpg"] * length} for length in (4, 4, 4, 8)]
    (data / "train.json").write_text(json.dumps({"videos": videos, "categories": [{}, {}]}))
    size = data_size(config, "mine", results)
    assert (size.videos, size.frames) == ({"train": 2, "val": 2}, {"train": 10, "val": 10})
    assert (size.height, size.width) == (90, 160)


def test_a_data_set_without_videos_has_size_0(config):
    size = stated_size(config.datasets["mine"], 1, 0, 90, 160)
    assert sum(size.frames.values()) == 0


def test_the_generated_data_sets_know_their_size_beforehand(config, tmp_path):
    size = data_size(config, "demo", tmp_path)
    assert sum(size.videos.values()) == 84 and size.videos["val"] == 24 and size.source == "the generator's settings"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dataset", "ytvis"], "data/ytvis/train.json does not exist"),
        (["--dataset", "ytvis", "--videos", "5"], "a stated size needs all of --videos, --frames and --frame-size"),
        (["--dataset", "nothing"], "nothing"),
    ],
)
def test_mistakes_are_sentences(capsys, monkeypatch, options, said):
    monkeypatch.chdir(ROOT)
    if Path("data/ytvis/train.json").exists():
        pytest.skip("YouTube-VIS is there")
    assert main(["plan", *options]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
