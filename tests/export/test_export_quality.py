"""How far a track can be trusted, carried into the formats that have a place for it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import xml.etree.ElementTree as ElementTree

import pytest
from pycocotools.coco import COCO

from wsvis_core.quality.files import COLUMNS


@pytest.fixture
def table(project):
    """A table for the results, worst first as they come: 0.125, 0.25 … in the order of the file."""
    entries = json.loads(project.results.read_text())
    numbers: dict[int, int] = {}
    rows = []
    for place, entry in enumerate(entries, 1):
        numbers[entry["video_id"]] = numbers.get(entry["video_id"], 0) + 1
        row = dict.fromkeys(COLUMNS, "") | {"video_id": entry["video_id"], "track": numbers[entry["video_id"]]}
        rows.append(row | {"estimate": place / 10, "score": f"{entry['score']:.4f}"})
    path = project.folder / "quality.csv"
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_coco_has_an_extra_key_and_is_loaded_as_before(project, table):
    plain, out = project.export("coco", output="plain"), project.export("coco", "--quality", str(table))
    with contextlib.redirect_stdout(io.StringIO()):
        coco, before = COCO(str(out / "instances.json")), COCO(str(plain / "instances.json"))
        coco.loadRes(str(out / "results.json"))
    entries = json.loads(project.results.read_text())
    # Tracks are exported by video id; the table counts those of the file.
    order = [n for key in (2, 4) for n, entry in enumerate(entries[:8], 1) if entry["video_id"] == key]
    assert {a["track_id"]: a["quality"] for a in coco.dataset["annotations"]} == {
        track_id: place / 10 for track_id, place in enumerate(order, 1)
    }
    for annotation in coco.dataset["annotations"]:
        annotation.pop("quality")
    assert coco.dataset == before.dataset
    assert (out / "results.json").read_bytes() == (plain / "results.json").read_bytes()


def test_cvat_has_a_second_attribute(project, table):
    plain, out = project.export("cvat", output="plain"), project.export("cvat", "--quality", str(table))
    root = ElementTree.parse(out / "swan_4.xml").getroot()
    for label in root.find("meta/task").iter("label"):
        assert [item.findtext("name") for item in label.iter("attribute")] == ["score", "quality"]
    entries = json.loads(project.results.read_text())
    places = [n for n, entry in enumerate(entries[:8], 1) if entry["video_id"] == 4]
    for track, place in zip(root.findall("track"), places, strict=True):
        for polygon in track.findall("polygon"):
            found = {item.get("name"): item.text for item in polygon.findall("attribute")}
            assert found == {"score": repr(entries[place - 1]["score"]), "quality": repr(place / 10)}
    assert "quality" not in (plain / "swan_4.xml").read_text()


def test_tracks_that_cannot_be_trusted_are_left_out(project, table):
    out = project.export("ytvis", "--quality", str(table), "--min-quality", "0.35")
    kept = json.loads((out / "results.json").read_text())
    entries = json.loads(project.results.read_text())
    scores = {(entry["video_id"], entry["category_id"], entry["score"]) for entry in entries[3:8]}
    assert len(kept) == 5 and {(e["video_id"], e["category_id"], e["score"]) for e in kept} == scores
    assert all(set(entry) == {"video_id", "category_id", "score", "segmentations"} for entry in kept)


def test_numbers_are_those_of_the_file_whatever_is_left_out(project, table):
    out = project.export("coco", "--quality", str(table), "--min-score", "0.9")
    rows = json.loads((out / "instances.json").read_text())["annotations"]
    entries = json.loads(project.results.read_text())
    expected = {n / 10 for n, entry in enumerate(entries[:8], 1) if entry["score"] >= 0.9}
    assert {row["quality"] for row in rows} == expected


def test_a_table_of_another_run_is_refused(project, table, capsys):
    table.write_text("\n".join(table.read_text().splitlines()[:-2]) + "\n")
    assert project.run("coco", "--quality", str(table)) == 2
    error = capsys.readouterr().err
    assert f"table {table}, which must be of the same run as the result file, has 2 problems:" in error
    assert "no row for track 5 of video 4" in error and not (project.folder / "out").exists()


def test_classes_that_were_not_found_are_no_tracks(project, table):
    before = project.export("coco", "--quality", str(table), output="before")
    with open(table, "a", newline="") as stream:
        row = dict.fromkeys(COLUMNS, "") | {"video_id": 4, "class": "swan", "frames": 0, "note": "not found"}
        csv.DictWriter(stream, COLUMNS).writerow(row)
    after = project.export("coco", "--quality", str(table))
    assert (after / "instances.json").read_bytes() == (before / "instances.json").read_bytes()


def test_a_table_of_other_tracks_is_refused(project, table, capsys):
    """Of another tracker or round, with as many tracks or more: each would get what is known of another one."""
    lines = table.read_text().splitlines()
    place = lines[0].split(",").index("score")
    cells = lines[1].split(",")
    lines[1] = ",".join([*cells[:place], "0.1234", *cells[place + 1 :]])
    more = lines[-1].split(",")
    more[lines[0].split(",").index("track")] = "77"
    table.write_text("\n".join([*lines, ",".join(more)]) + "\n")
    assert project.run("coco", "--quality", str(table)) == 2
    error = capsys.readouterr().err
    first = json.loads(project.results.read_text())[0]
    said = f"track 1 of video {first['video_id']} has score 0.1234 there and {first['score']:.4f} in the results"
    assert said in error and "a row of which the results have no track: 77 of video" in error
    assert "has 2 problems:" in error


def test_a_quality_in_the_results_themselves_is_none(project):
    entries = json.loads(project.results.read_text())
    project.results.write_text(json.dumps([entry | {"quality": "good"} for entry in entries]))
    rows = json.loads((project.export("coco") / "instances.json").read_text())["annotations"]
    assert rows and not any("quality" in row for row in rows)


def test_a_least_quality_needs_a_table(project, capsys):
    assert project.run("coco", "--min-quality", "0.5") == 2
    assert "--min-quality needs the table to look in: add --quality results/NAME_quality.csv" in capsys.readouterr().err
