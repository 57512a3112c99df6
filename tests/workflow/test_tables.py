"""What a table asks for: every labeller on the data set and its replicates, and nothing twice."""

from __future__ import annotations

import re

import pytest
import yaml

pytestmark = [pytest.mark.workflow]


def test_table_4_asks_for_every_labeller_on_every_replicate(make_project, tmp_path) -> None:
    project = make_project(tmp_path / "project", {}, ["results/bench/tables/table4.csv"])
    outcome = project.run("--dry-run")
    assert outcome.returncode == 0, outcome.output
    # 3 data sets of 4 shards; labellers that differ in nothing that makes label maps share them.
    assert outcome.jobs == {
        "generate_dataset": 3,
        "prepare_dataset": 3,
        "extract_flow": 12,
        "train_cam": 3,
        "extract_cam": 12,
        "make_label_maps": 24,
        "train_flowirn": 12,
        "make_pseudo_labels": 48,
        "evaluate_pseudo_labels": 12,
        "make_table4": 1,
    }
    made = {re.sub(r" on.*", "", message) for message in outcome.messages if message.startswith("Label maps")}
    assert made == {"Label maps of irn", "Label maps of flowirn"}


def test_replicates_differ_in_their_seeds_alone(root) -> None:
    blocks = yaml.safe_load((root / "config.yaml").read_text())["datasets"]
    bench = blocks["bench"]
    seeds = [(bench["seed"], bench["synthetic"]["seed"])]
    for name in bench["replicates"]:
        other = blocks[name]
        seeds.append((other["seed"], other["synthetic"]["seed"]))
        same = {**other, "synthetic": {**other["synthetic"], "seed": bench["synthetic"]["seed"]}}
        assert {**same, "seed": bench["seed"], "root": bench["root"], "replicates": bench["replicates"]} == bench
    assert len(seeds) == len({first for first, _ in seeds}) == len({second for _, second in seeds}) == 3


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            {"datasets": {"bench": {"replicates": ["bench_9"]}}},
            r"datasets.bench: replicates: 'bench_9' is not one of the datasets .*; did you mean 'bench_\d'\?",
        ),
        (
            {"tables": {"table4": ["irn", "flowirm"]}},
            r"asks for 'flowirm', which is not one of the labellers .*; did you mean 'flowirn'\?",
        ),
    ],
)
def test_a_table_of_something_unknown_says_so(make_project, tmp_path, edit, message) -> None:
    project = make_project(tmp_path / "project", {}, ["results/bench/tables/table4.csv"])
    outcome = project.run("--dry-run", edit=edit)
    assert outcome.returncode != 0 and re.search(message, outcome.output), outcome.output
    assert "Traceback" not in outcome.output
