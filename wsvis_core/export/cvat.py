"""CVAT's "for video 1.1" XML: one file per video, one polygon track per object.

CVAT has no tracked masks: its importer turns a track of masks into a shape on the first frame, and Datumaro's cannot
read a mask inside a track. A polygon track may hold one polygon per frame, so every mask becomes one polygon that
fills to the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import XMLGenerator

from wsvis_core.export.polygons import mask_to_polygon
from wsvis_core.export.source import ExportSource, ExportTrack, ExportVideo
from wsvis_core.storage.rle import decode_mask


def write_cvat(source: ExportSource, folder: Path) -> str:
    """Write <video>.xml for every chosen video, to upload to a task with that video's frames; says what was written.

    Frame t is frame t of the task. Every mask is a key frame, so nothing is interpolated; where a track pauses or ends,
    its last polygon is repeated once with outside="1", as CVAT itself writes. Attributes `score` and, where known,
    `quality`: the track's.
    """
    known = any(track.quality is not None for tracks in source.tracks.values() for track in tracks)
    attributes = ("score", "quality") if known else ("score",)
    tracks = 0
    for video in source.videos:
        with open(folder / f"{video.folder}.xml", "w", encoding="utf-8") as stream:
            xml = _Xml(stream)
            xml.open("annotations")
            xml.leaf("version", "1.1")
            _write_meta(xml, video, source.categories, attributes)
            for number, track in enumerate(source.tracks[video.id]):
                _write_track(xml, number, track, source.categories[track.category_id])
                tracks += 1
            xml.close("annotations")
    return f"{len(source.videos)} XML files: {tracks} tracks"


class _Xml:
    """Elements written one after the other, each on a line of its own."""

    def __init__(self, stream) -> None:
        self._out = XMLGenerator(stream, encoding="utf-8", short_empty_elements=True)
        self._out.startDocument()

    def open(self, name: str, /, **attributes: object) -> None:
        """Begin an element that holds others."""
        self._out.startElement(name, {key: str(value) for key, value in attributes.items()})
        self._out.characters("\n")

    def close(self, name: str) -> None:
        """End it."""
        self._out.endElement(name)
        self._out.characters("\n")

    def leaf(self, name: str, text: object = "", /, **attributes: object) -> None:
        """An element with text only."""
        self._out.startElement(name, {key: str(value) for key, value in attributes.items()})
        self._out.characters(str(text))
        self._out.endElement(name)
        self._out.characters("\n")


def _write_meta(xml: _Xml, video: ExportVideo, categories: dict[int, str], attributes: Sequence[str]) -> None:
    xml.open("meta")
    xml.open("task")
    xml.leaf("name", video.folder)
    xml.leaf("size", len(video))
    xml.leaf("mode", "interpolation")
    xml.leaf("overlap", 0)
    xml.leaf("start_frame", 0)
    xml.leaf("stop_frame", len(video) - 1)
    xml.open("labels")
    for name in categories.values():
        xml.open("label")
        xml.leaf("name", name)
        xml.leaf("type", "polygon")
        xml.open("attributes")
        for attribute in attributes:
            xml.open("attribute")
            for key, value in {"name": attribute, "mutable": "False", "input_type": "text"}.items():
                xml.leaf(key, value)
            xml.leaf("default_value")
            xml.leaf("values")
            xml.close("attribute")
        xml.close("attributes")
        xml.close("label")
    xml.close("labels")
    xml.open("original_size")
    xml.leaf("width", video.width)
    xml.leaf("height", video.height)
    xml.close("original_size")
    xml.close("task")
    xml.close("meta")


def _write_track(xml: _Xml, number: int, track: ExportTrack, label: str) -> None:
    xml.open("track", id=number, label=label, source="file")
    points = ""
    for t, mask in enumerate(track.masks):
        if mask is not None:
            points = ";".join(f"{x},{y}" for x, y in mask_to_polygon(decode_mask(mask)))
            _write_polygon(xml, t, points, track, outside=False)
        elif t and track.masks[t - 1] is not None:
            _write_polygon(xml, t, points, track, outside=True)
    xml.close("track")


def _write_polygon(xml: _Xml, frame: int, points: str, track: ExportTrack, *, outside: bool) -> None:
    xml.open("polygon", frame=frame, outside=int(outside), occluded=0, keyframe=1, points=points, z_order=0)
    xml.leaf("attribute", repr(track.score), name="score")
    if track.quality is not None:
        xml.leaf("attribute", repr(track.quality), name="quality")
    xml.close("polygon")
