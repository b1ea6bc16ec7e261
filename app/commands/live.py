"""`binopose live`: two running cameras to poses on the screen, in files and for other programs."""

from __future__ import annotations

import argparse
import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ...calibration.errors import UserError
from ...calibration.rectify import Rectifier
from ...calibration.rig import StereoRig
from ...calibration.rig_file import load_rig
from ..capture import CameraOptions, list_devices, open_stereo
from ..capture.options import parse_size, size_text
from ..console import print_line, print_warning
from ..factory import engine_choice, open_detector, open_profile
from ..live.feed import CameraFeed, Feed, ReplayFeed
from ..live.raw_streams import RIG, is_recording
from ..live.recorded import RecordedStreams
from ..live.session import LiveSession, SessionOptions
from ..live.startup import Sizes, picture_sizes
from ..live.sync import SoftSync
from ..live.update import Listener
from ..outputs.files import check_output_folder
from ..pipeline import Pipeline
from ..reference import ReferenceFrame, check_world
from ..settings import add_config_option
from ..weights_cache import user_cache_dir
from ..window import Window
from .common import add_denoiser_option, add_detection_options, add_engine_options, add_profile_option, denoiser_of

DESCRIPTION = """\
Follow a person with two running cameras: both views, the person in space, and whether to believe it.

LEFT and RIGHT are device numbers (0, 1), paths (/dev/video0), addresses (rtsp://..., http://...) or video files, which
are played in real time. What is slow drops pictures and never falls behind; a camera that is lost is opened again.
"""

EPILOG = """\
examples:
  binopose live --list
  binopose live 0 1 --rig rig.toml
  binopose live 0 1 --rig rig.toml --record session1
  binopose live http://left/video http://right/video --rig rig.toml --headless --websocket 8765
  binopose live --replay session1

keys: r record, space pause, m refinement, f filter, u uncertainty, s snapshot, n new person, h help, q quit
DIR of --record: raw streams with their times (left.mjpeg, left.csv, ...), rig.toml, and the files of `binopose video`.
`binopose video DIR -o OUT` works through a recording again.
"""
NO_WINDOW = "add --headless, with --web PORT to see the picture in a browser"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "live",
        help="two running cameras to 3D poses, on the screen and for other programs",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("left", metavar="LEFT", nargs="?", help="the left camera")
    parser.add_argument("right", metavar="RIGHT", nargs="?", help="the right camera")
    parser.add_argument("--list", action="store_true", help="say which cameras there are and what they offer, and end")
    parser.add_argument("--rig", type=Path, metavar="rig.toml", help="the calibrated rig (a recording has its own)")
    parser.add_argument("--headless", action="store_true", help="open no window; Ctrl-C ends")
    parser.add_argument("--duration", type=float, default=math.inf, metavar="S", help="end after so many seconds")
    parser.add_argument("--record", type=Path, metavar="DIR", help="record into this new or empty folder")
    parser.add_argument("--replay", type=Path, metavar="DIR", help="in place of cameras: a folder that --record wrote")
    parser.add_argument("--no-overlay", action="store_true", help="recordings without overlay.mp4 (faster)")
    parser.add_argument("--world", action="store_true", help="poses in the rig's world frame, not the left camera's")
    _add_camera_options(parser)
    add_detection_options(parser)
    add_profile_option(parser)
    add_denoiser_option(parser)
    add_engine_options(parser)
    _add_stream_options(parser)
    add_config_option(parser)
    parser.set_defaults(run=run)


def _add_camera_options(parser: argparse.ArgumentParser) -> None:
    cameras = parser.add_argument_group("cameras")
    cameras.add_argument("--side-by-side", action="store_true", help="LEFT is one camera that shows both views")
    cameras.add_argument("--camera-size", metavar="WxH", help="picture size to ask for, such as 1280x720 (per view)")
    cameras.add_argument("--camera-rate", type=float, metavar="HZ", help="pictures per second to ask a device for")
    cameras.add_argument("--exposure-ms", type=float, metavar="MS", help="fixed exposure of a device; short is sharp")
    cameras.add_argument("--wait", action="store_true", help="wait for cameras that are not there yet")
    cameras.add_argument("--loop", action="store_true", help="play video files again and again")


def _add_stream_options(parser: argparse.ArgumentParser) -> None:
    streams = parser.add_argument_group("for other programs", "Only this machine is served unless a HOST is given.")
    streams.add_argument("--udp", metavar="HOST:PORT", help="send every pose as JSON datagram")
    streams.add_argument("--websocket", metavar="[HOST:]PORT", help="serve every pose as JSON to WebSocket clients")
    streams.add_argument("--osc", metavar="HOST:PORT", help="send joints and VMC bones as OSC")
    streams.add_argument("--web", metavar="[HOST:]PORT", help="serve picture, view in space and figures to a browser")
    streams.add_argument("--token", metavar="TEXT", help="what browsers have to know; needed with a HOST for --web")


@dataclass(frozen=True, slots=True)
class _Source:
    """Where pairs come from and how large they are."""

    feed: Feed
    sizes_px: Sizes


def run(options: argparse.Namespace) -> int:
    """Run until the user ends it. Returns the exit code."""
    if options.list:
        _print_devices()
        return 0
    with ExitStack() as stack:
        session = open_session(options, stack)
        if session is not None:
            session.run()
    return 0


def open_session(options: argparse.Namespace, stack: ExitStack) -> LiveSession | None:
    """A session as the options describe it, ready to run; None when the user did not want to wait for the cameras.

    stack: closes what the session uses.
    """
    rig = _check(options)
    listeners = _open_listeners(options, stack)
    window = None if options.headless else stack.enter_context(Window("binopose live", NO_WINDOW))
    source = _open_source(options, stack, window)
    if source is None:
        return None
    rig, notes = rig.adapted_to(source.sizes_px)
    for note in notes:
        print_warning(note)
    rectifier = Rectifier(rig, None if options.rectify == "auto" else options.rectify)
    detector = open_detector(options.detector, rectifier, engine_choice(options.device, options.allow_inexact))
    stack.callback(detector.close)
    profile, notes = open_profile(options.profile, options.detector, rig)
    for note in notes:
        print_warning(note)
    sync = SoftSync()
    pipeline = Pipeline(rectifier, detector, denoiser_of(options), sync, profile)
    session_options = SessionOptions(
        options.record, options.duration, not options.no_overlay, user_cache_dir() / "live-help-seen"
    )
    reference = ReferenceFrame(rig, rectifier, options.world)
    return LiveSession(source.feed, rig, pipeline, sync, reference, session_options, print_line, listeners, window)


def _check(options: argparse.Namespace) -> StereoRig:
    """What can be found wrong before anything is opened; the rig to use."""
    if options.replay is not None:
        if options.left is not None:
            raise UserError("--replay takes the place of LEFT and RIGHT: give one or the other")
    elif options.left is None:
        raise UserError("LEFT and RIGHT are missing: give two cameras (see `binopose live --list`), or --replay DIR")
    elif options.side_by_side == (options.right is not None):
        raise UserError(
            "with --side-by-side give one camera that shows both views"
            if options.side_by_side
            else "two cameras are needed, LEFT and RIGHT; for one that shows both views add --side-by-side"
        )
    if options.rig is None and options.replay is None:
        raise UserError("--rig is missing: the calibration of these cameras (`binopose calibrate --live` makes one)")
    if not options.duration > 0:
        raise UserError(f"--duration: expected more than 0 seconds, found {options.duration:g}")
    if options.record is not None:
        check_output_folder(options.record)
    if options.token is not None and options.web is None:
        raise UserError("--token belongs to --web")
    path: Path = options.rig or Path()
    if options.replay is not None:
        if not is_recording(options.replay):
            raise UserError(
                f"--replay {options.replay}: no recording of `binopose live --record`; for videos give LEFT and RIGHT"
            )
        path = options.rig or options.replay / RIG
    rig = load_rig(path)
    check_world(rig, options.world)
    return rig


def _open_source(options: argparse.Namespace, stack: ExitStack, window: Window | None) -> _Source | None:
    if options.replay is not None:
        recording = stack.enter_context(RecordedStreams(options.replay))
        return _Source(ReplayFeed(recording), recording.sizes_px)
    capture = stack.enter_context(open_stereo(options.left, options.right, _camera_options(options)))
    sizes_px = picture_sizes(capture, options.wait, window, print_line)
    if sizes_px is None:
        return None
    for camera in capture.cameras:
        for note in camera.status().notes:
            print_warning(note)
    return _Source(CameraFeed(capture), sizes_px)


def _camera_options(options: argparse.Namespace) -> CameraOptions:
    size_px = None
    if options.camera_size is not None:
        width, height = parse_size(options.camera_size, "--camera-size")
        size_px = (width * (2 if options.side_by_side else 1), height)
    return CameraOptions(size_px, options.camera_rate, options.exposure_ms, loop=options.loop)


def _open_listeners(options: argparse.Namespace, stack: ExitStack) -> list[Listener]:
    listeners: list[Listener] = []
    if options.udp or options.websocket or options.osc:
        from ..streaming import open_listeners

        listeners += open_listeners(options.udp, options.websocket, options.osc)
    for listener in listeners:
        stack.callback(listener.close)
    if options.web:
        from ..web import open_view

        view = open_view(options.web, options.token)
        stack.callback(view.close)
        print_line(f"open {view.url} in a browser")
        listeners.append(view)
    return listeners


def _print_devices() -> None:
    found = list_devices()
    for device in found.devices:
        print_line(f"{device.source}  {device.name}")
        for mode in device.modes:
            rates = ", ".join(f"{rate:g}" for rate in mode.rates_hz) or "any number of"
            print_line(f"    {mode.fourcc} {size_text(mode.size_px)} at {rates} pictures per second")
    print_line(found.remark)
