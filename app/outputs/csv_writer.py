"""poses.csv: one line per frame, for spreadsheets and scripts."""

from __future__ import annotations

import math
from pathlib import Path

from .files import AppendFile
from .record import PoseRecord, Recording

JOINT_COLUMNS = ("x_m", "y_m", "z_m", "confidence", "sigma_x_m", "sigma_y_m", "sigma_z_m")


def _cell(value: float) -> str:
    """Micrometres are far below what two cameras can see. NaN is an empty cell."""
    return "" if math.isnan(value) else f"{value:.6f}"


class CsvWriter:
    """Writes the refined poses with a header line that names joint and unit; an empty cell means "no pose"."""

    def __init__(self, path: Path, recording: Recording) -> None:
        columns = ["timestamp_s", "frame"]
        columns += [f"{joint}_{column}" for joint in recording.joint_names for column in JOINT_COLUMNS]
        self._file = AppendFile(path, (",".join(columns) + "\n").encode())

    def write(self, record: PoseRecord) -> None:
        """Add the line of one frame."""
        cells = [_cell(record.timestamp_s), str(record.frame)]
        joints = zip(record.points_m.tolist(), record.confidence.tolist(), record.sigma_m.tolist(), strict=True)
        for point_m, confidence, sigma_m in joints:
            cells += [_cell(value) for value in (*point_m, confidence, *sigma_m)]
        self._file.append((",".join(cells) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
