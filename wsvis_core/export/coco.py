"""Per-frame instances as COCO files: a data set with images, and the results alone as COCO's tools load them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from pycocotools import mask as coco_mask

from wsvis_core.export.source import ExportSource, ExportTrack, ExportVideo
from wsvis_core.tracking.overlap import rle_areas

Row = dict[str, Any]


def write_coco(source: ExportSource, folder: Path) -> str:
    """Write instances.json and results.json, video by video; says what was written.

    instances.json: videos, images (every frame of the chosen videos, with video_id and frame_id from 0), categories,
    annotations (compressed RLE, area, bbox [x, y, w, h], iscrowd 0, the track's score and, where known, quality,
    track_id). results.json: a list
    of {image_id, category_id, segmentation, bbox, score, track_id} for `COCO.loadRes`. Ids begin at 1; a frame's score
    is its track's: result files have no other.
    """
    categories = [{"id": key, "name": name} for key, name in source.categories.items()]
    videos = [
        {"id": v.id, "name": v.folder, "width": v.width, "height": v.height, "length": len(v)} for v in source.videos
    ]
    with open(folder / "instances.json", "w", encoding="utf-8") as stream:
        stream.write(f'{{"info": {{}},\n"licenses": [],\n"categories": {json.dumps(categories)},\n')
        stream.write(f'"videos": {json.dumps(videos)},\n"images": ')
        images = _write_list(stream, (row for video in source.videos for row in image_rows(video)))
        stream.write(',\n"annotations": ')
        annotations = _write_list(stream, ({"id": n} | row for n, row in enumerate(_all_rows(source), 1)))
        stream.write("}\n")
    with open(folder / "results.json", "w", encoding="utf-8") as stream:
        wanted = ("image_id", "category_id", "segmentation", "bbox", "score", "track_id")
        _write_list(stream, ({key: row[key] for key in wanted} for row in _all_rows(source)))
        stream.write("\n")
    return f"instances.json and results.json: {annotations} masks on {images} frames"


def image_rows(video: ExportVideo) -> list[Row]:
    """The images of a video."""
    return [
        {
            "id": video.first_image + t,
            "file_name": name,
            "width": video.width,
            "height": video.height,
            "video_id": video.id,
            "frame_id": t,
        }
        for t, name in enumerate(video.file_names)
    ]


def annotation_rows(video: ExportVideo, track: ExportTrack, track_id: int) -> list[Row]:
    """The annotations of a track, without their ids."""
    masks = [track.masks[t] for t in track.present]
    areas, boxes = rle_areas(masks), [coco_mask.toBbox(mask).tolist() for mask in masks]
    return [
        {
            "image_id": video.first_image + t,
            "category_id": track.category_id,
            "segmentation": mask,
            "area": float(area),
            "bbox": box,
            "iscrowd": 0,
            "score": track.score,
            "track_id": track_id,
        }
        | ({} if track.quality is None else {"quality": track.quality})
        for t, mask, area, box in zip(track.present, masks, areas, boxes, strict=True)
    ]


def _all_rows(source: ExportSource) -> Iterator[Row]:
    track_id = 0
    for video in source.videos:
        for track in source.tracks[video.id]:
            track_id += 1
            yield from annotation_rows(video, track, track_id)


def _write_list(stream: TextIO, rows: Iterable[Row]) -> int:
    """Write rows as a JSON list, one per line, as they come; their number."""
    count = 0
    stream.write("[")
    for count, row in enumerate(rows, 1):  # noqa: B007
        stream.write(("\n" if count == 1 else ",\n") + json.dumps(row, allow_nan=False))
    stream.write("]")
    return count
