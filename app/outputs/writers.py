"""All pose files of one run, written together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from .csv_writer import CsvWriter
from .files import OutputError
from .npz_writer import NpzWriter
from .record import PoseRecord, Recording, RecordWriter
from .trc_writer import TrcWriter

# File name and what writes it; a new output is a line here and a name in `files.OUTPUT_FILES`. The npz comes first:
# when the disk fills it is the one that has taken the most.
WRITERS: dict[str, Callable[[Path, Recording], RecordWriter]] = {
    "poses.npz": NpzWriter,
    "poses.csv": CsvWriter,
    "poses.trc": TrcWriter,
}


class OutputWriters:
    """Writes every pose file of one run into a folder; a context manager that finishes all of them, come what may."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        self._writers: list[RecordWriter] = []
        try:
            for name, open_writer in WRITERS.items():
                self._writers.append(open_writer(folder / name, recording))
        except OutputError as error:
            raise self._joined(error) from error

    def write(self, record: PoseRecord) -> None:
        """Add one frame to every file. Raises OutputError when one of them cannot take it."""
        for writer in self._writers:
            writer.write(record)

    def close(self) -> None:
        """Finish all files, then raise one OutputError for those that could not be finished."""
        errors = self._close_all()
        if errors:
            raise OutputError("\n".join(errors))

    def _close_all(self) -> list[str]:
        errors = []
        for writer in self._writers:
            try:
                writer.close()
            except OutputError as error:
                errors.append(str(error))
        return errors

    def _joined(self, first: OutputError) -> OutputError:
        """The error that stopped the run together with those of closing, which tell the user what is left."""
        return OutputError("\n".join([str(first), *self._close_all()]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OutputError):
            raise self._joined(error) from error
        self.close()
