from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsvis_core.datasets.findings import Findings
from wsvis_core.errors import WsvisError
from wsvis_core.importing.label_table import LabelRow, combine, read_label_table, whole_number


def read(path: Path, content: str | bytes) -> tuple[list[LabelRow], Findings]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    findings = Findings()
    return read_label_table(path, findings), findings


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_write(table, delimiter, newline, encoding):
    lines = ["Video;Start_Frame;END_FRAME; Class ;", "a b.mp4;0;10.0; Straßenhund;", ";;;;", "c;;;dog"]
    text = newline.join(lines).replace(";", delimiter)
    rows, findings = read(table, text.encode(encoding))
    assert rows == [LabelRow(2, "a b.mp4", "Straßenhund", 0, 10), LabelRow(4, "c", "dog")]
    assert findings == Findings()


def test_the_three_forms_in_any_order_of_columns(table):
    assert read(table, "class,video\ndog,a")[0] == [LabelRow(2, "a", "dog")]
    assert read(table, "video,frame,class\na,3,dog")[0] == [LabelRow(2, "a", "dog", frame="3")]
    assert read(table, "class,end_frame,start_frame,video\ndog,4,3,a")[0] == [LabelRow(2, "a", "dog", 3, 4)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty: expected a first line 'video,class' or"),
        ("\n ,\n", "is empty: "),
        ("video,class\n", "has a first line and no rows"),
        ("a.mp4,dog\n", ":1: the first line is 'a.mp4,dog', expected 'video,class'"),
        ("\nvideo,clas\na,dog", ":2: the first line is 'video,clas'"),
        ("video,clas\na,dog", "'clas' is none of the columns, did you mean 'class'?"),
        ("video,class,video\n", "the first line is 'video,class,video'"),
        (b"video,class\na,dog\nb,caf\xe9", ":3: not UTF-8 (byte 0xe9); save the file as 'CSV UTF-8'"),
    ],
)
def test_files_that_are_no_table(table, content, words):
    with pytest.raises(WsvisError) as error:
        read(table, content)
    assert str(error.value).startswith(str(table)) and words in str(error.value)


def test_a_missing_file(table):
    with pytest.raises(WsvisError, match="does not exist; expected a CSV with a first line"):
        read_label_table(table, Findings())


def test_everything_wrong_with_rows_is_found_at_once_with_its_line(table):
    content = "video,start_frame,end_frame,class\na,1,2,x\na,5,3,x\na,-1,,x\na,1.5,,x\n,1,2,x\na,1,,\na,1,2,x,y\n"
    rows, findings = read(table, content)
    assert rows == [LabelRow(2, "a", "x", 1, 2)]
    found = {kind: finding.examples for kind, finding in findings.errors.items()}
    assert found == {
        "range ends before it starts": [f"{table}:3: 5 to 3"],
        "frame number is not a whole number from 0": [
            f"{table}:4: start_frame is '-1'",
            f"{table}:5: start_frame is '1.5'",
        ],
        "row without a video": [f"{table}:6: expected the name of a video file or a folder of frames"],
        "range without a class": [
            f"{table}:7: frames outside of all ranges have no class, such a row is not needed",
        ],
        "row has more cells than the first line": [f"{table}:8: 5, expected 4"],
    }


def test_a_frame_row_needs_a_frame(table):
    rows, findings = read(table, "video,frame,class\na,,x\n")
    assert rows == [] and list(findings.errors) == ["row without a frame"]


@given(st.integers(0, 10**12))
def test_whole_numbers_as_spreadsheets_write_them(value):
    assert whole_number(str(value)) == whole_number(f"{value}.0") == whole_number(f"{value}.") == value


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e3", "٣", "1.0x", "0x1", " 1", "nan"])
def test_what_is_no_whole_number(text):
    assert whole_number(text) is None


cells = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1).map(str.strip).filter(bool)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8))
def test_any_names_come_back_from_a_file(tmp_path_factory, pairs):
    stream = StringIO()
    csv.writer(stream).writerows([("video", "class"), *pairs])
    path = tmp_path_factory.mktemp("csv") / "labels.csv"
    rows, findings = read(path, stream.getvalue())
    assert [(row.video, row.name) for row in rows] == pairs and findings == Findings()


numbers = st.one_of(st.none(), st.integers(0, 30))
ranges = st.tuples(numbers, numbers, st.sampled_from("abc")).filter(lambda r: None in r[:2] or r[0] <= r[1])


@given(st.lists(ranges, max_size=8))
def test_ranges_include_both_ends_and_open_ends_reach_to_the_last_frame(rows):
    labels = combine(Path("l.csv"), [LabelRow(n, "v", name, *ends) for n, (*ends, name) in enumerate(rows)], Findings())
    for t in range(35):
        wanted = {c for a, b, c in rows if (a is None or t >= a) and (b is None or t <= b)}
        assert labels.at(t) == wanted
    assert labels.names() == {name for _, _, name in rows}


def test_frames_labelled_one_by_one(table):
    rows, _ = read(table, "video,frame,class\nv,3,a\nv,3,b\nv,5,\n")
    labels = combine(table, rows, Findings())
    assert labels.frames == {3: {"a", "b"}, 5: set()} and labels.at(4) == set()


def test_contradictions_and_repetitions(table):
    rows, findings = read(table, "video,class\nv,a\nv,\nv,a\n")
    combine(table, rows, findings)
    assert findings.errors["row without a class beside rows with one"].examples == [
        f"{table}:3: it says that there is none"
    ]
    assert findings.warnings["row given twice"].examples == [f"{table}:4: as line 2"]
    rows, findings = read(table, "video,frame,class\nv,1,a\nv,2,\nv,1,\n")
    combine(table, rows, findings)
    assert findings.errors["row without a class beside rows with one"].count == 1
