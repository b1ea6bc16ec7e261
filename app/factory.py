"""From the names of the settings to the parts that do the work: the only place that names concrete classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..calibration.errors import UserError
from ..calibration.rectify import Rectifier
from ..engines.denoiser import Denoiser, NoDenoiser, SkeletonDenoiser
from ..engines.detectors import blazepose, rtmpose
from ..engines.detectors.base import StereoDetector
from ..engines.session import DeviceChoice, EngineChoice, EngineUnavailable
from ..models.weights import REGISTRY, entry_named, locate
from .weights_cache import fetch_with_progress, user_cache_dir

DENOISERS: dict[str, Callable[[], Denoiser]] = {"skeleton": SkeletonDenoiser, "off": NoDenoiser}
DETECTORS = tuple(REGISTRY)
MODEL_SUFFIXES = (".onnx", ".engine", ".zip")


def open_denoiser(name: str, held_m: np.ndarray | None = None, lock_after_s: float | None = None) -> Denoiser:
    """The denoiser of a name; raises UserError listing the names there are.

    held_m, lock_after_s: bone lengths to keep, and when to keep those learnt, as for `SkeletonDenoiser`; others learn
    none.
    """
    if name not in DENOISERS:
        raise UserError(f'denoiser: expected one of {", ".join(DENOISERS)}, found "{name}"')
    if name == SkeletonDenoiser.name:
        return SkeletonDenoiser(held_m, lock_after_s)
    return DENOISERS[name]()


def weights_folder(name: str) -> Path:
    """Where the weights of a detector lie; fetched, with a notice, when they are not here yet."""
    entry = entry_named(name)
    return locate(entry, user_cache_dir()) or fetch_with_progress(entry, user_cache_dir())


def engine_choice(device: DeviceChoice = "auto", allow_inexact: bool = False) -> EngineChoice:
    """Where the user wants networks to run; engines built for this machine are kept in the user's cache."""
    return EngineChoice(device, allow_inexact, user_cache_dir())


def open_detector(name: str, rectifier: Rectifier, engine: EngineChoice | None = None) -> StereoDetector:
    """The detector of a registered name or of a model file (.onnx, .engine, SDK .zip).

    engine: where it is to run, None for the best device there is. The network that finds people to begin with runs on
    the CPU.
    Raises UserError when there is no such detector, its weights cannot be had, its runtime is missing or the device
    asked for cannot be used.
    """
    engine = engine or engine_choice()
    path = Path(name)
    if path.suffix.lower() in MODEL_SUFFIXES or path.is_file():
        if not path.is_file():
            raise UserError(
                f"detector: {path}: no such file; expected an .onnx or .engine model or an OpenMMLab SDK .zip"
            )
        return rtmpose.open_detector(rectifier, path, weights_folder("blazepose"), engine)
    if name not in DETECTORS:
        raise UserError(f'detector: expected one of {", ".join(DETECTORS)} or a model file, found "{name}"')
    if name == "blazepose":
        if engine.device not in ("auto", "cpu"):
            raise EngineUnavailable(
                f"--device {engine.device}: the detector blazepose runs on the CPU alone; for a GPU take another, as "
                "--detector rtmpose-m"
            )
        return blazepose.open_detector(rectifier, weights_folder(name))
    (network,) = entry_named(name).files
    return rtmpose.open_detector(rectifier, weights_folder(name) / network.name, weights_folder("blazepose"), engine)
