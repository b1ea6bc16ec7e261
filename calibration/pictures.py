"""Which pictures belong together: folders or patterns of two cameras to pairs of files."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


class PicturesError(UserError):
    """Pictures that are missing or cannot be paired."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that does not count, and why."""

    file: str
    why: str


@dataclass(frozen=True, slots=True)
class PicturePair:
    """The pictures both cameras took at one moment."""

    left: Path
    right: Path


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Everything a calibration looks at, sorted so that the order it was given in does not matter."""

    pairs: tuple[PicturePair, ...]
    left_extra: tuple[Path, ...] = ()
    right_extra: tuple[Path, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts "view2" before "view10"."""
    return tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.split(r"(\d+)", text) if part
    )


def list_pictures(source: str, option: str) -> list[Path]:
    """Picture files of a folder, a pattern or a single file name. option: what to call it in a message."""
    folder = Path(source)
    if folder.is_dir():
        found = [path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES]
        if not found:
            raise PicturesError(
                f"{option}: no pictures in the folder {source} (looked for {', '.join(PICTURE_SUFFIXES)})"
            )
    else:
        found = [Path(name) for name in glob.glob(source, recursive=True) if Path(name).is_file()]
        if not found:
            raise PicturesError(
                f'{option}: nothing found at "{source}"; expected a folder, a file, or a pattern in quotes such as '
                '"boards/left*.png"'
            )
    return sorted(found, key=lambda path: natural_key(str(path)))


def _by_stem(paths: Sequence[Path]) -> list[object]:
    return [path.stem.lower() for path in paths]


def _by_stem_without_side(paths: Sequence[Path]) -> list[object]:
    return [re.sub(r"left|right", "", path.stem.lower()) for path in paths]


def _by_last_number(paths: Sequence[Path]) -> list[object]:
    numbers = [re.findall(r"\d+", path.stem) for path in paths]
    return [int(found[-1]) if found else None for found in numbers]


def _by_varying_numbers(paths: Sequence[Path]) -> list[object]:
    """All numbers of the name but those that are the same everywhere, such as the camera's."""
    numbers = [tuple(int(part) for part in re.findall(r"\d+", path.stem)) for path in paths]
    if len({len(row) for row in numbers}) != 1 or not numbers[0]:
        return [None] * len(paths)
    varying = [k for k in range(len(numbers[0])) if len({row[k] for row in numbers}) > 1]
    return [tuple(row[k] for k in varying) for row in numbers]


_KEYS: tuple[Callable[[Sequence[Path]], list[object]], ...] = (
    _by_stem, _by_stem_without_side, _by_varying_numbers, _by_last_number
)  # fmt: skip


def pair_pictures(left: Sequence[Path], right: Sequence[Path]) -> tuple[list[PicturePair], list[LeftOut]]:
    """Pair files by name: the same name, or the same but for "left" and "right", or the same number.

    Returns the pairs in the order of the left files, and the files without a partner. Raises PicturesError when no rule
    pairs at least half of the files: pairing by position would put pictures of different moments together unseen.
    """
    same = set(left) & set(right)
    if same:
        raise PicturesError(
            f"LEFT and RIGHT both contain {sorted(same)[0]} ({len(same)} files in both): give each camera its own "
            "folder, "
            'or patterns in quotes such as "boards/left*.png" "boards/right*.png"'
        )
    best: list[PicturePair] = []
    for key_of in _KEYS:
        left_keys, right_keys = key_of(left), key_of(right)
        unique = len(set(left_keys)) == len(left) and len(set(right_keys)) == len(right)
        if not unique or None in left_keys or None in right_keys:
            continue
        partner = dict(zip(right_keys, right, strict=True))
        pairs = [PicturePair(path, partner[key]) for path, key in zip(left, left_keys, strict=True) if key in partner]
        if len(pairs) > len(best):
            best = pairs
    if 2 * len(best) < max(len(left), len(right)):
        raise PicturesError(
            f"{len(left)} left and {len(right)} right pictures, of which {len(best)} pair up by name (left: "
            f"{_some(left)}; right: {_some(right)}). Expected the two pictures of a moment to carry the same name or "
            "number, such as left07.png and right07.png"
        )
    paired = {path for pair in best for path in (pair.left, pair.right)}
    alone = [LeftOut(path.name, "the other camera has no picture of this number") for path in (*left, *right)
             if path not in paired]  # fmt: skip
    return best, alone


def _some(paths: Sequence[Path]) -> str:
    names = [path.name for path in paths]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} ... {names[-1]}"


def gather(left: str, right: str, left_extra: Sequence[str] = (), right_extra: Sequence[str] = ()) -> PictureSet:
    """Find and pair the pictures of both cameras."""
    pairs, alone = pair_pictures(list_pictures(left, "LEFT"), list_pictures(right, "RIGHT"))
    used = {path.resolve() for pair in pairs for path in (pair.left, pair.right)}

    def extras(sources: Sequence[str], option: str) -> tuple[Path, ...]:
        found = {path.resolve(): path for source in sources for path in list_pictures(source, option)}
        return tuple(
            sorted((p for full, p in found.items() if full not in used), key=lambda path: natural_key(str(path)))
        )

    return PictureSet(
        tuple(sorted(pairs, key=lambda pair: natural_key(str(pair.left)))),
        extras(left_extra, "--left-extra"),
        extras(right_extra, "--right-extra"),
        tuple(alone),
    )
