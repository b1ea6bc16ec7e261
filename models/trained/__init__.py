"""Networks that this project trained itself, and where their files lie; README.md beside them is their model card."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "denoiser.npz"


def denoiser_files(single: bool = False) -> dict[int, Path]:
    """The exported denoisers that come with the program, by their number of steps.

    single: those for one pose at a time, which open and run faster; else those for any number.
    """
    suffix = "-b1.onnx" if single else ".onnx"
    found = {int(path.name[len("denoiser-k")]): path for path in FOLDER.glob(f"denoiser-k?{suffix}")}
    return dict(sorted(found.items()))
