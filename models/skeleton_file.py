"""A person's bone lengths as a TOML file, to be used again in other recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from ..calibration.errors import UserError
from ..calibration.toml_file import read_toml
from .bone_lengths import LONGEST_M, SHORTEST_M, segment_names
from .skeleton import BODY17, Skeleton

FORMAT = "binopose-skeleton"
VERSION = 1


class SkeletonFileError(UserError):
    """A file of bone lengths that cannot be read or written."""


@dataclass(frozen=True, slots=True)
class PersonLengths:
    """A person's bone lengths. lengths_m: (G,) by group of `segments_of`, NaN where unknown; detector: whose joints
    these are between: what one detector calls a hip lies centimetres from that of another."""

    lengths_m: np.ndarray
    detector: str


def save_lengths(path: Path, person: PersonLengths, skeleton: Skeleton = BODY17) -> None:
    """Write the lengths that are known. Raises SkeletonFileError when there are none or the file cannot be written."""
    named = zip(segment_names(skeleton), person.lengths_m.tolist(), strict=True)
    known = {name: round(length_m, 4) for name, length_m in named if length_m == length_m}
    if not known:
        raise SkeletonFileError(f"{path}: not written: nobody was seen, so no bone lengths are known")
    content = {
        "format": FORMAT, "version": VERSION, "skeleton": skeleton.name, "detector": person.detector,
        "lengths_m": known,
    }  # fmt: skip
    try:
        path.write_text(tomli_w.dumps(content), encoding="utf-8")
    except OSError as error:
        raise SkeletonFileError(f"{path}: cannot be written: {error.strerror or error}") from None


def load_lengths(path: Path, skeleton: Skeleton = BODY17) -> PersonLengths:
    """Read what `save_lengths` wrote; bones that the file leaves out are NaN. Raises SkeletonFileError."""
    content = read_toml(path, SkeletonFileError, "bone lengths as --save-skeleton writes them")
    expected: dict[str, Any] = {"format": FORMAT, "version": VERSION, "skeleton": skeleton.name}
    for key, value in expected.items():
        if content.get(key) != value:
            raise SkeletonFileError(f"{path}: {key}: expected {value!r}, found {content.get(key, 'nothing')!r}")
    unknown = content.keys() - expected.keys() - {"detector", "lengths_m"}
    if unknown:
        raise SkeletonFileError(f"{path}: {min(unknown)}: no such key; expected detector and lengths_m")
    lengths = content.get("lengths_m")
    if not isinstance(lengths, dict) or not lengths:
        raise SkeletonFileError(f"{path}: lengths_m: expected a table of bones in metres, found {lengths!r}")
    names = segment_names(skeleton)
    for name, length_m in lengths.items():
        if name not in names:
            raise SkeletonFileError(f"{path}: lengths_m.{name}: no such bone; expected one of {', '.join(names)}")
        if not isinstance(length_m, int | float) or not SHORTEST_M <= length_m <= LONGEST_M:
            raise SkeletonFileError(
                f"{path}: lengths_m.{name}: expected {SHORTEST_M} to {LONGEST_M} metres, found {length_m!r}"
            )
    lengths_m = np.array([lengths.get(name, np.nan) for name in names], dtype=np.float64)
    return PersonLengths(lengths_m, str(content.get("detector", "")))
