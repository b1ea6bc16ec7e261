"""Recording live streams and reading them back: byte for byte, whatever breaks off in between."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.app.capture import CapturedFrame, open_stereo
from binopose.app.commands import live, video
from binopose.app.frames import FramePair
from binopose.app.live import recorder as recorder_module
from binopose.app.live.feed import ReplayFeed
from binopose.app.live.raw_streams import RecordingError, StreamFile, StreamWriter, is_recording, start_streams
from binopose.app.live.recorded import RecordedStreams
from binopose.app.live.recorder import LiveRecorder
from binopose.app.outputs.files import OutputError
from binopose.app.outputs.npz_writer import recover_poses
from binopose.app.pipeline import FrameResult, Pipeline
from binopose.app.reference import ReferenceFrame
from binopose.calibration.errors import UserError
from binopose.calibration.rectify import Rectifier
from binopose.calibration.rig_file import load_rig, save_rig
from binopose.engines.denoiser import NoDenoiser

from .live_person import SIZE_PX, PictureClockDetector, small_rig
from .stream_server import StreamServer, make_picture, read_picture

RIG = small_rig()
RECTIFIER = Rectifier(RIG, "points")
PATIENCE_S = 15.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.01)


def jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", make_picture(SIZE_PX, number, 100 + number / 30))[1].tobytes()


def frame(number: int, timestamp_s: float, encoded: bool = True) -> CapturedFrame:
    data = jpeg(number)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return CapturedFrame(image, timestamp_s, number, data if encoded else None)


def write_streams(folder: Path, count: int = 12, right_late_s: float = 0.004) -> None:
    folder.mkdir(exist_ok=True)
    left, right = start_streams(folder, RIG, side_by_side=False, start_s=100.0)
    for number in range(count):
        left.write(frame(number, 100 + number / 30))
        right.write(frame(number, 100 + number / 30 + right_late_s))
    left.close()
    right.close()


def pipeline() -> Pipeline:
    return Pipeline(RECTIFIER, PictureClockDetector(RIG, RECTIFIER), NoDenoiser())


def open_recorder(folder: Path, **more: object) -> LiveRecorder:
    return LiveRecorder(folder, RIG, pipeline(), ReferenceFrame(RIG, RECTIFIER), **more)  # type: ignore[arg-type]


def result(number: int) -> FrameResult:
    image = make_picture(SIZE_PX, number, 100 + number / 30)
    return pipeline().process(FramePair(image, image, time.monotonic(), number))


# Raw streams


def test_pictures_come_back_as_they_came_with_their_times(tmp_path: Path) -> None:
    write_streams(tmp_path)
    assert is_recording(tmp_path)
    with RecordedStreams(tmp_path) as recording:
        assert recording.sizes_px == (SIZE_PX, SIZE_PX)
        assert recording.frames_per_second == pytest.approx(30, rel=0.001)
        pairs = list(recording)
    assert recording.frames == len(pairs) >= 11
    for number, pair in enumerate(pairs):
        assert np.array_equal(pair.left, frame(number, 0.0).image)
        assert read_picture(pair.right)[0] == number
        assert pair.timestamp_s == pytest.approx(number / 30 + 0.002, abs=1e-8)
        assert pair.skew_s == pytest.approx(0.004, abs=1e-8)
    assert load_rig(tmp_path / "rig.toml").baseline_m == pytest.approx(RIG.baseline_m)


def test_pictures_of_other_sources_are_encoded(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path, "left", 0.0)
    writer.write(frame(5, 1.0, encoded=False))
    writer.close()
    stream = StreamFile(tmp_path, "left")
    assert read_picture(stream.picture(stream.frames[0]))[0] == 5
    stream.close()


def test_a_side_by_side_camera_is_halved(tmp_path: Path) -> None:
    (writer,) = start_streams(tmp_path, RIG, side_by_side=True, start_s=0.0)
    halves = [make_picture(SIZE_PX, 3, 1.0), make_picture(SIZE_PX, 4, 1.0)]
    writer.write(CapturedFrame(np.hstack(halves), 0.5, 0))
    writer.close()
    with RecordedStreams(tmp_path) as recording:
        (pair,) = recording
    assert (read_picture(pair.left)[0], read_picture(pair.right)[0]) == (3, 4)
    assert pair.skew_s == 0


@pytest.mark.parametrize("lost_bytes", [1, 700, 3000])
def test_what_broke_off_at_the_end_is_left_out(tmp_path: Path, lost_bytes: int) -> None:
    write_streams(tmp_path)
    stream = tmp_path / "left.mjpeg"
    os.truncate(stream, stream.stat().st_size - lost_bytes)
    with (tmp_path / "right.csv").open("a") as table:
        table.write("12,0.4")  # a line that was being written
    with RecordedStreams(tmp_path) as recording:
        pairs = list(recording)
    assert 8 <= len(pairs) <= 11
    assert [read_picture(pair.left)[0] for pair in pairs] == list(range(len(pairs)))
    assert not recording.incomplete


def test_a_damaged_picture_costs_its_pair_and_is_said(tmp_path: Path) -> None:
    write_streams(tmp_path)
    stream = StreamFile(tmp_path, "right")
    third = stream.frames[3]
    stream.close()
    with (tmp_path / "right.mjpeg").open("r+b") as file:
        file.seek(third.offset)
        file.write(bytes(third.size))
    with RecordedStreams(tmp_path) as recording:
        numbers = [pair.index for pair in recording]
    assert 3 not in numbers
    assert len(numbers) == (recording.frames or 0) - 1
    assert recording.incomplete
    assert f"1 of {recording.frames} pairs are damaged" in recording.warnings[0]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "right.csv").unlink(), r"right\.csv: no such file; the recording .* is not whole"),
        (lambda folder: (folder / "left.csv").write_text("a\nb,c,d,e\n"), r"left\.csv: no table of frames"),
        (lambda folder: (folder / "left.csv").write_text("head\n"), "no whole picture was recorded"),
        (lambda folder: (folder / "streams.toml").write_text("format = 9\n"), "expected format = 1"),
        (lambda folder: (folder / "streams.toml").unlink(), "expected a folder written by `binopose live --record`"),
    ],
)
def test_recordings_that_cannot_be_read_say_why(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    write_streams(tmp_path, 3)
    spoil(tmp_path)
    with pytest.raises(RecordingError, match=message):
        RecordedStreams(tmp_path)


def test_a_replay_drops_nothing_and_keeps_time(tmp_path: Path) -> None:
    write_streams(tmp_path, 10)
    with RecordedStreams(tmp_path) as recording:
        expected = recording.frames
        feed = ReplayFeed(recording)
        began_s, taken = time.monotonic(), []
        while not feed.over:
            pair = feed.next(0.02)
            if pair is not None:
                taken.append(pair)
                time.sleep(0.01)
        elapsed_s = time.monotonic() - began_s
    assert [pair.index for pair in taken] == list(range(expected or 0))
    assert elapsed_s >= taken[-1].timestamp_s - taken[0].timestamp_s


# The recorder


def test_streams_are_recorded_byte_for_byte_with_poses_overlay_and_summary(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sent: list[tuple[float, np.ndarray]] = []
    with (
        StreamServer(SIZE_PX) as left,
        StreamServer(SIZE_PX) as right,
        open_stereo(left.url(), right.url()) as capture,
    ):
        capture.wait_until_running(PATIENCE_S)
        capture.cameras[0].add_listener(lambda each: sent.append((each.timestamp_s, each.image)))
        recorder = open_recorder(out, cameras=capture.cameras)
        wait_until(lambda: recorder.state.frames > 20, "20 pictures recorded")
        for number in range(5):
            recorder.add_result(result(number), 20.0)
            recorder.add_picture(np.zeros((200, 300, 3), np.uint8), number / 30)
        warnings = recorder.close()
    assert recorder.state.complaint == ""
    assert not [each for each in warnings if "disk" in each]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["frames"] == summary["frames_with_pose"] == 5
    assert summary["recorded_frames"] == recorder.state.frames
    with np.load(out / "poses.npz") as poses:
        assert poses["points_m"].shape == (5, 17, 3)
        assert (np.abs(poses["timestamp_s"]) < 60).all()  # since the recording began
    assert cv2.VideoCapture(str(out / "overlay.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 5
    stream = StreamFile(out, "left")
    begin = next(
        place for place, (_, image) in enumerate(sent) if np.array_equal(image, stream.picture(stream.frames[0]))
    )
    for stored, (timestamp_s, image) in zip(stream.frames, sent[begin:], strict=False):
        assert np.array_equal(stream.picture(stored), image)
        assert stored.timestamp_s - stream.frames[0].timestamp_s == pytest.approx(
            timestamp_s - sent[begin][0], abs=1e-6
        )
    assert len(stream.frames) > 8
    stream.close()


def test_a_slow_disk_loses_pictures_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = threading.Event()
    write = StreamWriter.write

    def slowly(self: StreamWriter, frame: CapturedFrame) -> None:
        if slow.is_set():
            time.sleep(0.1)
        write(self, frame)

    monkeypatch.setattr(StreamWriter, "write", slowly)
    monkeypatch.setattr(recorder_module, "MOST_WAITING_BYTES", 60_000)
    with StreamServer(SIZE_PX) as server, open_stereo(server.url(), None) as capture:
        capture.wait_until_running(PATIENCE_S)
        recorder = open_recorder(tmp_path / "out", cameras=capture.cameras, overlay=False)
        wait_until(lambda: recorder.state.frames > 3, "recording")
        slow.set()
        wait_until(lambda: recorder.state.lost_frames > 3, "pictures left out")
        before = capture.status().pairs
        recorder.add_result(result(0), 20.0)
        wait_until(lambda: capture.status().pairs > before + 3, "the camera goes on")
        assert "the disk or this machine is too slow" in recorder.state.complaint
        slow.clear()
        lost, written = recorder.state.lost_frames, recorder.state.frames
        wait_until(lambda: recorder.state.frames > written + 10, "recording again")
        assert recorder.state.lost_frames < lost + 20
        warnings = recorder.close()
    assert any("is too slow" in each for each in warnings)
    stream = StreamFile(tmp_path / "out", "both")
    numbers = [each.number for each in stream.frames]
    assert len(numbers) == recorder.state.frames
    assert numbers == sorted(set(numbers))
    assert numbers[-1] - numbers[0] + 1 > len(numbers)
    for each in stream.frames:
        assert stream.picture(each).shape == (SIZE_PX[1], SIZE_PX[0], 3)
    stream.close()


def test_a_full_disk_ends_the_recording_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = StreamWriter.write, threading.Event()

    def until_full(self: StreamWriter, frame: CapturedFrame) -> None:
        if full.is_set():
            raise OutputError("left.mjpeg: cannot be written (No space left on device)")
        write(self, frame)

    monkeypatch.setattr(StreamWriter, "write", until_full)
    with StreamServer(SIZE_PX) as server, open_stereo(server.url(), None) as capture:
        capture.wait_until_running(PATIENCE_S)
        recorder = open_recorder(tmp_path / "out", cameras=capture.cameras, overlay=False)
        recorder.add_result(result(0), 20.0)
        wait_until(lambda: recorder.state.frames > 3, "recording")
        full.set()
        wait_until(lambda: bool(recorder.state.failure), "the failure is seen")
        assert not recorder.wants_pictures
        recorder.add_result(result(1), 20.0)
        assert "No space left" in recorder.close()[0]
    assert len(StreamFile(tmp_path / "out", "both").frames) == recorder.state.frames
    with np.load(tmp_path / "out" / "poses.npz") as poses:
        assert len(poses["frame"]) == 1


def test_a_recording_wants_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="expected an empty or new folder"):
        open_recorder(tmp_path)


# The commands on recordings


def run(command: str, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    parts = parser.add_subparsers()
    live.add_parser(parts)
    video.add_parser(parts)
    options = parser.parse_args([command, *map(str, arguments)])
    return options.run(options)


def test_replay_and_video_give_identical_poses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "session"
    write_streams(folder, 30, right_late_s=0.015)
    for module in (live, video):
        monkeypatch.setattr(
            module, "open_detector", lambda _, rectifier, *__: PictureClockDetector(RIG, rectifier, 1.0, epoch_s=90.0)
        )
    replay = ("live", "--replay", folder, "--headless", "--record", tmp_path / "replay", "--no-overlay")
    assert run(*replay, "--rectify", "points") == 0
    assert run("video", folder, "-o", tmp_path / "video", "--no-overlay", "--rectify", "points") == 0
    with np.load(tmp_path / "replay" / "poses.npz") as replayed, np.load(tmp_path / "video" / "poses.npz") as processed:
        assert len(replayed["frame"]) == len(processed["frame"]) >= 28
        assert np.isfinite(replayed["points_m"]).any(axis=(1, 2)).all()
        for name in ("points_m", "raw_points_m", "confidence", "sigma_m", "timestamp_s", "frame"):
            assert np.array_equal(replayed[name], processed[name], equal_nan=True), name
    assert "pairs" in capsys.readouterr().out


def test_a_killed_program_leaves_everything_up_to_the_last_second(tmp_path: Path, blazepose_weights: Path) -> None:
    out, rig = tmp_path / "out", tmp_path / "rig.toml"
    save_rig(RIG, rig)
    with StreamServer(SIZE_PX) as left, StreamServer(SIZE_PX) as right:
        command = [sys.executable, "-m", "binopose.app", "live", left.url(), right.url(), "--rig", str(rig)]
        process = subprocess.Popen([*command, "--headless", "--record", str(out)], stdout=subprocess.DEVNULL)
        try:
            table = out / "left.csv"
            journal = out / "poses.partial.npy"
            wait_until(lambda: table.is_file() and table.read_bytes().count(b"\n") > 45, "a second and a half recorded")
            wait_until(lambda: journal.stat().st_size > 3000, "poses recorded")
            sent = left.sent
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    with RecordedStreams(out) as recording:
        pairs = list(recording)
    assert not recording.incomplete
    assert len(pairs) > 30
    assert sent - read_picture(pairs[-1].left)[0] < 30  # less than a second
    assert recover_poses(out) > 0


def test_a_recording_needs_neither_right_view_nor_side_by_side(tmp_path: Path) -> None:
    write_streams(tmp_path / "session", 3)
    with pytest.raises(UserError, match="leave RIGHT and --side-by-side out"):
        run("video", tmp_path / "session", "right.mp4", "-o", tmp_path / "out")


def test_a_side_by_side_camera_from_stream_to_poses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (live, video):
        monkeypatch.setattr(
            module, "open_detector", lambda _, rectifier, *__: PictureClockDetector(RIG, rectifier, epoch_s=0.0)
        )
    rig, session = tmp_path / "rig.toml", tmp_path / "session"
    save_rig(RIG, rig)
    options = ("--rectify", "points", "--denoiser", "off")
    with StreamServer(SIZE_PX, views=2) as server:
        arguments = (server.url(), "--side-by-side", "--rig", rig, "--headless", "--duration", "1.2", *options)
        assert run("live", *arguments, "--record", session) == 0
    assert {path.name for path in session.glob("*.mjpeg")} == {"both.mjpeg"}
    assert (session / "overlay.mp4").stat().st_size > 10_000
    assert run("video", session, "-o", tmp_path / "out", "--no-overlay", *options) == 0
    with np.load(session / "poses.npz") as seen, np.load(tmp_path / "out" / "poses.npz") as again:
        assert len(again["frame"]) >= len(seen["frame"]) > 5
        # What was live is in the recording, at the same time and place.
        for timestamp_s, raw_m in zip(seen["timestamp_s"][3:], seen["raw_points_m"][3:], strict=True):
            nearest = int(np.abs(again["timestamp_s"] - timestamp_s).argmin())
            assert again["timestamp_s"][nearest] == pytest.approx(timestamp_s, abs=1e-6)
            assert np.allclose(again["raw_points_m"][nearest], raw_m, atol=1e-6, equal_nan=True)
