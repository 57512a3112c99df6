"""Peak memory of importing a short and a long film: python -m benchmarks.run import (Linux).

Ten seconds are generated, noisy and in motion, at 30 fps; the long film is these again and again. Each film is
imported in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.memory import kilobytes, reset_peak
from wsvis_core.datasets.findings import Findings
from wsvis_core.importing.write import ImportOptions, import_videos
from wsvis_core.visualization.mp4 import write_mp4

HEIGHT, WIDTH, FPS = 480, 854, 30
SHORT = 10
DURATIONS = {"10 s": SHORT, "10 min": 600}


def print_import_memory() -> None:
    """Print a Markdown table, one row per duration."""
    print("| film | native frames | annotated frames | importing, MB at most | ms per native frame |")
    print("|---|---|---|---|---|")
    for name, seconds in DURATIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            short, path = Path(folder) / "short.mp4", Path(folder) / "film.mp4"
            write_mp4(short, (_frame(t) for t in range(FPS * SHORT)), Fraction(FPS))
            _repeat(short, path, seconds // SHORT)
            command = [sys.executable, "-m", "benchmarks.import_memory", str(path)]
            row = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"| {name} of {WIDTH}×{HEIGHT} at {FPS} fps | {row.strip()} |", flush=True)


def _repeat(short: Path, path: Path, times: int) -> None:
    """The packets of a film, `times` times in a row."""
    with av.open(str(path), "w") as output:
        stream = None
        for turn in range(times):
            with av.open(str(short)) as source:
                stream = stream or output.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is not None:
                        shift = int(turn * SHORT / packet.time_base)
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        output.mux(packet)


def measure(film: Path) -> str:
    """Native and annotated frames, MB at most beyond what the process held before, CPU ms per native frame."""
    cv2.setNumThreads(1)
    table = film.with_name("labels.csv")
    table.write_text("video,class\nfilm,dog\n")
    reset_peak()
    before = kilobytes("VmRSS")
    began = time.process_time()
    options = ImportOptions([film], table, film.with_name("out"), "film")
    [video] = import_videos(options, Findings(), say=lambda line: None)
    native = video.planned.probe.frames
    milliseconds = 1000 * (time.process_time() - began) / native
    megabytes = (kilobytes("VmHWM") - before) / 1024
    return f"{native} | {len(video.indices)} | {megabytes:.0f} | {milliseconds:.1f}"


def _frame(t: int) -> np.ndarray:
    """A cloudy picture uint8 (H,W,3) that drifts, new every two seconds."""
    noise = np.random.default_rng(t // 60).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    return np.roll(cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), 3 * t, axis=1)


if __name__ == "__main__":
    print(measure(Path(sys.argv[1])))
