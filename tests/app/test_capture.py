"""Live capture from real streams on loopback and real files, with everything that goes wrong in practice."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.app.capture import (
    CameraOptions,
    CameraState,
    CameraThread,
    CapturedFrame,
    CapturedPair,
    CaptureError,
    StereoCapture,
    open_camera,
    open_stereo,
)
from binopose.app.capture.multipart import MultipartParser

from .stream_server import StreamServer, make_picture, read_picture

# Only ever reached when something is broken.
PATIENCE_S = 12.0


@pytest.fixture
def server() -> Iterator[StreamServer]:
    with StreamServer() as running:
        yield running


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.01)


def next_frame(camera: CameraThread, after: int = -1) -> CapturedFrame:
    frame = camera.newest(PATIENCE_S, after)
    assert frame is not None
    return frame


def frames(camera: CameraThread, count: int) -> Iterator[CapturedFrame]:
    last = -1
    for _ in range(count):
        frame = next_frame(camera, last)
        last = frame.number
        yield frame


def pairs(capture: StereoCapture, count: int) -> list[CapturedPair]:
    taken = []
    while len(taken) < count:
        pair = capture.newest(PATIENCE_S)
        assert pair is not None
        taken.append(pair)
    return taken


def write_video(path: Path, count: int, rate_hz: float, size_px: tuple[int, int] = (320, 240)) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate_hz, size_px)
    assert writer.isOpened()
    for number in range(count):
        writer.write(make_picture(size_px, number, 0.0))
    writer.release()


# The envelope


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("named", ["cut", "--cut", '"cut"'])
def test_parts_are_the_same_however_the_bytes_arrive(lengths: bool, named: str) -> None:
    random = np.random.default_rng(3)
    bodies = [b"\xff\xd8" + random.bytes(int(size)) + b"\xff\xd9" for size in random.integers(1, 400, 12)]
    bodies[4] = b"\xff\xd8 two line ends at the end\r\n\r\n"
    stream = b"text before the first boundary\r\n"
    for body in bodies:
        head = f"Content-length: {len(body)}\r\nX-Time: 5\r\n" if lengths else "Content-Type: image/jpeg\r\n"
        stream += b"--cut\r\n" + head.encode() + b"\r\n" + body + b"\r\n"
    stream += b"--cut--\r\n"
    for most in (1, 7, 4096):
        parser, got, at = MultipartParser(named), [], 0
        while at < len(stream):
            step = int(random.integers(1, most + 1))
            got += parser.feed(stream[at : at + step])
            at += step
        assert got == bodies


def test_a_part_with_its_length_is_complete_with_its_last_byte() -> None:
    parser = MultipartParser("cut")
    assert parser.feed(b"--cut\r\nContent-Length: 4\r\n\r\nabc") == []
    assert parser.feed(b"d") == [b"abcd"]


def test_bytes_without_boundary_are_no_stream() -> None:
    with pytest.raises(ValueError, match="no end of a picture"):
        MultipartParser("cut").feed(bytes(40 << 20))


# One camera


def test_frames_are_new_timely_and_on_the_clock_of_the_program(server: StreamServer) -> None:
    server.rate_hz = 20.0
    with open_camera(server.url()) as camera:
        taken = []
        for frame in frames(camera, 25):
            number, made_s = read_picture(frame.image)
            taken.append((number, made_s, frame.timestamp_s, time.monotonic()))
        status = camera.status()
    numbers, made_s, stamps_s, seen_s = np.array(taken).T
    assert (np.diff(numbers) > 0).all()
    # Alone on the machine the median is 3 ms; a frame interval is what a buffer of one frame would cost.
    assert np.median(seen_s - made_s) < 0.7 / server.rate_hz
    assert (made_s < stamps_s).all()
    assert (stamps_s <= seen_s).all()
    assert status.state is CameraState.RUNNING
    assert status.reason == ""
    assert status.size_px == (320, 240)
    assert status.frames_received >= 25
    # A server on a busy machine is slower than it should be: what it did counts.
    sent_hz = (numbers[-1] - numbers[0]) / (made_s[-1] - made_s[0])
    assert status.rate_hz == pytest.approx(sent_hz, rel=0.15)
    assert 0 <= status.jitter_s < 1 / server.rate_hz


def test_a_slow_reader_sees_the_newest_frame_and_no_backlog(server: StreamServer) -> None:
    with open_camera(server.url()) as camera:
        last, ages_s, shown = -1, [], 0
        for _ in range(8):
            frame = next_frame(camera, last)
            last, shown = frame.number, shown + 1
            ages_s.append(time.monotonic() - read_picture(frame.image)[1])
            threading.Event().wait(0.15)  # the work of a slow reader
        status = camera.status()
    # With a queue the age would grow by 0.12 s with every frame, to 0.8 s.
    assert np.median(ages_s) < 0.1
    assert ages_s[-1] < 0.3
    # All but those shown and the one that may lie in the slot.
    assert status.frames_unseen == pytest.approx(status.frames_received - shown, abs=1)
    assert status.frames_unseen > 15


def test_of_a_burst_only_the_last_picture_counts(server: StreamServer) -> None:
    server.faults.backlog = 3
    with open_camera(server.url()) as camera:
        numbers = np.array([read_picture(frame.image)[0] for frame in frames(camera, 15)])
        status = camera.status()
    # A burst may be cut in two on its way; then more than its last picture is seen.
    assert np.mean(numbers % 3 == 2) > 0.6
    assert status.frames_unseen > 10


@pytest.mark.parametrize("path", ["/chunked", "/bare", "/moved"])
def test_other_ways_to_send_a_stream(server: StreamServer, path: str) -> None:
    with open_camera(server.url(path)) as camera:
        numbers = [read_picture(frame.image)[0] for frame in frames(camera, 5)]
    assert (np.diff(numbers) > 0).all()


def test_a_password_is_used_and_never_shown(server: StreamServer) -> None:
    right = server.url("/locked").replace("//", "//user:p%40ss@")
    with open_camera(right) as camera:
        assert len(list(frames(camera, 2))) == 2
        assert "p%40ss" not in camera.name
    with open_camera(right.replace("p%40ss", "wrong1")) as camera, pytest.raises(CaptureError, match="401") as caught:
        camera.wait_until_running()
    assert "wrong1" not in str(caught.value)


# Faults


@pytest.mark.parametrize("fault", ["stalled", "trickling"])
def test_a_silent_stream_is_noticed_and_opened_again(server: StreamServer, fault: str) -> None:
    with open_camera(server.url()) as camera:
        camera.wait_until_running()
        setattr(server.faults, fault, True)
        wait_until(lambda: camera.status().state is CameraState.RETRYING, "noticed")
        status = camera.status()
        assert "stalls" in status.reason
        assert np.isnan(status.rate_hz)
        setattr(server.faults, fault, False)
        seen = status.frames_received
        wait_until(lambda: camera.status().frames_received > seen + 2, "frames again")
        status = camera.status()
        assert (status.state, status.losses) == (CameraState.RUNNING, 1)


def test_a_server_that_dies_and_comes_back(server: StreamServer) -> None:
    with open_camera(server.url()) as camera:
        camera.wait_until_running()
        server.stop()
        wait_until(lambda: "refused" in camera.status().reason, "refused")
        assert camera.status().state is CameraState.RETRYING
        seen = camera.status().frames_received
        assert camera.newest(0.0, after=seen) is None
        server.start()
        wait_until(lambda: camera.status().frames_received > seen + 2, "frames again")
        assert camera.status().state is CameraState.RUNNING


@pytest.mark.parametrize("fault", ["corrupt", "truncated"])
def test_damaged_pictures_are_counted_and_never_shown(server: StreamServer, fault: str) -> None:
    with open_camera(server.url()) as camera:
        camera.wait_until_running()
        setattr(server.faults, fault, True)
        first_damaged = server.sent + 1  # one may be on its way
        wait_until(lambda: camera.status().decode_failures >= 10, "damaged pictures")
        received = camera.status().frames_received
        setattr(server.faults, fault, False)
        last_damaged = server.sent
        frame = next_frame(camera, received)
        number = read_picture(frame.image)[0]
        assert number < first_damaged or number >= last_damaged - 1
        assert camera.status().state is CameraState.RUNNING


def test_nothing_but_damaged_pictures_is_a_fault_with_its_reason(server: StreamServer) -> None:
    server.faults.corrupt = True
    with open_camera(server.url()) as camera:
        wait_until(lambda: camera.status().state is CameraState.RETRYING, "given up")
        assert "decoded" in camera.status().reason


def test_pictures_of_another_size_are_held_back(server: StreamServer) -> None:
    with open_camera(server.url()) as camera:
        camera.wait_until_running()
        server.size_px = (160, 120)
        wait_until(lambda: camera.status().state is CameraState.RETRYING, "noticed")
        status = camera.status()
        assert "160 x 120 instead of 320 x 240" in status.reason
        assert status.wrong_size_frames > 10
        assert status.size_px == (320, 240)
        server.size_px = (320, 240)
        assert next_frame(camera, status.frames_received + 1).image.shape == (240, 320, 3)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/page", "a web page, expected a video stream"),
        ("/picture", "a single picture, expected a video stream"),
        ("/nothing", "404"),
        ("/locked", "user and password"),
    ],
)
def test_an_address_that_is_no_stream_is_told_at_once(server: StreamServer, path: str, words: str) -> None:
    began_s = time.monotonic()
    with open_camera(server.url(path)) as camera, pytest.raises(CaptureError, match=words) as caught:
        camera.wait_until_running(PATIENCE_S)
    assert time.monotonic() - began_s < PATIENCE_S / 2
    assert server.url(path) in str(caught.value)


def test_a_camera_that_is_switched_on_late_is_waited_for(server: StreamServer) -> None:
    server.stop()
    with open_camera(server.url()) as camera:
        wait_until(lambda: "refused" in camera.status().reason, "first attempt")
        server.start()
        assert camera.wait_until_running(PATIENCE_S).number == 0


def test_a_camera_that_stays_off_is_an_error_with_its_reason(server: StreamServer) -> None:
    server.stop()
    with open_camera(server.url()) as camera, pytest.raises(CaptureError, match="connection refused"):
        camera.wait_until_running(0.8)


def test_a_size_that_is_not_delivered_is_an_error(server: StreamServer) -> None:
    options = CameraOptions(size_px=(640, 480))
    with open_camera(server.url(), options) as camera, pytest.raises(CaptureError, match=r"640 x 480.*320 x 240"):
        camera.wait_until_running()


@pytest.mark.parametrize(
    "source", ["http://", "http://host:port/", "ftp://host/video", "rtsp://user:hidden@:99999999/", "no-such-file.mp4"]
)
def test_what_is_no_source_is_refused(source: str) -> None:
    with pytest.raises(CaptureError, match="expected") as caught:
        open_camera(source)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"size_px": (0, 480)}, {"rate_hz": 0.0}, {"exposure_ms": -1.0}, {"fourcc": "MJPEG"}]
)
def test_impossible_wishes_are_refused(options: dict) -> None:
    with pytest.raises(CaptureError, match="expected"):
        CameraOptions(**options)


# Closing


def closing_s(camera: CameraThread | StereoCapture) -> float:
    began_s = time.monotonic()
    camera.close()
    return time.monotonic() - began_s


def test_closing_does_not_wait_for_a_silent_stream(server: StreamServer) -> None:
    camera = open_camera(server.url())
    camera.wait_until_running()
    server.faults.stalled = True
    waiter = threading.Thread(target=camera.newest, args=(PATIENCE_S, 10**9))
    waiter.start()
    assert closing_s(camera) < 0.5
    waiter.join(1.0)
    assert not waiter.is_alive()
    assert camera.status().state is CameraState.CLOSED
    assert camera.newest(PATIENCE_S, after=camera.status().frames_received) is None


def test_closing_does_not_wait_for_cv2() -> None:
    """An RTSP camera that accepts the connection and then says nothing holds cv2 for its whole timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        camera = open_camera(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/stream")
        calls = [silent.accept()[0] for _ in range(2)]  # ours, which only knocks, and FFmpeg's
        assert calls[1].recv(7) == b"OPTIONS"
        assert closing_s(camera) < 1.0
        assert camera.status().state is CameraState.CLOSED
        for call in calls:
            call.close()


def test_the_program_ends_properly_with_a_camera_stuck_in_cv2() -> None:
    """A thread that returns from cv2 while Python is being torn down aborts the process: the end has to wait for it."""
    program = (
        "import sys; from binopose.app.capture import open_camera\n"
        "camera = open_camera(sys.argv[1]); sys.stdin.readline(); camera.close(); print('closed', flush=True)"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/stream"
        child = subprocess.Popen(
            [sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdin is not None
        assert child.stdout is not None
        with child, child.stdin:
            calls = [silent.accept()[0] for _ in range(2)]
            assert calls[1].recv(7) == b"OPTIONS"
            child.stdin.write("go on\n")
            child.stdin.flush()
            assert child.stdout.readline() == "closed\n"
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.6)
            for call in calls:
                call.close()
            assert child.wait(PATIENCE_S) == 0


# Other streams


class TransportStreamServer:
    """Sends an MPEG transport stream over plain TCP in real time, once to everybody who calls."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._data, self._seconds = path.read_bytes(), seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._closed = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                call, _ = self._listener.accept()
                with call:
                    self._send(call)
            except OSError:  # the reader left, or the listener was closed
                continue

    def _send(self, call: socket.socket) -> None:
        began_s, packets = time.monotonic(), len(self._data) // 188
        for packet in range(0, packets, 8):
            self._closed.wait(max(0.0, began_s + packet / packets * self._seconds - time.monotonic()))
            call.sendall(self._data[packet * 188 : (packet + 8) * 188])

    def close(self) -> None:
        self._closed.set()
        self._listener.close()


def test_a_stream_that_ffmpeg_reads_is_opened_again_when_it_ends(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "video.ts"), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (320, 240))
    for number in range(40):
        writer.write(make_picture((320, 240), number, 0.0))
    writer.release()
    server = TransportStreamServer(tmp_path / "video.ts", 40 / 25)
    with open_camera(server.url) as camera:
        first = camera.wait_until_running(PATIENCE_S)
        last = first
        while camera.status().losses == 0:
            last = camera.newest(0.1, last.number) or last
        assert read_picture(last.image)[0] == 39
        # What had piled up while FFmpeg examined the stream is passed over.
        assert 20 <= camera.status().frames_received < 40
        # Played at its speed, less what FFmpeg reads to find out what it is.
        assert last.timestamp_s - first.timestamp_s > 0.8
        assert "ended" in camera.status().reason
        again = next_frame(camera, last.number)
        assert read_picture(again.image)[0] < 39
        assert again.number > last.number
    server.close()


# Files


def test_a_file_is_played_in_real_time_and_ends(tmp_path: Path) -> None:
    write_video(tmp_path / "left.avi", 30, 25.0)
    with open_camera(str(tmp_path / "left.avi")) as camera:
        taken = []
        while (frame := camera.newest(PATIENCE_S, taken[-1][0] if taken else -1)) is not None:
            taken.append((frame.number, read_picture(frame.image)[0], frame.timestamp_s, time.monotonic()))
        status = camera.status()
    _, numbers, stamps_s, seen_s = np.array(taken).T
    assert len(taken) + status.frames_unseen == 30
    assert numbers[-1] == 29
    # Stamps are exactly those of the file; what is seen follows shortly after and never comes early.
    np.testing.assert_allclose(stamps_s - stamps_s[0], (numbers - numbers[0]) / 25.0, atol=2e-3)
    assert (seen_s >= stamps_s).all()
    assert np.median(seen_s - stamps_s) < 0.03
    assert status.state is CameraState.ENDED
    assert "30 frames" in status.reason


def test_two_files_start_together_and_stay_together_when_looped(tmp_path: Path) -> None:
    write_video(tmp_path / "left.avi", 12, 30.0)
    write_video(tmp_path / "right.avi", 15, 30.0)
    names = str(tmp_path / "left.avi"), str(tmp_path / "right.avi")
    with open_stereo(*names, CameraOptions(loop=True)) as capture:
        capture.wait_until_running()
        taken = pairs(capture, 36)
        assert not capture.over
    numbers = np.array([[read_picture(pair.pair.left)[0], read_picture(pair.pair.right)[0]] for pair in taken])
    assert (numbers[:, 0] == numbers[:, 1]).all()
    assert (np.diff(numbers[:, 0]) < 0).sum() >= 2  # rounds
    assert max(abs(pair.skew_s) for pair in taken) < 1e-6
    # One round follows the other without a gap; only pairs that nobody looked at in time are missing.
    steps_s = np.diff([pair.pair.timestamp_s for pair in taken])
    np.testing.assert_allclose(steps_s, np.diff([pair.pair.index for pair in taken]) / 30, atol=2e-3)


def test_pairs_of_files_end_with_them(tmp_path: Path) -> None:
    for name in ("left.avi", "right.avi"):
        write_video(tmp_path / name, 10, 30.0)
    with open_stereo(str(tmp_path / "left.avi"), str(tmp_path / "right.avi")) as capture:
        taken = 0
        while not capture.over:
            taken += capture.newest(0.5) is not None
        status = capture.status()
    assert status.pairs == 10
    assert status.unpaired == (0, 0)
    assert taken + status.pairs_unseen == 10
    assert capture.newest(PATIENCE_S) is None


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("shopping list")
    with pytest.raises(CaptureError, match=r"notes\.mp4.*no video"):
        open_camera(str(tmp_path / "notes.mp4"))


def test_a_real_recording_in_real_time(shared_data: Path) -> None:
    folder = shared_data / "stereo" / "webcam-swing-poor-calibration" / "videos"
    with open_stereo(str(folder / "camera1_output.mp4"), str(folder / "camera2_output.mp4")) as capture:
        capture.wait_until_running()
        began_s = time.monotonic()
        taken = pairs(capture, 20)
        took_s = time.monotonic() - began_s
    stamps_s = np.array([pair.pair.timestamp_s for pair in taken])
    assert taken[0].pair.left.shape == (1080, 1920, 3)
    # Stamps and skews lie on the grid of the file. A machine too slow for it passes frames over, not always the same in
    # both views, and the middle of a pair may then lie between two frames.
    steps = 2 * 30 * np.diff(stamps_s)
    np.testing.assert_allclose(steps, np.round(steps), atol=0.1)
    assert steps.min() > 0.9
    assert np.median([abs(pair.skew_s) for pair in taken]) < 2e-3
    assert stamps_s[-1] - stamps_s[0] - 0.2 < took_s < stamps_s[-1] - stamps_s[0] + 1.0


# Two cameras


@pytest.mark.parametrize(("phase_s", "expected_s"), [(0.020, 0.020), (0.050, -0.0167)])
def test_cameras_out_of_step_give_the_nearest_frames(phase_s: float, expected_s: float) -> None:
    with (
        StreamServer(rate_hz=15) as left,
        StreamServer(rate_hz=15, phase_s=phase_s) as right,
        open_stereo(left.url(), right.url()) as capture,
    ):
        capture.wait_until_running()
        taken = pairs(capture, 28)[8:]
        status = capture.status()
    made_s = np.array([[read_picture(pair.pair.left)[1], read_picture(pair.pair.right)[1]] for pair in taken])
    skews_s = made_s[:, 1] - made_s[:, 0]
    assert np.median(skews_s) == pytest.approx(expected_s, abs=0.008)
    # The program's own times, taken at arrival, say the same.
    assert np.median([pair.skew_s for pair in taken]) == pytest.approx(np.median(skews_s), abs=0.008)
    assert status.skew_mean_s == pytest.approx(expected_s, abs=0.02)
    assert status.rate_hz == pytest.approx(status.left.rate_hz, rel=0.25)
    for pair in taken:
        assert pair.pair.timestamp_s == (pair.left_timestamp_s + pair.right_timestamp_s) / 2
        assert pair.skew_s == pair.right_timestamp_s - pair.left_timestamp_s


def test_a_camera_at_half_the_rate_still_gives_its_rate_of_pairs() -> None:
    with StreamServer() as left, StreamServer(rate_hz=15) as right, open_stereo(left.url(), right.url()) as capture:
        capture.wait_until_running()
        pairs(capture, 8)
        before = capture.status()
        taken = pairs(capture, 20)
        after = capture.status()
    assert after.right is not None
    assert before.right is not None
    slow_frames = after.right.frames_received - before.right.frames_received
    assert after.pairs - before.pairs == pytest.approx(slow_frames, abs=3)
    # Ticks of both servers coincide every second time of the fast one.
    assert np.median([abs(pair.skew_s) for pair in taken]) < 0.01
    unpaired = after.unpaired[0] - before.unpaired[0]
    assert unpaired == pytest.approx(slow_frames, abs=5)


def test_a_lost_camera_stops_the_pairs_until_it_is_back() -> None:
    with StreamServer() as left, StreamServer() as right, open_stereo(left.url(), right.url()) as capture:
        capture.wait_until_running()
        pairs(capture, 3)
        right.stop()
        wait_until(lambda: (view := capture.status().right) is not None and "refused" in view.reason, "lost")
        while capture.newest(0.0) is not None:
            pass
        assert capture.newest(0.2) is None
        assert not capture.over
        assert capture.status().left.state is CameraState.RUNNING
        right.start()
        pair = pairs(capture, 3)[-1]
        assert abs(pair.skew_s) < 0.03


def test_one_camera_with_both_views_is_cut_in_halves() -> None:
    with StreamServer(views=2) as server, open_stereo(server.url(), None) as capture:
        capture.wait_until_running()
        for pair in pairs(capture, 5):
            assert pair.pair.left.shape == pair.pair.right.shape == (240, 320, 3)
            assert read_picture(pair.pair.left) == pytest.approx(read_picture(pair.pair.right), abs=1e-6)
            assert pair.skew_s == 0
        assert capture.status().right is None


def test_a_picture_that_cannot_be_halved_is_an_error() -> None:
    with StreamServer(size_px=(321, 240)) as server, open_stereo(server.url(), None) as capture:
        with pytest.raises(CaptureError, match="321 pixels wide"):
            capture.wait_until_running()
        with pytest.raises(CaptureError, match="321 pixels wide"):
            capture.newest(PATIENCE_S)


def test_closing_a_stereo_capture_is_quick(server: StreamServer) -> None:
    with StreamServer() as other:
        capture = open_stereo(server.url(), other.url())
        capture.wait_until_running()
        server.faults.stalled = other.faults.stalled = True
        assert closing_s(capture) < 1.0
        assert capture.over
        assert capture.newest(PATIENCE_S) is None


def test_the_same_camera_twice_is_refused() -> None:
    with pytest.raises(CaptureError, match="same camera"):
        open_stereo("0", "0")
