"""H.264 through PyAV; importing this file needs the package `av`."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext

from .files import OutputError

TICKS_PER_SECOND = 90_000
# Fragments while writing, made an ordinary file at the end. (With "delay_moov" as well, recordings shorter than one
# fragment cannot be read when FFmpeg is older than 8.1.)
MOV_FLAGS = "hybrid_fragmented"
# Composed pictures of 1344x800 with one and the same error (35 dB): superfast 25 takes 6 ms of one core and 3.8 Mbit/s
# at 30 pictures a second, veryfast 21 takes 9 ms and 3.1 Mbit/s; time is scarcer than room on the disk.
PRESET, QUALITY_CRF = "superfast", 25
# What ITU-T H.273 calls the colours that cv2's conversion makes: BT.709 primaries and curve, BT.601 matrix, 16..235.
COLOUR_TAGS = {"color_primaries": 1, "color_trc": 1, "colorspace": 6, "color_range": 1}


class H264Encoder:
    """Writes an mp4 in fragments of a second, playable even if the process dies; `close` makes it an ordinary one."""

    def __init__(self, path: Path, size_px: tuple[int, int], frames_per_second: float) -> None:
        self._path = path
        self._nominal_ticks = max(1, round(TICKS_PER_SECOND / frames_per_second))
        self._first_s = 0.0
        self._last_ticks: int | None = None
        self._failure: OutputError | None = None
        self.frames = 0
        try:
            self._container = av.open(
                str(path), "w", format="mp4", options={"movflags": MOV_FLAGS, "flush_packets": "1"}
            )
            rate = Fraction(frames_per_second).limit_denominator(1001)
            self._stream = self._container.add_stream("libx264", rate=rate)
            _configure(self._stream.codec_context, size_px, gop_size=max(1, round(frames_per_second)))
            self._container.start_encoding()  # opens the file, so that a wrong path shows now
        except (OSError, av.error.FFmpegError) as error:
            raise OutputError(
                f"{path}: no H.264 video can be started there ({error.strerror or error}); choose another output "
                "folder, or reinstall PyAV (pip install --upgrade av)"
            ) from error

    def encode(self, image: np.ndarray, timestamp_s: float) -> None:
        """Add one picture. image: (H, W, 3) uint8 BGR."""
        if self._failure:  # pictures that were waiting; the library crashes on a container that is closed
            raise self._failure
        if self._last_ticks is None:
            self._first_s, ticks = timestamp_s, 0
        else:
            ticks = round((timestamp_s - self._first_s) * TICKS_PER_SECOND)
            if ticks <= self._last_ticks:  # a clock that stands still or a recording that starts over
                self._first_s -= (self._last_ticks + self._nominal_ticks - ticks) / TICKS_PER_SECOND
                ticks = self._last_ticks + self._nominal_ticks
        self._last_ticks = ticks
        # cv2 takes 0.6 ms for 1344x800, PyAV's own conversion from BGR 4.3 ms.
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = ticks, Fraction(1, TICKS_PER_SECOND)
        try:
            self._container.mux(self._stream.encode(frame))
        except (OSError, av.error.FFmpegError) as error:
            raise self._stopped(error) from error
        self.frames += 1

    def close(self) -> None:
        """Write what the encoder still holds and finish the file."""
        if self._failure:
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (OSError, av.error.FFmpegError) as error:
            raise self._stopped(error) from error

    def _stopped(self, error: OSError | av.error.FFmpegError) -> OutputError:
        """Leave the file with its whole fragments only; the error to raise."""
        with suppress(OSError, av.error.FFmpegError):  # the same error again, from the end of the file
            self._container.close()
        _cut_after_last_fragment(self._path)
        self._failure = OutputError(
            f"{self._path}: cannot be written ({error.strerror or error}); it can be played up to one or two seconds "
            f"before picture {self.frames}. Free space there or choose another output folder, then run again"
        )
        return self._failure


def _configure(context: VideoCodecContext, size_px: tuple[int, int], gop_size: int) -> None:
    context.width, context.height = size_px
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, TICKS_PER_SECOND)
    context.gop_size = gop_size
    # Without pictures out of order the times start at 0 as they are; the head of a fragmented file, written before
    # the first picture, could not say otherwise.
    context.max_b_frames = 0
    # One core: the networks of the next frame need the others.
    context.thread_count = 1
    context.options = {"preset": PRESET, "crf": str(QUALITY_CRF)}
    for name, value in COLOUR_TAGS.items():
        setattr(context, name, value)


def _cut_after_last_fragment(path: Path) -> None:
    """Take off the part of a fragment at the end of an mp4 that broke off; players stumble over it.

    An mp4 is a chain of boxes, each with its length and kind in front (ISO/IEC 14496-12, 4.2); a fragment is a moof
    followed by its mdat.
    """
    size = path.stat().st_size
    end = whole = 0
    with path.open("rb") as file:
        while end + 8 <= size:
            file.seek(end)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1:
                length = struct.unpack(">Q", file.read(8))[0]
            if length < 8 or end + length > size:
                break
            end += length
            if kind != b"moof":
                whole = end
    if whole:
        os.truncate(path, whole)
