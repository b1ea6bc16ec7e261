"""What the user may ask of a camera."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import CaptureError


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """Wishes for one camera; None leaves it to the source.

    size_px: (width, height), refused when the source delivers another; rate_hz and exposure_ms: devices only;
    fourcc: pixel format of a device (uncompressed formats do not fit 1280 x 720 at 30/s through USB 2);
    loop: play a file again and again.
    """

    size_px: tuple[int, int] | None = None
    rate_hz: float | None = None
    exposure_ms: float | None = None
    fourcc: str = "MJPG"
    loop: bool = False

    def __post_init__(self) -> None:
        if self.size_px is not None and min(self.size_px) < 16:
            raise CaptureError(f"picture size: expected at least 16 x 16 pixels, got {size_text(self.size_px)}")
        if self.rate_hz is not None and not 0.1 <= self.rate_hz <= 1000:
            raise CaptureError(f"frame rate: expected 0.1 to 1000 per second, got {self.rate_hz:g}")
        if self.exposure_ms is not None and not 0 < self.exposure_ms <= 1000:
            raise CaptureError(f"exposure: expected up to 1000 milliseconds, got {self.exposure_ms:g}")
        if len(self.fourcc) != 4:
            raise CaptureError(f'pixel format: expected four characters such as MJPG or YUYV, got "{self.fourcc}"')


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Width and height from "1280x720"; raises CaptureError that names the option."""
    found = re.fullmatch(r"\s*(\d+)\s*[xX*]\s*(\d+)\s*", text)
    if not found:
        raise CaptureError(f'{option}: expected width x height such as "1280x720", got "{text}"')
    return int(found[1]), int(found[2])


def size_text(size_px: tuple[int, int]) -> str:
    """A picture size as messages write it: "1280 x 720"."""
    return f"{size_px[0]} x {size_px[1]}"
