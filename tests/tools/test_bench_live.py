"""The cameras that the live benchmark plays, and what it reports."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from binopose.app.capture import open_stereo
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.rig import Camera
from binopose.tools.bench_live import Sample, StreamProcess, StreamSet, _report, leak, letterboxed


@pytest.mark.parametrize("size_px", [(1080, 1920), (1920, 1080), (640, 480)])
def test_a_letterboxed_camera_sees_points_where_the_picture_shows_them(size_px: tuple[int, int]) -> None:
    matrix = np.array([[900.0, 0, 500], [0, 910.0, 400], [0, 0, 1]])
    camera = Camera(size_px, matrix, np.array([-0.1, 0.02, 0.001, -0.001, 0.0]))
    small, change = letterboxed(camera, (1280, 720))
    points_m = np.random.default_rng(1).uniform([-0.5, -0.4, 2], [0.5, 0.4, 4], (20, 3))
    shown_px = np.hstack([camera.px_from_camera(points_m), np.ones((20, 1))]) @ change.T
    assert np.allclose(small.px_from_camera(points_m), shown_px, atol=1e-9)
    corners_px = np.array([[-0.5, -0.5, 1], [size_px[0] - 0.5, size_px[1] - 0.5, 1]]) @ change.T
    assert (corners_px >= -0.5 - 1e-9).all()
    assert (corners_px <= np.array([1280, 720]) - 0.5 + 1e-9).all()
    # As large as possible: two opposite edges touch.
    assert np.isclose(np.ptp(corners_px, axis=0), [1280, 720]).any()


def test_a_delayed_camera_shows_what_was_a_moment_ago() -> None:
    def shade(number: int) -> bytes:
        return cv2.imencode(".jpg", np.full((48, 64, 3), 20 * number, np.uint8))[1].tobytes()

    jpegs = [shade(number) for number in range(10)]
    apart = []
    with (
        StreamProcess(StreamSet((jpegs, jpegs), virtual_rig(0)), rate_hz=20.0, delay_s=0.1) as players,
        open_stereo(players.urls[0], players.urls[1]) as capture,
    ):
        capture.wait_until_running()
        while len(apart) < 12:
            pair = capture.newest(5.0)
            assert pair is not None
            apart.append(abs(float(pair.pair.left.mean()) - float(pair.pair.right.mean())) / 20)
    assert 1 < np.median(apart) < 3  # two pictures, but where the pictures turn back


def test_the_report_leaves_the_first_minute_out(capsys: pytest.CaptureFixture[str]) -> None:
    samples = [
        Sample(5.0, 12.0, 90.0, 150.0, 300.0, 9, 20),
        Sample(65.0, 26.0, 90.0, 150.0, 400.0, 12, 21),
        Sample(125.0, 25.0, 90.0, 150.0, 403.0, 12, 21),
    ]
    figures = _report(130.0, samples, 3000)
    assert figures["rate_lowest_hz"] == 25.0
    assert figures["memory_grows_mib"] == 3.0
    assert figures["threads"] == [12]
    assert "lowest 25.0" in capsys.readouterr().out


def test_what_grows_is_told() -> None:
    assert leak([450.0, 451.0, 449.0], [13, 14], [22]) is None
    assert "memory grew by 25 MiB" in str(leak([450.0, 460.0, 475.0], [13], [22]))
    assert "threads went from 13 to 17" in str(leak([450.0], [13, 17], [22]))
    assert "open files went from 22 to 30" in str(leak([450.0], [13], [22, 26, 30]))
