"""The file of the YouTube-VIS server: results.json, and a zip with it at the top."""

from __future__ import annotations

import zipfile
from pathlib import Path

from wsvis_core.export.source import ExportSource
from wsvis_core.tracking.results import write_results


def write_ytvis(source: ExportSource, folder: Path) -> str:
    """Write results.json and results.zip; says what was written. Equal tracks give equal bytes, in the zip as well.

    Masks, scores and classes are those of the source; the zip holds the one file `results.json`, in no folder.
    """
    entries = [
        {"video_id": video.id, "category_id": t.category_id, "score": t.score, "segmentations": list(t.masks)}
        for video in source.videos
        for t in source.tracks[video.id]
    ]
    write_results(folder / "results.json", entries)
    # ZipInfo's default is a fixed date; the time of writing would make every zip another one.
    info = zipfile.ZipInfo("results.json")
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    with (
        zipfile.ZipFile(folder / "results.zip", "w") as archive,
        archive.open(info, "w", force_zip64=True) as target,
        open(folder / "results.json", "rb") as stream,
    ):
        while block := stream.read(1 << 20):
            target.write(block)
    return f"results.json and results.zip: {len(entries)} tracks"
