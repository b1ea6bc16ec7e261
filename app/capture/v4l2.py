"""What Linux says about a camera (Video4Linux2): its name, its picture sizes and rates, and whether it is free.

Numbers and structures are those of the kernel's interface, include/uapi/linux/videodev2.h.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

# Sends a request with a structure that the driver fills in; raises OSError as the driver answers.
Ioctl = Callable[[int, bytearray], object]

_READ, _WRITE = 2, 1
_CAPTURE_BUFFER = 1
_CAPABILITY_CAPTURE = 0x1
_CAPABILITY_PER_NODE = 0x80000000
_DISCRETE = 1
# A struct v4l2_format holds pointers in its union: its size and alignment follow the machine's word.
_FORMAT_BYTES = 208 if struct.calcsize("P") == 8 else 204
# Sizes named when a driver only gives a range of them.
_COMMON_SIZES = ((640, 480), (1280, 720), (1920, 1080))


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("V") << 8 | number


QUERY_CAPABILITY = _request(_READ, 0, 104)
ENUMERATE_FORMATS = _request(_READ | _WRITE, 2, 64)
GET_FORMAT = _request(_READ | _WRITE, 4, _FORMAT_BYTES)
SET_FORMAT = _request(_READ | _WRITE, 5, _FORMAT_BYTES)
ENUMERATE_SIZES = _request(_READ | _WRITE, 74, 44)
ENUMERATE_INTERVALS = _request(_READ | _WRITE, 75, 52)


@dataclass(frozen=True, slots=True)
class VideoMode:
    """One pixel format and picture size a camera offers. rates_hz: descending; empty when the driver does not say."""

    fourcc: str
    size_px: tuple[int, int]
    rates_hz: tuple[float, ...]


def card_name(ioctl: Ioctl) -> str | None:
    """The camera's name; None when this node gives no pictures (many cameras have a second one for metadata)."""
    answer = bytearray(104)
    try:
        ioctl(QUERY_CAPABILITY, answer)
    except OSError:
        return None
    card, all_nodes, this_node = struct.unpack_from("=16x32s32x4xII", answer)
    capabilities = this_node if all_nodes & _CAPABILITY_PER_NODE else all_nodes
    if not capabilities & _CAPABILITY_CAPTURE:
        return None
    return card.split(b"\0")[0].decode("utf-8", "replace")


def video_modes(ioctl: Ioctl) -> tuple[VideoMode, ...]:
    """Everything the driver offers, in its order."""
    return tuple(
        VideoMode(fourcc.to_bytes(4, "little").decode("latin-1").strip(), size, _rates(ioctl, fourcc, size))
        for fourcc in _formats(ioctl)
        for size in _sizes(ioctl, fourcc)
    )


def _enumerate(ioctl: Ioctl, request: int, size: int, layout: str, *fixed: int) -> Iterator[bytearray]:
    """Ask for entry 0, 1, ... until the driver has no more."""
    for index in range(1000):
        answer = bytearray(size)
        struct.pack_into(layout, answer, 0, index, *fixed)
        try:
            ioctl(request, answer)
        except OSError:
            return
        yield answer


def _formats(ioctl: Ioctl) -> list[int]:
    answers = _enumerate(ioctl, ENUMERATE_FORMATS, 64, "=II", _CAPTURE_BUFFER)
    return [struct.unpack_from("=44xI", answer)[0] for answer in answers]


def _sizes(ioctl: Ioctl, fourcc: int) -> list[tuple[int, int]]:
    sizes: list[tuple[int, int]] = []
    for answer in _enumerate(ioctl, ENUMERATE_SIZES, 44, "=II", fourcc):
        kind, *numbers = struct.unpack_from("=8xI6I", answer)
        if kind != _DISCRETE:
            low_x, high_x, _, low_y, high_y, _ = numbers
            return [s for s in _COMMON_SIZES if low_x <= s[0] <= high_x and low_y <= s[1] <= high_y]
        sizes.append((numbers[0], numbers[1]))
    return sizes


def _rates(ioctl: Ioctl, fourcc: int, size_px: tuple[int, int]) -> tuple[float, ...]:
    rates: set[float] = set()
    for answer in _enumerate(ioctl, ENUMERATE_INTERVALS, 52, "=IIII", fourcc, *size_px):
        # Discrete: one interval, numerator and denominator of seconds; a range: shortest interval first.
        _, numerator, denominator = struct.unpack_from("=16xIII", answer)
        if numerator:
            rates.add(round(denominator / numerator, 2))
        if struct.unpack_from("=16xI", answer)[0] != _DISCRETE:
            break
    return tuple(sorted(rates, reverse=True))


def is_busy(ioctl: Ioctl) -> bool:
    """Whether another program is using the camera: the driver then refuses even the format it already has."""
    answer = bytearray(_FORMAT_BYTES)
    struct.pack_into("=I", answer, 0, _CAPTURE_BUFFER)
    try:
        ioctl(GET_FORMAT, answer)
        ioctl(SET_FORMAT, answer)
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def with_device(path: Path, ask: Callable[[Ioctl], Result]) -> Result:
    """Open a device node for questions alone and close it again; raises OSError when it cannot be opened."""
    import fcntl  # exists on Unix only

    handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        return ask(lambda request, answer: fcntl.ioctl(handle, request, answer, True))
    finally:
        os.close(handle)
