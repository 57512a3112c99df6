"""A small report of made-up results in the machine's own Chromium; without one the tests skip and say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from wsvis_core.instances import InstanceSet
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.visualization import FrameColumn, ReportInputs, TrackMask, make_report
from wsvis_core.visualization.clips import ClipFacts, TrackFacts, make_clip
from wsvis_core.visualization.inputs import (
    Clip,
    Gallery,
    LabelExample,
    LabelQuality,
    LabelView,
    ResultTable,
    TrackCategory,
    TrackQuality,
    TransferSheet,
    TransferView,
)
from wsvis_core.visualization.markup import jpeg
from wsvis_core.visualization.transfers import PairTransfer
from wsvis_core.visualization.way import ClassWay, VideoWay, Way, WayMoment

EVIL = "<script>document.title='taken'</script>"
CLASSES = ["fox", EVIL, "crab"]
SIZE = (40, 64)


def box(left: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[8:32, left : left + 20] = True
    return mask


def instances(*lefts: int) -> InstanceSet:
    masks = torch.from_numpy(np.stack([box(left) for left in lefts]))
    return InstanceSet.from_masks(masks, torch.arange(len(lefts)) % 3, torch.linspace(0.9, 0.2, len(lefts)))


def frame(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A flat colour of its own, so that the test knows a frame by its pixels."""
    return np.full((*size, 3), (10 * number, 200 - 15 * number, 90), np.uint8)


def whole_clip() -> Clip:
    """Video 3: 8 frames, all layers; track 1 everywhere, track 2 at frames 0, 1, 5, 6, 7."""
    columns = []
    for t in range(8):
        present = [(1, "fox", 0.9, box(2 + 3 * t))]
        if t not in (2, 3, 4):
            present.append((2, EVIL, 0.4, box(40)))
        flow = np.full((2, *SIZE), t / 2, np.float32)
        columns.append(
            FrameColumn(
                t,
                frame(t),
                flow=flow,
                cam=np.full((1, 10, 16), 0.7, np.float32),
                cam_classes=["fox"],
                pseudo_labels=EncodedInstances.encode(instances(4)),
                predictions=instances(4, 30),
                tracks=[TrackMask(*entry) for entry in present],
                ground_truth=[TrackMask(1, "fox", None, box(3 + 3 * t))],
            )
        )
    facts = ClipFacts(3, "whole", "8 frames of 64×40; classes: fox", 8, [0, 1], 0.7)
    tracks = [TrackFacts(1, 0, 0.9, 0.8), TrackFacts(2, 1, 0.4, 0.3)]
    return make_clip(facts, columns, CLASSES, tracks, [TrackFacts(1, 0, None)], long_side=320)


def plain_clip(number: int, name: str, *, score: float, quality: float | None, size: tuple[int, int] = SIZE) -> Clip:
    """3 of 30 frames with one track and nothing else."""
    columns = [
        FrameColumn(t, frame(t % 9, size), tracks=[TrackMask(1, "crab", score, box(2, size))]) for t in (0, 15, 29)
    ]
    facts = ClipFacts(number, name, "30 frames, 3 of them here", 30, [2], quality)
    return make_clip(facts, columns, CLASSES, [TrackFacts(1, 2, score)], None, long_side=320)


def bare_clip() -> Clip:
    """Video 9: one frame, no track, no ground truth."""
    columns = [FrameColumn(0, frame(1), predictions=InstanceSet.empty(*SIZE), tracks=[])]
    return make_clip(ClipFacts(9, "bare", "1 frame of 64×40", 1), columns, CLASSES, [], None, long_side=320)


def transfer_sheet() -> TransferSheet:
    found = EncodedInstances.encode(instances(4))
    pair = PairTransfer(3, 0, 1, found, found, found, found, found, (True,))
    records = [{"iteration": k, "matches": k / 5, "transferred": k / 9} for k in range(20)]
    return TransferSheet(True, 4, 1, [TransferView("whole", frame(0), frame(1), pair)], records)


def estimates() -> dict[str, object]:
    """As quality.json: a track of the page, and one of a video that is not on it."""
    parts = {"score": 0.5, "labels": 0.5, "stability": None, "agreement": None}
    known = {"class": EVIL, "frames": 5, "first_frame": 0, "last_frame": 7} | parts
    tracks = [
        {"video_id": 3, "video": "whole", "track": 2, "estimate": 0.3, "weakest_frame": 5} | known,
        {"video_id": 4, "video": "absent", "track": 1, "estimate": 0.6, "weakest_frame": 1} | known,
    ]
    lost = [{"video_id": 3, "video": "whole", "category_id": 1, "class": EVIL, "labelled": [[0, 4], [7, 7]]}]
    return {"format": 3, "notes": [], "tracks": tracks, "not_found": lost}


def way() -> Way:
    """A video of the page with pictures, one that is not on it, one without a class; and a choice of two routes."""
    moments = [
        WayMoment(t, f"{EVIL}: no label", SIZE, {"CAM": jpeg(frame(t)), "Tracks": jpeg(frame(t))}) for t in (1, 5)
    ]
    lost, good = ClassWay(EVIL, 8, 2, 0, 0), ClassWay("fox", 8, 8, 8, 8, 0.2, 0.9, 0.7, 1, 0.8)
    evidence = {"labels": 0.5, "stability": 0.8, "agreement": 0.5, "cover": 0.2, "worth": 0.16}
    routes = {"maskconsist": [evidence], "direct": [evidence]}
    worths = dict.fromkeys(routes, 0.16)
    choice = {"published": "direct", "worth": worths, "reason": f"tracks of {EVIL}", "evidence": routes}
    return Way([VideoWay(3, "whole", [lost, good], moments), VideoWay(4, EVIL, [good]), VideoWay(9, "bare")], 4, choice)


def report_inputs() -> ReportInputs:
    """Something in every section, names that try to be markup among them."""
    clips = [
        whole_clip(),
        plain_clip(5, f"tall {EVIL}", score=0.6, quality=0.2, size=(64, 30)),
        plain_clip(7, "weak", score=0.1, quality=0.9),
        bare_clip(),
    ]
    view = LabelView(EncodedInstances.encode(instances(4)), [0.5])
    curve = [1.0, 0.8, 0.3]
    head = "labeller replicates AP50_mean AP50_se gain_mean gain_se paper_AP50 paper_gain AP50_1".split()
    return ReportInputs(
        title="wsvis · browser",
        class_names=CLASSES,
        video_metrics={"mAP": 0.2, "AP50": 0.45},
        track_quality=TrackQuality(
            intervals={"mAP": (0.1, 0.3)},
            confidence=0.95,
            resamples=100,
            categories={name: TrackCategory({"AP50": 0.4}, {"AP50": (0.3, 0.5)}) for name in CLASSES},
            curves={"AP50": curve, "mAP": curve},
            category_precision={name: curve for name in CLASSES},
        ),
        frame_metrics={"AP50": 0.5, "TC": 0.6},
        pseudo_labels={"irn": {"AP50": 0.3}},
        label_quality={"irn": LabelQuality(curve, {"fox": curve}, [1, 2], [2, 1], [3, 1])},
        label_examples={
            "Worst frames of irn": [LabelExample("whole, frame 3", frame(3), [("fox", box(4))], {"irn": view})]
        },
        categories={name: {"video_AP50": 0.4, "frame_AP50": 0.6} for name in CLASSES},
        tables={"table4": ResultTable(tuple(head), (tuple("irn 3 0.25 0.01 0 0 0.2542 0.0 0.25".split()),))},
        scalars={"classifier": [{"iteration": k, "loss": 1 / (k + 1)} for k in range(20)]},
        transfers={"round 0": transfer_sheet()},
        gallery=Gallery(clips, 40, 6, "mean IoU", "Mean IoU: of the objects with their best tracks."),
        quality=estimates(),
        way=way(),
        settings={"cam": {"epochs": 3}},
        split_counts={"train": {"videos": 8, "frames": 80}},
        stage_costs=[{"rule": "train_cam", "seconds": 61.0, "max_rss_mb": 700.0}],
        facts={"data set": EVIL, "code": "commit 1a2b3c"},
    )


@pytest.fixture(scope="session")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("browser") / "report.html"
    make_report(report_inputs(), output)
    return output


@pytest.fixture
def open_page(chromium, report_page: Path) -> Iterator[Callable[..., object]]:
    """Opens the report; whatever the page complains of or asks the network for fails the test at its end."""
    complaints: list[str] = []
    contexts = []

    def opened(address: str = "", *, width: int = 1400, height: int = 1000, scheme: str = "light"):
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked(request.url))
        page.goto(report_page.as_uri() + address)
        return page

    def asked(url: str) -> None:
        if not url.startswith(("file:", "data:")):
            complaints.append(f"asked for {url}")

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
