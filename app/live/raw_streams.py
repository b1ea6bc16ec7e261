"""The pictures of both cameras as they came, on disk: `left.mjpeg` and `right.mjpeg`, each with a table of its frames.

A stream is JPEG after JPEG, which most players open; the table beside it (`left.csv`) says where each begins and when
it was taken. Both only grow, by whole records, so that a killed program loses nothing it has written. `streams.toml`
says what the streams are, and `rig.toml` is the rig they were recorded with.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import tomli_w

from ...calibration.errors import UserError
from ...calibration.rig import StereoRig
from ...calibration.rig_file import save_rig
from ..capture import CapturedFrame
from ..outputs.files import AppendFile, OutputError, replacing

MANIFEST = "streams.toml"
RIG = "rig.toml"
FORMAT = 1
TWO_CAMERAS, SIDE_BY_SIDE = ("left", "right"), ("both",)
TABLE_HEAD = "number,timestamp_s,offset,bytes\n"
# For pictures that do not come as JPEG: twice the error of this is seen by nobody, and half the size matters to disks.
JPEG_QUALITY = 90


class RecordingError(UserError):
    """A recording of live streams that cannot be used."""


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """One line of a table. timestamp_s: since the recording began; offset, size: bytes in the stream."""

    number: int
    timestamp_s: float
    offset: int
    size: int


class StreamWriter:
    """Appends the frames of one camera."""

    def __init__(self, folder: Path, name: str, start_s: float) -> None:
        """start_s: when the recording began, on the clock of the frames."""
        self._start_s = start_s
        self._stream = AppendFile(folder / f"{name}.mjpeg", b"")
        self._end = 0
        try:
            self._table = AppendFile(folder / f"{name}.csv", TABLE_HEAD.encode())
        except OutputError:
            self._stream.close()
            raise

    def write(self, frame: CapturedFrame) -> None:
        """Add a frame. Raises OutputError when there is no room; the files then end with the frame before."""
        jpeg = frame.jpeg
        if jpeg is None:
            jpeg = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
        self._stream.append(jpeg)
        # The table follows the stream: a line in it is a promise that the picture is there.
        line = f"{frame.number},{frame.timestamp_s - self._start_s:.9f},{self._end},{len(jpeg)}\n"
        self._end += len(jpeg)
        self._table.append(line.encode())

    def close(self) -> None:
        """Close both files."""
        self._stream.close()
        self._table.close()


def start_streams(folder: Path, rig: StereoRig, side_by_side: bool, start_s: float) -> tuple[StreamWriter, ...]:
    """Begin a recording in an existing folder: the writers of its cameras, left first. Raises OutputError."""
    save_rig(rig, folder / RIG)
    manifest = {
        "format": FORMAT,
        "side_by_side": side_by_side,
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "program": f"binopose {version('binopose')}",
    }
    with replacing(folder / MANIFEST, "nothing was recorded") as file:
        file.write(tomli_w.dumps(manifest).encode())
    names = SIDE_BY_SIDE if side_by_side else TWO_CAMERAS
    writers: list[StreamWriter] = []
    try:
        for name in names:
            writers.append(StreamWriter(folder, name, start_s))
    except OutputError:
        for writer in writers:
            writer.close()
        raise
    return tuple(writers)


def is_recording(folder: Path) -> bool:
    """Whether a folder holds recorded streams."""
    return (folder / MANIFEST).is_file()


def _read_table(path: Path, stream_bytes: int) -> list[StoredFrame]:
    """The frames whose pictures are wholly there; a line that broke off with the program is passed over."""
    frames: list[StoredFrame] = []
    with path.open("rb") as file:
        for line in file.readlines()[1:]:
            cells = line.split(b",")
            if not line.endswith(b"\n") or len(cells) != 4:
                break
            frame = StoredFrame(int(cells[0]), float(cells[1]), int(cells[2]), int(cells[3]))
            if frame.offset + frame.size > stream_bytes:
                break
            frames.append(frame)
    return frames


class StreamFile:
    """One recorded stream, for reading."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path, table = folder / f"{name}.mjpeg", folder / f"{name}.csv"
        for path in (self.path, table):
            if not path.is_file():
                raise RecordingError(f"{path}: no such file; the recording in {folder} is not whole")
        try:
            self.frames = _read_table(table, self.path.stat().st_size)
        except ValueError as error:
            raise RecordingError(f"{table}: no table of frames ({error}); expected {TABLE_HEAD.strip()}") from None
        if not self.frames:
            raise RecordingError(f"{self.path}: no whole picture was recorded")
        self._file = self.path.open("rb")

    def picture(self, frame: StoredFrame) -> np.ndarray:
        """Decode one picture, as the camera's thread did. Raises RecordingError when it is damaged."""
        self._file.seek(frame.offset)
        image = cv2.imdecode(np.frombuffer(self._file.read(frame.size), np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise RecordingError(f"{self.path}: picture {frame.number} (byte {frame.offset}) is damaged")
        return image

    @property
    def rate_hz(self) -> float:
        """Pictures per second; 30 for a single one."""
        if len(self.frames) < 2:
            return 30.0
        intervals_s = np.diff([frame.timestamp_s for frame in self.frames])
        return float(1 / max(np.median(intervals_s), 1e-3))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
