"""From the names of the settings to the parts that do the work: the only place that names concrete classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..calibration.errors import UserError
from ..calibration.rectify import Rectifier
from ..calibration.rig import StereoRig
from ..engines.denoiser import Denoiser, NoDenoiser, SkeletonDenoiser
from ..engines.detectors import blazepose, rtmpose
from ..engines.detectors.base import StereoDetector
from ..engines.dual_diffusion import DualDiffusionDenoiser
from ..engines.session import DeviceChoice, EngineChoice, EngineUnavailable
from ..models.detector_profile import FILE_NAME, DetectorProfile, load_profile
from ..models.trained import denoiser_files
from ..models.weights import REGISTRY, entry_named, locate
from .weights_cache import fetch_with_progress, user_cache_dir

DENOISERS = (DualDiffusionDenoiser.name, SkeletonDenoiser.name, NoDenoiser.name)
DETECTORS = tuple(REGISTRY)
AUTO, OFF = "auto", "off"  # values of --profile that are no file
MODEL_SUFFIXES = (".onnx", ".engine", ".zip")
DENOISER_SUFFIXES = (".onnx", ".engine", ".npz")


@dataclass(frozen=True)
class DenoiserChoice:
    """What refines the poses.

    name: one of DENOISERS, or an exported denoiser (.onnx, .engine); steps, hypotheses: of the learned one, see
    `DualDiffusionDenoiser`; held_m, lock_after_s: bone lengths to keep, and when to keep those learnt, as for
    `SkeletonDenoiser`.
    """

    name: str = DualDiffusionDenoiser.name
    steps: int = 1
    hypotheses: int = 1
    held_m: np.ndarray | None = None
    lock_after_s: float | None = None


def open_denoiser(choice: DenoiserChoice, engine: EngineChoice | None = None) -> Denoiser:
    """The denoiser of a choice; engine: where a network is to run, None for the best device there is.

    Raises UserError when there is no such denoiser, no export for so many steps, or nothing that could run it.
    """
    if choice.name == NoDenoiser.name:
        return NoDenoiser()
    refiner = SkeletonDenoiser(choice.held_m, choice.lock_after_s)
    if choice.name == SkeletonDenoiser.name:
        return refiner
    path = _denoiser_file(choice)
    try:
        session = (engine or engine_choice()).open(path)
    except EngineUnavailable as error:
        raise EngineUnavailable(f"{error}\nWithout a network: --denoiser skeleton", error.reasons) from error
    return DualDiffusionDenoiser(session, path, refiner, choice.hypotheses)


def _denoiser_file(choice: DenoiserChoice) -> Path:
    path = Path(choice.name)
    if path.suffix.lower() in DENOISER_SUFFIXES:
        return path
    if choice.name != DualDiffusionDenoiser.name:
        raise UserError(
            f"denoiser: expected one of {', '.join(DENOISERS)} or a denoiser as .onnx, .engine or .npz, "
            f'found "{choice.name}"'
        )
    files = denoiser_files(single=choice.hypotheses == 1)
    if choice.steps not in files:
        raise UserError(
            f"--steps: there are exports for {', '.join(map(str, files))} steps, found {choice.steps}; "
            "for others: python -m binopose.export.onnx, and --denoiser FILE.onnx"
        )
    return files[choice.steps]


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


def profile_file(detector: str) -> Path:
    """Where the profile of a detector lies: beside its weights. Raises UserError when there is no such detector."""
    path = Path(detector)
    if path.suffix.lower() in MODEL_SUFFIXES or path.is_file():
        return path.with_name(f"{path.stem}.{FILE_NAME}")
    return user_cache_dir() / entry_named(detector).name / FILE_NAME


def open_profile(choice: str, detector: str, rig: StereoRig) -> tuple[DetectorProfile | None, list[str]]:
    """What is known of a detector's errors, and what to tell the user about it.

    choice: a file, "off", or "auto" for the one beside the detector's weights if there is one.
    Raises UserError when it cannot be read.
    """
    path = profile_file(detector) if choice == AUTO else Path(choice)
    if choice == OFF or (choice == AUTO and not path.is_file()):
        return None, []
    profile = load_profile(path)
    notes = [f"using what was learnt of the detector's errors: {path}"] if choice == AUTO else []
    name = Path(detector).name
    if profile.detector not in ("", name):
        notes.append(f"{path}: the profile of {profile.detector}, used with {name}, whose errors may be others")
    doubt = profile.doubts(rig)
    return profile, [*notes, doubt] if doubt else notes
