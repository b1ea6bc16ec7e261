"""Networks that this project trained itself, and where their files lie; README.md beside them is their model card."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "denoiser.npz"


def denoiser_files() -> dict[int, Path]:
    """The exported denoisers that come with the program, by their number of steps."""
    found = {int(path.stem.removeprefix("denoiser-k")): path for path in FOLDER.glob("denoiser-k?.onnx")}
    return dict(sorted(found.items()))
