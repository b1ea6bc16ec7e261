"""From what the user writes (a number, a device, an address, a file) to a running camera."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

from .camera import CameraThread
from .device import DeviceSource
from .errors import CaptureError
from .file import FileSource, duration_s
from .mjpeg import without_password
from .network import FfmpegSource, HttpSource
from .options import CameraOptions
from .source import Source
from .stereo import StereoCapture

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "udp", "tcp", "srt")
# Two files start together so long after the call: time to open both.
START_DELAY_S = 0.2


def is_device(source: str) -> bool:
    """Whether a source names a camera of this machine: a number, or a path below /dev."""
    return source.isdigit() or source.startswith("/dev/")


def is_url(source: str) -> bool:
    """Whether a source is an address in the network."""
    return "://" in source


def open_camera(source: str, options: CameraOptions | None = None) -> CameraThread:
    """Start reading a camera: "0", "/dev/video0", "rtsp://...", "http://...", or a video file played in real time.

    Returns at once; `wait_until_running` then waits for pictures. Raises CaptureError for an address that is none and a
    file that is no video.
    """
    options = options or CameraOptions()
    period_s = duration_s(Path(source)) if _is_file(source) and options.loop else None
    return CameraThread(_make_source(source, options, None, period_s), options.size_px)


def open_stereo(left: str, right: str | None, options: CameraOptions | None = None) -> StereoCapture:
    """Start reading two cameras, or with right None one that delivers both views side by side.

    Two files are started together and, looped, begin again together when the shorter one ends.
    """
    options = options or CameraOptions()
    names = [left] if right is None else [left, right]
    if right is not None and left == right and not _is_file(left):
        raise CaptureError(f"LEFT and RIGHT are the same camera ({left}); give two, or one that is side by side")
    start_s, period_s = None, None
    files = [Path(name) for name in names if _is_file(name)]
    if files:
        durations = [duration_s(path) for path in files]
        period_s = min((d for d in durations if d), default=None) if options.loop else None
        start_s = time.monotonic() + START_DELAY_S
    sources = [_make_source(name, options, start_s, period_s) for name in names]
    cameras = [CameraThread(source, options.size_px) for source in sources]
    return StereoCapture(cameras[0], cameras[1] if len(cameras) == 2 else None)


def _is_file(source: str) -> bool:
    return not is_device(source) and not is_url(source)


def _make_source(source: str, options: CameraOptions, start_s: float | None, period_s: float | None) -> Source:
    if is_device(source):
        return DeviceSource(source, options)
    if not is_url(source):
        return FileSource(Path(source), start_s, period_s)
    try:
        parts = urlsplit(source)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), False
    if not usable:
        raise CaptureError(
            f"{_shown(source)}: not an address; expected one such as rtsp://192.168.1.20:554/stream", True
        )
    if parts.scheme in ("http", "https"):
        return HttpSource(source)
    if parts.scheme in STREAM_SCHEMES:
        return FfmpegSource(source)
    raise CaptureError(
        f"{without_password(source)}: cannot read {parts.scheme}://; expected http, https, {', '.join(STREAM_SCHEMES)}",
        True,
    )


def _shown(source: str) -> str:
    """A broken address without what may be a password."""
    scheme, _, rest = source.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
