"""Cameras of the machine: answers of a Linux driver as the kernel's own C structures, and what is said when there is
none."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from binopose.app.capture import CameraOptions, CaptureError, VideoMode, list_devices, open_camera
from binopose.app.capture import device as device_module
from binopose.app.capture.device import DeviceSource, driver_time_s
from binopose.app.capture.devices import list_v4l2_devices
from binopose.app.capture.v4l2 import card_name, is_busy, video_modes

# Request numbers and structures printed by a C program compiled against linux/videodev2.h (64 bit, little-endian).
QUERYCAP, ENUM_FMT, G_FMT, S_FMT = 0x80685600, 0xC0405602, 0xC0D05604, 0xC0D05605
ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 0xC02C564A, 0xC034564B
CAMERA = "757663766964656f000000000000000048442057656263616d3a2048442057656263616d0000000000000000000000007573622d31"
CAMERA_NODE = CAMERA + "00" * 27 + "000506000100808401000004" + "00" * 12
METADATA_NODE = CAMERA + "00" * 27 + "000506000100808400008004" + "00" * 12
FORMATS = [
    "0000000001000000010000004d6f74696f6e2d4a504547" + "00" * 21 + "4d4a5047" + "00" * 16,
    "0100000001000000000000005955595620343a323a32" + "00" * 22 + "59555956" + "00" * 16,
]
SIZES = {
    b"MJPG": [
        "000000004d4a50470100000000050000d0020000" + "00" * 24,
        "010000004d4a50470100000080020000e0010000" + "00" * 24,
    ],
    b"YUYV": ["0000000059555956030000002000000000050000020000001800000020030000020000000000000000000000"],
}
THIRTY = "000000004d4a504700050000d002000001000000010000001e000000" + "00" * 24
FIFTEEN = "010000004d4a504700050000d00200000100000015160500404b4c00" + "00" * 24
ANY_TO_SIXTY = (
    "0000000000000000000000000000000002000000010000003c000000010000000100000001000000010000000000000000000000"
)


class Driver:
    """Answers as a driver does: by index, and EINVAL past the end."""

    def __init__(self, node: str = CAMERA_NODE, set_format: int = 0) -> None:
        self._node, self._set_format = node, set_format

    def __call__(self, request: int, answer: bytearray) -> int:
        index = int.from_bytes(answer[:4], "little")
        if request == QUERYCAP:
            self._fill(answer, [self._node], 0)
        elif request == ENUM_FMT:
            assert answer[4:8] == b"\1\0\0\0"
            self._fill(answer, FORMATS, index)
        elif request == ENUM_FRAMESIZES:
            self._fill(answer, SIZES[bytes(answer[4:8])], index)
        elif request == ENUM_FRAMEINTERVALS:
            self._fill(answer, self._intervals(bytes(answer[4:8]), int.from_bytes(answer[8:12], "little")), index)
        elif request == G_FMT:
            answer[8:16] = bytes.fromhex("00050000d0020000")
        elif request == S_FMT:
            assert answer[8:16] == bytes.fromhex("00050000d0020000")
            if self._set_format:
                raise OSError(self._set_format, "refused")
        else:
            raise OSError(errno.ENOTTY, "unknown request")
        return 0

    @staticmethod
    def _intervals(fourcc: bytes, width: int) -> list[str]:
        if fourcc == b"YUYV":
            return [ANY_TO_SIXTY]
        return [THIRTY, FIFTEEN] if width == 1280 else [THIRTY]

    @staticmethod
    def _fill(answer: bytearray, entries: list[str], index: int) -> None:
        if index >= len(entries):
            raise OSError(errno.EINVAL, "no such entry")
        data = bytes.fromhex(entries[index])
        assert len(data) == len(answer)
        answer[:] = data


needs_64_bit = pytest.mark.skipif(sys.maxsize < 2**32, reason="the recorded structures are those of 64 bit")


@needs_64_bit
def test_what_a_driver_offers_is_read() -> None:
    assert card_name(Driver()) == "HD Webcam: HD Webcam"
    assert video_modes(Driver()) == (
        VideoMode("MJPG", (1280, 720), (30.0, 15.0)),
        VideoMode("MJPG", (640, 480), (30.0,)),
        VideoMode("YUYV", (640, 480), (60.0,)),
        VideoMode("YUYV", (1280, 720), (60.0,)),
    )


def test_a_metadata_node_is_no_camera() -> None:
    assert card_name(Driver(METADATA_NODE)) is None


@needs_64_bit
@pytest.mark.parametrize(("code", "expected"), [(0, False), (errno.EBUSY, True), (errno.EINVAL, False)])
def test_a_camera_in_use_refuses_its_own_format(code: int, expected: bool) -> None:
    assert is_busy(Driver(set_format=code)) is expected


def test_no_camera_is_an_empty_list_with_a_sentence(tmp_path: Path) -> None:
    found = list_v4l2_devices(tmp_path / "missing", tmp_path)
    assert found.devices == ()
    assert found.remark.startswith("no camera found: plug one in")


def test_nodes_that_cannot_be_asked_are_named(tmp_path: Path) -> None:
    known = tmp_path / "known"
    for name in ("video10", "video2"):
        (known / name).mkdir(parents=True)
    (tmp_path / "video2").write_bytes(b"")  # a plain file: no driver behind it
    found = list_v4l2_devices(known, tmp_path)
    assert found.devices == ()
    assert "video10 (No such file or directory)" in found.remark
    assert "video2" not in found.remark.replace("video2 (", "")


def test_listing_the_cameras_of_this_machine_works() -> None:
    found = list_devices()
    assert found.remark
    assert all(device.source and device.name for device in found.devices)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="device nodes are a Linux matter")
@pytest.mark.parametrize("source", ["63", "/dev/video63"])
def test_a_device_that_is_not_there(source: str) -> None:
    with open_camera(source) as camera, pytest.raises(CaptureError, match="no such device") as caught:
        camera.wait_until_running()
    assert "/dev/video63" in str(caught.value)


class Cv2Device:
    """What cv2 shows of a device that has a mind of its own about size and rate."""

    def __init__(self, size_px: tuple[int, int], rate_hz: float, fourcc: bytes) -> None:
        self.sets: list[tuple[int, float]] = []
        cv2 = device_module.cv2
        self._properties = {
            cv2.CAP_PROP_FRAME_WIDTH: float(size_px[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: float(size_px[1]),
            cv2.CAP_PROP_FPS: rate_hz,
            cv2.CAP_PROP_FOURCC: float(int.from_bytes(fourcc, "little")),
        }

    def open(self, *_: object) -> bool:
        return True

    def set(self, name: int, value: float) -> bool:
        self.sets.append((name, value))
        return name != device_module.cv2.CAP_PROP_EXPOSURE

    def get(self, name: int) -> float:
        return self._properties[name]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[DeviceSource, Cv2Device]]:
    node = tmp_path / "video0"
    node.write_bytes(b"")

    def make(options: CameraOptions, **given: object) -> tuple[DeviceSource, Cv2Device]:
        fake = Cv2Device(**({"size_px": (640, 480), "rate_hz": 30.0, "fourcc": b"MJPG"} | given))  # type: ignore[arg-type]
        monkeypatch.setattr(device_module.cv2, "VideoCapture", lambda: fake)
        return DeviceSource(str(node), options), fake

    return make


def test_a_device_that_delivers_another_size_is_refused(device: Callable) -> None:
    source, _ = device(CameraOptions(size_px=(1280, 720)))
    with pytest.raises(CaptureError, match="asked for 1280 x 720, delivers 640 x 480"):
        source.open()


def test_a_device_that_delivers_another_rate_is_refused(device: Callable) -> None:
    source, _ = device(CameraOptions(size_px=(640, 480), rate_hz=60), rate_hz=30.0)
    with pytest.raises(CaptureError, match="asked for 60 frames per second, delivers 30 at 640 x 480"):
        source.open()


@pytest.mark.parametrize("told_hz", [-1.0, 0.0, 29.97])
def test_a_device_that_does_not_know_its_rate_is_taken(device: Callable, told_hz: float) -> None:
    source, _ = device(CameraOptions(rate_hz=30), rate_hz=told_hz)
    source.open()
    assert source.notes == ()


def test_what_a_device_does_not_accept_is_noted(device: Callable) -> None:
    source, fake = device(CameraOptions(size_px=(640, 480), exposure_ms=5.0), fourcc=b"YUYV")
    source.open()
    assert any("YUYV and not MJPG" in note for note in source.notes)
    assert any("exposure of 5 ms" in note for note in source.notes)
    cv2 = device_module.cv2
    names = [name for name, _ in fake.sets]
    # Drivers reset the size with the format and the rate with the size.
    assert names.index(cv2.CAP_PROP_FOURCC) < names.index(cv2.CAP_PROP_FRAME_WIDTH)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="units differ between systems")
def test_the_exposure_is_set_in_the_units_of_the_driver(device: Callable) -> None:
    source, fake = device(CameraOptions(exposure_ms=8.0))
    source.open()
    cv2 = device_module.cv2
    assert (cv2.CAP_PROP_AUTO_EXPOSURE, 1) in fake.sets
    assert (cv2.CAP_PROP_EXPOSURE, 80.0) in fake.sets


@pytest.mark.parametrize(
    ("stamp_ms", "expected_s"),
    [(999_980.0, 999.98), (1_000_001.0, 1000.0), (0.0, 1000.0), (998_000.0, 1000.0), (1.7e12, 1000.0)],
)
def test_a_driver_s_stamp_counts_only_when_it_is_of_our_clock(stamp_ms: float, expected_s: float) -> None:
    assert driver_time_s(stamp_ms, 1000.0) == pytest.approx(expected_s)
