"""Results that Snakemake is asked for, and the data sets there are."""

from __future__ import annotations

import pytest

from wsvis_core.errors import WsvisError
from wsvis_core.targets import check_targets

DATASETS = ("demo", "my_set")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--cores", "2", "results/demo_vis.json", "results/my_set_report.html"],
        ["-n", "--", "./results/demo/flow/dis/shard-val-000.h5", "results/my_set_strips.jpg"],
        ["data/dmo/train.json", "all", "results", "results/notes.txt"],
        ["--report", "results/pages/report.html", "--directory", "results/other/", "-d", "results/other/x"],
        ["--configfile", "results/other/settings.yaml", "--archive", "results/old/all.tar.gz"],
    ],
)
def test_what_is_there_or_no_result_is_left_to_snakemake(arguments) -> None:
    check_targets(arguments, DATASETS)


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("results/dmo_vis.json", "results/demo_vis.json"),
        ("results/dmeo_report.html", "results/demo_report.html"),
        ("results/dmo_quality.csv", "results/demo_quality.csv"),
        ("./results/myset/cam/weights.pt", "results/my_set/cam/weights.pt"),
    ],
)
def test_a_misspelt_data_set_is_named_with_the_one_that_was_meant(target, meant) -> None:
    with pytest.raises(WsvisError) as caught:
        check_targets(["--cores", "1", "--", target], DATASETS)
    assert f"the configuration has demo, my_set; did you mean {meant}?" in str(caught.value)


def test_another_data_set_says_where_it_would_come_from() -> None:
    with pytest.raises(WsvisError, match="results/zebra_vis.json is of a data set 'zebra'") as caught:
        check_targets(["results/zebra_vis.json"], DATASETS)
    assert "did you mean" not in str(caught.value) and "snakemake --configfile FILE" in str(caught.value)
