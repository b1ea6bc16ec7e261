"""Read and write `rig.toml`, the program's own versioned rig file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from .errors import UserError
from .rig import Camera, RigError, RigidTransform, StereoRig
from .toml_file import read_toml

FORMAT = "binopose-rig"
VERSION = 1

_TOP_KEYS = {"format", "version", "left", "right", "right_from_left", "world_from_left", "provenance"}
_CAMERA_KEYS = {"size_px", "model", "matrix", "distortion"}
_TRANSFORM_KEYS = {"rotation", "translation_m"}


class RigFileError(RigError):
    """A rig file that cannot be used; the message names the file, the key, what was expected and what was found."""


def _flat(value: Any) -> Iterator[Any]:
    """The innermost items of nested lists."""
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


class TableReader:
    """Takes typed values out of one table of a parsed file; complaints name file and key."""

    def __init__(self, path: Path, table: Any, name: str = "") -> None:
        self._path, self._name = path, name
        if not isinstance(table, dict):
            raise self.error("", "a table", table)
        self._table: dict[str, Any] = table

    def error(self, key: str, expected: str, found: object) -> RigFileError:
        """The complaint that a key is not what it should be."""
        full_key = ".".join(part for part in (self._name, key) if part) or "the file"
        shown = repr(found)
        return RigFileError(f"{self._path}: {full_key}: expected {expected}, found {shown[:80]}")

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def table(self, key: str) -> TableReader:
        """A table inside this one."""
        if key not in self._table:
            raise self.error(key, "a table", "nothing")
        return TableReader(self._path, self._table[key], ".".join(part for part in (self._name, key) if part))

    def array(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Numbers of the given shape, None standing for any length."""
        described = f"{' x '.join('any' if n is None else str(n) for n in shape)} numbers"
        if key not in self._table:
            raise self.error(key, described, "nothing")
        found = self._table[key]
        try:
            words = any(isinstance(item, str | bool) for item in _flat(found))
            values = np.array(found, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise self.error(key, described, found) from None
        shaped = values.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, values.shape, strict=True))
        if words or not shaped:
            raise self.error(key, described, found)
        return values

    def size_px(self, key: str) -> tuple[int, int]:
        """A picture size, two whole numbers."""
        width, height = self.array(key, (2,))
        if not (np.isfinite([width, height]).all() and width == round(width) and height == round(height)):
            raise self.error(key, "width and height in whole pixels", self._table[key])
        return int(width), int(height)

    def rephrased(self, error: RigError) -> RigFileError:
        """A complaint about what the values of this table mean, with the file and the table in front."""
        return RigFileError(f"{self._path}: {self._name + ': ' if self._name else ''}{error}")

    def only(self, allowed: set[str]) -> None:
        """Refuse keys that mean nothing here: a misspelt key must not be ignored in silence."""
        for key in self._table:
            if key not in allowed:
                raise self.error(key, f"one of {', '.join(sorted(allowed))}", key)

    def value(self, key: str, default: Any = None) -> Any:
        """A value as it stands."""
        return self._table.get(key, default)


def _read_camera(table: TableReader) -> Camera:
    table.only(_CAMERA_KEYS)
    size_px, matrix = table.size_px("size_px"), table.array("matrix", (3, 3))
    distortion = table.array("distortion", (None,))
    try:
        return Camera(size_px, matrix, distortion, table.value("model", "pinhole"))
    except RigError as error:
        raise table.rephrased(error) from None


def _read_transform(table: TableReader) -> RigidTransform:
    table.only(_TRANSFORM_KEYS)
    rotation, translation_m = table.array("rotation", (3, 3)), table.array("translation_m", (3,))
    try:
        return RigidTransform(rotation, translation_m)
    except RigError as error:
        raise table.rephrased(error) from None


def load_rig(path: Path) -> StereoRig:
    """Read a rig file.

    Raises RigFileError for a missing file, broken TOML, a foreign or newer format, missing, unknown or impossible
    values.
    """
    table = TableReader(path, read_toml(path, RigFileError, "a rig file (make one: binopose calibrate)"))
    if table.value("format") != FORMAT:
        raise RigFileError(
            f'{path}: format: expected "{FORMAT}", found {table.value("format")!r}; '
            "calibrations of other programs are converted by: binopose rig import"
        )
    if table.value("version") != VERSION:
        raise RigFileError(
            f"{path}: version: expected {VERSION}, found {table.value('version')!r}; "
            "the file belongs to another version of binopose"
        )
    table.only(_TOP_KEYS)
    left, right = _read_camera(table.table("left")), _read_camera(table.table("right"))
    right_from_left = _read_transform(table.table("right_from_left"))
    world_from_left = _read_transform(table.table("world_from_left")) if "world_from_left" in table else None
    provenance = table.value("provenance", {})
    if not isinstance(provenance, dict):
        raise table.error("provenance", "a table", provenance)
    try:
        return StereoRig(left, right, right_from_left, world_from_left, provenance)
    except RigError as error:
        raise table.rephrased(error) from None


def _camera_table(camera: Camera) -> dict[str, Any]:
    return {
        "size_px": list(camera.size_px),
        "model": camera.model,
        "matrix": camera.matrix.tolist(),
        "distortion": camera.distortion.tolist(),
    }


def _transform_table(transform: RigidTransform) -> dict[str, Any]:
    return {"rotation": transform.rotation.tolist(), "translation_m": transform.translation_m.tolist()}


def save_rig(rig: StereoRig, path: Path, overwrite: bool = False) -> None:
    """Write a rig file, whole or not at all. Raises UserError when it exists (unless `overwrite`) or cannot be written.

    All digits are kept: a rig read back is the same to the last bit, but for the rounding inside the rotation.
    """
    if path.exists() and not overwrite:
        raise UserError(f"{path}: exists already; use --force to replace it")
    tables: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "left": _camera_table(rig.left),
        "right": _camera_table(rig.right),
        "right_from_left": _transform_table(rig.right_from_left),
    }
    if rig.world_from_left is not None:
        tables["world_from_left"] = _transform_table(rig.world_from_left)
    if rig.provenance:
        tables["provenance"] = rig.provenance
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.write_text(tomli_w.dumps(tables), encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
