"""Peak memory of drawing tracks on a short and on a long video: python -m benchmarks.run overlay (Linux).

Frames are generated, three objects cross them; the encoder gets noise that it cannot compress away. Each video is
written in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from benchmarks.memory import kilobytes, reset_peak
from wsvis_core.storage.rle import Rle, encode_mask
from wsvis_core.visualization.mp4 import write_mp4
from wsvis_core.visualization.overlay_video import DrawnTrack, overlay_frames

HEIGHT, WIDTH, FPS, OBJECTS = 480, 854, 6, 3
DURATIONS = {"10 s": 10, "10 min": 600}


def print_overlay_memory() -> None:
    """Print a Markdown table, one row per duration."""
    print("| video | frames | results of the video, MB | drawing and encoding, MB at most | ms per frame |")
    print("|---|---|---|---|---|")
    for name, seconds in DURATIONS.items():
        command = [sys.executable, "-m", "benchmarks.overlay_memory", str(seconds)]
        row = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"| {name} of {WIDTH}×{HEIGHT} at {FPS} fps | {row.strip()} |", flush=True)


def measure(seconds: int) -> str:
    """Frames, MB of the results, MB at most beyond them while the video is written, CPU ms per frame."""
    cv2.setNumThreads(1)
    length = FPS * seconds
    started = kilobytes("VmRSS")
    tracks = [DrawnTrack(n, f"{n} object 0.90", _masks(n, length)) for n in range(1, OBJECTS + 1)]
    reset_peak()
    before = kilobytes("VmRSS")
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        write_mp4(Path(folder) / "v.mp4", overlay_frames(_frame, length, tracks), Fraction(FPS))
    milliseconds = 1000 * (time.process_time() - began) / length
    megabytes = [(before - started) / 1024, (kilobytes("VmHWM") - before) / 1024]
    return f"{length} | {megabytes[0]:.1f} | {megabytes[1]:.0f} | {milliseconds:.0f}"


def _frame(t: int) -> np.ndarray:
    """A noisy picture uint8 (H,W,3) that differs from frame to frame."""
    noise = np.random.default_rng(t).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def _masks(number: int, length: int) -> Sequence[Rle]:
    """An ellipse that goes round in a cycle, a mask of its own for every frame."""
    masks = []
    for t in range(length):
        canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
        middle = ((number * 200 + 7 * t) % WIDTH, 120 * number)
        masks.append(encode_mask(cv2.ellipse(canvas, middle, (90, 60), 3 * t, 0, 360, 1, -1).astype(bool)))
    return masks


if __name__ == "__main__":
    print(measure(int(sys.argv[1])))
