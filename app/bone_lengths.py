"""The person's bone lengths in a run: fixed, saved, used again, and said in the summary."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from ..calibration.errors import UserError
from ..engines.denoiser import Denoiser, LengthLearner, NoDenoiser
from ..models.bone_lengths import LearntLengths, segment_names
from ..models.skeleton import BODY17
from ..models.skeleton_file import PersonLengths, load_lengths, save_lengths

# The calibration second of --lock-skeleton.
LOCK_AFTER_S = 1.0
# Held lengths that differ by more from what the whole recording says were learnt badly, or are of somebody else.
SUSPECT_DIFFERENCE = 0.05


def add_skeleton_options(parser: argparse.ArgumentParser) -> None:
    """Options about the bone lengths of the person."""
    parser.add_argument(
        "--lock-skeleton",
        action="store_true",
        help=f"learn the bone lengths for {LOCK_AFTER_S:g} s of somebody well seen, then keep them",
    )
    parser.add_argument(
        "--skeleton", type=Path, metavar="FILE.toml", help="bone lengths of this person, saved before; they are kept"
    )
    parser.add_argument(
        "--save-skeleton", type=Path, metavar="FILE.toml", help="save the bone lengths that this run has learnt"
    )


def check_skeleton_options(options: argparse.Namespace) -> PersonLengths | None:
    """The lengths of --skeleton, None without. Raises UserError for options that do not go together."""
    given = [name for name in ("lock_skeleton", "skeleton", "save_skeleton") if getattr(options, name)]
    if given and options.denoiser == NoDenoiser.name:
        raise UserError(
            f"--{given[0].replace('_', '-')} needs a denoiser that knows bone lengths, "
            f"found --denoiser {options.denoiser}"
        )
    if options.save_skeleton and not options.save_skeleton.parent.is_dir():
        raise UserError(f"--save-skeleton: {options.save_skeleton.parent}: no such folder")
    return load_lengths(options.skeleton) if options.skeleton else None


def save_learnt(path: Path, denoiser: Denoiser, detector: str) -> None:
    """Save what a run has learnt: of everything seen, whether other lengths were held or not."""
    assert isinstance(denoiser, LengthLearner), "checked with the options"
    save_lengths(path, PersonLengths(denoiser.lengths.seen_m, detector))


def held_lengths_m(denoiser: Denoiser) -> np.ndarray | None:
    """(G,) the lengths that are kept, NaN for those that are not; None for a denoiser that knows none."""
    return denoiser.lengths.held_m if isinstance(denoiser, LengthLearner) else None


def lengths_summary(denoiser: Denoiser) -> tuple[dict[str, Any] | None, list[str]]:
    """What summary.json says about bone lengths, None when the denoiser knows none, and what to warn of."""
    if not isinstance(denoiser, LengthLearner):
        return None, []
    lengths = denoiser.lengths
    named = zip(segment_names(BODY17), lengths.median_m.tolist(), (~np.isnan(lengths.held_m)).tolist(), strict=True)
    known = [(name, round(length_m, 4), held) for name, length_m, held in named if length_m == length_m]
    figures = {"m": {name: length for name, length, _ in known}, "held": [name for name, _, held in known if held]}
    return figures, _warnings(lengths)


def _warnings(lengths: LearntLengths) -> list[str]:
    differences = lengths.seen_m / lengths.held_m - 1
    if not np.isfinite(differences).any():
        return []
    worst = int(np.nanargmax(np.abs(differences)))
    if abs(differences[worst]) <= SUSPECT_DIFFERENCE:
        return []
    return [
        f"the bone lengths that were kept do not fit: {segment_names(BODY17)[worst]} was kept at "
        f"{lengths.held_m[worst] * 100:.1f} cm, over the whole recording it is {lengths.seen_m[worst] * 100:.1f} cm "
        "(median); learn them from somebody well seen (--save-skeleton), or let them be learnt all the time"
    ]
