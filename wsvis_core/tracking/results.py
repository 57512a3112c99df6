"""The YouTube-VIS result format: tracks to a JSON list and back (docs/method.md §5.3)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import atomic_path, read_json
from wsvis_core.storage.rle import Rle
from wsvis_core.tracking.tracks import Track

Result = dict[str, Any]
COUNTS_ALPHABET = bytes(range(48, 112))


def tracks_to_results(video_id: int, tracks: Iterable[Track], category_ids: Sequence[int]) -> list[Result]:
    """Result entries of one video, in the order of the tracks; a track without any mask is left out.

    category_ids[c] is the data set's id of class index c; ids begin at 1. Plain Python numbers only.
    """
    return [
        {
            "video_id": int(video_id),
            "category_id": int(category_ids[track.category]),
            "score": float(track.score),
            "segmentations": [_plain_rle(mask) for mask in track.segmentations],
        }
        for track in tracks
        if track.present
    ]


def _plain_rle(rle: Rle | None) -> Rle | None:
    if rle is None:
        return None
    counts = rle["counts"]
    return {
        "size": [int(v) for v in rle["size"]],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else str(counts),
    }


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Write a result file, one track per line, atomically; equal results give equal bytes.

    results: a list, or an iterator over entries that are not to be held all at once. Only the four keys of the format
    are written. Raises WsvisError with all problems, and leaves no file, for entries that the YouTube-VIS server would
    refuse.
    """
    problems: list[str] = []
    with atomic_path(path) as temporary:
        with open(temporary, "w", encoding="ascii") as stream:
            number = 0
            for number, entry in enumerate(results, 1):
                problems += [f"result {number}: {problem}" for problem in entry_problems(entry)]
                if not problems:
                    text = json.dumps(_canonical(entry), separators=(",", ":"), allow_nan=False)
                    stream.write(("[\n" if number == 1 else ",\n") + text)
            stream.write("\n]\n" if number else "[]\n")
        if problems:
            temporary.unlink()
            _raise_problems(str(path), problems)


def _canonical(entry: Result) -> Result:
    return {
        "video_id": int(entry["video_id"]),
        "category_id": int(entry["category_id"]),
        "score": float(entry["score"]),
        "segmentations": [_plain_rle(mask) for mask in entry["segmentations"]],
    }


def read_results(path: Path) -> list[Result]:
    """The entries of a result file whose format is right; WsvisError with all problems otherwise.

    What needs the ground truth (lengths, frame sizes, known ids) is checked by the evaluator.
    """
    results = load_result_file(path)
    _raise_problems(f"result file {path}", format_problems(results))
    return results


def load_result_file(path: Path) -> Any:
    """What a result file holds, unchecked; WsvisError when it is missing or not JSON."""
    return read_json(path, made_by="your tracker (rule track_instances)")


def _raise_problems(name: str, problems: Sequence[str]) -> None:
    if problems:
        raise WsvisError(problem_report(name, problems))


def problem_report(name: str, problems: Sequence[str], *, most: int = 18) -> str:
    """One message for all problems: the count first, then one line each (the first `most`)."""
    lines = [f"{name} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:"]
    lines += [f"  {problem}" for problem in problems[:most]]
    if len(problems) > most:
        lines.append(f"  … and {len(problems) - most} more")
    if any(problem.endswith("there is no such video") for problem in problems):
        lines.append("  Are the results of another data set, or of its other split?")
    return "\n".join(lines)


def format_problems(results: Any) -> list[str]:
    """Everything in a result list that breaks the format, one line each; entries are numbered from 1."""
    if not isinstance(results, list):
        return [f"it must be a JSON list of tracks, not a {type(results).__name__}"]
    return [
        f"result {number}: {problem}" for number, entry in enumerate(results, 1) for problem in entry_problems(entry)
    ]


def entry_problems(entry: Any) -> list[str]:
    """What breaks the format in one result entry."""
    if not isinstance(entry, dict):
        return [f"must be an object with video_id, category_id, score, segmentations, not {_kind(entry)}"]
    problems = [
        f"{key} must be a whole number from 1, not {entry.get(key)!r}"
        for key in ("video_id", "category_id")
        if not _is_id(entry.get(key))
    ]
    score = entry.get("score")
    if isinstance(score, bool) or not isinstance(score, Real) or not _is_finite(score):
        problems.append(f"score must be a finite number, not {score!r}")
    masks = entry.get("segmentations")
    if not isinstance(masks, list):
        return [*problems, f"segmentations must be a list with one entry per frame, not {_kind(masks)}"]
    found = ((frame, rle_problem(mask)) for frame, mask in enumerate(masks) if mask is not None)
    return problems + [f"segmentations[{frame}] {problem}" for frame, problem in found if problem]


def rle_problem(rle: Any) -> str | None:
    """What is wrong with a compressed RLE's form, None if nothing; its run lengths are not decoded here."""
    if not isinstance(rle, dict):
        return f"must be an RLE object or null, not {_kind(rle)}"
    size, counts = rle.get("size"), rle.get("counts")
    if not (isinstance(size, (list, tuple)) and len(size) == 2 and all(_is_id(v) for v in size)):
        return f"needs size [height, width], not {size!r}"
    if isinstance(counts, str):
        counts = counts.encode("utf-8", errors="surrogatepass")
    if not isinstance(counts, bytes):
        return f"needs counts as compressed text, not {_kind(counts)}; convert with pycocotools' frPyObjects"
    if not counts or counts.translate(None, COUNTS_ALPHABET) or (counts[-1] - 48) & 0x20:
        return "has counts that are not a compressed RLE"
    return None


def _is_finite(value: Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _is_id(value: Any) -> bool:
    if type(value) is int:  # the ordinary case first: a large file has millions
        return value >= 1
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), f"a {type(value).__name__}")
