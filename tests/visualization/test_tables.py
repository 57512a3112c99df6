"""Tables over many runs: reading, cells, charts, and the plot beside the CSV."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from wsvis_core.errors import WsvisError
from wsvis_core.visualization.inputs import ResultTable
from wsvis_core.visualization.tables import (
    main_metric,
    read_table,
    readable,
    table_charts,
    table_html,
    write_table_plot,
)
from wsvis_core.visualization.tables_section import tables_section

HEAD = "labeller,replicates,AP50_mean,AP50_se,gain_mean,gain_se,labels_mean,labels_se,paper_AP50,paper_gain,AP50_1"
CSV = f"""{HEAD}
irn,3,0.2512,0.0123,0.0000,0.0000,1.25,0.031,0.2542,0.0000,0.25
"a<b>",3,0.3,,-0.0224,0.01,1.5,,,,0.31
"""
TABLE = ResultTable(tuple(HEAD.split(",")), (("irn", *"3 0.2512 0.0123 0 0 1.25 0.031 0.2542 0.0 0.25".split()),))


@pytest.fixture
def table4(tmp_path):
    path = tmp_path / "table4.csv"
    path.write_text(CSV)
    return path


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    return [[re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_the_paper_s_numbers_stand_beside_ours_and_the_rest_is_folded_away(table4):
    html = table_html("table4", read_table(table4))
    head, below, irn, odd, more, irn_more, odd_more = cells(html)
    assert head == ["labeller", "AP50", "gain", "labels"]
    assert below == ["ours", "paper", "ours", "paper"]  # "labels" has no number of the paper, and spans both rows
    assert irn == ["irn", "25.1 ± 1.2", "25.4", "0.0 ± 0.0", "0.0", "1.25 ± 0.03"]
    assert odd == ["a&lt;b&gt;", "30.0", "–", "-2.2 ± 1.0", "–", "1.50"]
    assert (more, irn_more, odd_more) == (["labeller", "AP50 1"], ["irn", "25.0"], ["a&lt;b&gt;", "31.0"])
    assert html.index("<details>") < html.index("further columns") and html.count("<table") == 2
    assert html.count('colspan="2"') == 2 and html.count('rowspan="2"') == 2


def test_the_number_of_data_sets_is_said_once_where_it_is_the_same(table4):
    assert "<caption>Table 4, means over 3 data sets</caption>" in table_html("table4", read_table(table4))
    one = ResultTable(("row", "replicates", "AP50_mean"), (("a", "1", "0.5"),))
    html = table_html("table4", one)
    assert "<caption>Table 4</caption>" in html and "replicates" not in html and "<details" not in html
    mixed = ResultTable(one.head, (*one.rows, ("b", "2", "0.5")))
    assert cells(table_html("table4", mixed))[-3:] == [["row", "replicates"], ["a", "1"], ["b", "2"]]


def test_fractions_have_bars_and_the_caption_is_the_name_in_words(table4):
    html = table_html("table4", read_table(table4))
    assert html.count('class="bar"') == 2
    assert readable("table_5b") == "Table 5b" and readable("table10") == "Table 10"


def test_text_counts_and_unknown_values_stay_as_they_are():
    odd = ResultTable(("row", "note", "AP50_mean", "loss_se", "mAP"), (("x", "a & b", "-1", "0.5", ""),))
    head, row, more, rest = cells(table_html("t", odd))
    assert (head, row) == (["row", "AP50"], ["x", "–"])
    assert (more, rest) == (["row", "note", "loss se", "mAP"], ["x", "a &amp; b", "0.5", "–"])
    plain = ResultTable(("row", "note", "mAP"), (("x", "a & b", "0.5"),))
    assert cells(table_html("t", plain)) == [["row", "note", "mAP"], ["x", "a &amp; b", "50.0"]]


def test_charts_of_means_and_of_gains():
    means, gains = table_charts("table4", TABLE)
    assert means.title == "AP50, mean ± standard error" and [line.name for line in means.series] == ["ours"]
    assert gains.title == "gain over irn, mean ± standard error"
    assert [line.name for line in gains.series] == ["ours", "the paper's"]
    assert "irn" in means.svg and "var(--series-2)" in gains.svg and "var(--series-2)" not in means.svg


def test_what_a_table_lacks_is_not_drawn():
    plain = ResultTable(("tracker", "IDF1_mean"), (("unovost", "12.5"), ("none", "")))
    (chart,) = table_charts("table6", plain)
    assert chart.title == "IDF1, mean ± standard error" and main_metric(plain) == "IDF1"
    assert table_charts("t", ResultTable(("a", "b"), (("x", "y"),))) == []
    assert table_charts("t", ResultTable(TABLE.head, ())) == [] == table_charts("t", ResultTable((), ()))


MASKS = ResultTable(
    tuple("segmenter AP50_mean gain_mean TC_mean TC_se TC_gain_mean gain_over paper_gain paper_TC".split()),
    (
        ("maskrcnn", "0.3", "0", "0.81", "0.01", "0", "maskrcnn", "0", "0.8043"),
        ("maskconsist + self-training", "0.4", "0.1", "", "", "", "maskrcnn", "0.0457", ""),
    ),
)


def test_consistency_is_a_fraction_with_a_chart_and_the_gain_says_over_what():
    head, below, first, second = cells(table_html("table5", MASKS))
    assert head == "segmenter|AP50|gain over maskrcnn|TC|TC gain".split("|") and below == ["ours", "paper"] * 2
    assert first == ["maskrcnn", "30.0", "0.0", "0.0", "81.0 ± 1.0", "80.4", "0.0"]
    assert second == ["maskconsist + self-training", "40.0", "+10.0", "+4.6", "–", "–", "–"]
    assert table_html("table5", MASKS).count('class="bar"') == 3  # none under a gain
    charts = table_charts("table5", MASKS)
    assert [chart.title for chart in charts] == [
        "AP50, mean ± standard error",
        "gain over maskrcnn, mean ± standard error",
        "TC, mean ± standard error",
    ]
    assert "+ self-training" in charts[0].svg and "maskconsist +" not in charts[0].svg  # two lines
    unknown = ResultTable(MASKS.head, (("x", "0.1", "", "", "", "", "x", "", ""),))
    assert len(table_charts("table5", unknown)) == 2


def test_gains_over_different_rows_keep_their_column():
    rows = (MASKS.rows[0], (*MASKS.rows[1][:6], "another", *MASKS.rows[1][7:]))
    head, _, _, _, more, first, second = cells(table_html("table5", ResultTable(MASKS.head, rows)))
    assert head[2] == "gain" and more == ["segmenter", "gain over"]
    assert (first[1], second[1]) == ("maskrcnn", "another")


def places(svg: str, colour: str) -> list[float]:
    """Horizontal places of the markers of a colour."""
    return [float(x) for x in re.findall(rf'<use [^>]*x="([\d.]+)"[^>]*{re.escape(colour)}', svg)]


def test_dots_lie_in_proportion_to_the_values():
    rows = (("a", "0.1", "0.0"), ("b", "0.2", "0.0"), ("c", "0.4", "0.0"), ("d", "", ""))
    (chart,) = table_charts("t", ResultTable(("row", "AP50_mean", "AP50_se"), rows))
    a, b, c = places(chart.svg, "var(--series-1)")
    assert (c - b) / (b - a) == pytest.approx(2, rel=1e-3)


def test_the_plot_is_a_sound_svg_file_of_its_own(table4, tmp_path):
    output = tmp_path / "out" / "table4.svg"
    write_table_plot(table4, output)
    text = output.read_text()
    root = ElementTree.fromstring(text.encode())
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"irn", "a<b>", "ours", "the paper's", "AP50, mean ± standard error"} <= set(words)
    assert "var(--" not in text and not re.search("#0[ab]00", text) and "<metadata" not in text
    assert list(output.parent.iterdir()) == [output]
    write_table_plot(table4, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text


def test_a_plot_is_wider_where_names_are_long(tmp_path):
    widths = []
    for name in ("irn", "flowirn / maskconsist", "flowirn / maskconsist / iou_tracker"):
        (tmp_path / "t.csv").write_text(f"row,mAP_mean\n{name},0.2\n")
        write_table_plot(tmp_path / "t.csv", tmp_path / "t.svg")
        root = ElementTree.fromstring((tmp_path / "t.svg").read_bytes())
        widths.append(float(root.get("width").removesuffix("pt")))
    assert widths[0] == widths[1] < widths[2]


@pytest.mark.parametrize("content", ["", HEAD + "\n", "labeller,note\nirn,x\n", "row,AP50_mean\nx,\n"])
def test_tables_without_rows_or_numbers_still_give_a_plot(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_text(content)
    write_table_plot(path, tmp_path / "t.svg")
    assert ElementTree.fromstring((tmp_path / "t.svg").read_bytes()).tag.endswith("svg")


def test_what_is_wrong_with_a_table_is_said_at_once(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("labeller,AP50_mean,note\nirn,much,x\nirn,0.1,y\nflowirn,0.2\n")
    with pytest.raises(WsvisError) as caught:
        read_table(path)
    assert str(caught.value) == (
        f"{path} is not a table of results; delete it and make it again:\n"
        "  row 3 has 2 cells, the header 3\n"
        "  row 'irn' occurs 2 times\n"
        "  row 'irn': AP50_mean must be a number or empty, not 'much'"
    )
    with pytest.raises(WsvisError, match=r"none\.csv does not exist; it is made by the rules in rules/tables\.smk"):
        read_table(tmp_path / "none.csv")


def test_the_section_shows_every_table_and_says_what_is_empty():
    html = tables_section({"table4": TABLE, "table5": ResultTable(("a",), ())})
    assert "Table 4" in html and "Table 5 has no rows." in html and html.count("<svg") == 2
    assert "no stage 2" in html and "the parts of MaskConsist" not in html
