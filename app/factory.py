"""From the names of the settings to the parts that do the work: the only place that names concrete classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..calibration.errors import UserError
from ..calibration.rectify import Rectifier
from ..engines.denoiser import Denoiser, NoDenoiser, SkeletonDenoiser
from ..engines.detectors import blazepose, rtmpose
from ..engines.detectors.base import StereoDetector
from ..models.weights import REGISTRY, entry_named, locate
from .weights_cache import fetch_with_progress, user_cache_dir

DENOISERS: dict[str, Callable[[], Denoiser]] = {"skeleton": SkeletonDenoiser, "off": NoDenoiser}
DETECTORS = tuple(REGISTRY)
MODEL_SUFFIXES = (".onnx", ".zip")


def open_denoiser(name: str) -> Denoiser:
    """The denoiser of a name; raises UserError listing the names there are."""
    if name not in DENOISERS:
        raise UserError(f'denoiser: expected one of {", ".join(DENOISERS)}, found "{name}"')
    return DENOISERS[name]()


def weights_folder(name: str) -> Path:
    """Where the weights of a detector lie; fetched, with a notice, when they are not here yet."""
    entry = entry_named(name)
    return locate(entry, user_cache_dir()) or fetch_with_progress(entry, user_cache_dir())


def open_detector(name: str, rectifier: Rectifier) -> StereoDetector:
    """The detector of a registered name or of a model file (.onnx, SDK .zip).

    Raises UserError when there is no such detector, its weights cannot be had or its runtime is missing.
    """
    path = Path(name)
    if path.suffix.lower() in MODEL_SUFFIXES or path.is_file():
        if not path.is_file():
            raise UserError(f"detector: {path}: no such file; expected an .onnx model or an OpenMMLab SDK .zip")
        return rtmpose.open_detector(rectifier, path, weights_folder("blazepose"))
    if name not in DETECTORS:
        raise UserError(f'detector: expected one of {", ".join(DETECTORS)} or a model file, found "{name}"')
    if name == "blazepose":
        return blazepose.open_detector(rectifier, weights_folder(name))
    (network,) = entry_named(name).files
    return rtmpose.open_detector(rectifier, weights_folder(name) / network.name, weights_folder("blazepose"))
