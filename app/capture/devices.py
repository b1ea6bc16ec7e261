"""Which cameras this machine has, and why one of them cannot be opened."""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2

from . import v4l2
from .errors import CaptureError
from .options import size_text
from .v4l2 import VideoMode

PROBED_INDICES = range(10)
# How cv2 reaches devices: the system's own interface, so that format, size and exposure can be set.
BACKENDS = {"linux": cv2.CAP_V4L2, "win32": cv2.CAP_DSHOW, "darwin": cv2.CAP_AVFOUNDATION}


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A camera. source: what to give as LEFT or RIGHT; modes: empty when the system does not tell."""

    source: str
    name: str
    modes: tuple[VideoMode, ...]


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The cameras found, and one sentence for the user."""

    devices: tuple[DeviceInfo, ...]
    remark: str


def device_backend() -> int:
    """cv2's number for this system's cameras."""
    return BACKENDS.get(sys.platform, cv2.CAP_ANY)


def list_devices() -> DeviceList:
    """The cameras of this machine. On Linux none is opened for pictures; elsewhere the first ten are tried out."""
    return list_v4l2_devices() if sys.platform.startswith("linux") else _probe_indices()


def list_v4l2_devices(known: Path = Path("/sys/class/video4linux"), nodes: Path = Path("/dev")) -> DeviceList:
    """Cameras by Linux' own list. known: a folder with an entry for each video node; nodes: where the nodes are."""
    numbered = sorted(known.glob("video[0-9]*"), key=lambda entry: int(entry.name.removeprefix("video")))
    devices, shut = [], []
    for entry in numbered:
        node = nodes / entry.name
        try:
            found = v4l2.with_device(node, lambda ioctl: (v4l2.card_name(ioctl), v4l2.video_modes(ioctl)))
        except OSError as error:
            shut.append(f"{node} ({error.strerror})")
            continue
        if found[0] is not None:
            devices.append(DeviceInfo(str(node), found[0], found[1]))
    if devices:
        remark = f"{len(devices)} camera{'s' * (len(devices) > 1)} found"
    else:
        remark = "no camera found: plug one in, or give a stream (rtsp://, http://) or a video file instead"
    if shut:
        remark += f"; could not be asked: {', '.join(shut)}"
    return DeviceList(tuple(devices), remark)


def _probe_indices() -> DeviceList:
    devices = []
    for index in PROBED_INDICES:
        capture = cv2.VideoCapture(index, device_backend())
        if capture.isOpened():
            devices.append(DeviceInfo(str(index), f"camera {index}", ()))
        capture.release()
    remark = f"{len(devices)} of the first {len(PROBED_INDICES)} camera numbers can be opened"
    return DeviceList(tuple(devices), remark if devices else "no camera found, or another program is using it")


def device_error(source: str, node: Path) -> CaptureError:
    """Why a device could not be opened, as far as the system tells, and what to do. node: its path on Linux."""
    if not sys.platform.startswith("linux"):
        return CaptureError(
            f"camera {source}: cannot be opened; is it plugged in, used by another program, or are cameras switched "
            "off for this program in the privacy settings?"
        )
    if not node.exists():
        there = [f"{device.source} ({device.name})" for device in list_v4l2_devices().devices]
        present = f"present: {', '.join(there)}" if there else "no camera is present; plug it in"
        return CaptureError(f"camera {source}: no such device ({node}); {present}", True)
    try:
        name, busy = v4l2.with_device(node, lambda ioctl: (v4l2.card_name(ioctl), v4l2.is_busy(ioctl)))
    except PermissionError:
        return CaptureError(
            f"camera {source}: no permission to use {node}; add yourself to the group that owns it "
            "(sudo usermod -aG video $USER) and log in again",
            True,
        )
    except OSError as error:
        if error.errno == errno.EBUSY:
            return _busy(source)
        return CaptureError(
            f"camera {source}: {node} cannot be opened ({error.strerror}); unplug it and plug it in again"
        )
    if name is None:
        return CaptureError(
            f"camera {source}: {node} gives no pictures; a camera often has a second device for metadata: try the "
            "number before or after it",
            True,
        )
    if busy:
        return _busy(source)
    return CaptureError(f"camera {source}: {node} ({name}) does not start; unplug it and plug it in again")


def offered_text(node: Path) -> str:
    """What a device offers, for a message: "it offers MJPG 1280 x 720 at 30, 15; ..."; "" when unknown."""
    if not sys.platform.startswith("linux"):
        return ""
    try:
        modes = v4l2.with_device(node, v4l2.video_modes)
    except OSError:
        return ""
    lines = [
        f"{mode.fourcc} {size_text(mode.size_px)} at {', '.join(f'{rate:g}' for rate in mode.rates_hz) or 'any rate'}"
        for mode in modes
    ]
    return f"; it offers {'; '.join(lines)}" if lines else ""


def _busy(source: str) -> CaptureError:
    return CaptureError(f"camera {source}: used by another program; close that program")
