"""Files that stay whole whatever happens: appended record by record or replaced in one step; the folder they go to."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...calibration.errors import UserError

# Every name this program may leave in an output folder; a new run replaces these and nothing else.
OUTPUT_FILES = (
    "poses.npz",
    "poses.partial.npy",
    "poses.csv",
    "poses.trc",
    "overlay.mp4",
    "summary.json",
    "report/report.html",
)
REPLACEMENT_SUFFIX = ".unfinished"
# Where the results of an earlier run wait until it is certain that the new run goes ahead.
REPLACED_FOLDER = ".replaced"
# Where smoothed pose files are made before they take the place of the ones before.
SMOOTHED_FOLDER = ".smoothed"


class OutputError(UserError):
    """An output file or folder that cannot be written."""


@contextmanager
def errors_naming(path: Path, kept: str) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError that names the file and what is left of it.

    kept: what the user still has, a clause without full stop.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); {kept}. "
            "Free space there or choose another output folder, then run again"
        ) from error


class AppendFile:
    """A file that grows by whole records and never holds half of one.

    Nothing is buffered in the process, so every record that `append` has taken outlives a killed process. A record
    that does not fit any more (disk full) is cut off again.
    """

    def __init__(self, path: Path, head: bytes) -> None:
        self.path = path
        self.records = 0
        with errors_naming(path, "nothing was written"):
            self._file: IO[bytes] = path.open("wb", buffering=0)
        try:
            self._append(head)
        except OutputError:
            self._file.close()
            raise

    def append(self, record: bytes) -> None:
        """Add one record at the end. Raises OutputError, leaving the file as it was, when there is no room."""
        self._append(record)
        self.records += 1

    def _append(self, data: bytes) -> None:
        with errors_naming(self.path, f"the {self.records} records before are whole in the file"):
            end = self._file.seek(0, os.SEEK_END)
            written = 0
            try:
                # An unbuffered write may take a part; the next one then says why.
                while written < len(data):
                    written += self._file.write(data[written:])
            except OSError:
                self._file.truncate(end)
                raise

    def overwrite(self, offset: int, data: bytes) -> None:
        """Replace bytes that are there already, which needs no room on the disk."""
        with errors_naming(self.path, f"{self.records} records are in the file, its header may be out of date"):
            self._file.seek(offset)
            self._file.write(data)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._file.close()


@contextmanager
def replacing(path: Path, kept: str) -> Iterator[IO[bytes]]:
    """A file to write into that takes the place of `path` in one step when the block ends well, else vanishes.

    kept: what the user still has when writing fails, for the message.
    """
    unfinished = path.with_name(path.name + REPLACEMENT_SUFFIX)
    try:
        with errors_naming(path, kept):
            with unfinished.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Numpy values and paths to what JSON knows; NaN and infinity to None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file in one step: readers see the old file or the new one, never a part.

    Numpy arrays and scalars are welcome; NaN and infinity, which JSON has no word for, become null.
    """
    text = json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path, "an earlier file of that name is unchanged") as file:
        file.write(text.encode() + b"\n")


def check_output_folder(path: Path, force: bool = False) -> None:
    """Make sure that results can be written to a folder, without leaving a trace.

    force: files of an earlier run of this program (OUTPUT_FILES) and anything else in it are no reason to refuse.
    Raises OutputError saying what to do.
    """
    with errors_naming(path, "nothing was done"):
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path}: expected a folder for the results, found a file; choose another name")
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        try:
            found = sorted(entry.name for entry in path.iterdir())
            if found and not force:
                shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
                raise OutputError(
                    f"{path}: expected an empty or new folder for the results, found {shown}; choose another folder, "
                    "or use --force to replace the results of an earlier run in it"
                )
            for old in (path / name for name in OUTPUT_FILES):
                if old.is_dir() and not old.is_symlink():
                    raise OutputError(f"{old}: expected a file of an earlier run, found a folder; move it away")
            # Only an attempt tells: the permission bits say nothing about read-only or full disks.
            with tempfile.TemporaryFile(dir=path) as probe:
                probe.write(b"probe")
        finally:
            for folder in missing:
                folder.rmdir()


def prepare_output_folder(path: Path, force: bool = False) -> Path:
    """Create the folder and put the files of an earlier run aside, after `check_output_folder`.

    They are gone for good with `forget_replaced`, or come back with `restore_replaced`. Anything else stays.
    """
    check_output_folder(path, force)
    with errors_naming(path, "nothing was done"):
        path.mkdir(parents=True, exist_ok=True)
        forget_replaced(path)
        shutil.rmtree(path / SMOOTHED_FOLDER, ignore_errors=True)
        for name in OUTPUT_FILES:
            (path / (name + REPLACEMENT_SUFFIX)).unlink(missing_ok=True)
            if (path / name).exists():
                (path / REPLACED_FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
                (path / name).replace(path / REPLACED_FOLDER / name)
        _remove_empty_folders(path)
    return path


def _remove_empty_folders(path: Path) -> None:
    """Remove the folders that only results of ours were in."""
    for folder in {(path / name).parent for name in OUTPUT_FILES} - {path}:
        with suppress(OSError):  # not there, or not empty
            folder.rmdir()


def forget_replaced(path: Path) -> None:
    """Remove what `prepare_output_folder` has put aside."""
    shutil.rmtree(path / REPLACED_FOLDER, ignore_errors=True)


def restore_replaced(path: Path) -> None:
    """Undo `prepare_output_folder`: files of this run go, those of the earlier run come back, no empty folder stays."""
    with errors_naming(path, "the results of the earlier run are in " + REPLACED_FOLDER):
        for name in OUTPUT_FILES:
            (path / name).unlink(missing_ok=True)
            if (path / REPLACED_FOLDER / name).exists():
                (path / name).parent.mkdir(exist_ok=True)
                (path / REPLACED_FOLDER / name).replace(path / name)
        _remove_empty_folders(path)
        forget_replaced(path)


def free_bytes(path: Path) -> int:
    """Room left on the disk that holds `path`."""
    return shutil.disk_usage(path.parent).free
