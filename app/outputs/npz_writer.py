"""poses.npz: everything, for numpy; and the journal from which it is made."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .files import AppendFile, OutputError, errors_naming, replacing
from .record import PoseRecord, Recording

JOURNAL_NAME = "poses.partial.npy"


def _journal_type(joints: int) -> np.dtype:
    return np.dtype(
        [
            ("frame", "<i8"),
            ("timestamp_s", "<f8"),
            ("points_m", "<f4", (joints, 3)),
            ("refined_points_m", "<f4", (joints, 3)),
            ("raw_points_m", "<f4", (joints, 3)),
            ("confidence", "<f4", (joints,)),
            ("sigma_m", "<f4", (joints, 3)),
            ("marks", "u1"),
        ]
    )


def _journal_header(dtype: np.dtype, records: int) -> bytes:
    """The head of a .npy file; numpy pads it so that its length is the same for every number of records."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (records,)}
    )
    return header.getvalue()


def _write_npz(path: Path, records: np.ndarray, joint_names: Sequence[str], frame_of_reference: str, kept: str) -> None:
    """Write the compressed file in one step. records: (N,) of `_journal_type`, may be mapped from disk."""
    columns = {name: records[name] for name in records.dtype.names or ()}
    with replacing(path, kept) as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            joint_names=np.array(list(joint_names), dtype=np.str_),
            frame_of_reference=np.array(frame_of_reference),
            **columns,
        )


class NpzWriter:
    """Collects the poses in a journal on disk (900 bytes a frame, nothing in memory) and turns it into the npz.

    The journal is a .npy file of structured records that numpy opens at any moment, also after the process was
    killed; beside it lies a poses.npz without frames from the start, so that `recover_poses` finds the names there.
    """

    def __init__(self, path: Path, recording: Recording) -> None:
        self._path = path
        self._type = _journal_type(len(recording.joint_names))
        self._row = np.zeros(1, self._type)
        _write_npz(path, self._row[:0], recording.joint_names, recording.frame_of_reference, "nothing was written")
        self._journal = AppendFile(path.with_name(JOURNAL_NAME), _journal_header(self._type, 0))
        self._closed = False

    def write(self, record: PoseRecord) -> None:
        """Add one frame to the journal."""
        for name in self._row.dtype.names or ():
            self._row[name] = getattr(record, name)
        self._journal.append(self._row.tobytes())
        self._journal.overwrite(0, _journal_header(self._type, self._journal.records))

    def close(self) -> None:
        """Write poses.npz from the journal, then remove the journal."""
        if self._closed:
            return
        self._closed = True
        self._journal.close()
        recover_poses(self._path.parent)


def _map_journal(path: Path) -> np.ndarray:
    """The whole records of a journal, mapped, not read: hours of poses need not fit into memory.

    After a crash of the machine the header may count more records than have reached the disk, or fewer.
    """
    with errors_naming(path, "it is unchanged"), path.open("rb") as file:
        np.lib.format.read_magic(file)
        _, _, dtype = np.lib.format.read_array_header_1_0(file)
        head_bytes = file.tell()
        count = (path.stat().st_size - head_bytes) // dtype.itemsize
        if not count:
            return np.empty(0, dtype)
        return np.memmap(path, dtype, mode="r", offset=head_bytes, shape=(count,))


def recover_poses(folder: Path) -> int:
    """Finish the poses.npz of a run that was killed; returns its number of frames.

    Raises OutputError when the folder holds no such run or the file cannot be written; the journal is then kept.
    """
    path, journal = folder / "poses.npz", folder / JOURNAL_NAME
    if not (path.is_file() and journal.is_file()):
        raise OutputError(f"{folder}: expected poses.npz and {JOURNAL_NAME} of an interrupted run, found them not both")
    try:
        with np.load(path, allow_pickle=False) as empty:
            joint_names, frame_of_reference = empty["joint_names"].tolist(), str(empty["frame_of_reference"])
        records = _map_journal(journal)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OutputError(
            f"{folder}: poses.npz or {JOURNAL_NAME} is damaged ({error}); poses.csv may have more"
        ) from None
    count = len(records)
    _write_npz(path, records, joint_names, frame_of_reference, f"all {count} poses are kept in {journal}")
    del records  # Windows does not remove a file that is still mapped.
    journal.unlink()
    return count
