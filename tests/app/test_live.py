"""The live loop on real streams over loopback, with everything that goes wrong while it runs."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.app.capture import CameraState, CameraThread, CaptureError, camera, mjpeg, open_stereo
from binopose.app.commands import live
from binopose.app.frames import FramePair
from binopose.app.live import loop as loop_module
from binopose.app.live.drawing import Announcements, Drawer, Drawn
from binopose.app.live.feed import CameraFeed
from binopose.app.live.health import CalibrationWatch, LossWatch
from binopose.app.live.mailbox import Mailbox
from binopose.app.live.orbit import Orbit
from binopose.app.live.panel import LiveFrame, LivePanel
from binopose.app.live.session import LiveSession, SessionOptions
from binopose.app.live.startup import picture_sizes, waiting_picture
from binopose.app.live.sync import SoftSync
from binopose.app.live.update import Health, LiveUpdate, Tracking
from binopose.app.overlay import Box
from binopose.app.pipeline import Pipeline
from binopose.app.reference import ReferenceFrame
from binopose.app.view3d import Viewpoint
from binopose.app.window import MouseEvent
from binopose.calibration.errors import UserError
from binopose.calibration.rectify import Rectifier
from binopose.calibration.rig_file import save_rig
from binopose.engines.denoiser import SkeletonDenoiser

from .live_person import SIZE_PX, PictureClockDetector, small_rig
from .stream_server import StreamServer, make_picture

RIG = small_rig()
RECTIFIER = Rectifier(RIG, "points")
# Only ever reached when something is broken.
PATIENCE_S = 15.0


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's own time constants, shorter: the logic is the same."""
    monkeypatch.setattr(camera, "STALL_S", 0.4)
    monkeypatch.setattr(camera, "RETRY_PAUSE_S", 0.1)
    monkeypatch.setattr(mjpeg, "READ_TIMEOUT_S", 0.4)
    monkeypatch.setattr(loop_module, "IDLE_S", 0.1)
    monkeypatch.setattr(loop_module, "STALE_S", 0.5)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.01)


class Collector:
    """A listener that keeps what it hears, without the pictures."""

    def __init__(self, wants_picture: bool = False) -> None:
        self.wants_picture = wants_picture
        self.updates: list[LiveUpdate] = []
        self.pictures: list[LiveUpdate] = []
        self.closed = False

    def update(self, update: LiveUpdate) -> None:
        if update.picture is not None:
            self.pictures.append(update)
        else:
            self.updates.append(update)

    def close(self) -> None:
        self.closed = True

    @property
    def newest(self) -> LiveUpdate | None:
        return self.updates[-1] if self.updates else None

    def tracks(self) -> bool:
        return self.newest is not None and self.newest.tracking is Tracking.TRACKING

    def says(self, light: str, words: str) -> Callable[[], bool]:
        def check() -> bool:
            newest = self.newest
            return newest is not None and newest.health.light == light and words in newest.health.reason

        return check


class Running:
    """A session in a thread, before two streams."""

    def __init__(self, left: StreamServer, right: StreamServer, collector: Collector) -> None:
        self.left, self.right, self.collector = left, right, collector
        self.said: list[str] = []
        self.detector = PictureClockDetector(RIG, RECTIFIER)
        self.capture = open_stereo(left.url(), right.url())
        picture_sizes(self.capture, False, None, self.said.append)
        sync = SoftSync()
        pipeline = Pipeline(RECTIFIER, self.detector, SkeletonDenoiser(), sync)
        feed, reference = CameraFeed(self.capture), ReferenceFrame(RIG, RECTIFIER)
        self.session = LiveSession(
            feed, RIG, pipeline, sync, reference, SessionOptions(), self.said.append, [collector]
        )
        self.thread = threading.Thread(target=self.session.run)
        self.thread.start()

    def close(self) -> None:
        self.capture.close()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


@contextmanager
def running(wants_picture: bool = False) -> Iterator[Running]:
    with StreamServer(SIZE_PX) as left, StreamServer(SIZE_PX) as right:
        session = Running(left, right, Collector(wants_picture))
        try:
            wait_until(session.collector.tracks, "a person")
            yield session
        finally:
            session.close()


# What runs


def test_every_pair_is_told_once_with_its_pose_and_drawn_as_often_as_there_is_time() -> None:
    with running(wants_picture=True) as live_:
        wait_until(lambda: len(live_.collector.pictures) > 15, "pictures")
        wait_until(lambda: live_.collector.newest is not None and live_.collector.newest.rate_hz > 5, "a rate")
    updates = [update for update in live_.collector.updates if update.tracking is Tracking.TRACKING]
    assert [update.number for update in updates] == list(range(updates[0].number, updates[-1].number + 1))
    times = [update.timestamp_s for update in updates]
    assert times == sorted(times)
    for update in updates:
        assert 0 < update.latency_s < 5
        assert update.pose is not None
        assert update.raw is not None
        assert update.result is not None
        assert update.result.person is not None
        assert {"wait", "rectify", "detect", "triangulate", "refine"} <= set(update.stage_ms)
        made_s = update.pose.timestamp_s
        assert abs(made_s - update.timestamp_s) < 0.05
    drawn = live_.collector.pictures
    assert {update.picture.shape for update in drawn if update.picture is not None} == {drawn[0].picture.shape}  # type: ignore[union-attr]
    assert all("draw" in update.stage_ms for update in drawn)
    assert "pairs, latency to the pose" in live_.said[-1]


def test_poses_are_where_the_person_is() -> None:
    with running() as live_:
        wait_until(lambda: len(live_.collector.updates) > 40, "poses")
    errors = []
    for update in live_.collector.updates[20:]:
        if update.raw is None or update.result is None:
            continue
        truth_m = live_.detector._scene.truth_m(update.raw.timestamp_s - live_.detector._epoch_s)
        errors.append(np.nanmedian(np.linalg.norm(update.raw.points_m - truth_m, axis=1)))
    assert np.median(errors) < 0.1  # 0.2 px of noise in pictures 320 wide are centimetres here


def test_a_slow_detector_drops_pairs_and_does_not_fall_behind() -> None:
    with running() as live_:
        live_.detector.slow_s = 0.15
        wait_until(lambda: live_.capture.status().pairs_unseen > 10, "pairs dropped")
        newest = live_.collector.newest
        assert newest is not None
        # A backlog would be ten pairs of 33 ms and growing.
        wait_until(lambda: (live_.collector.newest or newest).latency_s < 0.5, "a fresh pair")


def test_switches_and_person_reset_reach_the_loop() -> None:
    with running() as live_:
        session = live_.session
        session._obey("m")
        session._obey("f")
        wait_until(lambda: not (live_.collector.updates[-1].refined or live_.collector.updates[-1].filtered), "off")
        last = live_.collector.newest
        assert last is not None
        assert last.pose is not None
        assert last.raw is not None
        assert np.array_equal(last.pose.points_m, last.raw.points_m, equal_nan=True)
        session._obey("n")
        wait_until(lambda: live_.detector.resets == 1, "the person forgotten")
        session._obey(" ")
        wait_until(lambda: live_.collector.updates[-1].paused, "paused")
        number = live_.collector.updates[-1].number
        time.sleep(0.3)
        assert live_.collector.updates[-1].number == number
        session._obey(" ")
        wait_until(lambda: live_.collector.updates[-1].number > number, "going on")
        session._obey("q")
        live_.thread.join(PATIENCE_S)


def test_recording_starts_and_stops_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with running() as live_:
        for number in (1, 2):
            live_.session._obey("r")
            wait_until(lambda: live_.collector.updates[-1].recording, "recording")
            recorder = live_.session._recorder
            assert recorder is not None
            wait_until(lambda recorder=recorder: recorder.state.frames > 5, "frames")
            live_.session._obey("r")
            wait_until(lambda: not live_.collector.updates[-1].recording, "not recording")
            folders = [path for path in tmp_path.iterdir() if (path / "poses.npz").is_file()]
            assert len(folders) == number
        assert all((folder / "summary.json").is_file() for folder in folders)


def test_a_snapshot_is_what_the_window_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with running() as live_:
        live_.session._obey("s")  # nothing shown yet, nothing to keep
        picture = np.random.default_rng(1).integers(0, 255, (40, 60, 3)).astype(np.uint8)
        live_.session._newest = Drawn(picture, 0.0, True)
        live_.session._obey("s")
        live_.session._obey("s")
    files = list(tmp_path.glob("*.png"))
    assert len(files) == 2
    kept = [cv2.imread(str(path)) for path in files]
    assert all(image is not None and np.array_equal(image, picture) for image in kept)


# What goes wrong: a visible state, and everything as before when it is over


def test_a_stream_that_stalls() -> None:
    with running() as live_:
        live_.right.faults.stalled = True
        wait_until(live_.collector.says("red", "right camera"), "a red light")
        wait_until(lambda: live_.collector.updates[-1].tracking is Tracking.NO_PICTURES, "no pictures")
        assert live_.collector.updates[-1].pose is None
        live_.right.faults.stalled = False
        wait_until(live_.collector.tracks, "the person again")
        wait_until(lambda: any("right camera: back" in line for line in live_.said), "said in the terminal")
        assert any(line.startswith("right camera: ") and "stall" in line for line in live_.said)


def test_a_stream_that_ends_and_comes_back() -> None:
    with running() as live_:
        live_.left.stop()
        wait_until(live_.collector.says("red", "left camera"), "a red light")
        wait_until(lambda: live_.collector.updates[-1].tracking is Tracking.NO_PICTURES, "no pictures")
        live_.left.start()
        wait_until(live_.collector.tracks, "the person again")


def test_a_camera_that_is_absent_at_the_start() -> None:
    said: list[str] = []
    found: list[object] = []
    with StreamServer(SIZE_PX) as left, StreamServer(SIZE_PX) as right:
        right.stop()
        with open_stereo(left.url(), right.url()) as capture:
            waiting = threading.Thread(target=lambda: found.append(picture_sizes(capture, True, None, said.append)))
            waiting.start()
            wait_until(lambda: any("connection refused" in line for line in said), "the reason")
            assert not found
            right.start()
            waiting.join(PATIENCE_S)
    assert found == [(SIZE_PX, SIZE_PX)]


def test_a_camera_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("binopose.app.live.startup.PATIENCE_S", 0.3)
    with StreamServer(SIZE_PX) as left, StreamServer(SIZE_PX) as right:
        right.stop()
        with (
            open_stereo(left.url(), right.url()) as capture,
            pytest.raises(CaptureError, match=r"connection refused.*--wait goes on waiting"),
        ):
            picture_sizes(capture, False, None, lambda _: None)


def test_a_camera_at_half_rate() -> None:
    with running() as live_:
        live_.right.rate_hz = 15.0
        wait_until(live_.collector.says("amber", "the right camera delivers"), "an amber light")
        assert live_.collector.tracks()
        live_.right.rate_hz = 30.0
        wait_until(lambda: "delivers" not in live_.collector.updates[-1].health.reason, "all well")


def test_dropped_frames() -> None:
    with running() as live_:
        live_.left.faults.dropped = 0.3
        wait_until(live_.collector.says("amber", "right camera's pictures have no partner"), "an amber light")
        assert live_.collector.tracks()
        live_.left.faults.dropped = 0.0
        wait_until(lambda: "partner" not in live_.collector.updates[-1].health.reason, "all well")


def test_corrupt_pictures() -> None:
    with running() as live_:
        live_.left.faults.corrupt = True
        wait_until(live_.collector.says("red", "left camera"), "a red light")
        live_.left.faults.corrupt = False
        wait_until(live_.collector.tracks, "the person again")
        assert live_.capture.status().left.decode_failures > 0


def test_another_resolution() -> None:
    with running() as live_:
        live_.right.size_px = (480, 270)
        wait_until(live_.collector.says("red", "480 x 270 instead of 320 x 180"), "a red light")
        live_.right.size_px = SIZE_PX
        wait_until(live_.collector.tracks, "the person again")


def test_swapped_cameras() -> None:
    with running() as live_:
        wait_until(lambda: len(live_.collector.updates) > 25, "the order found right at first")
        live_.detector.swapped = True
        wait_until(live_.collector.says("red", "cameras are swapped"), "a red light")
        live_.detector.swapped = False
        wait_until(lambda: "swapped" not in live_.collector.updates[-1].health.reason, "all well")
        wait_until(live_.collector.tracks, "the person again")


class JumpingSource:
    """A camera whose clock jumps. Follows `Source`."""

    def __init__(self) -> None:
        self.name, self.skipped_frames, self.notes = "jumping", 0, ()
        self.offset_s = 0.0

    def open(self) -> None: ...

    def grab(self) -> float:
        time.sleep(0.02)
        return time.monotonic() + self.offset_s

    def retrieve(self) -> np.ndarray:
        return make_picture(SIZE_PX, 0, 0.0)

    def jpeg(self) -> None: ...

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("jump_s", [-3600.0, -0.2, 3600.0])
def test_timestamps_that_jump(jump_s: float) -> None:
    source = JumpingSource()
    stamps: list[float] = []
    with CameraThread(source) as thread:
        thread.add_listener(lambda frame: stamps.append(frame.timestamp_s))
        for offset_s in (0.0, jump_s, 0.0):
            source.offset_s = offset_s
            count = len(stamps) + 8
            wait_until(lambda count=count: len(stamps) > count, "pictures")
        assert thread.state is CameraState.RUNNING
    assert (np.diff(stamps) > 0).all()
    assert np.ptp(stamps) < 60  # nobody believed the jump


def test_nobody_in_view_is_said_and_no_fault() -> None:
    with running() as live_:
        live_.detector.nobody = True
        wait_until(lambda: live_.collector.updates[-1].tracking is Tracking.LOST, "nobody")
        live_.detector.nobody = False
        wait_until(live_.collector.tracks, "the person again")


def test_an_error_in_a_thread_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PictureClockDetector, "detect", fail)
    with (
        StreamServer(SIZE_PX) as left,
        StreamServer(SIZE_PX) as right,
        open_stereo(left.url(), right.url()) as capture,
    ):
        pipeline = Pipeline(RECTIFIER, PictureClockDetector(RIG, RECTIFIER), SkeletonDenoiser())
        reference = ReferenceFrame(RIG, RECTIFIER)
        session = LiveSession(CameraFeed(capture), RIG, pipeline, SoftSync(), reference, SessionOptions(), print)
        with pytest.raises(ZeroDivisionError):
            session.run()


# The parts


def test_a_mailbox_keeps_the_newest() -> None:
    box: Mailbox[int] = Mailbox()
    assert box.take(0.0) is None
    for number in range(3):
        box.put(number)
    assert (box.take(0.0), box.dropped) == (2, 2)
    box.put(7)
    box.close()
    box.put(8)
    assert not box.closed
    assert (box.take(0.0), box.closed) == (7, True)


def test_the_view_turns_with_the_mouse_and_sways_again() -> None:
    orbit = Orbit(Box(100, 50, 200, 100))
    assert orbit.viewpoint(3.0) == Viewpoint.swaying(3.0)
    orbit.handle(MouseEvent("press", 10, 60), 3.0)
    orbit.handle(MouseEvent("drag", 90, 60), 3.0)
    assert orbit.viewpoint(3.0) == Viewpoint.swaying(3.0)  # began outside
    orbit.handle(MouseEvent("press", 150, 60), 3.0)
    orbit.handle(MouseEvent("drag", 190, 80), 3.0)
    turned, before = orbit.viewpoint(9.0), Viewpoint.swaying(3.0)
    assert turned.yaw_rad < before.yaw_rad
    assert turned.elevation_rad > before.elevation_rad
    orbit.handle(MouseEvent("drag", 190, 9000), 3.0)
    assert orbit.viewpoint(9.0).elevation_rad < np.pi / 2
    orbit.handle(MouseEvent("release", 190, 80), 3.0)
    orbit.handle(MouseEvent("wheel", 150, 60, steps=1), 3.0)
    assert orbit.viewpoint(9.0).zoom > 1
    orbit.handle(MouseEvent("double", 150, 60), 3.0)
    assert orbit.viewpoint(9.0) == Viewpoint.swaying(9.0)


def test_calibration_is_judged_by_the_rows() -> None:
    detector = PictureClockDetector(RIG, RECTIFIER, noise_px=0.1, epoch_s=90.0)
    image = make_picture(SIZE_PX, 1, 100.0)
    for shift_px, light, words in ((0.0, "green", ""), (1.6, "amber", "always the same way"), (8.0, "red", "rows")):
        watch = CalibrationWatch()
        assert watch.judge().light == "amber"
        for number in range(30):
            result = Pipeline(RECTIFIER, detector, SkeletonDenoiser()).process(_pair(image, number))
            assert result.person is not None
            rows_px = result.person.epipolar_px + shift_px
            watch.observe(replace(result, person=replace(result.person, epipolar_px=rows_px)))
        health = watch.judge()
        assert health.light == light, shift_px
        assert words in health.reason


def _pair(image: np.ndarray, number: int):

    return FramePair(image, image, 100 + number / 30, number)


def test_a_loss_watch_without_cameras_has_nothing_to_say() -> None:
    assert LossWatch().judge(None, 0.0) == ""


def test_the_panel_draws_every_state() -> None:
    detector = PictureClockDetector(RIG, RECTIFIER, epoch_s=90.0)
    result = Pipeline(RECTIFIER, detector, SkeletonDenoiser()).process(_pair(make_picture(SIZE_PX, 1, 100.0), 0))
    assert result.person is not None
    panel = LivePanel(RECTIFIER, None)
    quiet = LiveFrame(
        result, result.person.pose, 0.0, ("", ""), Tracking.TRACKING, Health("green", ""), (("latency", "80 ms"),), {}
    )
    states = {
        "tracking": quiet,
        "amber": replace(quiet, health=Health("amber", "rows differ")),
        "red": replace(quiet, health=Health("red", "left camera: " + "gone " * 60), lost=("gone " * 40, "")),
        "recording": replace(quiet, recording="1:02", switches=("paused",)),
        "uncertainty": replace(quiet, uncertainty=True),
        "nobody": replace(quiet, pose=None, tracking=Tracking.LOST),
        "nothing yet": replace(quiet, result=None, pose=None, tracking=Tracking.NO_PICTURES),
    }
    pictures = {name: panel.compose(content, Viewpoint()) for name, content in states.items()}
    assert {picture.shape for picture in pictures.values()} == {(panel.size_px[1], panel.size_px[0], 3)}
    names = list(pictures)
    for number, name in enumerate(names):
        for other in names[number + 1 :]:
            assert not np.array_equal(pictures[name], pictures[other]), (name, other)
    annotated = pictures["tracking"].copy()
    panel.annotate(annotated, replace(quiet, help=True, toast="snapshot"))
    assert not np.array_equal(annotated, pictures["tracking"])
    assert waiting_picture(["camera 0: " + "not there " * 30]).ndim == 3


def test_a_drawer_without_anybody_to_draw_for_draws_nothing() -> None:
    panel = LivePanel(RECTIFIER, None)
    drawer = Drawer(
        panel, Orbit(panel.turning), loop_module.Switches(), Announcements(), [Collector()], lambda: None, None
    )
    assert not drawer._wanted()


# Bad input


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    live.add_parser(parser.add_subparsers())
    options = parser.parse_args(["live", *map(str, arguments)])
    return options.run(options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "LEFT and RIGHT are missing: .*--list"),
        (("0",), "two cameras are needed"),
        (("0", "1", "--side-by-side", "--rig", "RIG"), "one camera that shows both views"),
        (("0", "1"), "--rig is missing"),
        (("0", "1", "--rig", "nowhere.toml"), r"nowhere\.toml"),
        (("0", "1", "--rig", "RIG", "--duration", "0"), "--duration: expected more than 0"),
        (("0", "1", "--rig", "RIG", "--headless", "--camera-size", "big"), "--camera-size: expected width x height"),
        (("98", "99", "--rig", "RIG", "--headless"), r"camera 98: no such device|camera 98: cannot be opened"),
        (("98", "98", "--rig", "RIG", "--headless"), "the same camera"),
        (("left.mp4", "right.mp4", "--rig", "RIG", "--headless"), r"left\.mp4: no such file"),
        (("--replay", "FOLDER"), "no recording of `binopose live --record`"),
        (("0", "1", "--replay", "FOLDER"), "--replay takes the place of LEFT and RIGHT"),
        (("0", "1", "--rig", "RIG", "--record", "FOLDER"), "expected an empty or new folder"),
        (("0", "1", "--rig", "RIG", "--token", "abc"), "--token belongs to --web"),
        (("0", "1", "--rig", "RIG", "--headless", "--udp", "nonsense"), "--udp"),
    ],
)
def test_bad_input_is_refused_with_the_next_step(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, rig = tmp_path / "folder", tmp_path / "rig.toml"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    save_rig(RIG, rig)
    with pytest.raises(UserError, match=message):
        run(*({"RIG": rig, "FOLDER": folder}.get(each, each) for each in arguments))


def test_no_display_is_said_before_a_camera_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    save_rig(RIG, tmp_path / "rig.toml")
    with pytest.raises(UserError, match=r"no display.*--headless"):
        run("98", "99", "--rig", tmp_path / "rig.toml")


@pytest.mark.parametrize(("path", "message"), [("/page", "answers with a web page"), ("/nothing", "404")])
def test_an_address_of_something_else_ends_the_program(path: str, message: str, tmp_path: Path) -> None:
    save_rig(RIG, tmp_path / "rig.toml")
    with StreamServer(SIZE_PX) as server, pytest.raises(CaptureError, match=message):
        run(server.url(), server.url(path), "--rig", tmp_path / "rig.toml", "--headless")


def test_a_rig_for_other_pictures_is_refused(tmp_path: Path) -> None:
    save_rig(RIG, tmp_path / "rig.toml")
    message = r"left view does not belong to this rig: .*320 x 240 instead of"
    with (
        StreamServer((320, 240)) as left,
        StreamServer((320, 240)) as right,
        pytest.raises(UserError, match=message),
    ):
        run(left.url(), right.url(), "--rig", tmp_path / "rig.toml", "--headless", "--duration", "1")


def test_cameras_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    assert "camera" in capsys.readouterr().out


# The window


def test_the_window_opens_shows_and_closes(tmp_path: Path, blazepose_weights: Path) -> None:
    if shutil.which("xvfb-run") is None:
        pytest.skip("no xvfb-run to show a window on")
    save_rig(RIG, tmp_path / "rig.toml")
    environment = {**os.environ, "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))}
    with StreamServer(SIZE_PX) as left, StreamServer(SIZE_PX) as right:
        command = ["xvfb-run", "-a", sys.executable, "-m", "binopose.app", "live", left.url(), right.url()]
        command += ["--rig", str(tmp_path / "rig.toml"), "--duration", "2", "--record", str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "shown, latency on the screen" in done.stdout
    assert (tmp_path / "out" / "overlay.mp4").stat().st_size > 10_000
