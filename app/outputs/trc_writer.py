"""poses.trc: the marker file of OpenSim and Pose2Sim."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from .files import AppendFile, OutputError, errors_naming
from .record import PoseRecord, Recording

# Turns points so that y is up, as OpenSim expects. From a camera (x right, y down, z forward) that is half a turn
# about x: x right, y up, z toward the camera. From a room with z up it is a quarter turn about x.
OPENSIM_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])
OPENSIM_FROM_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])

HEADER_KEYS = (
    "DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate", "OrigDataStartFrame", "OrigNumFrames",
)  # fmt: skip
# The header states the number of frames, known only at the end: room for it, filled with blanks.
COUNT_WIDTH = 9
HEADER_LINES = 6


class TrcWriter:
    """Writes the refined poses as markers in metres, y up; three empty cells where a joint has no place.

    Every line ends with a tab, as OpenSim writes them itself: its reader drops an empty cell at the end of a line
    and would then refuse the line as too short.
    """

    def __init__(self, path: Path, recording: Recording) -> None:
        self._opensim_from_points = OPENSIM_FROM_Z_UP if recording.z_up else OPENSIM_FROM_CAMERA
        names = recording.joint_names
        rate = f"{recording.frames_per_second:.6g}"
        before = f"PathFileType\t4\t(X/Y/Z)\t{path.name}\n" + "\t".join(HEADER_KEYS) + f"\n{rate}\t{rate}\t"
        between = f"\t{len(names)}\tm\t{rate}\t1\t"
        labels = "Frame#\tTime\t" + "".join(f"{name}\t\t\t" for name in names)
        axes = "\t\t" + "".join(f"X{number}\tY{number}\tZ{number}\t" for number in range(1, len(names) + 1))
        count = f"{0:{COUNT_WIDTH}d}"
        self._count_offsets = (len(before.encode()), len((before + count + between).encode()))
        self._file = AppendFile(path, f"{before}{count}{between}{count}\n{labels}\n{axes}\n\n".encode())
        self._closed = False

    def write(self, record: PoseRecord) -> None:
        """Add the line of one frame. Lines are numbered from 1."""
        points_m = record.points_m @ self._opensim_from_points.T
        cells = [str(self._file.records + 1), f"{record.timestamp_s:.6f}"]
        for point_m in points_m.tolist():
            missing = any(math.isnan(value) for value in point_m)
            cells += ["", "", ""] if missing else [f"{value:.6f}" for value in point_m]
        self._file.append(("\t".join(cells) + "\t\n").encode())

    def close(self) -> None:
        """Put the number of frames into the header and close the file."""
        if self._closed:
            return
        self._closed = True
        try:
            for offset in self._count_offsets:
                self._file.overwrite(offset, f"{self._file.records:{COUNT_WIDTH}d}".encode())
        finally:
            self._file.close()


def recover_trc(folder: Path) -> int:
    """Put the number of frames into the header of the poses.trc of a run that was killed; returns that number.

    Raises OutputError when there is none, or it is not of this program.
    """
    path = folder / "poses.trc"
    with errors_naming(path, "it is unchanged"), path.open("r+b") as file:
        head = [file.readline() for _ in range(HEADER_LINES)]
        cells = head[2].split(b"\t")
        if len(head[-1]) == 0 or len(cells) != len(HEADER_KEYS):
            raise OutputError(f"{path}: expected a TRC file of this program")
        frames = sum(line.endswith(b"\t\n") for line in file)
        # The numbers keep their width, so everything behind them stays where it is.
        for column in (HEADER_KEYS.index("NumFrames"), HEADER_KEYS.index("OrigNumFrames")):
            file.seek(len(head[0]) + len(head[1]) + sum(len(cell) + 1 for cell in cells[:column]))
            file.write(f"{frames:{COUNT_WIDTH}d}".encode())
    return frames
