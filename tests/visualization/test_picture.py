"""The contact sheet: one row per video, one column per layer."""

from __future__ import annotations

import cv2
import numpy as np

from wsvis_core.visualization.inputs import FrameColumn, ReportInputs, VideoStrip
from wsvis_core.visualization.picture import CELL_WIDTH, GAP, TITLE_HEIGHT, contact_sheet, write_picture


def strip(colour, **layers):
    frame = np.full((30, 60, 3), colour, np.uint8)
    return VideoStrip("v", [FrameColumn(0, frame, **layers)])


def test_rows_are_videos_and_columns_are_layers():
    flow = np.ones((2, 30, 60), np.float32)
    sheet = contact_sheet([strip((200, 0, 0), flow=flow), strip((0, 200, 0), flow=flow)], ["a"])
    cell_height = CELL_WIDTH // 2
    assert sheet.shape == (TITLE_HEIGHT + 2 * (GAP + cell_height), 2 * CELL_WIDTH + GAP, 3)
    assert sheet[TITLE_HEIGHT + GAP + 10, 10].tolist() == [200, 0, 0]
    assert sheet[TITLE_HEIGHT + 2 * GAP + cell_height + 10, 10].tolist() == [0, 200, 0]


def test_a_layer_one_video_lacks_is_blank_there():
    flow = np.ones((2, 30, 60), np.float32)
    sheet = contact_sheet([strip((200, 0, 0), flow=flow), strip((0, 200, 0))], ["a"])
    assert (sheet[-10:, -10:] == 255).all()


def test_frames_one_pixel_high_keep_a_row():
    frame = np.zeros((1, 1000, 3), np.uint8)
    assert contact_sheet([VideoStrip("v", [FrameColumn(0, frame)])], ["a"]).shape == (
        TITLE_HEIGHT + GAP + 1,
        CELL_WIDTH,
        3,
    )


def test_the_middle_moment_is_shown_and_a_run_without_videos_gives_a_blank_sheet(tmp_path):
    moments = [FrameColumn(t, np.full((30, 60, 3), 40 * t, np.uint8)) for t in range(3)]
    write_picture(ReportInputs("t", strips=[VideoStrip("v", moments)]), tmp_path / "a.jpg")
    picture = cv2.imread(str(tmp_path / "a.jpg"))
    assert abs(int(picture[TITLE_HEIGHT + GAP + 20, 20, 0]) - 40) <= 2
    write_picture(ReportInputs("t"), tmp_path / "b.jpg")
    assert (cv2.imread(str(tmp_path / "b.jpg")) == 255).all()
